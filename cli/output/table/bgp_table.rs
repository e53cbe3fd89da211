//! `samctl bgp neighbor NODE TABLE`: routes as `gobgp` prints them, because people paste them into tickets.

use sam_router::view::{AttributesView, BgpTableRow, BgpTableView, RouteTable};

use super::{Page, Text, node, optional, optional_ago};

impl Text for BgpTableView {
    fn write(&self, page: &mut Page) {
        let none = format!("{} has no routes {}", self.node.name, self.table.name());
        let rows = self.routes.iter();
        match self.table {
            RouteTable::Received | RouteTable::Rejected => page.table(
                [
                    "NETWORK", "ID", "NEXT HOP", "AS_PATH", "AGE", "REJECTED", "ATTRS",
                ],
                rows.map(received).collect(),
                &none,
            ),
            RouteTable::Accepted => page.table(
                ["NETWORK", "ID", "NEXT HOP", "AS_PATH", "AGE", "ATTRS"],
                rows.map(accepted).collect(),
                &none,
            ),
            RouteTable::Withheld => page.table(
                [
                    "NETWORK", "FROM", "ID", "NEXT HOP", "AS_PATH", "AGE", "WITHHELD", "ATTRS",
                ],
                rows.map(withheld).collect(),
                &none,
            ),
            RouteTable::Advertised => page.table(
                ["NETWORK", "ID", "NEXT HOP", "AS_PATH", "ATTRS"],
                rows.map(advertised).collect(),
                &none,
            ),
        }
    }
}

fn received(row: &BgpTableRow) -> [String; 7] {
    let [network, id, next_hop, path, attributes] = advertised(row);
    let rejected = optional(row.rejected.as_ref());
    let age = optional_ago(row.age_s);
    [network, id, next_hop, path, age, rejected, attributes]
}

fn withheld(row: &BgpTableRow) -> [String; 8] {
    let [network, id, next_hop, path, attributes] = advertised(row);
    let from = row.from.as_ref().map_or_else(|| "here".into(), node);
    let reason = optional(row.withheld.as_ref());
    let age = optional_ago(row.age_s);
    [network, from, id, next_hop, path, age, reason, attributes]
}

fn accepted(row: &BgpTableRow) -> [String; 6] {
    let [network, id, next_hop, path, attributes] = advertised(row);
    let age = optional_ago(row.age_s);
    [network, id, next_hop, path, age, attributes]
}

fn advertised(row: &BgpTableRow) -> [String; 5] {
    [
        row.prefix.to_string(),
        optional(row.path_id),
        row.attributes.next_hop.to_string(),
        joined(&row.attributes.as_path, " "),
        attributes(&row.attributes),
    ]
}

/// Writes attributes as `[{Name: value} …]`, in the order of their type codes.
pub(super) fn attributes(view: &AttributesView) -> String {
    let origin = match view.origin.as_str() {
        "igp" => "i",
        "egp" => "e",
        _ => "?",
    };
    let named = |name: &str, value: String| Some(format!("{{{name}: {value}}}"));
    let list = |name, items: &[String]| {
        (!items.is_empty())
            .then(|| named(name, items.join(", ")))
            .flatten()
    };
    let clusters = &view.cluster_list;
    let words = [
        named("Origin", origin.into()),
        view.med.and_then(|med| named("Med", med.to_string())),
        view.local_pref
            .and_then(|value| named("LocalPref", value.to_string())),
        view.atomic_aggregate.then(|| "{AtomicAggregate}".into()),
        view.aggregator
            .as_ref()
            .and_then(|by| named("Aggregate", format!("{{{by}}}"))),
        list("Communities", &view.communities),
        view.originator_id
            .and_then(|id| named("Originator", id.to_string())),
        (!clusters.is_empty())
            .then(|| named("ClusterList", format!("[{}]", joined(clusters, " "))))
            .flatten(),
        list("Extcomms", &view.extended_communities),
        list("LargeCommunity", &view.large_communities),
    ];
    let unknown = view
        .unknown
        .iter()
        .filter_map(|raw| named(&format!("Type {}", raw.kind), raw.value_hex.clone()));
    let words: Vec<String> = words.into_iter().flatten().chain(unknown).collect();
    format!("[{}]", words.join(" "))
}

fn joined(items: &[impl ToString], between: &str) -> String {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    texts.join(between)
}
