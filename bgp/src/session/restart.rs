//! Graceful restart in OPENs (RFC 4724, RFC 8538): what we say about ours, what a peer said about its own, and for how
//! long its routes are kept when its session ends.

use std::time::Duration;

use crate::config::{PeerConfig, PeerRole, SpeakerConfig};
use crate::wire::{Capability, Family, GracefulRestart, RESTART_TIME_MAX_S, RestartFamily};

/// What our OPENs say about our own restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenRestart {
    /// R: we have restarted, and wait for our peers.
    pub(crate) restarted: bool,
    /// F: forwarding went on since our last session with the peer.
    pub(crate) forwarding: bool,
}

impl Default for OpenRestart {
    /// A speaker that has long been running.
    fn default() -> Self {
        Self {
            restarted: false,
            forwarding: true,
        }
    }
}

impl OpenRestart {
    /// Returns the capability, if graceful restart is configured. It is for internal peers: whether the next hop of an
    /// external one lives cannot be asked, so nothing may be kept for it.
    pub(crate) fn capability(
        self,
        config: &SpeakerConfig,
        peer: &PeerConfig,
    ) -> Option<Capability> {
        if peer.role.is_external() {
            return None;
        }
        let restart_time = config.graceful_restart?.restart_time;
        let family = |family: Family| {
            let (afi, safi) = family.on_wire();
            RestartFamily {
                afi,
                safi,
                forwarding: self.forwarding,
            }
        };
        Some(Capability::GracefulRestart(GracefulRestart {
            restarted: self.restarted,
            notification: true,
            restart_time_s: u16::try_from(restart_time.as_secs())
                .unwrap_or(RESTART_TIME_MAX_S)
                .min(RESTART_TIME_MAX_S),
            families: peer.families().map(family).collect(),
        }))
    }
}

/// What a peer said about its restarts, to us who offer graceful restart too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerRestart {
    /// R: it has restarted; its End-of-RIB is not waited for.
    pub(crate) restarted: bool,
    /// N: also after a NOTIFICATION (we offer that always).
    notification: bool,
    /// For routes of IPv4 unicast.
    pub(crate) ipv4: FamilyRestart,
    /// For routes of IPv6 unicast.
    pub(crate) ipv6: FamilyRestart,
}

/// What a peer said about its restarts and the routes of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FamilyRestart {
    /// F: it went on forwarding while it restarted.
    pub(crate) forwarding: bool,
    /// How long its routes are kept: what it asks for, but no longer than we are configured to. Zero when it does not ask
    /// for this family.
    pub(crate) retention: Duration,
}

impl PeerRestart {
    /// Returns what the capabilities of a peer say; `None` unless both sides offer graceful restart.
    pub(crate) fn negotiate(
        config: &SpeakerConfig,
        role: PeerRole,
        capabilities: &[Capability],
    ) -> Option<Self> {
        if role.is_external() {
            return None;
        }
        let own = config.graceful_restart?;
        let offered = capabilities.iter().find_map(|capability| {
            if let Capability::GracefulRestart(offered) = capability {
                Some(offered)
            } else {
                None
            }
        })?;
        let asked = Duration::from_secs(u64::from(offered.restart_time_s));
        let of = |wanted: Family| {
            let mut families = offered.families.iter();
            let family = families.find(|family| (family.afi, family.safi) == wanted.on_wire());
            FamilyRestart {
                forwarding: family.is_some_and(|family| family.forwarding),
                retention: family.map_or(Duration::ZERO, |_| asked.min(own.restart_time)),
            }
        };
        Some(Self {
            restarted: offered.restarted,
            notification: offered.notification,
            ipv4: of(Family::Ipv4Unicast),
            ipv6: of(Family::Ipv6Unicast),
        })
    }

    /// Tells whether a hard reset is needed to make the peer forget our routes.
    pub(crate) fn survives_notification(self) -> bool {
        self.notification
    }
}

/// What becomes of a peer's routes when its session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteFate {
    /// They are forgotten.
    Forgotten,
    /// They are kept as stale.
    Retained {
        /// For so long at most.
        time: Duration,
        /// Whether the peer had not been heard of for a while: then it is not only BGP that ended.
        silent: bool,
    },
}

/// What becomes of a peer's routes of each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fates {
    /// Those of IPv4 unicast.
    pub(crate) ipv4: RouteFate,
    /// Those of IPv6 unicast.
    pub(crate) ipv6: RouteFate,
}

