//! Emptying a router before work on it, make before break: others take over what it does, then it stops doing it.
//!
//! 1. Its claims become the last choice (`draining`, LOCAL_PREF 0), so that any other claim wins; each goes when another
//!    node holds the address. What nobody else claims stays where it is, and reachable. In a cloud they stay as they are
//!    while another router of the site gets ready, or was not heard (`crate::cloud_readiness`).
//! 2. It runs with the least priority for the election on its LAN; whoever is there takes over from it.
//! 3. Its marker says so: nobody hands anything over to it, and in a cloud the other routers of the site take its captured
//!    addresses.
//!
//! Nothing is timed here: it follows from the RIB and the election, and is undone by the same steps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::Ipv4Net;
use sam_bgp::Path;
use sam_capture::{ClaimSource, Executor, NodeId, RouteKind, RouteTags};

use crate::Router;
use crate::config::Capture;
use crate::events::Event;

/// Taken from the priority of an election by a router that is drained.
pub(crate) const DRAIN_PENALTY: u8 = u8::MAX;

impl Router {
    /// Carries out the order to empty this router, or to use it again.
    pub(crate) fn set_drained(&mut self, drained: bool, now: Instant) {
        if self.state.drained != drained {
            self.state.drained = drained;
            self.events.push(Event::Drain { on: drained }, now);
            self.follow_policy(now);
            self.review_offers(now);
        }
    }

    /// Returns what the operators of the neighbors read of an orderly stop (RFC 9003).
    pub(crate) fn farewell(&self) -> String {
        let name = &self.config.own_node().name;
        if self.state.drained {
            format!("{name} stops, drained before")
        } else {
            format!("{name} stops")
        }
    }

    /// Tells operators when a drained router does nothing any more, once.
    pub(crate) fn tell_drained(&mut self, now: Instant) {
        let done = self.state.drained && !self.stopping && self.is_empty();
        self.watch_captures(self.state.drained && !done, now);
        if done && !self.told_empty {
            self.events.push(Event::Drained, now);
        }
        self.told_empty = done;
    }

    /// Tells whether it claims no address and draws in none: by ARP, or on its network interface in a cloud.
    pub(crate) fn is_empty(&self) -> bool {
        let draws_in = match &self.config.local.capture {
            // Where the provider cannot be called nobody knows.
            Capture::Cloud(_) => self.cloud.executor.as_ref().is_none_or(Executor::may_hold),
            Capture::None | Capture::ProxyArp { .. } => self.gate().open,
        };
        self.origination.claims().next().is_none() && !draws_in
    }

    /// Addresses of other sites that are on our network interface in a cloud, as far as known.
    pub(crate) fn captured(&self) -> BTreeSet<Ipv4Addr> {
        let executor = self.cloud.executor.as_ref();
        executor.map(Executor::held).unwrap_or_default()
    }

    /// Addresses of other sites that are drawn in here, or are to be: none of them may be configured on this host.
    #[must_use]
    pub fn drawn_in(&self, now: Instant) -> BTreeSet<Ipv4Addr> {
        let rows = self.captures(now).captures.into_iter();
        let rows = rows.filter(crate::view::CaptureRow::is_for_others);
        let lan = self.host.lan.as_ref().and_then(|lan| lan.address);
        let lan = lan.map(|net| net.addr());
        let own = [Some(self.config.own_node().overlay), lan];
        let addresses = rows.map(|row| row.address);
        // Whatever others claim, the host is not cut off from its own.
        addresses
            .filter(|address| !own.contains(&Some(*address)))
            .collect()
    }

    /// Addresses to announce now: those that it is told to own or hears, while it may act where they live. A drained
    /// router that another one has taken the LAN over from keeps what it still announces until that one announces it.
    pub(crate) fn to_originate(&self) -> BTreeMap<Ipv4Addr, ClaimSource> {
        if self.gate().may_originate {
            return self.owned_sources();
        }
        let capture = &self.config.local.capture;
        let as_master = self.host.gate(capture, self.stopping, (true, ""));
        if !self.state.drained || !as_master.may_originate {
            return BTreeMap::new();
        }
        let mut owned = self.owned_sources();
        owned.retain(|address, _| self.origination.claim_on(*address).is_some());
        owned
    }

    /// How a node is, as its marker says.
    pub(crate) fn presence(&self, node: NodeId) -> Presence {
        match self.marker(node) {
            Some(tags) if tags.drained => Presence::Drained,
            Some(_) => Presence::Present,
            None => Presence::Absent,
        }
    }

    /// The marker of a node, while it can be relied on.
    pub(crate) fn marker(&self, node: NodeId) -> Option<RouteTags> {
        self.marker_path(node).map(|(tags, _)| tags)
    }

    /// The same, with the path that says it.
    pub(crate) fn marker_path(&self, node: NodeId) -> Option<(RouteTags, Path)> {
        let overlay = self.config.fabric.nodes.get(&node)?.overlay;
        let asn = self.config.fabric.asn;
        let paths = self.speaker.paths(Ipv4Net::from(overlay));
        let reliable = paths
            .into_iter()
            .filter(|view| !view.path.stale && view.ineligible.is_none());
        let mut markers = reliable
            .filter_map(|view| {
                let communities = &view.path.attributes.large_communities;
                Some((RouteTags::parse(asn, communities).ok()?, view.path))
            })
            .filter(|(tags, _)| tags.node == node && matches!(tags.kind, RouteKind::Marker { .. }));
        markers.next()
    }
}

/// How a node is, as far as its marker tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It runs.
    Present,
    /// It runs, and is to be emptied.
    Drained,
    /// It is not heard of, or cannot be reached.
    Absent,
}
