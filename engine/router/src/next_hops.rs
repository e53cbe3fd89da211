//! Which next hops can be reached, as far as known. Routes through a dead tunnel lead to the next path at once, all of them
//! before the RIB hears of it, and whatever BGP says later.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Instant;

use crate::Router;
use crate::config::Node;
use crate::next_hop_group::Deaths;
use crate::output::Output;
use crate::peers::peer_of;

impl Router {
    /// Has the choice of paths follow the state of the tunnels; nothing happens when that is the same.
    pub(crate) fn follow_next_hops(&mut self, now: Instant) {
        self.declare_next_hops(now);
        self.pump(now);
    }

    /// Tells the speaker which next hops can be reached, and which came back only lately.
    pub(crate) fn declare_next_hops(&mut self, now: Instant) {
        let unreachable = self.deaths().unreachable;
        let nodes = self.config.fabric.nodes.values();
        let reachable: BTreeSet<Ipv4Addr> = nodes
            .filter(|node| !unreachable.contains(&node.id))
            .map(|node| node.overlay)
            .collect();
        self.speaker.set_next_hops(reachable, now);
        let unsteady = self.path_watch.unsteady(&self.config);
        self.speaker.set_unsteady_next_hops(unsteady, now);
        let absent = self.path_watch.absent().into_iter().map(peer_of);
        self.speaker.await_no_more(&absent.collect(), now);
    }

    /// Publishes routes that use no next hop which is known to be dead; tells whether any did.
    pub(crate) fn bury_next_hops(&mut self) -> bool {
        if !self.next_hops_stale && !self.stale_hops.has_changes() {
            return false;
        }
        let published = self.fib.bury(self.deaths());
        let found = published.is_some();
        self.outputs.extend(published.map(Output::Publish));
        found
    }

    /// Which next hops no path, or no stale path, may rely on.
    pub(crate) fn deaths(&self) -> Deaths {
        let nodes = self.config.fabric.nodes.values();
        let dead =
            nodes.filter(|node| self.is_cut_off(node) || self.path_watch.has_failed(node.id));
        Deaths {
            unreachable: dead.map(|node| node.id).collect(),
            silent: self.stale_hops.silent().collect(),
        }
    }

    /// Tells whether a node's tunnel is known to be dead: no session, although keepalives ask for one. Without keepalives
    /// a tunnel that nobody uses has no session either, and gets one with the next packet.
    fn is_cut_off(&self, node: &Node) -> bool {
        let kept_alive = self.config.transport_to(node.id).keepalive.is_some();
        node.id != self.config.local.node && kept_alive && self.host.tunnel_failed(node.id)
    }
}
