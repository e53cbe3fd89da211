//! Tunnels without encryption: the same packets arrive as by WireGuard, and nobody else's.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use sam_dataplane::encap::{Framing, Gre, Gue, Payload, Plain, Vxlan};
use sam_dataplane::packet::checksum::{Sum, pseudo_header};
use sam_dataplane::snapshot::Encap;
use sam_dataplane::{Carrier, Checksum, DropReason, Gso, Lane, Offload, Snapshot};

use crate::lab::*;

impl Lab {
    /// A lab like [`Self::connected`] whose tunnel has no encryption.
    pub(crate) fn plain(carrier: Carrier, framing: Framing) -> Self {
        let mut lab = Self::connected();
        let now = lab.now;
        let change = |site: Site, framing| {
            let to = match carrier {
                Carrier::Udp { port } => SocketAddr::from((site.underlay.0, port)),
                Carrier::Ip { .. } => SocketAddr::from((site.underlay.0, 0)),
            };
            let encap = Encap::Plain(Plain {
                carrier,
                framing,
                to: Some(to),
                by_lan: false,
            });
            move |snapshot: &mut Snapshot| {
                snapshot.tunnels[0].encap = encap;
                snapshot.tunnels[0].mtu = 1500 - encap.overhead(false);
            }
        };
        lab.a.install(now, change(B, framing));
        lab.b.install(now, change(A, mirrored(framing)));
        lab
    }
}

/// The framing of the far end.
fn mirrored(framing: Framing) -> Framing {
    if let Framing::Vxlan(Vxlan { vni, from, to }) = framing {
        Framing::Vxlan(Vxlan {
            vni,
            from: to,
            to: from,
        })
    } else {
        framing
    }
}

pub(crate) const GUE: Carrier = Carrier::Udp { port: 6080 };

/// Every transport, and the bytes that it adds to an inner packet over IPv4 (data-plane.md section 6.1).
pub(crate) fn transports() -> [(Carrier, Framing, u16); 11] {
    let (fou, vxlan) = (Carrier::Udp { port: 5555 }, Carrier::Udp { port: 4789 });
    let gre = |key, checksum| Framing::Gre(Gre { key, checksum });
    let ends = Vxlan::between(77, A.overlay, B.overlay);
    [
        (GUE, Framing::Gue(Gue::Variant1), 28),
        (GUE, Framing::Gue(Gue::Variant0(Payload::Ipip)), 32),
        (GUE, Framing::Gue(Gue::Variant0(Payload::Gre)), 36),
        (fou, Framing::Fou(Payload::Ipip), 28),
        (fou, Framing::Fou(Payload::Gre), 32),
        (vxlan, Framing::Vxlan(ends), 50),
        (Carrier::IPIP, Framing::Ipip, 20),
        (Carrier::GRE, gre(None, false), 24),
        (Carrier::GRE, gre(Some(7), false), 28),
        (Carrier::GRE, gre(None, true), 28),
        (Carrier::GRE, gre(Some(7), true), 32),
    ]
}

#[test]
fn packets_cross_both_ways_with_the_ttl_of_two_hops() {
    for (carrier, framing, _) in transports() {
        let mut lab = Lab::plain(carrier, framing);
        lab.send_a(&udp(A.host, B.host, 64, b"hello"));
        lab.send_b(&udp(B.host, A.host, 64, b"hi"));
        let there = (udp(A.host, B.host, 62, b"hello"), Offload::default());
        let back = (udp(B.host, A.host, 62, b"hi"), Offload::default());
        assert_eq!(
            (lab.at_server(), lab.at_client()),
            (vec![there], vec![back]),
            "{framing:?}"
        );
        assert_eq!(
            (lab.a.drops(), lab.b.drops()),
            (vec![], vec![]),
            "{framing:?}"
        );
        lab.assert_no_buffer_is_lost();
    }
}