impl Fates {
    /// Decides what becomes of the routes of an Established session (RFC 4724 section 4.2, RFC 8538 section 4).
    pub(crate) fn of_session(
        restart: Option<PeerRestart>,
        ending: SessionEnding,
        silent: bool,
    ) -> Self {
        let graceful = restart.filter(|restart| match ending {
            SessionEnding::Broken => true,
            SessionEnding::Notified => restart.notification,
            SessionEnding::Final => false,
        });
        let fate = |family: fn(PeerRestart) -> FamilyRestart| {
            let time = graceful.map_or(Duration::ZERO, |restart| family(restart).retention);
            if time.is_zero() {
                RouteFate::Forgotten
            } else {
                RouteFate::Retained { time, silent }
            }
        };
        Self {
            ipv4: fate(|restart| restart.ipv4),
            ipv6: fate(|restart| restart.ipv6),
        }
    }
}

/// How an Established session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionEnding {
    /// Without a word.
    Broken,
    /// By a NOTIFICATION from either side.
    Notified,
    /// By a hard reset, or because we are told to end it for good.
    Final,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GracefulRestartConfig;
    use std::net::Ipv4Addr;

    #[test]
    fn nothing_is_kept_for_a_peer_that_did_not_offer_it_or_when_we_do_not() {
        let capabilities = [offer(60, true, &[(1, 1)])];
        let silent = SpeakerConfig {
            graceful_restart: None,
            ..config()
        };
        assert_eq!(
            PeerRestart::negotiate(&config(), PeerRole::NonClient, &[]),
            None
        );
        assert_eq!(
            PeerRestart::negotiate(&silent, PeerRole::NonClient, &capabilities),
            None
        );
        assert_eq!(
            OpenRestart::default().capability(&silent, &crate::testing::peer(2)),
            None
        );
        let fates = Fates::of_session(None, SessionEnding::Broken, false);
        assert_eq!(fates.ipv4, RouteFate::Forgotten);
    }

    #[test]
    fn routes_are_kept_as_long_as_both_sides_want() {
        for (asked, families, kept) in [
            (60, &[(1, 1)][..], 60),
            (4095, &[(2, 1), (1, 1)], 120),
            (60, &[(2, 1)], 0),
            (60, &[], 0),
            (0, &[(1, 1)], 0),
        ] {
            let restart = PeerRestart::negotiate(
                &config(),
                PeerRole::NonClient,
                &[offer(asked, true, families)],
            );
            let retention = restart.unwrap().ipv4.retention;
            assert_eq!(retention, Duration::from_secs(kept), "{asked} {families:?}");
        }
    }

    #[test]
    fn a_notification_is_graceful_only_with_the_n_bit_and_a_hard_reset_never() {
        use SessionEnding::{Broken, Final, Notified};
        let (time, silent) = (Duration::from_secs(60), true);
        let kept = RouteFate::Retained { time, silent };
        for (notification, ending, fate) in [
            (true, Broken, kept),
            (true, Notified, kept),
            (true, Final, RouteFate::Forgotten),
            (false, Broken, kept),
            (false, Notified, RouteFate::Forgotten),
        ] {
            let offered = offer(60, notification, &[(1, 1)]);
            let restart = PeerRestart::negotiate(&config(), PeerRole::NonClient, &[offered]);
            assert_eq!(
                Fates::of_session(restart, ending, silent).ipv4,
                fate,
                "{notification} {ending:?}"
            );
        }
    }

    #[test]
    fn each_family_is_kept_only_if_it_is_asked_for() {
        for (families, ipv4, ipv6) in [
            (&[(1, 1), (2, 1)][..], true, true),
            (&[(1, 1)], true, false),
            (&[(2, 1)], false, true),
            (&[(2, 2)], false, false),
        ] {
            let offered = offer(60, true, families);
            let restart = PeerRestart::negotiate(&config(), PeerRole::NonClient, &[offered]);
            let fates = Fates::of_session(restart, SessionEnding::Broken, false);
            let kept = |fate| matches!(fate, RouteFate::Retained { .. });
            assert_eq!(
                (kept(fates.ipv4), kept(fates.ipv6)),
                (ipv4, ipv6),
                "{families:?}"
            );
        }
    }

    fn offer(restart_time_s: u16, notification: bool, families: &[(u16, u8)]) -> Capability {
        let family = |(afi, safi): &(u16, u8)| RestartFamily {
            afi: *afi,
            safi: *safi,
            forwarding: false,
        };
        Capability::GracefulRestart(GracefulRestart {
            restarted: false,
            notification,
            restart_time_s,
            families: families.iter().map(family).collect(),
        })
    }

    fn config() -> SpeakerConfig {
        SpeakerConfig {
            asn: 64512,
            router_id: Ipv4Addr::new(10, 0, 0, 1),
            cluster_id: Ipv4Addr::new(10, 0, 0, 1),
            hostname: "a".into(),
            graceful_restart: Some(GracefulRestartConfig {
                restart_time: Duration::from_secs(120),
                deferral_time: Duration::from_secs(20),
            }),
        }
    }
}
