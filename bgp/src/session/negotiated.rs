//! The OPEN that we send, the checks of the one that we get, and what both agree on (RFC 4271 sections 4.2, 6.2).
//!
//! The peer's AS must be the one that is configured: ours, unless it is external.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::restart::{OpenRestart, PeerRestart};
use crate::config::{PeerConfig, SpeakerConfig};
use crate::wire::{
    AS_TRANS, AddPathDirection, AddPathFamily, Capability, DecodeContext, DecodeError, Family,
    Ipv6Context, Notification, Open, code, subcode,
};

/// Shortest hold time that is accepted or proposed.
const HOLD_TIME_MIN_S: u16 = 3;
/// Longest name in the FQDN capability.
const NAME_MAX_BYTES: usize = 64;

/// What two OPENs agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Negotiated {
    /// The peer's BGP identifier.
    pub(crate) router_id: Ipv4Addr,
    /// The smaller of both hold times.
    pub(crate) hold_time: Duration,
    /// How messages are to be read.
    pub(crate) receive: DecodeContext,
    /// How messages are to be written.
    pub(crate) send: DecodeContext,
    /// Whether the peer understands ROUTE-REFRESH.
    pub(crate) route_refresh: bool,
    /// Whether it tells, and wants to be told, where a refresh begins and ends (RFC 7313).
    pub(crate) enhanced_refresh: bool,
    /// What the peer said about its restarts; `None` unless both sides offer graceful restart.
    pub(crate) restart: Option<PeerRestart>,
    /// All capabilities that the peer sent.
    pub(crate) capabilities: Vec<Capability>,
}

impl Negotiated {
    /// Returns the time between two KEEPALIVEs: a third of the hold time.
    pub(crate) fn keepalive_interval(&self) -> Duration {
        self.hold_time / 3
    }

    /// Tells whether routes of a family are exchanged.
    pub(crate) fn speaks(&self, family: Family) -> bool {
        match family {
            Family::Ipv4Unicast => true,
            Family::Ipv6Unicast => self.send.ipv6.is_some(),
        }
    }
}

/// Returns how messages are read before the OPEN came.
pub(crate) fn initial_context() -> DecodeContext {
    DecodeContext {
        four_octet_as: true,
        ibgp: true,
        add_path: false,
        extended: false,
        ipv6: None,
    }
}

/// Returns the capabilities that we announce.
pub(crate) fn own_capabilities(
    config: &SpeakerConfig,
    peer: &PeerConfig,
    restart: OpenRestart,
) -> Vec<Capability> {
    let families = peer.families().map(|family| {
        let (afi, safi) = family.on_wire();
        Capability::Multiprotocol { afi, safi }
    });
    let mut capabilities: Vec<Capability> = families.collect();
    capabilities.extend([
        Capability::RouteRefresh,
        Capability::EnhancedRouteRefresh,
        Capability::FourOctetAs(config.asn),
        Capability::Fqdn {
            host: shortened(&config.hostname),
            domain: String::new(),
        },
    ]);
    if peer.extended_messages {
        capabilities.push(Capability::ExtendedMessage);
    }
    capabilities.extend(restart.capability(config, peer));
    capabilities.extend(peer.add_path.map(|direction| {
        let families = peer.families().map(|family| {
            let (afi, safi) = family.on_wire();
            AddPathFamily {
                afi,
                safi,
                direction,
            }
        });
        Capability::AddPath(families.collect())
    }));
    capabilities
}

/// Makes our OPEN for a peer.
pub(crate) fn own_open(config: &SpeakerConfig, peer: &PeerConfig, restart: OpenRestart) -> Open {
    Open {
        asn: u16::try_from(config.asn).unwrap_or(AS_TRANS),
        hold_time_s: own_hold_time_s(peer),
        router_id: config.router_id,
        capabilities: own_capabilities(config, peer, restart),
    }
}

