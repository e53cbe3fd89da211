//! What comes out of a speaker: orders to the driver, best-path changes, news for the operator.
//!
//! One queue for all, because their order is part of the contract; see `Speaker`.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::PeerId;
use crate::input::ConnectionId;
use crate::rib::BestPathChange;
use crate::wire::Family;

/// What comes out.
#[derive(Debug)]
pub enum Output {
    /// Open a TCP connection to port 179 of `address`.
    Connect {
        /// Its id.
        connection: ConnectionId,
        /// Where to.
        address: Ipv4Addr,
    },
    /// Write bytes.
    Send(ConnectionId, Vec<u8>),
    /// Close after the bytes sent so far.
    Close(ConnectionId),
    /// The best path of a prefix of IPv4 unicast changed.
    BestPath(BestPathChange),
    /// Something an operator wants to know.
    Event(Event),
}

/// State changes of sessions and refused routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The session reached Established.
    Established {
        /// The peer.
        peer: PeerId,
    },
    /// The session left Established.
    Down {
        /// The peer.
        peer: PeerId,
        /// Why, in a few words.
        reason: String,
    },
    /// A session was not reached: an attempt failed after the OPEN. What was known of the peer before holds on.
    AttemptFailed {
        /// The peer.
        peer: PeerId,
        /// Why, in a few words.
        reason: String,
    },
    /// The session ended, and the peer's routes are kept as stale for so long at most (RFC 4724).
    Retained {
        /// The peer.
        peer: PeerId,
        /// How many accepted routes.
        routes: usize,
        /// For how long.
        time: Duration,
        /// Whether the peer had not been heard of for a keepalive interval: it may be gone itself.
        silent: bool,
    },
    /// Routes of a peer were removed that it did not confirm: kept from a session that ended (RFC 4724), or not told again
    /// within a refresh (RFC 7313).
    StaleRemoved {
        /// The peer.
        peer: PeerId,
        /// How many accepted routes.
        routes: usize,
        /// Why, in a few words.
        reason: &'static str,
    },
    /// Our own restart is over: from now on routes are reflected, and our peers have or get our End-of-RIB.
    RestartOver {
        /// Peers that were waited for in vain.
        missing: Vec<PeerId>,
    },
    /// A route was refused by policy, loop detection or limits. Sent once per (peer, prefix, reason) change.
    Rejected {
        /// The peer.
        peer: PeerId,
        /// The prefix.
        prefix: IpNet,
        /// The reason's name.
        reason: &'static str,
    },
    /// A peer tells almost as many routes of a family as are accepted from it: beyond the limit they are refused. Sent when
    /// their number reaches three quarters of it.
    LimitNear {
        /// The peer.
        peer: PeerId,
        /// The family.
        family: Family,
        /// How many are accepted at most.
        limit: usize,
    },
    /// A malformed attribute was survived (RFC 7606).
    Malformed {
        /// The peer.
        peer: PeerId,
        /// Attribute type code.
        kind: u8,
        /// What was wrong.
        reason: &'static str,
    },
    /// A connection from an address of no peer, or refused by the collision rule, was closed.
    ConnectionRefused {
        /// Who connected.
        from: Ipv4Addr,
        /// Why.
        reason: &'static str,
        /// How many this event stands for: those from addresses of no peer are told at a limited rate, this one
        /// included.
        count: u64,
    },
}

/// Says which deadline is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerName {
    /// Connect retry.
    ConnectRetry,
    /// Idle hold after an error.
    IdleHold,
    /// Hold timer.
    Hold,
    /// Keepalive.
    Keepalive,
    /// Half-open collision winner.
    Collision,
    /// Everything again, as the peer asked before (RFC 2918).
    Refresh,
    /// The end of our own restart.
    Restart,
    /// The end of the time for which stale routes are kept.
    Stale,
    /// A peer may be asked again for routes that were forgotten.
    Recall,
}
