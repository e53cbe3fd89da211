//! A peer: its session and what is remembered of it beyond sessions.
//!
//! Its routes are not here; they belong to the RIB.

use std::collections::BTreeMap;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::config::PeerId;
use crate::feed::Stamp;
use crate::policy::Policies;
use crate::rib::Neighbor;
use crate::session::PeerSession;
use crate::speaker::Speaker;
use crate::view::{ErrorView, FamilyView, PeerView};
use crate::wire::Prefix;

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

    /// Shows the peer; `ipv4` and `ipv6` are its tables, while Established or kept, with so many stale routes.
    pub(crate) fn view(
        &self,
        ipv4: (Option<&Neighbor<Ipv4Net>>, usize),
        ipv6: (Option<&Neighbor<Ipv6Net>>, usize),
    ) -> PeerView {
        let config = self.session.config();
        let statistics = self.session.statistics();
        let negotiated = self.session.negotiated();
        let (state, since) = self.session.state();
        let (receive, send) = (
            negotiated.map(|it| it.receive),
            negotiated.map(|it| it.send),
        );
        PeerView {
            id: config.id,
            address: config.address,
            router_id: negotiated
                .map(|negotiated| negotiated.router_id)
                .or(config.router_id),
            state,
            disabled: false,
            since,
            role: config.role,
            range: self.range,
            extended_receive: receive.is_some_and(|context| context.extended),
            extended_send: send.is_some_and(|context| context.extended),
            hold_time: negotiated.map(|negotiated| negotiated.hold_time),
            proposed_hold_time: config.hold_time,
            timers: self.session.timers(),
            capabilities_sent: self.session.capabilities_sent(),
            capabilities_received: negotiated
                .map(|negotiated| negotiated.capabilities.clone())
                .unwrap_or_default(),
            messages_received: statistics.received,
            messages_sent: statistics.sent,
            refusals: self.refusals.clone(),
            established_count: statistics.established,
            last_sent: statistics.last_sent.clone(),
            last_received: statistics.last_received.clone(),
            last_down: statistics.last_down.clone(),
            max_prefixes: config.max_prefixes,
            ipv4: FamilyView {
                negotiated: negotiated.is_some(),
                add_path_receive: receive.is_some_and(|context| context.add_path),
                add_path_send: send.is_some_and(|context| context.add_path),
                ..routes(ipv4)
            },
            ipv6: config.ipv6.then(|| FamilyView {
                negotiated: send.is_some_and(|context| context.ipv6.is_some()),
                add_path_receive: receive
                    .and_then(|context| context.ipv6)
                    .is_some_and(|ipv6| ipv6.add_path),
                add_path_send: send
                    .and_then(|context| context.ipv6)
                    .is_some_and(|ipv6| ipv6.add_path),
                ..routes(ipv6)
            }),
        }
    }
}

impl<P: Policies> Speaker<P> {
    /// Returns what was wrong with the messages of a peer lately, the latest first.
    pub fn errors(&self, peer: PeerId) -> Vec<ErrorView> {
        let peer = self.peers.get(&peer);
        peer.map_or_else(Vec::new, |peer| peer.session.statistics().errors.latest())
    }
}

/// Counts the routes of a family.
fn routes<N: Prefix>((neighbor, stale): (Option<&Neighbor<N>>, usize)) -> FamilyView {
    FamilyView {
        negotiated: false,
        add_path_receive: false,
        add_path_send: false,
        received: neighbor.map_or(0, |neighbor| neighbor.adj_rib_in.len()),
        accepted: neighbor.map_or(0, |neighbor| neighbor.adj_rib_in.accepted()),
        advertised: neighbor.map_or(0, |neighbor| neighbor.adj_rib_out.len()),
        end_of_rib: neighbor.is_some_and(|neighbor| neighbor.end_of_rib),
        stale,
        stale_until: neighbor.and_then(|neighbor| neighbor.stale_until),
    }
}
