//! Orders of an operator about sessions with peers.
//!
//! They are kept while this program runs: a peer that is disabled stays so when its configuration changes.

use std::time::Instant;

use crate::config::PeerId;
use crate::policy::Policies;
use crate::session::{RefreshStep, SessionState};
use crate::speaker::Speaker;
use crate::wire::Family;

/// Why an order is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrderRefusal {
    /// There is no such peer.
    NoPeer,
    /// The session is not Established.
    NotUp,
    /// The peer does not offer route refresh (RFC 2918).
    NoRouteRefresh,
    /// The peer is there only while its session is.
    OfRange,
    /// It is disabled.
    Disabled,
    /// It is not disabled.
    NotDisabled,
}

/// What to do with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerOrder {
    /// Ask for all routes again.
    RefreshIn,
    /// Tell all routes again.
    RefreshOut,
    /// End it; it comes up again by itself. What the peer told is kept meanwhile where both sides know how.
    Reset,
    /// The same, and routes go at once (RFC 8538), also those that are kept of a session that ended before.
    HardReset,
    /// End it until it is enabled; routes go at once.
    Disable,
    /// Allow it again.
    Enable,
}

impl PeerOrder {
    /// Returns the name of the order.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RefreshIn => "refresh-in",
            Self::RefreshOut => "refresh-out",
            Self::Reset => "reset",
            Self::HardReset => "hard-reset",
            Self::Disable => "disable",
            Self::Enable => "enable",
        }
    }
}

impl<P: Policies> Speaker<P> {
    /// Tells whether an order can be carried out now.
    ///
    /// # Errors
    /// Why not.
    pub fn check_order(&self, peer: PeerId, order: PeerOrder) -> Result<(), OrderRefusal> {
        let known = self.peers.get(&peer).ok_or(OrderRefusal::NoPeer)?;
        let disabled = self.disabled.contains(&peer);
        let up = known.session.state().0 == SessionState::Established;
        match order {
            PeerOrder::RefreshIn | PeerOrder::RefreshOut if !up => Err(OrderRefusal::NotUp),
            PeerOrder::RefreshIn => {
                let agreed = known.session.negotiated();
                let able = agreed.is_some_and(|agreed| agreed.route_refresh);
                able.then_some(()).ok_or(OrderRefusal::NoRouteRefresh)
            }
            PeerOrder::Reset | PeerOrder::HardReset if disabled => Err(OrderRefusal::Disabled),
            PeerOrder::Disable if known.range.is_some() => Err(OrderRefusal::OfRange),
            PeerOrder::Disable if disabled => Err(OrderRefusal::Disabled),
            PeerOrder::Enable if !disabled => Err(OrderRefusal::NotDisabled),
            PeerOrder::RefreshOut
            | PeerOrder::Reset
            | PeerOrder::HardReset
            | PeerOrder::Disable
            | PeerOrder::Enable => Ok(()),
        }
    }

    /// Carries an order out; `why` is told to the far operator where that has a place.
    ///
    /// # Errors
    /// As [`Self::check_order`].
    pub fn order(
        &mut self,
        peer: PeerId,
        order: PeerOrder,
        why: &str,
        now: Instant,
    ) -> Result<(), OrderRefusal> {
        self.check_order(peer, order)?;
        self.now = now;
        match order {
            PeerOrder::RefreshIn => self.with_session(peer, |session, _| {
                for family in Family::ALL {
                    session.request_refresh(family);
                }
            }),
            PeerOrder::RefreshOut => {
                for family in Family::ALL {
                    self.on_refresh(peer, family, RefreshStep::Asked);
                }
            }
            PeerOrder::Reset => self.with_session(peer, |session, _| session.reset(false, now)),
            PeerOrder::HardReset => {
                self.with_session(peer, |session, _| session.reset(true, now));
                self.abandon(peer, order.name());
            }
            PeerOrder::Disable => {
                self.disabled.insert(peer);
                self.with_session(peer, |session, _| session.disable(why, now));
                self.abandon(peer, order.name());
            }
            PeerOrder::Enable => {
                self.disabled.remove(&peer);
                self.with_session(peer, |session, _| session.enable(now));
            }
        }
        self.conclude();
        Ok(())
    }

    /// Removes what is still kept of sessions that ended before.
    fn abandon(&mut self, peer: PeerId, reason: &'static str) {
        self.tables.abandon(peer, reason);
        self.ipv6.abandon(peer, reason);
    }
}
