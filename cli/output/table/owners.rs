//! `samctl owners`

use sam_router::view::{OwnerRow, OwnersView};

use super::{Page, Text, node, optional, optional_ago, optional_node, yes};

impl Text for OwnersView {
    fn write(&self, page: &mut Page) {
        let rows = self.owners.iter().map(row).collect();
        let header = [
            "ADDRESS",
            "POOL",
            "OWNER",
            "STATE",
            "SEQUENCE",
            "SINCE",
            "NEXT HOP",
            "TUNNEL",
            "ANSWERED",
            "DECIDED BY",
            "RULE",
        ];
        page.table(header, rows, "nobody owns an address of the pools");
        for owner in self.owners.iter().filter(|owner| owner.duplicate) {
            let claimants: Vec<String> =
                owner.claims.iter().map(|claim| node(&claim.node)).collect();
            let claimants = claimants.join(", ");
            page.line(format!(
                "{} is claimed by several nodes: {claimants}",
                owner.address
            ));
        }
    }
}

fn row(owner: &OwnerRow) -> [String; 11] {
    let name = match owner.local {
        true => format!("{} (here)", optional_node(owner.owner.as_ref())),
        false => optional_node(owner.owner.as_ref()),
    };
    [
        owner.address.to_string(),
        owner.pool.clone(),
        name,
        owner.state.clone(),
        optional(owner.sequence),
        optional_ago(owner.since_s),
        optional(owner.next_hop),
        optional(owner.tunnel),
        yes(owner.answered),
        optional(owner.step.as_ref()),
        owner.rule.clone(),
    ]
}
