//! `samctl bgp policy show` and `policy test`

use sam_router::view::{PolicyRow, PolicyTestView, PolicyVerdict, PolicyView};

use super::{Mark, Page, Text, node, optional};

impl Text for PolicyView {
    fn write(&self, page: &mut Page) {
        let (external, nodes): (Vec<_>, Vec<_>) = self
            .neighbors
            .iter()
            .partition(|row| row.role == "external");
        if !nodes.is_empty() {
            let names: Vec<String> = nodes.iter().map(|row| node(&row.node)).collect();
            page.line(format!(
                "{}: addresses of pools, tagged, from who may own them; no rules",
                names.join(", ")
            ));
        }
        for row in external {
            write_rules(row, page);
        }
        if self.neighbors.is_empty() {
            page.line("no neighbors");
        }
    }
}

fn write_rules(row: &PolicyRow, page: &mut Page) {
    for (direction, rules, nothing) in [
        ("from", &row.import, "nothing is taken"),
        ("to", &row.export, "nothing is told"),
    ] {
        page.title(format!("{direction} {}", node(&row.node)));
        let Some(rules) = rules else {
            page.line(format!("no policy: {nothing}"));
            continue;
        };
        for (place, rule) in rules.iter().enumerate() {
            page.line(format!("{:>3}  {rule}", place + 1));
        }
        page.line(format!("  -  else {nothing}"));
    }
}

impl Text for PolicyTestView {
    fn write(&self, page: &mut Page) {
        let header = [
            "NEIGHBOR",
            "DIRECTION",
            "ROUTE",
            "FROM",
            "VERDICT",
            "DECIDED BY",
        ];
        let rows = self
            .verdicts
            .iter()
            .map(|verdict| verdict_row(verdict, page));
        let rows = rows.collect();
        page.table(
            header,
            rows,
            "no neighbor told such a route, and there is none to be told",
        );
    }
}

fn verdict_row(verdict: &PolicyVerdict, page: &Page) -> [String; 6] {
    let shown = match &verdict.reason {
        None => page.marked(Mark::Good, "passes"),
        Some(reason) => page.marked(Mark::Bad, reason),
    };
    [
        node(&verdict.node),
        verdict.direction.clone(),
        verdict.route.clone(),
        optional(verdict.from.as_ref().map(node)),
        shown,
        verdict.term.clone(),
    ]
}
