//! `samctl drain` and `samctl handover`

use sam_router::view::{DrainView, HandoversView};

use super::{Mark, Page, Text, node};

impl Text for DrainView {
    fn write(&self, page: &mut Page) {
        let state = match (self.drained, self.empty) {
            (false, _) => page.marked(Mark::Good, "off: this router acts"),
            (true, true) => page.marked(Mark::Good, "on: nothing is left to do here"),
            (true, false) => {
                page.marked(Mark::Attention, "on: others have not taken everything over")
            }
        };
        let lan = match self.gate_open {
            true => format!("acts ({})", self.gate_reason),
            false => format!("silent ({})", self.gate_reason),
        };
        page.pairs(&[("drain", state), ("lan", lan)]);
        let rows = self.left.iter().map(|row| {
            let successor = match (self.drained, row.has_successor) {
                (false, _) => "-",
                (true, true) => "another node claims it and takes it over",
                (true, false) => "nobody else claims it: `samctl handover` moves it",
            };
            [
                row.address.to_string(),
                row.state.name().to_owned(),
                successor.to_owned(),
            ]
        });
        if !self.captured.is_empty() {
            let captured: Vec<String> = self.captured.iter().map(ToString::to_string).collect();
            page.line(format!("captured in the cloud: {}", captured.join(", ")));
            let gap = match self.moves_with_gap {
                Some(true) => {
                    "they move in two changes: hosts of that subnet lose what they send to them for as long as one takes"
                }
                Some(false) => "they move in one change",
                None => "whether they move in one change or in two is not known yet",
            };
            page.line(gap);
        }
        page.table(
            ["ADDRESS", "STATE", "SUCCESSOR"],
            rows.collect(),
            "no address is claimed here",
        );
    }
}

impl Text for HandoversView {
    fn write(&self, page: &mut Page) {
        let rows = self
            .handovers
            .iter()
            .map(|row| [row.address.to_string(), node(&row.to)]);
        page.table(
            ["ADDRESS", "OFFERED TO"],
            rows.collect(),
            "no address is on offer",
        );
    }
}
