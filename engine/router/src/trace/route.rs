//! Where addresses live, and which BGP path says so.

use std::net::Ipv4Addr;

use super::Walk;
use crate::view::{RouteOrigin, RouteRow};

impl Walk<'_> {
    /// Says where an address lives: the entry of the forwarding table, and why it exists.
    pub(super) fn way_to(&self, address: Ipv4Addr) -> String {
        self.row(address)
            .map_or_else(|| "no entry covers it".into(), |row| entry_text(&row))
    }

    /// Says where the destination lives, and whose claim that follows from.
    pub(super) fn route_text(&self) -> String {
        let destination = self.subject.to;
        let Some(row) = self.row(destination) else {
            return format!("no entry covers {destination}");
        };
        let entry = entry_text(&row);
        let mut lans = self.snapshot.lans.iter();
        if lans.any(|lan| lan.virtual_address == Some(destination)) {
            return format!("{entry}; it is the virtual address, whose master answers pings");
        }
        match row.origin {
            RouteOrigin::Bgp | RouteOrigin::Owned => match self.claim_text(destination) {
                Some(claim) => format!("{entry}; {claim}"),
                None => entry,
            },
            RouteOrigin::Pool
            | RouteOrigin::OwnOverlay
            | RouteOrigin::Overlay
            | RouteOrigin::LanAddress => entry,
        }
    }

    fn row(&self, address: Ipv4Addr) -> Option<RouteRow> {
        let (prefix, route) = self.router.fib.lookup(address)?;
        Some(self.router.route_row(prefix, route))
    }

    /// The best path to an address, and the node that owns it.
    fn claim_text(&self, address: Ipv4Addr) -> Option<String> {
        let row = self.router.owner_row(address, false, self.now)?;
        let claim = row.claims.iter().find(|claim| claim.best)?;
        let from = claim
            .from
            .as_ref()
            .map_or("this router", |from| from.name.as_str());
        let next_hop = row
            .next_hop
            .map_or_else(String::new, |next_hop| format!(", next hop {next_hop}"));
        Some(format!(
            "{} owns it ({}, sequence {}){next_hop}, told by {from}, best by {}",
            claim.node.name,
            claim.state,
            claim.sequence,
            row.step.as_deref().unwrap_or("nothing")
        ))
    }
}

fn entry_text(row: &RouteRow) -> String {
    let to = match (&row.node, &row.interface) {
        (Some(node), _) => format!(" to {}", node.name),
        (None, Some(interface)) => format!(" by {interface}"),
        (None, None) => String::new(),
    };
    format!(
        "{} {}{to}, because of {}",
        row.prefix,
        row.action.name(),
        row.origin.name()
    )
}
