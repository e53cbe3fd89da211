//! Dynamic neighbors: peers that are made when somebody from a range of addresses connects, and end with the session.
//!
//! Their number is bounded for each range, they are never called, and nothing of them is kept. One whose session ended by
//! an error stays until its idle hold is over, so that it cannot come back faster than others.

use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::Ipv4Net;

use crate::config::{PeerConfig, PeerId};
use crate::peer::Peer;
use crate::policy::Policies;
use crate::session::{Jitter, PeerSession};
use crate::speaker::Speaker;
use crate::wire::subcode;

/// What peers from a range of addresses are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerTemplate {
    /// Their addresses; ranges do not overlap.
    pub range: Ipv4Net,
    /// How many there may be at a time.
    pub limit: usize,
    /// What is configured for each. The id of a peer is its address as a number; id, address and who calls are not taken
    /// from here.
    pub peer: PeerConfig,
}

impl PeerTemplate {
    /// Returns the configuration of the peer at an address.
    #[must_use]
    pub fn instance(&self, address: Ipv4Addr) -> PeerConfig {
        PeerConfig {
            id: PeerId(address.into()),
            address,
            active: false,
            ..self.peer.clone()
        }
    }
}

impl<P: Policies> Speaker<P> {
    /// Makes the ranges exactly `templates`; sessions of peers that are no longer as their range says are ended with
    /// Cease/6, those outside of all ranges with Cease/3.
    pub fn set_templates(&mut self, templates: Vec<PeerTemplate>, now: Instant) {
        self.now = now;
        self.templates = templates;
        let dynamic = self.peers.iter().filter(|(_, peer)| peer.range.is_some());
        let outdated: Vec<(PeerId, bool)> = dynamic
            .filter_map(|(id, peer)| {
                let config = peer.session.config();
                let wanted = self.template_of(config.address);
                let wanted = wanted.map(|template| template.instance(config.address));
                (wanted.as_ref() != Some(config)).then_some((*id, wanted.is_some()))
            })
            .collect();
        for (id, changed) in outdated {
            if changed {
                self.stop(id, subcode::CONFIG_CHANGE, "configuration changed");
            } else {
                self.stop(id, subcode::PEER_DECONFIGURED, "peer removed");
            }
            self.remove_peer(id);
        }
        // Who stays counts in the range as it is now.
        let templates = &self.templates;
        let dynamic = self.peers.values_mut().filter(|peer| peer.range.is_some());
        for peer in dynamic {
            let address = peer.session.config().address;
            let template = templates.iter().find(|it| it.range.contains(&address));
            peer.range = template.map(|template| template.range);
        }
        self.conclude();
    }

    /// Makes a peer for somebody who connects from a range.
    ///
    /// # Errors
    /// Why not: the address is in no range, or its range is full.
    pub(crate) fn admit(&mut self, from: Ipv4Addr) -> Result<PeerId, &'static str> {
        let template = self.template_of(from).ok_or("unknown peer")?;
        let range = Some(template.range);
        let (limit, config) = (template.limit, template.instance(from));
        let present = self.peers.values().filter(|peer| peer.range == range);
        if present.count() >= limit || self.peers.contains_key(&config.id) {
            return Err("range is full");
        }
        let id = config.id;
        let jitter = Jitter::new(self.jitter.bits());
        let session = PeerSession::new(self.config.clone(), config, jitter, self.now);
        let mut peer = Peer::new(session);
        peer.range = range;
        peer.stamp = self.peer_feed.note(id, None, true);
        self.peers.insert(id, peer);
        Ok(id)
    }

    /// Forgets a dynamic peer that is not there any more.
    pub(crate) fn dismiss(&mut self, id: PeerId) {
        let peer = self.peers.get(&id);
        if peer.is_some_and(|peer| peer.range.is_some() && peer.session.is_unused()) {
            self.remove_peer(id);
        }
    }

    fn remove_peer(&mut self, id: PeerId) {
        self.forget(id);
        let stamp = self.peers.remove(&id).and_then(|peer| peer.stamp);
        self.peer_feed.note(id, stamp, false);
    }

    fn template_of(&self, address: Ipv4Addr) -> Option<&PeerTemplate> {
        let mut templates = self.templates.iter();
        templates.find(|template| template.range.contains(&address))
    }
}
