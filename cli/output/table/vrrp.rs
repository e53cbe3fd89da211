//! `samctl vrrp`

use std::net::Ipv4Addr;

use sam_router::facts::{CounterFacts, ElectionFacts};
use sam_router::view::{TrackedRow, VrrpConfigured, VrrpView};

use super::{Page, Text, ago};

impl Text for VrrpView {
    fn write(&self, page: &mut Page) {
        let Some(configured) = &self.configured else {
            return page.line("off: no election decides about the LAN");
        };
        let gate = if self.gate_open { "open" } else { "closed" };
        let mut pairs = vec![
            ("virtual router", virtual_router(self, configured)),
            ("gate", format!("{gate} ({})", self.gate_reason)),
        ];
        match &self.election {
            Some(election) => {
                pairs.extend(election_lines(election, configured));
                pairs.extend(others(election));
            }
            None => {
                let why = self.failure.as_deref().unwrap_or("the LAN is not ready");
                pairs.push(("state", format!("no election: {why}")));
            }
        }
        if let Some(split) = &self.split_brain {
            let text = format!("{} ago: {}", ago(split.last_s), split.verdict);
            pairs.push(("split brain", text));
        }
        pairs.extend(absent(&self.absent));
        if self.fenced {
            let text = "takes the role from no master that works until it has heard all routes";
            pairs.push(("just begun", text.to_owned()));
        }
        pairs.push(("timing", timing(self, configured)));
        page.pairs(&pairs);
        if !self.tracked.is_empty() {
            page.title("Tracked conditions");
            let row = |row: &TrackedRow| {
                let holds = if row.holds { "holds" } else { "FAILS" };
                [row.name.clone(), holds.to_owned(), row.penalty.to_string()]
            };
            let rows = self.tracked.iter().map(row).collect();
            page.table(["CONDITION", "STATE", "PENALTY"], rows, "");
        }
        if !self.counters.is_empty() {
            page.title("Advertisements that did not count, or were odd");
            let row = |counter: &CounterFacts| {
                let count = counter.value.to_string();
                [counter.name.clone(), count, counter.text.clone()]
            };
            let rows = self.counters.iter().map(row).collect();
            page.table(["REASON", "COUNT", "MEANING"], rows, "");
        }
    }
}

fn virtual_router(view: &VrrpView, configured: &VrrpConfigured) -> String {
    let interface = view.interface.as_deref().unwrap_or("-");
    let way = match configured.peers.as_slice() {
        [] => match configured.routers.as_slice() {
            [] => "by multicast".to_owned(),
            routers => format!("by multicast, also with {}", joined(routers)),
        },
        peers => format!("with {}", joined(peers)),
    };
    format!(
        "{} on {interface}, address {}, version {}, {way}",
        configured.vrid, configured.address, configured.version
    )
}

fn joined(addresses: &[Ipv4Addr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

fn election_lines(
    election: &ElectionFacts,
    configured: &VrrpConfigured,
) -> [(&'static str, String); 4] {
    let state = format!(
        "{} for {}: {}",
        election.state,
        ago(election.since_s),
        election.why
    );
    let priority = match election.priority == configured.priority {
        true => election.priority.to_string(),
        false => format!("{} of {}", election.priority, configured.priority),
    };
    let other = election.heard.as_ref().map_or_else(
        || "not heard".to_owned(),
        |heard| {
            let way = if heard.by_arp_only {
                " by ARP only"
            } else {
                ""
            };
            format!(
                "{}, priority {}, every {:.0}ms, heard{way} {} ago",
                heard.address,
                heard.priority,
                heard.interval_ms,
                ago(heard.last_s)
            )
        },
    );
    let counts = format!(
        "{} promotions, {} conflicts, {} received, {} sent",
        election.promotions, election.conflicts, election.received, election.sent
    );
    [
        ("state", state),
        ("priority", priority),
        ("other master", other),
        ("counts", counts),
    ]
}

/// Whoever else takes part and should not.
fn others(election: &ElectionFacts) -> Vec<(&'static str, String)> {
    let rivals = election.rivals.iter().map(|rivals| {
        let (last, text) = (ago(rivals.last_s), rivals.text());
        (
            "two masters",
            format!("{last} ago: {text}, {} times", rivals.times),
        )
    });
    let strangers: Vec<String> = election.strangers.iter().map(ToString::to_string).collect();
    let unnamed = (!strangers.is_empty()).then(|| ("unknown", strangers.join(", ")));
    rivals.chain(unnamed).collect()
}

/// Hosts on the other side of a LAN that is cut in two.
fn absent(addresses: &[Ipv4Addr]) -> Option<(&'static str, String)> {
    let (first, rest) = addresses.split_first()?;
    let more = match rest.len() {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    let text = format!("{first}{more}: claimed by another router of the LAN, silent here");
    Some(("not here", text))
}

fn timing(view: &VrrpView, configured: &VrrpConfigured) -> String {
    let down = view.election.as_ref().map_or_else(String::new, |election| {
        format!(", a master may be silent for {:.0}ms", election.down_ms)
    });
    let preempt = if configured.preempt { "on" } else { "off" };
    format!(
        "every {:.0}ms{down}, preemption {preempt}, scheduling {}",
        configured.interval_ms, view.scheduling
    )
}
