//! `samctl capture rehearse`

use std::net::Ipv4Addr;

use super::{Mark, Page, Text, ago};
use crate::rehearsal::{ChangeRow, Rehearsal, StepRow};

impl Text for Rehearsal {
    fn write(&self, page: &mut Page) {
        let faults = if self.faults.is_empty() {
            "none".to_owned()
        } else {
            self.faults.join(", ")
        };
        let mut pairs = vec![
            ("cloud", format!("a fake of {}", self.provider)),
            ("router", format!("{}, interface {}", self.node, self.nic)),
            ("faults", faults),
        ];
        pairs.extend(self.invented.iter().map(|what| ("invented", what.clone())));
        page.pairs(&pairs);
        self.steps.iter().for_each(|step| write_step(step, page));
        page.title("Permissions");
        let rows = self.permissions.iter().map(|row| {
            let granted = match row.granted {
                Some(true) => "by the role of `samctl iam-policy`",
                Some(false) => "no",
                None => "cannot be asked",
            };
            [row.action.clone(), granted.to_owned()]
        });
        page.table(
            ["ACTION", "GRANTED"],
            rows.collect(),
            "nobody could be asked",
        );
        page.title("Verdict");
        let failed: Vec<&str> = { self.steps.iter() }
            .filter(|step| !step.passed)
            .map(|step| step.step.as_str())
            .collect();
        let verdict = if self.passed {
            page.marked(Mark::Good, "good: every step ended as it should")
        } else {
            page.marked(Mark::Bad, &format!("failed: {}", failed.join(", ")))
        };
        page.line(verdict);
    }
}

fn write_step(step: &StepRow, page: &mut Page) {
    page.title(format!("{}: {}", step.step, step.what));
    let verdict = match &step.why {
        None => page.marked(Mark::Good, "good"),
        Some(why) => page.marked(Mark::Bad, &format!("failed: {why}")),
    };
    page.line(format!("{verdict}, after {}", ago(step.takes_s)));
    for plan in &step.planned {
        page.line(format!("  to do    {plan}"));
    }
    for order in &step.orders {
        let detail = if order.detail.is_empty() {
            String::new()
        } else {
            format!(" ({})", order.detail)
        };
        let addresses = list(&order.addresses);
        let (operation, result) = (&order.operation, &order.result);
        page.line(format!(
            "  asked    {operation}{addresses}: {result}{detail}"
        ));
    }
    for change in &step.changes {
        page.line(format!("  changed  {}", changed(change)));
    }
}

fn changed(change: &ChangeRow) -> String {
    let mut parts = vec![format!("{} by {}:", change.nic, change.operation)];
    parts.extend(change.added.iter().map(|address| format!("+{address}")));
    parts.extend(change.removed.iter().map(|address| format!("-{address}")));
    parts.extend(change.forwarding.map(|on| {
        let on = if on { "on" } else { "off" };
        format!("forwarding {on}")
    }));
    parts.join(" ")
}

fn list(addresses: &[Ipv4Addr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    if texts.is_empty() {
        return String::new();
    }
    format!(" {}", texts.join(", "))
}