/// Checks the peer's OPEN and returns what is agreed.
///
/// # Errors
/// What must be answered with a NOTIFICATION (RFC 4271 section 6.2).
pub(crate) fn negotiate(
    config: &SpeakerConfig,
    peer: &PeerConfig,
    open: &Open,
) -> Result<Negotiated, DecodeError> {
    check(config, peer, open)?;
    let four_octet_as = open
        .capabilities
        .iter()
        .any(|capability| matches!(capability, Capability::FourOctetAs(_)));
    let hold_time_s = open.hold_time_s.min(own_hold_time_s(peer));
    // RFC 8654 section 4: who offers them must be able to read them, whatever the other side offers.
    let read_extended = peer.extended_messages;
    let write_extended = read_extended && open.capabilities.contains(&Capability::ExtendedMessage);
    let ipv6 = peer.ipv6 && offers(&open.capabilities, Family::Ipv6Unicast);
    let context =
        |us: fn(AddPathDirection) -> bool, them: fn(AddPathDirection) -> bool, extended| {
            let add_path =
                |family| peer.add_path.is_some_and(us) && open.add_path(family).is_some_and(them);
            DecodeContext {
                four_octet_as,
                ibgp: !peer.role.is_external(),
                add_path: add_path(Family::Ipv4Unicast),
                extended,
                ipv6: ipv6.then(|| Ipv6Context {
                    add_path: add_path(Family::Ipv6Unicast),
                }),
            }
        };
    Ok(Negotiated {
        router_id: open.router_id,
        hold_time: Duration::from_secs(u64::from(hold_time_s)),
        receive: context(
            AddPathDirection::receives,
            AddPathDirection::sends,
            read_extended,
        ),
        send: context(
            AddPathDirection::sends,
            AddPathDirection::receives,
            write_extended,
        ),
        route_refresh: open.capabilities.contains(&Capability::RouteRefresh),
        enhanced_refresh: open
            .capabilities
            .contains(&Capability::EnhancedRouteRefresh),
        restart: PeerRestart::negotiate(config, peer.role, &open.capabilities),
        capabilities: open.capabilities.clone(),
    })
}

/// Checks the peer's OPEN by what is configured.
fn check(config: &SpeakerConfig, peer: &PeerConfig, open: &Open) -> Result<(), DecodeError> {
    let expected = peer.role.asn(config.asn);
    if open.real_asn() != expected {
        let reason = if expected == config.asn {
            "AS number is not ours"
        } else {
            "AS number is not the configured one"
        };
        return Err(refused(subcode::BAD_PEER_AS, reason));
    }
    if open.router_id.is_unspecified() {
        return Err(refused(
            subcode::BAD_BGP_IDENTIFIER,
            "BGP identifier is zero",
        ));
    }
    // RFC 6286 section 2.3: identifiers are unique within an AS only.
    if open.router_id == config.router_id && !peer.role.is_external() {
        return Err(refused(
            subcode::BAD_BGP_IDENTIFIER,
            "BGP identifier is ours",
        ));
    }
    if peer
        .router_id
        .is_some_and(|pinned| pinned != open.router_id)
    {
        return Err(refused(
            subcode::BAD_BGP_IDENTIFIER,
            "BGP identifier is not the configured one",
        ));
    }
    if open.hold_time_s < HOLD_TIME_MIN_S {
        return Err(refused(
            subcode::UNACCEPTABLE_HOLD_TIME,
            "hold time is below 3 s",
        ));
    }
    if !offers(&open.capabilities, Family::Ipv4Unicast) {
        return Err(DecodeError {
            // The data is the capability that we miss (RFC 5492 section 5): code 1, length 4, family 1, subfamily 1.
            notification: Notification {
                data: vec![1, 4, 0, 1, 0, 1],
                ..Notification::new(code::OPEN, subcode::UNSUPPORTED_CAPABILITY)
            },
            reason: "IPv4 unicast is not offered",
        });
    }
    Ok(())
}

