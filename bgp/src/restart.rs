//! Our own restart (RFC 4724 section 4.1): whom we wait for before we speak for others.
//!
//! A reflector that told its clients what it knows after the first of them is back would make them believe that nobody
//! else owns anything. So it tells only its own routes, and no End-of-RIB, until it heard everybody who was there before;
//! a limited time, because some may be gone for good. Best paths for our own use are chosen at once: nothing better is
//! kept that a first guess could spoil.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::config::PeerId;
use crate::peer::Peer;
use crate::policy::Policies;
use crate::session::SessionState;
use crate::speaker::{Event, Output, OwnRestart, PeerRole, Speaker};
use crate::wire::Family;

/// A restart under way.
#[derive(Debug)]
pub(crate) struct Restart {
    /// Whose End-of-RIB is missing.
    pub(crate) awaited: BTreeSet<PeerId>,
    /// Who is waited for no more, and was not heard.
    missing: BTreeSet<PeerId>,
    /// When we go on without.
    pub(crate) until: Instant,
    /// Whether all that we had announced was forwarded meanwhile.
    pub(crate) forwarding: bool,
}

/// Our own restart, as shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartView {
    /// Whose End-of-RIB is missing.
    pub awaited: Vec<PeerId>,
    /// When we go on without.
    pub until: Instant,
}

impl<P: Policies> Speaker<P> {
    /// Begins with what is known of a restart; to be called before the first peers are set. Without graceful restart, and
    /// when nobody is to be waited for, it changes nothing.
    pub fn begin_restart(&mut self, restart: OwnRestart, now: Instant) {
        let Some(config) = self.config.graceful_restart else {
            return;
        };
        if restart.awaited.is_empty() {
            return;
        }
        self.restart = Some(Restart {
            awaited: restart.awaited,
            missing: BTreeSet::new(),
            until: now + config.deferral_time,
            forwarding: restart.forwarding,
        });
    }

    /// Declares which peers are not there, as far as something else than BGP knows: our restart waits for none of them
    /// whose session is not up. Nothing else follows.
    pub fn await_no_more(&mut self, absent: &BTreeSet<PeerId>, now: Instant) {
        self.now = now;
        if let Some(restart) = &mut self.restart {
            let peers = &self.peers;
            let is_up = |id: &PeerId| peers.get(id).is_some_and(is_established);
            let (gone, awaited): (BTreeSet<PeerId>, _) = std::mem::take(&mut restart.awaited)
                .into_iter()
                .partition(|id| absent.contains(id) && !is_up(id));
            restart.awaited = awaited;
            restart.missing.extend(gone);
            self.conclude();
        }
    }

    /// Shows our own restart while it is under way.
    pub fn restarting(&self) -> Option<RestartView> {
        self.restart.as_ref().map(|restart| RestartView {
            awaited: restart.awaited.iter().copied().collect(),
            until: restart.until,
        })
    }

    /// Ends our restart when everybody was heard, or when its time is over.
    pub(crate) fn advance_restart(&mut self) {
        let Some(restart) = &mut self.restart else {
            return;
        };
        if self.peers.is_empty() && self.now < restart.until {
            return;
        }
        let reflecting = |peer: &Peer| peer.session.config().role == PeerRole::Client;
        if self.peers.values().any(reflecting) {
            self.tables.begin_deferral();
            self.ipv6.begin_deferral();
        }
        let (peers, ipv4, ipv6) = (&self.peers, &self.tables, &self.ipv6);
        // Who comes all the same has something to tell.
        let is_back = |id: &PeerId| peers.get(id).is_some_and(is_established);
        let missing = std::mem::take(&mut restart.missing);
        let (back, missing): (BTreeSet<PeerId>, _) = missing.into_iter().partition(is_back);
        restart.awaited.extend(back);
        restart.missing = missing;
        restart.awaited.retain(|id| {
            let peer = peers.get(id);
            let told = |end_of_rib: Option<bool>, family| {
                end_of_rib.unwrap_or(false) || !peer.is_some_and(|peer| peer.session.speaks(family))
            };
            let all_told = told(
                ipv4.neighbor(*id).map(|it| it.end_of_rib),
                Family::Ipv4Unicast,
            ) && told(
                ipv6.neighbor(*id).map(|it| it.end_of_rib),
                Family::Ipv6Unicast,
            );
            peer.is_some_and(|peer| is_awaited(peer, all_told))
        });
        if restart.awaited.is_empty() || restart.until <= self.now {
            let missing = restart.awaited.union(&restart.missing).copied().collect();
            self.restart = None;
            self.tables.end_deferral();
            self.ipv6.end_deferral();
            for peer in self.peers.values_mut() {
                peer.session.end_restart();
            }
            self.outputs
                .push_back(Output::Event(Event::RestartOver { missing }));
        }
    }
}

fn is_established(peer: &Peer) -> bool {
    peer.session.state().0 == SessionState::Established
}

/// Tells whether a peer that was there before may still send what it knows. One that restarts itself, or does not offer
/// graceful restart, is not waited for. `all_told`: the End-of-RIB of each family came.
fn is_awaited(peer: &Peer, all_told: bool) -> bool {
    if !is_established(peer) {
        return true;
    }
    let restart = peer.session.negotiated().and_then(|agreed| agreed.restart);
    let waits = restart.is_some_and(|restart| !restart.restarted);
    waits && !all_told
}
