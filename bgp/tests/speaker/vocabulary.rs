//! Short ways to write addresses, routes, configurations and rules.
//!
//! Router `n` has the address, identifier and next hop 10.0.0.n and is peer number n everywhere.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ipnet::{Ipv4Net, Ipv6Net};
use sam_bgp::speaker::{PeerConfig, PeerId, PeerRole, SpeakerConfig};
use sam_bgp::{PathAttributes, Policy, Rejection};

pub(crate) const AS: u32 = 64512;

/// The same moment throughout a test run.
pub(crate) fn start() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests need one moment to count from"
    )]
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    *START
}

pub(crate) fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

pub(crate) fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// Address, router id and next hop of router `host`.
pub(crate) fn router(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, host)
}

pub(crate) fn prefix(host: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 99, 0, host), 32)
}

/// The `number`th /32 of 10.64.0.0/10.
pub(crate) fn numbered(number: u32) -> Ipv4Net {
    Ipv4Net::new_assert((0x0a40_0000 + number).into(), 32)
}

pub(crate) fn route(host: u8, local_pref: u32) -> PathAttributes {
    PathAttributes {
        local_pref: Some(local_pref),
        ..PathAttributes::local(router(host))
    }
}

pub(crate) fn speaker_config(host: u8) -> SpeakerConfig {
    SpeakerConfig {
        asn: AS,
        router_id: router(host),
        cluster_id: router(host),
        hostname: format!("router-{host}"),
        graceful_restart: None,
    }
}

pub(crate) fn peer_config(host: u8) -> PeerConfig {
    PeerConfig {
        id: peer(host),
        address: router(host),
        router_id: None,
        role: PeerRole::NonClient,
        active: true,
        hold_time: seconds(9),
        connect_retry: seconds(1),
        max_prefixes: 1000,
        reflector: false,
        add_path: None,
        extended_messages: false,
        ipv6: false,
    }
}

pub(crate) fn peer(host: u8) -> PeerId {
    PeerId(host.into())
}

/// What happens to the prefixes of each list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// Refused on import.
    pub(crate) refuse: Vec<Ipv4Net>,
    /// Peers of which everything is refused on import.
    pub(crate) distrust: Vec<PeerId>,
    /// LOCAL_PREF becomes 777 on import.
    pub(crate) prefer: Vec<Ipv4Net>,
    /// Hidden on export.
    pub(crate) hide: Vec<Ipv4Net>,
    /// Get a community on export.
    pub(crate) mark: Vec<Ipv4Net>,
}

impl Policy for Rules {
    fn import(
        &self,
        peer: PeerId,
        prefix: Ipv4Net,
        attributes: &mut Cow<'_, PathAttributes>,
    ) -> Result<(), Rejection> {
        if self.refuse.contains(&prefix) || self.distrust.contains(&peer) {
            return Err(Rejection("refused-by-rule"));
        }
        if self.prefer.contains(&prefix) {
            attributes.to_mut().local_pref = Some(777);
        }
        Ok(())
    }

    fn export(
        &self,
        _peer: PeerId,
        prefix: Ipv4Net,
        attributes: &mut Cow<'_, PathAttributes>,
    ) -> Result<(), Rejection> {
        if self.mark.contains(&prefix) {
            attributes.to_mut().communities = vec![777];
        }
        if self.hide.contains(&prefix) {
            return Err(Rejection("hidden-by-rule"));
        }
        Ok(())
    }
}

/// Nothing of what the rules name is of IPv6.
impl Policy<Ipv6Net> for Rules {
    fn import(
        &self,
        peer: PeerId,
        _prefix: Ipv6Net,
        _attributes: &mut Cow<'_, PathAttributes<Ipv6Addr>>,
    ) -> Result<(), Rejection> {
        if self.distrust.contains(&peer) {
            return Err(Rejection("refused-by-rule"));
        }
        Ok(())
    }

    fn export(
        &self,
        _peer: PeerId,
        _prefix: Ipv6Net,
        _attributes: &mut Cow<'_, PathAttributes<Ipv6Addr>>,
    ) -> Result<(), Rejection> {
        Ok(())
    }
}
