//! What is aimed at, and what a run reached: a table of the README, made from the JSON like all others.

use std::fmt::Write as _;

use super::results::{Key, Results};

/// A figure of one of our systems, and how good it is to be.
struct Target {
    /// The system.
    ours: &'static str,
    /// What it is, for people.
    what: &'static str,
    key: Key<'static>,
    beside: Beside,
    wanted: Wanted,
}

/// What the value is compared with, in the same round.
#[derive(Clone, Copy)]
enum Beside {
    /// As a multiple of another system's.
    Times(&'static str),
    /// As what it is more than another system's.
    Over(&'static str),
    Nothing,
}

/// How good it is to be, and what is aimed at.
#[derive(Clone, Copy)]
enum Wanted {
    AtLeast(f64, Option<f64>),
    AtMost(f64, Option<f64>),
    /// That it works.
    Any(f64),
}

/// Of each transport of ours.
fn targets() -> Vec<Target> {
    let mut targets = rates();
    targets.extend(costs());
    for ours in ["samctl GUE", "samctl FOU"] {
        targets.extend(over_udp(ours));
    }
    for ours in ["samctl GRE", "samctl IPIP"] {
        targets.extend(over_ip(ours));
    }
    targets
}

/// Of WireGuard.
const fn wireguard(
    what: &'static str,
    key: Key<'static>,
    beside: Beside,
    wanted: Wanted,
) -> Target {
    Target {
        ours: "samctl",
        what,
        key,
        beside,
        wanted,
    }
}

/// How much passes through WireGuard.
fn rates() -> Vec<Target> {
    let works = |what, offloads| {
        let key = Key {
            offloads,
            ..WHOLE_TCP_1
        };
        wireguard(what, key, Beside::Times(GO), Wanted::Any(1.5))
    };
    vec![
        wireguard(
            "TCP 1 ÷ wireguard-go with GSO",
            WHOLE_TCP_1,
            Beside::Times(GO),
            Wanted::AtLeast(1.7, Some(2.5)),
        ),
        wireguard(
            "TCP 1 ÷ plain forwarding",
            WHOLE_TCP_1,
            Beside::Times(PLAIN),
            Wanted::AtLeast(0.32, Some(0.45)),
        ),
        wireguard(
            "TCP 4 ÷ wireguard-go with GSO",
            whole("tcp-4", "gbit_s"),
            Beside::Times(GO),
            Wanted::AtLeast(1.7, Some(2.5)),
        ),
        wireguard(
            "UDP 64 B without loss ÷ boringtun-cli",
            whole("udp-64", "kpps"),
            Beside::Times("boringtun-cli"),
            Wanted::AtLeast(2.5, Some(4.0)),
        ),
        wireguard(
            "every packet real: TCP 1 ÷ wireguard-go with GSO",
            WIRE_TCP_1,
            Beside::Times(GO),
            Wanted::AtLeast(1.5, Some(2.0)),
        ),
        wireguard(
            "every packet real: TCP 1 ÷ plain forwarding",
            WIRE_TCP_1,
            Beside::Times(PLAIN),
            Wanted::AtLeast(0.75, Some(0.95)),
        ),
        works("the same, no GRO: TCP 1 ÷ wireguard-go with GSO", "single"),
        works(
            "LAN ports without TSO: TCP 1 ÷ wireguard-go with GSO",
            "lan-tso-off",
        ),
        works(
            "LAN ports without GSO: TCP 1 ÷ wireguard-go with GSO",
            "lan-gso-off",
        ),
        works(
            "LAN ports without checksum offload: TCP 1 ÷ wireguard-go with GSO",
            "lan-tx-off",
        ),
    ]
}

/// What WireGuard costs: processors, time, memory.
fn costs() -> [Target; 5] {
    [
        wireguard(
            "processor s per GB ÷ wireguard-go with GSO",
            whole("tcp-1", "cpu_s_per_gb"),
            Beside::Times(GO),
            Wanted::AtMost(0.6, Some(0.4)),
        ),
        wireguard(
            "idle round trip p50 over that of plain forwarding, µs",
            whole("idle", "rtt_p50_us"),
            Beside::Over(PLAIN),
            Wanted::AtMost(220.0, Some(80.0)),
        ),
        wireguard(
            "idle round trip p99 over that of plain forwarding, µs",
            whole("idle", "rtt_p99_us"),
            Beside::Over(PLAIN),
            Wanted::AtMost(500.0, Some(200.0)),
        ),
        wireguard(
            "round trip p99 beside TCP 1 ÷ wireguard-go with GSO",
            whole("loaded", "rtt_p99_us"),
            Beside::Times(GO),
            Wanted::AtMost(0.4, Some(0.1)),
        ),
        wireguard(
            "resident memory in TCP 1, MiB",
            whole("tcp-1", "resident_mib"),
            Beside::Nothing,
            Wanted::AtMost(64.0, Some(32.0)),
        ),
    ]
}

/// Of what UDP carries without encryption.
fn over_udp(ours: &'static str) -> [Target; 3] {
    [
        Target {
            ours,
            what: "TCP 1 ÷ plain forwarding",
            key: WHOLE_TCP_1,
            beside: Beside::Times(PLAIN),
            wanted: Wanted::AtLeast(0.6, Some(0.75)),
        },
        Target {
            ours,
            what: "every packet real: TCP 1 ÷ plain forwarding",
            key: WIRE_TCP_1,
            beside: Beside::Times(PLAIN),
            wanted: Wanted::AtLeast(0.9, Some(1.0)),
        },
        Target {
            ours,
            what: "processor s per GB ÷ kernel VXLAN",
            key: whole("tcp-1", "cpu_s_per_gb"),
            beside: Beside::Times("kernel VXLAN"),
            wanted: Wanted::AtMost(1.8, None),
        },
    ]
}

/// Of what IP carries, for which the kernel has no superpackets.
fn over_ip(ours: &'static str) -> [Target; 4] {
    let other = "Open vSwitch GRE";
    [
        (
            "TCP 1 ÷ plain forwarding",
            WHOLE_TCP_1,
            PLAIN,
            Wanted::AtLeast(0.22, Some(0.35)),
        ),
        (
            "every packet real: TCP 1 ÷ plain forwarding",
            WIRE_TCP_1,
            PLAIN,
            Wanted::AtLeast(0.45, Some(0.7)),
        ),
        (
            "TCP 1 ÷ Open vSwitch GRE",
            WHOLE_TCP_1,
            other,
            Wanted::AtLeast(3.0, None),
        ),
        (
            "every packet real: TCP 1 ÷ Open vSwitch GRE",
            WIRE_TCP_1,
            other,
            Wanted::AtLeast(3.0, None),
        ),
    ]
    .map(|(what, key, other, wanted)| Target {
        ours,
        what,
        key,
        beside: Beside::Times(other),
        wanted,
    })
}

/// The table, with the marks around it.
pub(crate) fn section(results: &Results) -> String {
    let mut out = format!(
        "{BEGIN}\n{}. Ratios and differences are medians of those of each round.\n\n\
         | | | wanted | aim | reached | |\n|---|---|--:|--:|--:|---|\n",
        results.method()
    );
    for target in targets() {
        let _ = writeln!(out, "{}", target.row(results));
    }
    out + END
}

/// A text with the table in place of a former one; nothing where it has no place for it.
pub(crate) fn replace(text: &str, section: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{section}{after}"))
}

impl Target {
    fn row(&self, results: &Results) -> String {
        let digits = match self.beside {
            Beside::Times(_) => 2,
            Beside::Over(_) => 0,
            Beside::Nothing => 1,
        };
        let reached = self.reached(results);
        let transport = self.ours.strip_prefix("samctl ").unwrap_or("WireGuard");
        let (wanted, aim) = self.wanted.in_words();
        let cell = reached.map(|value| format!("{value:.digits$}"));
        // What is shown is judged: figures are no better than that.
        let shown = cell.as_deref().and_then(|cell| cell.parse().ok());
        let verdict = shown.map_or("not run", |value| self.wanted.verdict(value));
        let cell = cell.as_deref().unwrap_or("–");
        format!(
            "| {transport} | {} | {wanted} | {aim} | {cell} | {verdict} |",
            self.what
        )
    }

    fn reached(&self, results: &Results) -> Option<f64> {
        match self.beside {
            Beside::Times(other) => results.ratio(self.key, self.ours, other),
            Beside::Over(other) => results.difference(self.key, self.ours, other),
            Beside::Nothing => results.median(self.key, self.ours),
        }
    }
}

impl Wanted {
    fn in_words(self) -> (String, String) {
        let (wanted, aim) = match self {
            Self::AtLeast(bound, aim) => (format!("≥ {bound}"), aim),
            Self::AtMost(bound, aim) => (format!("≤ {bound}"), aim),
            Self::Any(aim) => ("works".to_owned(), Some(aim)),
        };
        (wanted, aim.map_or_else(String::new, |aim| aim.to_string()))
    }

    fn verdict(self, value: f64) -> &'static str {
        let (is_good, is_aim) = match self {
            Self::AtLeast(bound, aim) => (value >= bound, aim.is_some_and(|aim| value >= aim)),
            Self::AtMost(bound, aim) => (value <= bound, aim.is_some_and(|aim| value <= aim)),
            Self::Any(aim) => (value > 0.0, value >= aim),
        };
        match (is_good, is_aim) {
            (_, true) => "the aim",
            (true, false) => "yes",
            (false, false) => "**no**",
        }
    }
}

const BEGIN: &str = "<!-- targets: made from throughput.json, do not edit -->";
const END: &str = "<!-- end of targets -->";

const PLAIN: &str = "plain kernel forwarding";
const GO: &str = "wireguard-go with GSO";

const WHOLE_TCP_1: Key<'static> = whole("tcp-1", "gbit_s");
const WIRE_TCP_1: Key<'static> = Key {
    offloads: "wire",
    ..WHOLE_TCP_1
};

const fn whole(case: &'static str, value: &'static str) -> Key<'static> {
    Key {
        offloads: "whole",
        case,
        value,
    }
}