#[test]
fn a_superpacket_travels_as_one_train_and_arrives_whole() {
    for (carrier, framing, overhead) in transports() {
        let mut lab = Lab::plain(carrier, framing);
        let mtu = lab.a.snapshot.tunnels[0].mtu;
        assert_eq!(mtu, 1500 - overhead, "{framing:?}");
        let size = mtu - 40;
        let payload: Vec<u8> = (0..=250).cycle().take(40 * usize::from(size)).collect();
        let sent = partial(tcp(A.host, B.host, 1, &payload));
        lab.send_a_with(&sent, superpacket(size));

        let arrived = lab.at_server();
        assert_eq!(arrived.len(), 1, "{framing:?}");
        assert_eq!(arrived[0].1.gso, Gso::Tcp { size }, "{framing:?}");
        assert_eq!(
            arrived[0].0,
            edit(sent, |header| header[8] -= 2),
            "{framing:?}"
        );
        let train = &lab.trains[0];
        let segment = usize::from(mtu) + framing.header();
        assert_eq!(
            (lab.trains.len(), train.segment),
            (1, segment),
            "{framing:?}"
        );
        assert_eq!(
            train.bytes.len(),
            40 * segment,
            "every wire packet is of one size"
        );
        for packet in train.bytes.chunks(segment) {
            let inner = &packet[framing.header()..];
            assert_checksums(inner);
        }
        lab.assert_no_buffer_is_lost();
    }
}

#[test]
fn a_packet_of_exactly_the_tunnel_mtu_passes_and_one_byte_more_does_not() {
    for (carrier, framing, overhead) in transports() {
        let mtu = 1500 - overhead;
        let mut lab = Lab::plain(carrier, framing);
        lab.send_a(&tcp(A.host, B.host, 1, &vec![7; usize::from(mtu) - 40]));
        assert_eq!(lab.at_server()[0].0.len(), usize::from(mtu), "{framing:?}");
        lab.clear();
        lab.send_a(&tcp(A.host, B.host, 1, &vec![7; usize::from(mtu) - 39]));
        assert_eq!(lab.a.drops(), [(DropReason::TooBig, 1)], "{framing:?}");
        assert_eq!(
            icmp_of(&lab.at_client()[0].0),
            (A.router, A.host, 3, 4, mtu)
        );
        lab.clear();
        lab.send_a(&syn(A.host, B.host, 1460));
        assert_eq!(mss_of(&lab.at_server()[0].0), mtu - 40, "{framing:?}");
    }
}

#[test]
fn what_may_be_fragmented_is_cut_inside_and_outer_packets_fit() {
    for (carrier, framing, overhead) in transports() {
        let mut lab = Lab::plain(carrier, framing);
        lab.send_a(&may_fragment(udp(A.host, B.host, 64, &[5; 3000])));
        let bytes: usize = lab
            .at_server()
            .iter()
            .map(|(packet, _)| packet.len() - 20)
            .sum();
        assert_eq!((lab.at_server().len(), bytes), (3, 3008), "{framing:?}");
        let longest = lab.trains.iter().map(|train| train.segment).max().unwrap();
        let outer = longest + usize::from(20 + carrier.header());
        assert!(
            outer <= 1500 && longest > framing.header(),
            "{framing:?} {overhead}"
        );
    }
}

#[test]
fn congestion_marks_pass_in_and_out() {
    for (carrier, framing, _) in transports() {
        let mut lab = Lab::plain(carrier, framing);
        lab.send_a(&with_ecn(udp(A.host, B.host, 64, b"x"), 2));
        assert_eq!(lab.trains[0].tos, 2, "{framing:?}");
        lab.clear();
        lab.remark = Some(3);
        lab.send_a(&with_ecn(udp(A.host, B.host, 64, b"x"), 2));
        assert_eq!(lab.at_server()[0].0[1], 3, "{framing:?}");
        lab.send_a(&udp(A.host, B.host, 64, b"x"));
        assert_eq!(lab.b.drops(), [(DropReason::EcnCeNotEct, 1)], "{framing:?}");
    }
}

#[test]
fn flows_take_several_lanes_over_udp_and_each_keeps_to_one() {
    let mut lab = Lab::plain(GUE, Framing::Gue(Gue::Variant1));
    for port in 0..64u8 {
        let mut packet = tcp(A.host, B.host, 1, b"x");
        packet[21] = port;
        lab.send_a(&packet);
        lab.send_a(&packet);
    }
    let lanes: Vec<Lane> = lab.trains.iter().map(|train| train.lane).collect();
    assert!(lanes.chunks(2).all(|pair| pair[0] == pair[1]), "{lanes:?}");
    let used: BTreeSet<String> = lanes.iter().map(|lane| format!("{lane:?}")).collect();
    assert_eq!(used.len(), 8, "{used:?}");
}

