//! `samctl bgp mrt read`: one line per route, the time first, in the words of `samctl bgp monitor`.

use super::events::utc;
use super::{Mark, colored, optional};
use crate::mrt::{MrtLine, MrtRoute};

/// Renders one line.
#[must_use]
pub fn mrt_line(line: &MrtLine, color: bool) -> String {
    let route = match line {
        MrtLine::Route(route) => route,
        MrtLine::Problem(problem) => {
            let word = colored(color, Mark::Bad, "PROBLEM");
            return format!(
                "{word} record {}: {}",
                problem.record,
                printable(&problem.reason)
            );
        }
    };
    let word = match route.kind {
        "rib" => "RIB",
        "withdraw" => "DELROUTE",
        _ => "ROUTE",
    };
    let (peer, asn) = (optional(route.peer), route.peer_asn);
    let head = format!("{} {word} {}", utc(route.time), route.prefix);
    match route.next_hop {
        Some(next_hop) => {
            let path = &route.as_path;
            let attributes = attributes(route);
            format!(
                "{head} via {next_hop} from {peer} as {asn} aspath [{path}] attrs [{attributes}]"
            )
        }
        None => format!("{head} from {peer} as {asn}"),
    }
}

fn attributes(route: &MrtRoute) -> String {
    let named =
        |name: &str, value: Option<String>| value.map(|value| format!("{{{name}: {value}}}"));
    let clusters: Vec<String> = route.cluster_list.iter().map(ToString::to_string).collect();
    let clusters = (!clusters.is_empty()).then(|| format!("[{}]", clusters.join(" ")));
    let communities = (!route.communities.is_empty()).then(|| route.communities.join(", "));
    let words = [
        named("PathId", route.path_id.map(|id| id.to_string())),
        named("Origin", route.origin.clone()),
        named("Med", route.med.map(|med| med.to_string())),
        named("LocalPref", route.local_pref.map(|value| value.to_string())),
        named("Originator", route.originator_id.map(|id| id.to_string())),
        named("ClusterList", clusters),
        named("Communities", communities),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Texts of a file reach the terminal without control characters.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '.' } else { c })
        .collect()
}
