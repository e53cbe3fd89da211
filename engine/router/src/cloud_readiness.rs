//! Whether this router can carry what comes its way in a cloud, and to whom it leaves addresses until then.
//!
//! Two routers of a site claim what lives there, and the better claim draws the traffic of all other sites in. One that has
//! just begun would draw it in before it gets anywhere: its provider drops what its network interface may not carry, its
//! tunnels are not up, and others have not heard of it. So it stands by, make before break:
//!
//! 1. Until it knows all routes, and of each way whether packets pass, it claims as standby.
//! 2. After that it does so while its interface carries no packets but its own, where another router of the site that is ready
//!    claims the address too. Where none does, it is better than nobody.
//! 3. A router that is drained goes on in full while another one is there that is not ready (`crate::origination`), and does not
//!    step back for one that was not heard: other sites may have heard it already, and any claim of it wins against one that is
//!    the last choice. Of two that are drained neither does: each would take the other one for who holds the addresses.
//! 4. From one that is drained nothing is taken whose owner may not be reached from here.
//!
//! Who is ready says so on its marker.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use sam_capture::desired::RibView;
use sam_capture::{ClaimState, Executor, NodeId};

use crate::Router;
use crate::config::CaptureMode;

/// How far this router is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// It has known all routes and ways once.
    pub(crate) has_begun: bool,
    /// Its network interface carries packets of others too.
    pub(crate) carries: bool,
}

impl Readiness {
    /// Whether what comes its way gets where it belongs.
    pub(crate) fn is_ready(self) -> bool {
        self.has_begun && self.carries
    }
}

impl Router {
    /// Follows what is known; tells whether it changes what is claimed, or how.
    pub(crate) fn follow_readiness(&mut self, view: RibView) -> bool {
        let knows = view == RibView::Complete && self.path_watch.pending().next().is_none();
        let former = self.cloud.readiness;
        self.cloud.readiness = Readiness {
            has_begun: former.has_begun || knows,
            carries: self.carries(),
        };
        self.cloud.readiness != former
    }

    /// Whether our network interface carries packets of others. Where nobody looks, nothing is known to the contrary.
    fn carries(&self) -> bool {
        let mode = self.config.cloud().map(|cloud| cloud.mode);
        let nobody_looks = self.cloud.failure.is_some() || mode == Some(CaptureMode::Off);
        let executor = self.cloud.executor.as_ref();
        nobody_looks || executor.and_then(Executor::forwards) == Some(true)
    }

    /// Whether other routers capture for our site in a cloud.
    pub(crate) fn shares_cloud(&self) -> bool {
        self.config.cloud().is_some() && self.cloud_siblings().next().is_some()
    }

    /// Those of them that say that they are ready.
    pub(crate) fn ready_siblings(&self) -> BTreeSet<NodeId> {
        let ready = |node: &NodeId| self.marker(*node).is_some_and(|marker| marker.ready);
        self.cloud_siblings().filter(ready).collect()
    }

    /// Whether another router of our site is there, not to be emptied itself, that is not ready yet.
    pub(crate) fn bridges(&self) -> bool {
        let mut markers = self.cloud_siblings().filter_map(|node| self.marker(node));
        markers.any(|marker| !marker.ready && !marker.drained)
    }

    /// Whether another router of our site was not heard, or is not any more.
    pub(crate) fn may_be_followed(&self) -> bool {
        let mut siblings = self.cloud_siblings();
        siblings.any(|node| self.marker(node).is_none())
    }

    /// The other routers of our site in a cloud.
    fn cloud_siblings(&self) -> impl Iterator<Item = NodeId> + '_ {
        let own = self.config.local.node;
        let nodes = self.config.fabric.nodes.keys().copied();
        nodes.filter(move |node| *node != own && self.config.share_cloud(own, *node))
    }

    /// Nodes of which it is not known yet whether packets reach them, where that matters: another router of our site is
    /// there to go on until it is.
    pub(crate) fn unproven(&self) -> BTreeSet<NodeId> {
        let mut siblings = self.cloud_siblings();
        let goes_on = siblings.any(|node| {
            self.marker(node).is_some_and(|marker| marker.drained)
                && !self.path_watch.has_failed(node)
        });
        let pending = self.path_watch.pending();
        pending.filter(|_| goes_on).collect()
    }

    /// Tells whether a claim on an address is held back because this router is not ready for it.
    pub(crate) fn is_unready_for(&self, address: Ipv4Addr) -> bool {
        let claim = self.origination.claim_on(address);
        let standby = claim.is_some_and(|claim| claim.state == ClaimState::Standby);
        standby && self.shares_cloud() && !self.cloud.readiness.is_ready()
    }
}
