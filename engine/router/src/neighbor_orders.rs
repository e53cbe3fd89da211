//! Orders of an operator about the session with one BGP neighbor. They hold while this program runs; a neighbor that is
//! disabled is shown, and warned of, until it is enabled again.

use std::time::Instant;

use sam_bgp::{OrderRefusal, PeerOrder};
use sam_capture::NodeId;

use crate::Router;
use crate::events::Event;
use crate::peers::peer_of;

/// What the operator of a neighbor that is disabled reads.
const WHY: &str = "disabled by order";

impl Router {
    /// Carries an order about a neighbor out.
    pub(crate) fn order_neighbor(&mut self, node: NodeId, order: PeerOrder, now: Instant) {
        if self.speaker.order(peer_of(node), order, WHY, now).is_ok() {
            let order = order.name().into();
            self.events.push(Event::NeighborOrder { node, order }, now);
            self.pump(now);
        }
    }
}

/// Returns the short name of a refusal.
pub(crate) const fn name(refusal: OrderRefusal) -> &'static str {
    match refusal {
        OrderRefusal::NoPeer => "no-peer",
        OrderRefusal::NotUp => "session-not-up",
        OrderRefusal::NoRouteRefresh => "no-route-refresh",
        OrderRefusal::OfRange => "of-range",
        OrderRefusal::Disabled => "disabled",
        OrderRefusal::NotDisabled => "not-disabled",
    }
}

/// Says what is refused, in a sentence.
pub(crate) const fn sentence(refusal: OrderRefusal) -> &'static str {
    match refusal {
        OrderRefusal::NoPeer => "this router has no BGP session with it",
        OrderRefusal::NotUp => "the session is not up, so there is nothing to refresh",
        OrderRefusal::NoRouteRefresh => "the neighbor cannot be asked for its routes again",
        OrderRefusal::OfRange => "a neighbor from a range is there only while its session is",
        OrderRefusal::Disabled => "the session is disabled",
        OrderRefusal::NotDisabled => "the session is not disabled",
    }
}

/// Returns what the operator can do.
pub(crate) const fn remedy(refusal: OrderRefusal) -> &'static str {
    match refusal {
        OrderRefusal::NoPeer => "`samctl bgp neighbors` lists the sessions",
        OrderRefusal::NotUp => "`samctl bgp neighbor NAME` shows what it waits for",
        OrderRefusal::NoRouteRefresh => "`samctl bgp neighbor NAME reset` has it tell everything",
        OrderRefusal::OfRange => "take its address out of the range, or block it in the firewall",
        OrderRefusal::Disabled => "`samctl bgp neighbor NAME enable`",
        OrderRefusal::NotDisabled => "`samctl bgp neighbor NAME reset` begins the session anew",
    }
}
