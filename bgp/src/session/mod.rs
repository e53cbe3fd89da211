//! One BGP session: state machine, timers, collision of connections (RFC 4271 sections 6.8 and 8).
//!
//! `PeerSession` is the whole; `fsm` is its table, `collision` its referee, `dialing` its patience. It knows messages
//! but no routes: UPDATEs are handed out as they came.

mod collision;
mod connection;
mod dialing;
mod error_log;
mod fsm;
mod negotiated;
mod occasion;
mod outbox;
mod peer_session;
mod refreshing;
mod restart;
mod statistics;
mod timers;

pub(crate) use outbox::{Marks, SessionOutput};
pub(crate) use peer_session::PeerSession;
pub(crate) use refreshing::RefreshStep;
pub(crate) use restart::{FamilyRestart, OpenRestart, RouteFate};
pub(crate) use timers::{ConnectionIds, Jitter};

/// State of a session (RFC 4271 section 8.2.2); the best of its two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionState {
    /// Not trying.
    Idle,
    /// TCP connection under way.
    Connect,
    /// Waiting to connect, or for the peer to do so.
    Active,
    /// OPEN sent.
    OpenSent,
    /// OPEN received.
    OpenConfirm,
    /// Exchanging routes.
    Established,
}