fn own_hold_time_s(peer: &PeerConfig) -> u16 {
    u16::try_from(peer.hold_time.as_secs())
        .unwrap_or(u16::MAX)
        .max(HOLD_TIME_MIN_S)
}

/// A peer without any multiprotocol capability speaks IPv4 unicast only (RFC 4760 section 8).
fn offers(capabilities: &[Capability], wanted: Family) -> bool {
    let mut families = capabilities
        .iter()
        .filter_map(|capability| match capability {
            Capability::Multiprotocol { afi, safi } => Some((*afi, *safi)),
            Capability::RouteRefresh
            | Capability::ExtendedMessage
            | Capability::GracefulRestart(_)
            | Capability::FourOctetAs(_)
            | Capability::AddPath(_)
            | Capability::EnhancedRouteRefresh
            | Capability::Fqdn { .. }
            | Capability::Unknown { .. } => None,
        });
    match families.next() {
        None => wanted == Family::Ipv4Unicast,
        Some(first) => {
            let wanted = wanted.on_wire();
            first == wanted || families.any(|family| family == wanted)
        }
    }
}

fn refused(subcode: u8, reason: &'static str) -> DecodeError {
    DecodeError {
        notification: Notification::new(code::OPEN, subcode),
        reason,
    }
}

fn shortened(name: &str) -> String {
    let mut end = name.len().min(NAME_MAX_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_open_carries_a_large_as_in_the_capability_only() {
        let open = own_open(
            &SpeakerConfig {
                asn: 4_200_000_000,
                ..ours()
            },
            &peer(),
            OpenRestart::default(),
        );
        assert_eq!(open.asn, AS_TRANS);
        assert!(
            open.capabilities
                .contains(&Capability::FourOctetAs(4_200_000_000))
        );
    }

    #[test]
    fn the_smaller_hold_time_is_used_and_keepalives_go_at_a_third() {
        let negotiated = negotiate(
            &ours(),
            &peer(),
            &Open {
                hold_time_s: 30,
                ..theirs()
            },
        )
        .unwrap();
        assert_eq!(negotiated.hold_time, Duration::from_secs(9));
        assert_eq!(negotiated.keepalive_interval(), Duration::from_secs(3));
        let negotiated = negotiate(
            &ours(),
            &peer(),
            &Open {
                hold_time_s: 3,
                ..theirs()
            },
        )
        .unwrap();
        assert_eq!(negotiated.keepalive_interval(), Duration::from_secs(1));
    }

    #[test]
    fn unacceptable_opens_are_refused_with_the_right_subcode() {
        let v6_only = Capability::Multiprotocol { afi: 2, safi: 1 };
        let table = [
            (
                Open {
                    capabilities: vec![Capability::FourOctetAs(64513)],
                    ..theirs()
                },
                2,
            ),
            (
                Open {
                    router_id: Ipv4Addr::UNSPECIFIED,
                    ..theirs()
                },
                3,
            ),
            (
                Open {
                    router_id: ours().router_id,
                    ..theirs()
                },
                3,
            ),
            (
                Open {
                    router_id: Ipv4Addr::new(9, 9, 9, 9),
                    ..theirs()
                },
                3,
            ),
            (
                Open {
                    hold_time_s: 0,
                    ..theirs()
                },
                6,
            ),
            (
                Open {
                    hold_time_s: 2,
                    ..theirs()
                },
                6,
            ),
            (
                Open {
                    capabilities: vec![Capability::FourOctetAs(64512), v6_only],
                    ..theirs()
                },
                7,
            ),
        ];
        for (open, subcode) in table {
            let error = negotiate(&ours(), &peer(), &open).unwrap_err();
            assert_eq!(
                (error.notification.code, error.notification.subcode),
                (2, subcode)
            );
        }
    }

    #[test]
    fn a_peer_without_multiprotocol_capability_speaks_ipv4_unicast() {
        let open = Open {
            capabilities: vec![Capability::FourOctetAs(64512)],
            ..theirs()
        };
        assert!(negotiate(&ours(), &peer(), &open).is_ok());
    }

    /// RFC 7911 section 4: paths are told apart in a direction only if one side can send and the other receive.
    #[test]
    fn each_direction_needs_a_sender_and_a_receiver_of_several_paths() {
        use AddPathDirection::{Both, Receive, Send};
        for (we, they, receive, send) in [
            (None, None, false, false),
            (None, Some(Both), false, false),
            (Some(Both), None, false, false),
            (Some(Both), Some(Both), true, true),
            (Some(Receive), Some(Both), true, false),
            (Some(Send), Some(Both), false, true),
            (Some(Both), Some(Receive), false, true),
            (Some(Both), Some(Send), true, false),
            (Some(Receive), Some(Receive), false, false),
            (Some(Send), Some(Receive), false, true),
        ] {
            let peer = PeerConfig {
                add_path: we,
                ..peer()
            };
            let other_family = AddPathFamily {
                afi: 2,
                safi: 1,
                direction: Both,
            };
            let family = |direction| AddPathFamily {
                afi: 1,
                direction,
                ..other_family
            };
            let families = [they.map(family), Some(other_family)];
            let mut open = theirs();
            open.capabilities.push(Capability::AddPath(
                families.into_iter().flatten().collect(),
            ));

            let negotiated = negotiate(&ours(), &peer, &open).unwrap();

            assert_eq!(
                (negotiated.receive.add_path, negotiated.send.add_path),
                (receive, send),
                "{we:?} {they:?}"
            );
        }
    }

    #[test]
    fn ipv6_unicast_is_spoken_if_both_sides_offer_it_each_direction_with_its_ids() {
        use AddPathDirection::{Both, Receive};
        let ipv6 = Capability::Multiprotocol { afi: 2, safi: 1 };
        for (we, they, spoken) in [
            (false, false, false),
            (false, true, false),
            (true, false, false),
            (true, true, true),
        ] {
            let peer = PeerConfig {
                ipv6: we,
                add_path: Some(Both),
                ..peer()
            };
            let mut open = theirs();
            open.capabilities.extend(they.then(|| ipv6.clone()));
            open.capabilities
                .push(Capability::AddPath(vec![AddPathFamily {
                    afi: 2,
                    safi: 1,
                    direction: Receive,
                }]));

            let negotiated = negotiate(&ours(), &peer, &open).unwrap();

            let add_path = |add_path| spoken.then_some(Ipv6Context { add_path });
            assert_eq!(negotiated.receive.ipv6, add_path(false), "{we} {they}");
            assert_eq!(negotiated.send.ipv6, add_path(true), "{we} {they}");
            assert!(
                !negotiated.send.add_path,
                "of IPv4 unicast nothing is offered"
            );
            let sent = own_capabilities(&ours(), &peer, OpenRestart::default());
            assert_eq!(sent.contains(&ipv6), we);
        }
    }

    #[test]
    fn a_long_host_name_is_cut_between_characters() {
        assert_eq!(shortened(&"ä".repeat(40)).len(), 64);
        assert_eq!(shortened(&format!("a{}", "ä".repeat(40))).len(), 63);
    }

    fn ours() -> SpeakerConfig {
        SpeakerConfig {
            asn: 64512,
            router_id: Ipv4Addr::new(10, 0, 0, 1),
            cluster_id: Ipv4Addr::new(10, 0, 0, 1),
            hostname: "a".into(),
            graceful_restart: None,
        }
    }

    fn peer() -> PeerConfig {
        crate::testing::peer(2)
    }

    fn theirs() -> Open {
        Open {
            asn: 64512,
            hold_time_s: 9,
            router_id: Ipv4Addr::new(10, 0, 0, 2),
            capabilities: vec![
                Capability::FourOctetAs(64512),
                Capability::Multiprotocol { afi: 1, safi: 1 },
                Capability::RouteRefresh,
            ],
        }
    }
}
