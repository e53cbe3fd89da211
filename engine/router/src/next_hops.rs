//! Which next hops can be reached, as far as known. A path through a dead tunnel gives way to the next one at once, in
//! the call in which the tunnel died, and whatever BGP says later.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Instant;

use crate::Router;
use crate::config::Node;

impl Router {
    /// Has the choice of paths follow the state of the tunnels; nothing happens when that is the same.
    pub(crate) fn follow_next_hops(&mut self, now: Instant) {
        self.declare_next_hops(now);
        self.pump(now);
    }

    /// Tells the speaker which next hops can be reached, and which came back only lately.
    pub(crate) fn declare_next_hops(&mut self, now: Instant) {
        let nodes = self.config.fabric.nodes.values();
        let reachable: BTreeSet<Ipv4Addr> = nodes
            .filter(|node| !self.is_cut_off(node) && !self.path_watch.has_failed(node.id))
            .map(|node| node.overlay)
            .chain(self.foreign_hops())
            .collect();
        self.speaker.set_next_hops(reachable, now);
        let unsteady = self.path_watch.unsteady(&self.config);
        self.speaker.set_unsteady_next_hops(unsteady, now);
    }

    /// Tells whether a node's tunnel is known to be dead: no session, although keepalives ask for one. Without keepalives
    /// a tunnel that nobody uses has no session either, and gets one with the next packet.
    fn is_cut_off(&self, node: &Node) -> bool {
        let kept_alive = self.config.transport_to(node.id).keepalive.is_some();
        node.id != self.config.local.node && kept_alive && self.host.tunnel_failed(node.id)
    }
}
