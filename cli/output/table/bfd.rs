//! `samctl bfd`

use sam_router::view::{BfdRow, BfdView};

use super::{Page, Text, ago, node, optional_ago};

impl Text for BfdView {
    fn write(&self, page: &mut Page) {
        page.line(match (self.interval_ms, self.multiplier) {
            (Some(interval), Some(multiplier)) => format!(
                "every {} × {multiplier}, scheduling {}",
                milliseconds(interval),
                self.scheduling
            ),
            _ if self.neighbors.is_empty() && self.without_session.is_empty() => "off".to_owned(),
            _ => format!("off between nodes, scheduling {}", self.scheduling),
        });
        let header = [
            "NODE",
            "ADDRESS",
            "STATE",
            "SINCE",
            "REMOTE",
            "DISCRIMINATORS",
            "TX",
            "RX",
            "DETECTION",
            "NEXT HOP",
            "UPS",
            "FAILURES",
            "LAST DOWN",
        ];
        let rows = self.sessions.iter().chain(&self.neighbors);
        page.table(header, rows.map(row).collect(), "no sessions");
        if !self.without_session.is_empty() {
            let names: Vec<String> = self.without_session.iter().map(node).collect();
            page.line(format!("no session with {}", names.join(", ")));
        }
        if !self.discarded.is_empty() {
            page.title("Datagrams that did not count");
            let rows = self.discarded.iter();
            let row = |counter: &sam_router::facts::CounterFacts| {
                [
                    counter.name.clone(),
                    counter.value.to_string(),
                    counter.text.clone(),
                ]
            };
            page.table(["REASON", "COUNT", "MEANING"], rows.map(row).collect(), "");
        }
    }
}

fn row(row: &BfdRow) -> [String; 13] {
    let session = &row.session;
    [
        node(&row.node),
        session.address.to_string(),
        session.state.clone(),
        ago(session.since_s),
        session.remote_state.clone(),
        format!(
            "{:08x}/{:08x}",
            session.local_discriminator, session.remote_discriminator
        ),
        optional_milliseconds(session.transmit_ms),
        optional_milliseconds(session.receive_ms),
        optional_milliseconds(session.detection_ms),
        match row.held_up_s {
            Some(_) => format!("{} for {}", next_hop(row), optional_ago(row.held_up_s)),
            None => next_hop(row).to_owned(),
        },
        session.ups.to_string(),
        session.failures.to_string(),
        last_down(row),
    ]
}

/// BFD on one line of a neighbor.
pub(super) fn line(row: Option<&BfdRow>) -> String {
    let Some(row) = row else {
        return "-".into();
    };
    let session = &row.session;
    format!(
        "{} for {}, detection {}, next hop {}, last down {}",
        session.state,
        ago(session.since_s),
        optional_milliseconds(session.detection_ms),
        next_hop(row),
        last_down(row)
    )
}

fn next_hop(row: &BfdRow) -> &str {
    row.next_hop.as_deref().unwrap_or("-")
}

fn last_down(row: &BfdRow) -> String {
    let Some(down) = &row.session.last_down else {
        return "-".into();
    };
    let (when, reason) = (ago(down.ago_s), &down.reason);
    match down.remote_diagnostic.as_str() {
        "no diagnostic" => format!("{when} ago: {reason}"),
        told => format!("{when} ago: {reason} ({told})"),
    }
}

fn optional_milliseconds(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), milliseconds)
}

fn milliseconds(value: f64) -> String {
    if value < 10_000.0 {
        format!("{value:.0}ms")
    } else {
        ago(value / 1e3)
    }
}
