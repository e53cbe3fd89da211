//! What is configured: the speaker itself and its peers.
//!
//! Values only. Whether they make sense together (unique ids and addresses, hold time of at least three seconds) is
//! for whoever reads the configuration file; here nonsense is survived, not reported.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::wire::{AddPathDirection, Family};

/// Names a configured peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// What a peer is to us: internal, with its role in reflection (RFC 4456), or external.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerRole {
    /// Its routes are reflected to everybody, everybody's to it.
    Client,
    /// Ordinary iBGP peer.
    NonClient,
    /// A peer of another AS (RFC 4271 section 5.1).
    External(ExternalPeer),
}

/// What is particular to a peer of another AS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExternalPeer {
    /// Its AS number; not ours.
    pub asn: u32,
    /// Our AS number, as it knows it.
    pub local_asn: u32,
    /// Our address towards it: the next hop that it is told.
    pub next_hop: Ipv4Addr,
    /// The same for routes of IPv6 unicast; without it none are told.
    pub next_hop_ipv6: Option<Ipv6Addr>,
}

impl PeerRole {
    /// Returns the AS number of the peer; `own` is ours.
    #[must_use]
    pub const fn asn(self, own: u32) -> u32 {
        match self {
            Self::Client | Self::NonClient => own,
            Self::External(external) => external.asn,
        }
    }

    /// Tells whether the peer is of another AS.
    #[must_use]
    pub const fn is_external(self) -> bool {
        matches!(self, Self::External(_))
    }
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
    /// Graceful restart; `None` neither offers nor grants it.
    pub graceful_restart: Option<GracefulRestartConfig>,
}

/// What is configured of graceful restart (RFC 4724).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GracefulRestartConfig {
    /// How long our sessions may take to come back, as peers are told (whole seconds, 4095 at most); and how long we
    /// keep a peer's routes at most, without its session and then again until its End-of-RIB.
    pub restart_time: Duration,
    /// How long we wait at most, after our own restart, for the End-of-RIB of our peers.
    pub deferral_time: Duration,
}

/// Our own restart, as far as it is known when we start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnRestart {
    /// Peers whose sessions were up before.
    pub awaited: BTreeSet<PeerId>,
    /// Whether all that we had announced was forwarded as announced while we restarted (F bit).
    pub forwarding: bool,
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
    /// What it is to us.
    pub role: PeerRole,
    /// Whether to open connections ourselves; accepting is always possible.
    pub active: bool,
    /// Proposed hold time, sent in whole seconds and never below three; keepalives go at a third of the negotiated
    /// one.
    pub hold_time: Duration,
    /// Base of the connect-retry backoff (grows by 1.5 to 30 s, with jitter).
    pub connect_retry: Duration,
    /// Paths accepted at most; further ones are refused and counted, the session stays.
    pub max_prefixes: usize,
    /// Whether it tells all that others of its kind tell, as reflectors do: what one of them left behind when its session
    /// ended is not needed while another one lives.
    pub reflector: bool,
    /// What to offer of several paths to a prefix (RFC 7911); `None` offers nothing. A peer that we send several to is
    /// told all paths that it may have, the others only the best.
    pub add_path: Option<AddPathDirection>,
    /// Whether to offer messages of up to 65535 bytes (RFC 8654).
    pub extended_messages: bool,
    /// Whether to offer IPv6 unicast (RFC 4760) beside IPv4 unicast, which is always offered. Several paths to a prefix are
    /// offered and routes limited in both alike.
    pub ipv6: bool,
}

impl PeerConfig {
    /// Lists the families that are offered.
    pub(crate) fn families(&self) -> impl Iterator<Item = Family> {
        let ipv6 = self.ipv6.then_some(Family::Ipv6Unicast);
        std::iter::once(Family::Ipv4Unicast).chain(ipv6)
    }
}
