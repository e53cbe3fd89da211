//! A peer: its session and what is remembered of it beyond sessions.
//!
//! Its routes are not here; they belong to the RIB.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use crate::feed::Stamp;
use crate::rib::Neighbor;
use crate::session::PeerSession;
use crate::view::PeerView;

/// A peer.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its session.
    pub(crate) session: PeerSession,
    /// How often routes were refused or attributes found malformed, by reason.
    pub(crate) refusals: BTreeMap<&'static str, u64>,
    /// Its place in the feed of peers.
    pub(crate) stamp: Option<Stamp>,
    /// The range of addresses for which it was made; `None` for a configured one.
    pub(crate) range: Option<Ipv4Net>,
}

impl Peer {
    /// Makes a peer that nothing is known of.
    pub(crate) fn new(session: PeerSession) -> Self {
        Self {
            session,
            refusals: BTreeMap::new(),
            stamp: None,
            range: None,
        }
    }

    /// Counts a refusal.
    pub(crate) fn count_refusal(&mut self, reason: &'static str) {
        *self.refusals.entry(reason).or_default() += 1;
    }

    /// Shows the peer; `neighbor` are its tables, while Established or kept, with so many stale routes.
    pub(crate) fn view(&self, neighbor: Option<&Neighbor>, stale: usize) -> PeerView {
        let config = self.session.config();
        let statistics = self.session.statistics();
        let negotiated = self.session.negotiated();
        let (state, since) = self.session.state();
        PeerView {
            id: config.id,
            address: config.address,
            router_id: negotiated
                .map(|negotiated| negotiated.router_id)
                .or(config.router_id),
            state,
            since,
            role: config.role,
            range: self.range,
            extended_receive: negotiated.is_some_and(|negotiated| negotiated.receive.extended),
            extended_send: negotiated.is_some_and(|negotiated| negotiated.send.extended),
            hold_time: negotiated.map(|negotiated| negotiated.hold_time),
            add_path_receive: negotiated.is_some_and(|negotiated| negotiated.receive.add_path),
            add_path_send: negotiated.is_some_and(|negotiated| negotiated.send.add_path),
            proposed_hold_time: config.hold_time,
            timers: self.session.timers(),
            capabilities_sent: self.session.capabilities_sent(),
            capabilities_received: negotiated
                .map(|negotiated| negotiated.capabilities.clone())
                .unwrap_or_default(),
            messages_received: statistics.received,
            messages_sent: statistics.sent,
            received: neighbor.map_or(0, |neighbor| neighbor.adj_rib_in.len()),
            accepted: neighbor.map_or(0, |neighbor| neighbor.adj_rib_in.accepted()),
            advertised: neighbor.map_or(0, |neighbor| neighbor.adj_rib_out.len()),
            refusals: self.refusals.clone(),
            established_count: statistics.established,
            last_sent: statistics.last_sent.clone(),
            last_received: statistics.last_received.clone(),
            last_down: statistics.last_down.clone(),
            end_of_rib: neighbor.is_some_and(|neighbor| neighbor.end_of_rib),
            stale,
            stale_until: neighbor.and_then(|neighbor| neighbor.stale_until),
        }
    }
}
