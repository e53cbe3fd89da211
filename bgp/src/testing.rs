//! What the unit tests of this crate share.
//!
//! A moment to start from and short ways to write routes; compiled for tests only.

use std::net::Ipv4Addr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

use crate::config::{PeerConfig, PeerId, PeerRole};
use crate::rib::{Path, PathSource};
use crate::wire::PathAttributes;

/// Returns the same moment throughout a test run.
pub(crate) fn start() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests need one moment to count from"
    )]
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    *START
}

/// Returns 10.99.0.`host`/32.
pub(crate) fn prefix(host: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 99, 0, host), 32)
}

/// Returns 10.0.0.`host`: next hop, router id and address of peer `host`.
pub(crate) fn router(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, host)
}

/// Returns plain attributes with next hop `router(host)` and a LOCAL_PREF.
pub(crate) fn attributes(host: u8, local_pref: u32) -> PathAttributes {
    PathAttributes {
        local_pref: Some(local_pref),
        ..PathAttributes::local(router(host))
    }
}

/// Returns a path learned from peer `host`.
pub(crate) fn learned(host: u8, attributes: PathAttributes) -> Path {
    Path {
        source: source(host),
        path_id: None,
        attributes: Arc::new(attributes),
        learned_at: start(),
        stale: false,
    }
}

/// Returns the source of paths from peer `host`.
pub(crate) fn source(host: u8) -> PathSource {
    PathSource::Peer {
        peer: PeerId(u32::from(host)),
        router_id: router(host),
        address: router(host),
        external: false,
    }
}

/// Returns the configuration of peer `host`.
pub(crate) fn peer(host: u8) -> PeerConfig {
    PeerConfig {
        id: PeerId(host.into()),
        address: router(host),
        router_id: Some(router(host)),
        role: PeerRole::NonClient,
        active: true,
        hold_time: Duration::from_secs(9),
        connect_retry: Duration::from_secs(1),
        max_prefixes: 10,
        reflector: false,
        add_path: None,
        extended_messages: false,
        ipv6: false,
    }
}
