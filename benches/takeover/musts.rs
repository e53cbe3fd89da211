//! What events must keep to.

/// Part of an event's name, a figure, the most that it may be.
const MUSTS: [(&str, &str, f64); 22] = [
    ("master killed", "longest gap, ms", 1200.0),
    ("advertised every 100 ms", "longest gap, ms", 500.0),
    ("master frozen", "longest gap, ms", 1200.0),
    ("cable pulled", "longest gap, ms", 1200.0),
    ("orderly stop", "pings lost, worst client", 3.0),
    ("drain", "pings lost, worst client", 3.0),
    ("address handed over", "pings lost, worst client", 3.0),
    ("", "two routers answered for, ms", 300.0),
    ("", "TCP streams broken", 0.0),
    (
        "new client",
        "first ARP until answers at all other sites, ms",
        1000.0,
    ),
    (
        "captured addresses killed",
        "first until last of 1000 announced, ms",
        1000.0,
    ),
    ("aws: active killed", "longest gap, ms", 4000.0),
    ("oci: active killed", "longest gap, ms", 4000.0),
    ("azure: active killed", "longest gap, ms", 15_000.0),
    (
        "azure that moves: active killed",
        "longest gap, ms",
        15_000.0,
    ),
    (": drain", "pings lost, worst client", 5.0),
    ("provider down", "pings lost, worst client", 0.0),
    ("aws: 100 addresses move", "changes of the cloud", 2.0),
    ("azure: 100 addresses move", "changes of the cloud", 2.0),
    (
        "azure that moves: 100 addresses move",
        "changes of the cloud",
        2.0,
    ),
    ("oci: 16 addresses move", "changes of the cloud", 16.0),
    ("at rest", "calls per hour and router", 60.0),
];

/// The most that a figure of an event may be, where that is said.
pub(crate) fn of(event: &str, figure: &str) -> Option<f64> {
    // What comes later is of fewer events.
    let musts = MUSTS.iter().rev();
    let mut musts = musts.filter(|(name, of, _)| event.contains(name) && figure == *of);
    musts.next().map(|(_, _, most)| *most)
}
