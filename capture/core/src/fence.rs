//! Whether the reason for a change at the provider still holds.
//!
//! A change carries a [`Ticket`]: what its decision rested on. The newest [`Authority`] is asked directly before each
//! request, also after a wait. A path is compared by what says where the address lives, not by attributes that change
//! with every refresh (MED, path id, which reflector told it), or each refresh would stop good work.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Instant;

use serde::Serialize;

use crate::desired::Want;
use crate::node::NodeId;

/// Where an address lives, by the best path to it. The sequence tells apart what came back the same after a change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PathSignature {
    /// The address.
    pub address: Ipv4Addr,
    /// Who owns it.
    pub owner: NodeId,
    /// The owner's site.
    pub site: String,
    /// The owner's overlay address.
    pub next_hop: Ipv4Addr,
    /// Sequence of the claim.
    pub sequence: u32,
}

impl fmt::Display for PathSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            owner,
            site,
            next_hop,
            sequence,
            ..
        } = self;
        write!(
            f,
            "node {owner} at {site} by {next_hop}, sequence {sequence}"
        )
    }
}

/// What a change rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Generation of the configuration.
    pub generation: u64,
    /// What was wanted of each address that it is for.
    pub wants: BTreeMap<Ipv4Addr, Want>,
    /// Routers of our site that were gone: from them something is taken.
    pub gone: BTreeSet<NodeId>,
    /// After this nothing is sent any more.
    pub not_after: Instant,
}

/// What may be done at the provider now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authority {
    /// Generation of the configuration.
    pub generation: u64,
    /// What is wanted of each address; of others nothing.
    pub wants: BTreeMap<Ipv4Addr, Want>,
    /// Routers of our site that have been gone for long enough to take over from them.
    pub gone: BTreeSet<NodeId>,
    /// Whether our NIC is to be as it was before us.
    pub restores: bool,
}

impl Authority {
    /// Tells whether a change may still be sent.
    ///
    /// # Errors
    /// What has changed since.
    pub fn check(&self, ticket: &Ticket, now: Instant) -> Result<(), Stale> {
        if ticket.generation != self.generation {
            return Err(Stale::Configuration);
        }
        if now > ticket.not_after {
            return Err(Stale::Deadline);
        }
        let mut wants = ticket.wants.iter();
        if let Some((address, _)) =
            wants.find(|(address, want)| self.wants.get(address) != Some(want))
        {
            return Err(Stale::Want(*address));
        }
        match ticket.gone.difference(&self.gone).next() {
            Some(node) => Err(Stale::Sibling(*node)),
            None => Ok(()),
        }
    }
}

/// Why a change may not be sent any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// Another configuration is in force.
    Configuration,
    /// It took too long.
    Deadline,
    /// Something else is wanted of this address, or for another reason.
    Want(Ipv4Addr),
    /// This router of our site is back.
    Sibling(NodeId),
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration => f.write_str("another configuration is in force"),
            Self::Deadline => f.write_str("it took too long"),
            Self::Want(address) => write!(f, "the route to {address} has changed"),
            Self::Sibling(node) => write!(f, "node {node} of this site is back"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_ticket_holds_as_long_as_everything_that_it_rests_on() {
        let (authority, ticket, now) = case();

        assert_eq!(authority.check(&ticket, now), Ok(()));
        assert_eq!(
            authority.check(&ticket, ticket.not_after + Duration::from_millis(1)),
            Err(Stale::Deadline)
        );
    }

    #[test]
    fn each_change_is_named() {
        let (authority, ticket, now) = case();
        let changed = |change: fn(&mut Authority)| {
            let mut authority = authority.clone();
            change(&mut authority);
            authority.check(&ticket, now)
        };

        assert_eq!(changed(|a| a.generation += 1), Err(Stale::Configuration));
        assert_eq!(changed(|a| a.wants.clear()), Err(Stale::Want(address())));
        assert_eq!(changed(|a| a.gone.clear()), Err(Stale::Sibling(NodeId(2))));
        // A -> B -> A gives the same path, but not the same sequence.
        let again = |a: &mut Authority| {
            a.wants.insert(address(), Want::Capture(signature(6)));
        };
        assert_eq!(changed(again), Err(Stale::Want(address())));
    }

    #[test]
    fn nothing_may_be_done_before_anything_is_known() {
        let (_, ticket, now) = case();

        assert!(Authority::default().check(&ticket, now).is_err());
    }

    #[expect(clippy::disallowed_methods, reason = "time needs a start")]
    fn case() -> (Authority, Ticket, Instant) {
        let now = Instant::now();
        let wants = BTreeMap::from([(address(), Want::Capture(signature(5)))]);
        let gone = BTreeSet::from([NodeId(2)]);
        let authority = Authority {
            generation: 3,
            wants: wants.clone(),
            gone: gone.clone(),
            restores: false,
        };
        let ticket = Ticket {
            generation: 3,
            wants,
            gone,
            not_after: now + Duration::from_secs(1),
        };
        (authority, ticket, now)
    }

    fn address() -> Ipv4Addr {
        [10, 77, 60, 10].into()
    }

    fn signature(sequence: u32) -> PathSignature {
        PathSignature {
            address: address(),
            owner: NodeId(9),
            site: "hq".into(),
            next_hop: [10, 99, 0, 9].into(),
            sequence,
        }
    }
}
