//! `samctl bgp monitor`: one line per change, the time first, then a word for its kind as `gobgp monitor` has it.

use sam_router::view::{MonitorView, NeighborSummary, OwnerRow, PathRow};

use super::events::utc;
use super::{Mark, colored, optional_node};

/// Renders one change; `time` is in seconds since the Unix epoch.
#[must_use]
pub fn monitor_line(time: f64, change: &MonitorView, color: bool) -> String {
    let (mark, word, text) = match change {
        MonitorView::Route {
            prefix,
            paths,
            cause,
            ..
        } => {
            let cause = cause.as_ref().map(|cause| format!(", {cause}"));
            let cause = cause.unwrap_or_default();
            match paths.first() {
                Some(first) => {
                    let text = format!("{prefix} {}{cause}", route(first, paths));
                    (Mark::Good, "ROUTE", text)
                }
                None => (Mark::Attention, "DELROUTE", format!("{prefix}{cause}")),
            }
        }
        MonitorView::Neighbor { node, neighbor, .. } => match neighbor {
            Some(row) if row.state == "established" => (Mark::Good, "NEIGHBOR", session(row)),
            Some(row) => (Mark::Attention, "NEIGHBOR", session(row)),
            None => (Mark::Attention, "DELNEIGHBOR", node.name.clone()),
        },
        MonitorView::Owner { address, owner, .. } => match owner {
            Some(row) => (Mark::Good, "OWNER", owned(row)),
            None => (Mark::Attention, "DELOWNER", address.to_string()),
        },
        MonitorView::SnapshotComplete { generation } => {
            let text = format!("complete at generation {generation}, changes follow");
            (Mark::Dim, "SNAPSHOT", text)
        }
        MonitorView::Resync => {
            let text = "too slow to be told what is gone: forget the above, a snapshot follows";
            (Mark::Bad, "RESYNC", text.to_owned())
        }
    };
    format!("{} {} {text}", utc(time), colored(color, mark, word))
}

fn route(first: &PathRow, paths: &[PathRow]) -> String {
    let from = first.from.as_ref();
    let from = from.map_or("here", |from| from.name.as_str());
    let node = optional_node(first.node.as_ref());
    let (next_hop, preference) = (first.next_hop, first.local_pref);
    let path = format!("of {node} from {from} via {next_hop} local-pref {preference}");
    let why = match (&first.ineligible, paths) {
        (Some(reason), _) => format!("not eligible: {reason}"),
        (None, [_]) => "the only path".to_owned(),
        (None, _) => format!("best of {} by {}", paths.len(), first.step.name),
    };
    format!("{path} ({why})")
}

fn session(row: &NeighborSummary) -> String {
    let (name, address, state) = (&row.node.name, row.address, &row.state);
    match &row.last_down {
        Some(reason) if state != "established" => format!("{name} {address} {state} ({reason})"),
        Some(_) | None => format!("{name} {address} {state}"),
    }
}

fn owned(row: &OwnerRow) -> String {
    let owner = optional_node(row.owner.as_ref());
    let sequence = row.sequence.unwrap_or_default();
    let claims = match row.claims.len() {
        0 | 1 => String::new(),
        count => format!(", best of {count} claims"),
    };
    format!(
        "{} {owner} {} sequence {sequence}{claims}",
        row.address, row.state
    )
}
