//! What is wrong with a tunnel that no packet may enter: it is kept out of the forwarding table until that is mended.

use std::collections::BTreeMap;
use std::time::Instant;

use sam_capture::NodeId;

use crate::Router;
use crate::events::Event;
use crate::tunnels::TunnelPlan;

/// Why a tunnel is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TunnelFault {
    /// The host's route to its endpoint leads into the router's own TUN device: what the tunnel sends comes back to be
    /// sent by it again.
    RoutedIntoItself,
}

impl TunnelFault {
    /// Returns the name, as in views and events.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RoutedIntoItself => "routed-into-itself",
        }
    }
}

impl Router {
    /// Tells which tunnels are refused from now on, and which no more.
    pub(crate) fn tell_faults(&mut self, plans: &BTreeMap<NodeId, TunnelPlan>, now: Instant) {
        let fault = |(node, plan): (&NodeId, &TunnelPlan)| Some((*node, plan.fault?));
        let faults: BTreeMap<NodeId, TunnelFault> = plans.iter().filter_map(fault).collect();
        for &node in plans.keys() {
            let reason = faults.get(&node);
            if reason != self.faults.get(&node) {
                let reason = reason.map(|reason| reason.name().into());
                self.events.push(Event::TunnelFault { node, reason }, now);
            }
        }
        self.faults = faults;
    }
}