#[test]
fn only_the_address_of_the_far_end_counts_and_the_port_does_not() {
    for (carrier, framing, _) in transports() {
        let mut lab = Lab::plain(carrier, framing);
        lab.underlay_up = false;
        // What B would send: taken from its own queue, so that the framing is right.
        let bytes = frame(B.router_mac, B.host_mac, &udp(B.host, A.host, 64, b"x"));
        lab.b.frame_with(&bytes, Offload::default(), lab.now);
        let sent = outputs(&mut lab.b, lab.now);
        let [Out::Train(train)] = &sent[..] else {
            panic!("one train")
        };
        for (from, passes) in [
            ("192.0.2.2:6080", true),
            ("192.0.2.2:33333", true),
            ("192.0.2.3:6080", false),
            ("192.0.2.1:6080", false),
            ("[::ffff:192.0.2.2]:6080", false),
        ] {
            lab.clear();
            let before = lab.a.dropped(DropReason::EncapUnknownSource);
            lab.a.train(from.parse().unwrap(), 0, train, lab.now);
            lab.settle();
            let refused = lab.a.dropped(DropReason::EncapUnknownSource) - before;
            let seen = (lab.at_client().len(), refused);
            assert_eq!(
                seen,
                if passes { (1, 0) } else { (0, 1) },
                "{framing:?} {from}"
            );
        }
        let other = Carrier::Udp { port: 1 };
        lab.a
            .plain(other, socket(B), 0, train.segment, &train.bytes, lab.now);
        assert_eq!(
            lab.a.dropped(DropReason::EncapUnknownSource),
            4,
            "by another carrier"
        );
    }
}

#[test]
fn whoever_is_on_the_lan_does_not_speak_for_a_far_end() {
    for (carrier, framing, _) in transports() {
        for (interface, by_lan, passes) in [
            (WAN_INTERFACE, false, true),
            (LAN_INTERFACE, false, false),
            (TUN_INTERFACE, false, false),
            (WAN_INTERFACE, true, true),
            (LAN_INTERFACE, true, true),
            (TUN_INTERFACE, true, false),
        ] {
            let mut lab = Lab::plain(carrier, framing);
            lab.a.install(lab.now, |snapshot| {
                if let Encap::Plain(plain) = &mut snapshot.tunnels[0].encap {
                    plain.by_lan = by_lan;
                }
            });
            let packet = framed_by_b(framing, &udp(B.host, A.host, 64, b"x"));
            let sender = (carrier, socket(B), interface);
            lab.a.plain_by(sender, 0, packet.len(), &packet, lab.now);
            lab.settle();

            let refused = lab.a.dropped(DropReason::EncapFromInside);
            let seen = (lab.at_client().len(), refused);
            let expected = if passes { (1, 0) } else { (0, 1) };
            assert_eq!(seen, expected, "{framing:?} {interface} {by_lan}");
            lab.assert_no_buffer_is_lost();
        }
    }
}

#[test]
fn a_train_that_finds_no_place_is_as_many_drops_as_it_has_packets() {
    let mut lab = Lab::plain(GUE, Framing::Gue(Gue::Variant1));
    lab.a.tx = sam_dataplane::TxQueue::new(0);
    let sent = partial(tcp(A.host, B.host, 1, &[7; 4000]));
    lab.send_a_with(&sent, superpacket(1000));
    assert_eq!(lab.a.drops(), [(DropReason::TxQueueFull, 4)]);
    lab.assert_no_buffer_is_lost();
}

#[test]
fn an_empty_tunnel_packet_is_refused_by_name() {
    for (carrier, framing, _) in transports() {
        let mut lab = Lab::plain(carrier, framing);
        lab.a.plain(carrier, socket(B), 0, 0, &[], lab.now);
        let stranger = "192.0.2.9:1".parse().unwrap();
        lab.a.plain(carrier, stranger, 0, 0, &[], lab.now);
        let counted: u64 = lab.a.drops().iter().map(|(_, count)| count).sum();
        assert_eq!(counted, 2, "{framing:?} {:?}", lab.a.drops());
        assert_eq!(lab.a.dropped(DropReason::EncapUnknownSource), 1);
    }
    let mut lab = Lab::connected();
    lab.a.datagrams(socket(B), 0, 0, &[], lab.now);
    assert_eq!(lab.a.drops(), [(DropReason::WgUnknownType, 1)]);
}

/// A port that the WireGuard of the fabric has.
const CUSTOM_WIREGUARD: u16 = 7001;

