//! Two tunnels without encryption, to B and to C: neither speaks for what lives behind the other, whatever stands in its
//! packets.
//!
//! ```text
//!   10.77.60.10 ── A ═══ tunnel 0 ═══ B ── 10.77.60.20
//!                   ╚═══ tunnel 1 ═══ C ── 10.77.60.30
//! ```

use std::net::{Ipv4Addr, SocketAddr};

use sam_dataplane::encap::{Framing, Plain};
use sam_dataplane::snapshot::Encap;
use sam_dataplane::{Carrier, DropReason, NextHop, TunnelId};

use crate::lab::*;
use crate::plain::{framed_by_b, transports};

const TO_C: TunnelId = TunnelId(1);
const C_HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 30);
const C_UNDERLAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);

/// A lab whose router A has a tunnel to C besides, of the same kind.
fn with_c(carrier: Carrier, framing: Framing) -> Lab {
    let mut lab = Lab::plain(carrier, framing);
    lab.a.install(lab.now, |snapshot| {
        let mut tunnel = snapshot.tunnels[0].clone();
        let Encap::Plain(plain) = tunnel.encap else {
            panic!("plain")
        };
        let to = plain.to.map(|to| SocketAddr::from((C_UNDERLAY, to.port())));
        tunnel.encap = Encap::Plain(Plain { to, ..plain });
        (tunnel.id, tunnel.site) = (TO_C, TO_C.0);
        snapshot.tunnels.push(tunnel);
        add_route(snapshot, C_HOST, NextHop::Tunnel(TO_C));
    });
    lab
}

/// Lets an inner packet come to A from an outer source.
fn receive(lab: &mut Lab, by: (Carrier, Framing), from: (Ipv4Addr, u32), inner: &[u8]) {
    let packet = framed_by_b(by.1, inner);
    let sender = (by.0, SocketAddr::from((from.0, 40_000)), from.1);
    lab.a.plain_by(sender, 0, packet.len(), &packet, lab.now);
    lab.settle();
}

#[test]
fn an_address_behind_one_tunnel_is_not_taken_from_the_other() {
    let b_underlay = Ipv4Addr::from(B.underlay.0);
    for (carrier, framing, _) in transports() {
        for (from, inner, passes) in [
            (C_UNDERLAY, C_HOST, true),
            (b_underlay, B.host, true),
            (C_UNDERLAY, B.host, false),
            (b_underlay, C_HOST, false),
            (C_UNDERLAY, B.overlay, false),
            (C_UNDERLAY, A.overlay, false),
            (C_UNDERLAY, A.host, false),
        ] {
            let mut lab = with_c(carrier, framing);
            let packet = udp(inner, A.host, 64, b"x");
            receive(&mut lab, (carrier, framing), (from, WAN_INTERFACE), &packet);

            let refused = lab.a.dropped(DropReason::SourceNotAllowed);
            let expected = if passes { (1, 0) } else { (0, 1) };
            let seen = (lab.at_client().len(), refused);
            assert_eq!(seen, expected, "{framing:?} {inner} from {from}");
            lab.assert_no_buffer_is_lost();
        }
    }
}

#[test]
fn what_comes_by_one_tunnel_for_the_other_leaves_only_by_its_route() {
    for (carrier, framing, _) in transports() {
        let mut lab = with_c(carrier, framing);
        lab.underlay_up = false;
        let packet = udp(C_HOST, B.host, 64, b"x");
        receive(
            &mut lab,
            (carrier, framing),
            (C_UNDERLAY, WAN_INTERFACE),
            &packet,
        );
        let to: Vec<_> = lab.trains.iter().map(|train| train.to.ip()).collect();
        assert_eq!(to, [Ipv4Addr::from(B.underlay.0)], "{framing:?}");

        let packet = udp(C_HOST, C_HOST, 64, b"x");
        receive(
            &mut lab,
            (carrier, framing),
            (C_UNDERLAY, WAN_INTERFACE),
            &packet,
        );
        assert_eq!(lab.a.dropped(DropReason::SameInterface), 1, "{framing:?}");
        assert_eq!(lab.trains.len(), 1, "{framing:?}");
    }
}

/// Whatever carries it: to the forwarder it is a packet of C's host for the router's own, and what the host's kernel makes of
/// it comes back by the TUN.
#[test]
fn a_tunnel_packet_inside_of_a_tunnel_is_not_opened() {
    for (carrier, framing, _) in transports() {
        for own in [A.overlay, A.router] {
            let mut lab = with_c(carrier, framing);
            let inmost = framed_by_b(framing, &udp(B.host, A.host, 64, b"x"));
            let nested = match carrier {
                Carrier::Ip { protocol } => {
                    let mut packet = udp(C_HOST, own, 64, &inmost);
                    packet.drain(20..28);
                    let length = u16::try_from(packet.len()).unwrap();
                    edit(packet, |header| {
                        header[2..4].copy_from_slice(&length.to_be_bytes());
                        header[9] = protocol;
                    })
                }
                Carrier::Udp { port } => {
                    let mut packet = udp(C_HOST, own, 64, &inmost);
                    packet[22..24].copy_from_slice(&port.to_be_bytes());
                    packet[26..28].fill(0);
                    packet
                }
            };
            receive(
                &mut lab,
                (carrier, framing),
                (C_UNDERLAY, WAN_INTERFACE),
                &nested,
            );
            let mut sent = lab.from_a.iter();
            assert!(sent.any(|(_, sent)| sent.port == TUN), "{framing:?} {own}");
            assert_eq!(lab.at_client(), [], "{framing:?} {own}");
            assert_eq!(lab.trains.len(), 0, "{framing:?} {own}");

            // The kernel hands it to our socket: its source is no router's, or comes in where no router is.
            lab.clear();
            for source in [C_HOST, C_UNDERLAY, Ipv4Addr::from(B.underlay.0)] {
                let inner = udp(B.host, A.host, 64, b"x");
                receive(
                    &mut lab,
                    (carrier, framing),
                    (source, TUN_INTERFACE),
                    &inner,
                );
            }
            let counted = [
                lab.a.dropped(DropReason::EncapUnknownSource),
                lab.a.dropped(DropReason::EncapFromInside),
            ];
            assert_eq!((lab.at_client(), counted), (vec![], [1, 2]), "{framing:?}");
            lab.assert_no_buffer_is_lost();
        }
    }
}
