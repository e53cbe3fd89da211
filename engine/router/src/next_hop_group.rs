//! Where the routes of one set of paths lead: the paths in their order, kept once for all routes, and the first that lives.
//!
//! The RIB gives the order, and with it the answer to each death of a next hop (`sam_bgp::Alternatives`). A death is
//! therefore told to the groups, which are few, and not to the routes.

use std::collections::BTreeSet;

use sam_bgp::{Alternatives, Path};
use sam_capture::NodeId;
use sam_dataplane::NextHop;

/// Paths that routes have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NextHopGroup(Alternatives<Way>);

/// Where one path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Way {
    /// What becomes of packets.
    pub(crate) next_hop: NextHop,
    /// The node that has to live; `None` where packets stay here.
    pub(crate) node: Option<NodeId>,
}

/// What is known about next hops: those that are not named here can be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Deaths {
    /// No path leads through these.
    pub(crate) unreachable: BTreeSet<NodeId>,
    /// No stale path does.
    pub(crate) silent: BTreeSet<NodeId>,
}

impl NextHopGroup {
    /// Makes the group of a route that depends on nobody.
    pub(crate) fn fixed(next_hop: NextHop) -> Self {
        Self(Alternatives::only(Way {
            next_hop,
            node: None,
        }))
    }

    /// Makes the group of a prefix with these paths, of which those without a way do not count; `None` if none does.
    pub(crate) fn of(paths: &Alternatives, way: impl Fn(&Path) -> Option<Way>) -> Option<Self> {
        let ways = paths.filter_map(way);
        (!ways.is_empty()).then_some(Self(ways))
    }

    /// Returns the way that packets take; `None` when all are dead.
    pub(crate) fn way(&self, deaths: &Deaths) -> Option<Way> {
        let choice = self.0.choice(
            |way| way.node,
            |node| !deaths.unreachable.contains(node),
            |node| deaths.silent.contains(node),
        );
        choice.copied()
    }

    /// Returns where packets go. Claims lie inside of pools: an address that nobody can be reached at is withheld, like one
    /// that nobody owns.
    pub(crate) fn next_hop(&self, deaths: &Deaths) -> NextHop {
        self.way(deaths)
            .map_or(NextHop::Withhold, |way| way.next_hop)
    }
}

impl Deaths {
    /// Adds those that others know of; tells whether that is more than before.
    pub(crate) fn add(&mut self, other: Self) -> bool {
        let count = |deaths: &Self| (deaths.unreachable.len(), deaths.silent.len());
        let before = count(self);
        self.unreachable.extend(other.unreachable);
        self.silent.extend(other.silent);
        count(self) != before
    }
}