#[test]
fn datagrams_of_tunnels_are_not_merged_whatever_their_port() {
    for (port, configured, merged) in [
        (7000, 6080, true),
        (7000, 7000, false),
        (5555, 6080, false),
        (CUSTOM_WIREGUARD, 6080, false),
    ] {
        let carrier = Carrier::Udp { port: configured };
        let mut lab = Lab::plain(carrier, Framing::Gue(Gue::Variant1));
        lab.a.install(lab.now, |snapshot| {
            snapshot.wireguard_ports = [CUSTOM_WIREGUARD].into();
        });
        let mut packet = udp(B.host, A.host, 64, &[7; 1000]);
        packet[22..24].copy_from_slice(&u16::to_be_bytes(port));
        // Whoever merges verifies.
        let sum = checksum_of(&packet);
        packet[26..28].copy_from_slice(&sum.to_be_bytes());
        let packet = framed_by_b(Framing::Gue(Gue::Variant1), &packet);
        let train = [&packet[..], &packet].concat();
        lab.a
            .plain(carrier, socket(B), 0, packet.len(), &train, lab.now);
        lab.settle();
        let count = if merged { 1 } else { 2 };
        assert_eq!(lab.at_client().len(), count, "{port} {configured}");
    }
}

/// The checksum that a datagram of an IPv4 packet is to have.
fn checksum_of(packet: &[u8]) -> u16 {
    let mut datagram = packet[20..].to_vec();
    datagram[6..8].fill(0);
    let length = u16::try_from(datagram.len()).unwrap();
    let address = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).unwrap().into();
    let pseudo = pseudo_header(address(12), address(16), 17, length);
    pseudo.plus(Sum::of(&datagram)).checksum()
}

#[test]
fn inner_sources_must_live_behind_the_tunnel() {
    for (carrier, framing, _) in transports() {
        let mut lab = Lab::plain(carrier, framing);
        lab.b.install(lab.now, |snapshot| {
            add_route(snapshot, silent(A), sam_dataplane::NextHop::Lan(LAN));
        });
        lab.send_b(&udp(silent(A), A.host, 64, b"x"));
        assert_eq!(
            lab.a.drops(),
            [(DropReason::SourceNotAllowed, 1)],
            "{framing:?}"
        );
        assert_eq!(lab.at_client(), []);
    }
}

#[test]
fn what_the_kernel_merged_before_a_raw_socket_arrives_as_a_superpacket_in_order() {
    for (carrier, framing, _) in transports() {
        let mut lab = Lab::plain(carrier, framing);
        let (now, mtu) = (lab.now, lab.a.snapshot.tunnels[0].mtu);
        let sized = |sequence, bytes| partial(tcp(B.host, A.host, sequence, &vec![7; bytes]));
        for inner in [
            tcp(B.host, A.host, 1, &[7; 100]),
            sized(101, 9000),
            sized(9101, 200),
        ] {
            let packet = framed_by_b(framing, &inner);
            lab.a
                .plain(carrier, socket(B), 0, packet.len(), &packet, now);
        }
        lab.settle();

        let arrived: Vec<(usize, Offload)> = lab
            .at_client()
            .iter()
            .map(|(packet, offload)| (packet.len() - 40, *offload))
            .collect();
        let checksum = Checksum::Partial {
            start: 34,
            offset: 16,
        };
        let whole = |gso| Offload { gso, checksum };
        let merged = [
            (100, Offload::default()),
            (9000, whole(Gso::Tcp { size: mtu - 40 })),
            (200, whole(Gso::None)),
        ];
        match carrier {
            Carrier::Ip { .. } => assert_eq!(arrived, merged, "{framing:?}"),
            Carrier::Udp { .. } => assert!(
                arrived
                    .iter()
                    .all(|(_, offload)| *offload == Offload::default()),
                "the kernel does not look into datagrams: {framing:?}"
            ),
        }
        lab.assert_no_buffer_is_lost();
    }
}

/// Frames an inner packet as B does.
pub(crate) fn framed_by_b(framing: Framing, inner: &[u8]) -> Vec<u8> {
    let mut packet = [&vec![0; framing.header()][..], inner].concat();
    mirrored(framing).write(&mut packet);
    packet
}

#[test]
fn a_tunnel_whose_far_end_is_not_known_says_so() {
    let mut lab = Lab::plain(GUE, Framing::Gue(Gue::Variant1));
    lab.a.install(lab.now, |snapshot| {
        let Encap::Plain(plain) = &mut snapshot.tunnels[0].encap else {
            panic!("plain")
        };
        plain.to = None;
    });
    lab.send_a(&udp(A.host, B.host, 64, b"x"));
    lab.send_b(&udp(B.host, A.host, 64, b"x"));
    let expected = [
        (DropReason::TunnelNoEndpoint, 1),
        (DropReason::EncapUnknownSource, 1),
    ];
    assert_eq!(lab.a.drops(), expected);
}
