//! `samctl arp`

use sam_router::view::{ArpView, ForeignAnswerRow, SightingRow};

use super::{Page, Text, ago, optional, words};

impl Text for ArpView {
    fn write(&self, page: &mut Page) {
        if self.interface.is_none() {
            page.line("capture is off: this router has no LAN");
            return;
        }
        let gate = if self.gate_open { "open" } else { "closed" };
        page.pairs(&[
            ("interface", optional(self.interface.as_ref())),
            ("mac", optional(self.mac.as_ref())),
            ("address", optional(self.address)),
            ("subnet", optional(self.subnet)),
            ("gate", format!("{gate} ({})", self.gate_reason)),
            ("answers for", words(&self.answers)),
        ]);
        page.title("Neighbors");
        let rows = self.neighbors.iter().map(|neighbor| {
            [
                neighbor.address.to_string(),
                optional(neighbor.mac.as_ref()),
                neighbor.state.clone(),
                ago(neighbor.since_s),
                neighbor.queued.to_string(),
            ]
        });
        let header = ["ADDRESS", "MAC", "STATE", "SINCE", "QUEUED (packets)"];
        page.table(header, rows.collect(), "none");
        write_foreign_answers(page, &self.foreign_answers);
        write_sightings(
            page,
            "Hosts probe for addresses that live elsewhere",
            &self.probes,
        );
    }
}

fn write_foreign_answers(page: &mut Page, rows: &[ForeignAnswerRow]) {
    if rows.is_empty() {
        return;
    }
    page.title("Others answer for our addresses");
    let row = |row: &ForeignAnswerRow| {
        let node = row.node.as_ref().map(|node| &node.name);
        [
            row.address.to_string(),
            row.mac.clone(),
            optional(node),
            row.asked.to_string(),
            row.answers.to_string(),
            ago(row.first_s),
            ago(row.last_s),
        ]
    };
    let header = [
        "ADDRESS", "MAC", "ROUTER", "ASKED", "ANSWERS", "FIRST", "LAST",
    ];
    page.table(header, rows.iter().map(row).collect(), "none");
}

fn write_sightings(page: &mut Page, title: &str, sightings: &[SightingRow]) {
    if sightings.is_empty() {
        return;
    }
    page.title(title);
    let row = |sighting: &SightingRow| {
        let (count, last) = (sighting.count.to_string(), ago(sighting.last_s));
        [
            sighting.address.to_string(),
            sighting.mac.clone(),
            count,
            last,
        ]
    };
    page.table(
        ["ADDRESS", "MAC", "TIMES", "LAST"],
        sightings.iter().map(row).collect(),
        "none",
    );
}
