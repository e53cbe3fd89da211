//! The whole BGP speaker: peers, RIB and export, driven by inputs and `now` (skeleton).
//!
//! Contract: one mutation (`handle_input`, `handle_timeout`, `set_*`, `originate`, `withdraw`), then drain
//! [`Speaker::poll_output`] to `None`. Within one drain every [`Output::BestPath`] precedes every `Send` that it
//! caused, so that the caller publishes its FIB before the news leaves.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

use crate::policy::Policy;
use crate::rib::{BestPathChange, DecisionStep, Path};
use crate::session::SessionState;
use crate::wire::{Capability, Notification, PathAttributes};

/// Names a configured peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// Names one TCP connection. Ids of connections that we open are chosen here (odd); those of accepted ones by the
/// driver (even).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Role of an iBGP peer (RFC 4456).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerRole {
    /// Its routes are reflected to everybody, everybody's to it.
    Client,
    /// Ordinary iBGP peer.
    NonClient,
}

/// What is configured for the speaker itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeakerConfig {
    /// Our AS number.
    pub asn: u32,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// Cluster id when reflecting; customarily the router id.
    pub cluster_id: Ipv4Addr,
    /// Host name for the FQDN capability.
    pub hostname: String,
}

/// What is configured for a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its id.
    pub id: PeerId,
    /// Its address: TCP destination, and source of accepted connections.
    pub address: Ipv4Addr,
    /// Expected BGP identifier, if pinned.
    pub router_id: Option<Ipv4Addr>,
    /// Reflection role.
    pub role: PeerRole,
    /// Whether to open connections ourselves; accepting is always possible.
    pub active: bool,
    /// Proposed hold time; keepalives go at a third of the negotiated one.
    pub hold_time: Duration,
    /// Base of the connect-retry backoff (grows by 1.5 to 30 s, with jitter).
    pub connect_retry: Duration,
    /// Prefixes accepted at most; further ones are refused and counted, the session stays.
    pub max_prefixes: usize,
}

/// What goes in.
#[derive(Debug)]
pub enum Input<'a> {
    /// A connection ordered by [`Output::Connect`] is up.
    Connected(ConnectionId),
    /// A connection from `from` was accepted; `connection` is an even id chosen by the driver.
    Accepted {
        /// Its id.
        connection: ConnectionId,
        /// Who connects.
        from: Ipv4Addr,
    },
    /// Bytes arrived.
    Received(ConnectionId, &'a [u8]),
    /// The connection failed or was closed by the far end.
    Closed(ConnectionId),
}

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
    /// The best path of a prefix changed.
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
    /// The session left Established, or an attempt failed after the OPEN.
    Down {
        /// The peer.
        peer: PeerId,
        /// Why, in a few words.
        reason: String,
    },
    /// A route was refused by policy, loop detection or limits. Sent once per (peer, prefix, reason) change.
    Rejected {
        /// The peer.
        peer: PeerId,
        /// The prefix.
        prefix: Ipv4Net,
        /// The reason's name.
        reason: &'static str,
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
}

/// What is shown of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerView {
    /// The peer.
    pub id: PeerId,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its BGP identifier, when known.
    pub router_id: Option<Ipv4Addr>,
    /// Session state.
    pub state: SessionState,
    /// Since when.
    pub since: Instant,
    /// Role.
    pub role: PeerRole,
    /// Negotiated hold time.
    pub hold_time: Option<Duration>,
    /// Capabilities that we sent.
    pub capabilities_sent: Vec<Capability>,
    /// Capabilities that the peer sent.
    pub capabilities_received: Vec<Capability>,
    /// Messages received: open, update, notification, keepalive, refresh.
    pub messages_received: [u64; 5],
    /// Messages sent, likewise.
    pub messages_sent: [u64; 5],
    /// Prefixes received, before policy.
    pub received: usize,
    /// Prefixes accepted.
    pub accepted: usize,
    /// Prefixes advertised to it.
    pub advertised: usize,
    /// How often the session reached Established.
    pub established_count: u64,
    /// Last NOTIFICATION sent.
    pub last_sent: Option<Notification>,
    /// Last NOTIFICATION received.
    pub last_received: Option<Notification>,
    /// Why the session last went down.
    pub last_down: Option<String>,
    /// Whether the peer's End-of-RIB came.
    pub end_of_rib: bool,
}

/// One path as shown by `samctl bgp rib` and `why`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathView {
    /// The path.
    pub path: Path,
    /// Whether it is the best one.
    pub best: bool,
    /// Whether it may be chosen; if not, why.
    pub ineligible: Option<&'static str>,
    /// The step at which it lost against the best path (or at which the best beat the second).
    pub step: DecisionStep,
}

/// A refused route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedView {
    /// The prefix.
    pub prefix: Ipv4Net,
    /// Its attributes.
    pub attributes: PathAttributes,
    /// The reason's name.
    pub reason: &'static str,
}

/// A BGP speaker.
#[derive(Debug)]
pub struct Speaker<P> {
    policy: P,
}

impl<P: Policy> Speaker<P> {
    /// Makes a speaker without peers. `seed` feeds the jitter of timers.
    pub fn new(_config: SpeakerConfig, _policy: P, _seed: u64, _now: Instant) -> Self {
        todo!()
    }

    /// Makes the configured peers exactly `peers`; sessions of unchanged ones are not touched, changed ones are
    /// reset with Cease/6, removed ones with Cease/3.
    pub fn set_peers(&mut self, _peers: Vec<PeerConfig>, _now: Instant) {
        todo!()
    }

    /// Replaces the policy and re-evaluates all received routes and all advertisements, without resetting sessions.
    pub fn set_policy(&mut self, _policy: P, _now: Instant) {
        todo!()
    }

    /// Declares which next hops are reachable; paths with others are ineligible.
    pub fn set_next_hops(&mut self, _reachable: std::collections::BTreeSet<Ipv4Addr>, _now: Instant) {
        todo!()
    }

    /// Originates a route, or replaces its attributes; equal attributes change nothing.
    pub fn originate(&mut self, _prefix: Ipv4Net, _attributes: PathAttributes, _now: Instant) {
        todo!()
    }

    /// Stops originating a route.
    pub fn withdraw(&mut self, _prefix: Ipv4Net, _now: Instant) {
        todo!()
    }

    /// Handles one event of a connection.
    pub fn handle_input(&mut self, _input: Input<'_>, _now: Instant) {
        todo!()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, _now: Instant) {
        todo!()
    }

    /// Takes the next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        todo!()
    }

    /// Returns when [`Self::handle_timeout`] wants to be called, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, TimerName)> {
        todo!()
    }

    /// Closes all sessions with Cease/2 (administrative shutdown).
    pub fn shutdown(&mut self, _now: Instant) {
        todo!()
    }

    /// Returns the policy.
    pub fn policy(&self) -> &P {
        &self.policy
    }

    /// Returns the best path of a prefix.
    pub fn best(&self, _prefix: Ipv4Net) -> Option<&Path> {
        todo!()
    }

    /// Returns all paths of a prefix, best first; ineligible ones last.
    pub fn paths(&self, _prefix: Ipv4Net) -> Vec<PathView> {
        todo!()
    }

    /// Lists all prefixes with at least one path, in order.
    pub fn prefixes(&self) -> Vec<Ipv4Net> {
        todo!()
    }

    /// Shows all peers, by id.
    pub fn peers(&self) -> Vec<PeerView> {
        todo!()
    }

    /// Routes refused from a peer, by prefix.
    pub fn rejected(&self, _peer: PeerId) -> Vec<RejectedView> {
        todo!()
    }

    /// Routes accepted from a peer, by prefix.
    pub fn accepted(&self, _peer: PeerId) -> Vec<(Ipv4Net, Path)> {
        todo!()
    }

    /// Routes advertised to a peer, by prefix.
    pub fn advertised(&self, _peer: PeerId) -> Vec<(Ipv4Net, PathAttributes)> {
        todo!()
    }
}
