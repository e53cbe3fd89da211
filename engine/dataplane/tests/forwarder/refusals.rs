//! Every reason to drop a packet can happen, and each drop is counted once.

use proptest::prelude::*;
use sam_dataplane::encap::{Framing, Gre, Gue};
use sam_dataplane::packet::arp::ArpPacket;
use sam_dataplane::{Carrier, Checksum, DropReason, Gso, NextHop, Offload, TunnelId, TxQueue};

use crate::lab::*;
use crate::plain::GUE;

/// Reasons that the drivers count, not the forwarder.
const BY_DRIVERS: &[DropReason] = &[
    DropReason::SendFailed,
    DropReason::SendBusy,
    DropReason::ReceiveTruncated,
    DropReason::ReceiveOverflow,
];

/// Makes one packet fail.
type Case = fn(&mut Lab);

const CASES: &[(DropReason, Case)] = &[
    (DropReason::PortUnknown, |lab| {
        lab.a.install(lab.now, |snapshot| snapshot.lans.clear());
        lab.send_a(&udp(A.host, B.host, 64, b"x"));
    }),
    (DropReason::FrameTooShort, |lab| raw(lab, &[0; 13])),
    (DropReason::EtherTypeUnknown, |lab| {
        raw(
            lab,
            &[&A.router_mac[..], &A.host_mac, &[0x86, 0xdd], &[0; 40]].concat(),
        );
    }),
    (DropReason::FrameNotForUs, |lab| {
        raw(
            lab,
            &frame(
                [2, 0, 0, 0, 0, 0xcc],
                A.host_mac,
                &udp(A.host, B.host, 64, b"x"),
            ),
        );
    }),
    (DropReason::FrameLooped, |lab| {
        raw(
            lab,
            &frame(A.router_mac, A.router_mac, &udp(A.host, B.host, 64, b"x")),
        );
    }),
    (DropReason::ArpMalformed, |lab| {
        raw(
            lab,
            &[&BROADCAST[..], &A.host_mac, &[8, 6], &[0; 28]].concat(),
        );
    }),
    (DropReason::IpMalformed, |lab| lab.send_a(&[0x45; 12])),
    (DropReason::IpChecksum, |lab| {
        let mut packet = udp(A.host, B.host, 64, b"x");
        packet[10] ^= 1;
        lab.send_a(&packet);
    }),
    (DropReason::NotIpv4, |lab| lab.send_a(&[0x60; 40])),
    (DropReason::L4Malformed, |lab| {
        let short = edit(udp(A.host, B.host, 64, b"")[..24].to_vec(), |header| {
            header[3] = 24
        });
        lab.send_a(&short);
    }),
    (DropReason::OffloadMalformed, |lab| {
        let offload = Offload {
            gso: Gso::None,
            checksum: Checksum::Partial {
                start: 3,
                offset: 16,
            },
        };
        lab.send_a_with(&tcp(A.host, B.host, 1, b"x"), offload);
    }),
    (DropReason::Multicast, |lab| {
        lab.send_a(&udp(A.host, "10.77.60.255".parse().unwrap(), 64, b"x"));
    }),
    (DropReason::SourceInvalid, |lab| {
        lab.send_a(&udp("127.0.0.1".parse().unwrap(), B.host, 64, b"x"));
    }),
    (DropReason::SourceNotAllowed, |lab| {
        lab.send_a(&udp(B.host, A.overlay, 64, b"x"))
    }),
    (DropReason::TtlExceeded, |lab| {
        lab.send_a(&udp(A.host, B.host, 1, b"x"))
    }),
    (DropReason::EcnCeNotEct, |lab| {
        lab.remark = Some(3);
        lab.send_b(&udp(B.host, A.host, 64, b"x"));
    }),
    (DropReason::NoRoute, |lab| {
        lab.send_a(&udp(A.host, "8.8.8.8".parse().unwrap(), 64, b"x"))
    }),
    (DropReason::Blackhole, |lab| {
        lab.send_a(&udp(A.host, "198.51.100.1".parse().unwrap(), 64, b"x"));
    }),
    (DropReason::PoolWithheld, |lab| {
        lab.send_a(&udp(A.host, "10.77.60.99".parse().unwrap(), 64, b"x"));
    }),
    (DropReason::ForwardedByKernel, |lab| {
        lab.a.host_packet(&udp(A.host, B.host, 63, b"x"), lab.now);
    }),
    (DropReason::SameInterface, |lab| {
        route(lab, A.host, NextHop::Tunnel(TUNNEL));
        lab.send_b(&udp(B.host, A.host, 64, b"x"));
    }),
    (DropReason::TooBig, |lab| {
        lab.send_a(&tcp(A.host, B.host, 1, &[0; 1400]))
    }),
    (DropReason::FragmentFailed, |lab| {
        lab.a
            .install(lab.now, |snapshot| snapshot.tunnels[0].mtu = 20);
        lab.send_a(&may_fragment(udp(A.host, B.host, 64, b"x")));
    }),
    (DropReason::NeighborQueueFull, |lab| {
        for _ in 0..4 {
            lab.a
                .host_packet(&udp(A.router, silent(A), 64, b"x"), lab.now);
        }
    }),
    (DropReason::NeighborFailed, |lab| {
        lab.a
            .host_packet(&udp(A.router, silent(A), 64, b"x"), lab.now);
        lab.advance(std::time::Duration::from_secs(4));
    }),
    (DropReason::NeighborTableFull, |lab| {
        lab.a.install(lab.now, |snapshot| {
            add_prefix(snapshot, "10.88.0.0/16".parse().unwrap(), NextHop::Lan(LAN));
        });
        let first = std::net::Ipv4Addr::new(10, 88, 0, 1).to_bits();
        let mut sent = 0;
        // The router's own drops of waiting packets are not the point here: only one address is too many.
        while lab.a.dropped(DropReason::NeighborTableFull) == 0 {
            assert!(sent < 5000, "the table is bounded");
            let address = std::net::Ipv4Addr::from_bits(first + sent);
            lab.a
                .host_packet(&udp(A.router, address, 64, b"x"), lab.now);
            while let Some(egress) = lab.a.tx.pop() {
                let sam_dataplane::Egress::Port { unit, .. } = egress else {
                    continue;
                };
                lab.a.pool.give(unit.buffer);
            }
            sent += 1;
        }
    }),
    (DropReason::TunnelNoSession, |lab| {
        unknown_peer(lab, None);
        for _ in 0..33 {
            lab.send_a(&udp(A.host, B.host, 64, b"x"));
        }
    }),
    (DropReason::TunnelNoEndpoint, |lab| {
        let now = lab.now;
        let mut config = peer(B);
        config.public_key = sam_wg::PrivateKey::generate([5; 32]).public();
        config.endpoint = None;
        lab.a.handshakes.set_peers(&[config], now);
        lab.send_a(&udp(A.host, B.host, 64, b"x"));
    }),
    (DropReason::TunnelDown, |lab| {
        route(lab, B.host, NextHop::Tunnel(TunnelId(7)));
        lab.send_a(&udp(A.host, B.host, 64, b"x"));
    }),
    (DropReason::WgUnknownType, |lab| outer(lab, &[9; 40])),
    (DropReason::WgUnknownPeer, |lab| {
        let mut stranger = Router::new(
            Site {
                router_mac: [2, 0, 0, 0, 0, 0x33],
                ..B
            },
            A,
            lab.now,
        );
        let initiation = first_datagram(&mut stranger, lab.now);
        outer(lab, &initiation);
    }),
    (DropReason::WgBadMac, |lab| {
        let mut again = Router::new(B, A, lab.now);
        let mut initiation = first_datagram(&mut again, lab.now);
        initiation[120] ^= 1;
        outer(lab, &initiation);
    }),
    (DropReason::WgHandshakeRejected, |lab| {
        // A second handshake of the same peer, with an older timestamp than the first.
        let mut again = Router::new(B, A, lab.now);
        let initiation = first_datagram(&mut again, lab.now);
        lab.now += std::time::Duration::from_secs(1);
        outer(lab, &initiation);
        lab.now += std::time::Duration::from_secs(1);
        outer(lab, &initiation);
    }),
    (DropReason::WgUnknownIndex, |lab| {
        let mut data = data_from_b(lab);
        data[4] ^= 0xff;
        outer(lab, &data);
    }),
    (DropReason::WgDecryptFailed, |lab| {
        let mut data = data_from_b(lab);
        *data.last_mut().unwrap() ^= 1;
        outer(lab, &data);
    }),
    (DropReason::WgReplay, |lab| {
        let data = data_from_b(lab);
        outer(lab, &data);
        outer(lab, &data);
    }),
    (DropReason::WgUnderLoad, |lab| {
        for index in 0..2000_u32 {
            let seed = u8::try_from(index % 251).expect("small");
            let mut again = Router::with_seed(B, A, seed, lab.now);
            let initiation = first_datagram(&mut again, lab.now);
            let now = lab.now;
            lab.a
                .datagrams(socket(B), 0, initiation.len(), &initiation, now);
            lab.a.flush(now);
            if lab.a.dropped(DropReason::WgUnderLoad) > 0 {
                return;
            }
        }
    }),
    (DropReason::WgQueueFull, |lab| {
        // More handshake messages in one batch than a worker keeps for their owner.
        let mut again = Router::new(B, A, lab.now);
        let flood = first_datagram(&mut again, lab.now).repeat(64);
        let now = lab.now;
        lab.a
            .datagrams(socket(B), 0, sam_wg::HANDSHAKE_MAX, &flood, now);
    }),
    (DropReason::WgNotIp, |lab| {
        let now = lab.now;
        let mut sealed = vec![0; 2000];
        let mut sessions = lab.b.handshakes.data_path();
        let junk = sessions.seal(PEER, &[0; 40], &mut sealed, now);
        let len = junk.expect("the far device seals anything");
        outer(lab, &sealed[..len]);
    }),
    (DropReason::EncapUnknownSource, |lab| {
        let now = lab.now;
        lab.a.plain(GUE, socket(A), 0, 40, &[0x45; 40], now);
    }),
    (DropReason::EncapFromInside, |lab| {
        *lab = Lab::plain(GUE, Framing::Gue(Gue::Variant1));
        let (now, sender) = (lab.now, (GUE, socket(B), LAN_INTERFACE));
        lab.a.plain_by(sender, 0, 40, &[0x45; 40], now);
    }),
    (DropReason::EncapMalformed, |lab| {
        framed(lab, GUE, Framing::Gue(Gue::Variant1), &[0xc0; 40])
    }),
    (DropReason::EncapWrongKey, |lab| {
        framed(lab, Carrier::GRE, KEYED, &[0x20, 0, 8, 0, 0, 0, 0, 8, 0x45]);
    }),
    (DropReason::EncapChecksum, |lab| {
        framed(
            lab,
            Carrier::GRE,
            KEYED,
            &[0xa0, 0, 8, 0, 9, 9, 0, 0, 0, 0, 0, 7],
        );
    }),
    (DropReason::EncapMissing, |lab| {
        lab.nest(Carrier::GRE, KEYED);
        lab.b
            .install(lab.now, |snapshot| snapshot.tunnels[0].nested = None);
        lab.send_b(&udp(B.host, A.host, 64, b"x"));
    }),
    (DropReason::BufferPoolEmpty, |lab| {
        let unit = lab
            .a
            .unit(&udp(A.overlay, B.host, 64, b"x"), Offload::default());
        let now = lab.now;
        let mut held = Vec::new();
        while let Some(buffer) = lab.a.pool.take() {
            held.push(buffer);
        }
        lab.a
            .with(|forwarder, io| forwarder.handle_host_packet(unit, io, now));
        held.into_iter().for_each(|buffer| lab.a.pool.give(buffer));
    }),
    (DropReason::TxQueueFull, |lab| {
        lab.a.tx = TxQueue::new(0);
        lab.a.host_packet(&udp(A.router, A.host, 64, b"x"), lab.now);
    }),
    (DropReason::IcmpRateLimited, |lab| {
        for _ in 0..21 {
            lab.send_a(&udp(A.host, B.host, 1, b"x"));
        }
    }),
    (DropReason::DuplicateDelivery, |lab| {
        lab.send_a(&udp(A.host, A.overlay, 64, b"x"))
    }),
];

#[test]
fn every_reason_can_happen_or_belongs_to_the_drivers() {
    for &reason in DropReason::ALL {
        let case = CASES.iter().find(|(found, _)| *found == reason);
        let by_driver = BY_DRIVERS.contains(&reason);
        assert!(case.is_some() != by_driver, "{} has no case", reason.name());
        let Some((_, run)) = case else { continue };
        let mut lab = Lab::connected();
        run(&mut lab);
        assert!(
            lab.a.dropped(reason) > 0,
            "{}: {:?}",
            reason.name(),
            lab.a.drops()
        );
    }
}

#[test]
fn one_packet_is_counted_once() {
    // Cases that need several packets, or fill something up.
    let several = [
        DropReason::IcmpRateLimited,
        DropReason::NeighborTableFull,
        DropReason::WgQueueFull,
        DropReason::WgUnderLoad,
        DropReason::WgHandshakeRejected,
    ];
    for (reason, run) in CASES.iter().filter(|(reason, _)| !several.contains(reason)) {
        let mut lab = Lab::connected();
        run(&mut lab);
        assert_eq!(lab.a.drops(), [(*reason, 1)], "{}", reason.name());
    }
}

#[test]
fn a_refused_packet_gives_its_buffer_back() {
    let keeps = [
        DropReason::NeighborTableFull,
        DropReason::NeighborQueueFull,
        DropReason::TunnelNoSession,
    ];
    for (reason, run) in CASES.iter().filter(|(reason, _)| !keeps.contains(reason)) {
        let mut lab = Lab::connected();
        run(&mut lab);
        lab.settle();
        assert_eq!(lab.a.pool.available(), BUFFERS, "{}", reason.name());
    }
}

#[test]
fn each_invalid_source_and_destination_is_refused() {
    for source in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "10.77.60.255",
    ] {
        let mut lab = Lab::connected();
        lab.send_a(&udp(source.parse().unwrap(), B.host, 64, b"x"));
        assert_eq!(lab.a.drops(), [(DropReason::SourceInvalid, 1)], "{source}");
    }
    for destination in [
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.5",
        "255.255.255.255",
        "10.77.60.255",
    ] {
        let mut lab = Lab::connected();
        lab.send_a(&udp(A.host, destination.parse().unwrap(), 64, b"x"));
        assert_eq!(lab.a.drops(), [(DropReason::Multicast, 1)], "{destination}");
        assert_eq!(lab.from_a, [], "silently");
    }
}

#[test]
fn a_forwarder_without_snapshot_drops_everything() {
    let mut lab = Lab::connected();
    lab.a.install(lab.now, |snapshot| {
        *snapshot = sam_dataplane::Snapshot::default()
    });
    lab.send_a(&udp(A.host, B.host, 64, b"x"));
    lab.a
        .host_packet(&udp(A.overlay, B.host, 64, b"x"), lab.now);
    lab.send_b(&udp(B.host, A.host, 64, b"x"));
    assert_eq!(
        lab.a.drops(),
        [
            (DropReason::PortUnknown, 1),
            (DropReason::SourceNotAllowed, 1),
            (DropReason::TunnelDown, 1)
        ]
    );
    assert_eq!(lab.from_a, []);
}

#[test]
fn notices_are_bounded_and_lost_ones_counted() {
    let mut lab = Lab::connected();
    lab.a.notices();
    for number in 0..300_u16 {
        let [high, low] = number.to_be_bytes();
        let turncoat = ArpPacket::request([2, 0, 0, 9, high, low], A.host, A.router);
        lab.arp_a(turncoat, BROADCAST);
    }
    assert_eq!(
        (lab.a.notices().len(), lab.a.counter("notices-lost")),
        (256, 44)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_frames_never_panic_and_lose_no_buffer(
        frames in prop::collection::vec(hostile_frame(), 1..40),
        start in any::<u16>(),
        offset in any::<u16>(),
        size in any::<u16>(),
    ) {
        let mut lab = Lab::connected();
        for (index, bytes) in frames.iter().enumerate() {
            let gso = [Gso::None, Gso::Tcp { size }, Gso::Udp { size }][index % 3];
            let checksum = [Checksum::Complete, Checksum::Partial { start, offset }][index % 2];
            lab.a.frame_with(bytes, Offload { gso, checksum }, lab.now);
            if index % 5 == 0 {
                lab.a.host_packet(bytes, lab.now);
                lab.a.datagrams(socket(B), 3, 100, bytes, lab.now);
                lab.a.plain(GUE, socket(B), 3, 100, bytes, lab.now);
            }
        }
        lab.settle();
        lab.advance(std::time::Duration::from_secs(60));
        lab.assert_no_buffer_is_lost();
    }
}

/// Frames that get past the first checks: right MAC addresses, real packets with some bytes changed.
fn hostile_frame() -> impl Strategy<Value = Vec<u8>> {
    let seeds = prop_oneof![
        Just(frame(A.router_mac, A.host_mac, &syn(A.host, B.host, 1460))),
        Just(frame(
            A.router_mac,
            A.host_mac,
            &tcp(A.host, B.host, 1, &[1; 1000])
        )),
        Just(frame(
            A.router_mac,
            A.host_mac,
            &udp(A.host, B.host, 1, &[1; 100])
        )),
        Just(
            ArpPacket::request(A.host_mac, A.host, B.host)
                .emit_frame()
                .to_vec()
        ),
        prop::collection::vec(any::<u8>(), 0..100),
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (seeds, changes, any::<bool>()).prop_map(|(mut bytes, changes, repair)| {
        for (index, value) in changes {
            if bytes.len() > 14 {
                let at = 12 + index.index(bytes.len() - 12);
                bytes[at] = value;
            }
        }
        if repair && bytes.len() > 14 + 20 {
            sam_dataplane::packet::ipv4::write_checksum(&mut bytes[14..34]);
        }
        bytes
    })
}

fn raw(lab: &mut Lab, bytes: &[u8]) {
    lab.a.frame_with(bytes, Offload::default(), lab.now);
    lab.settle();
}

/// Lets a datagram arrive at A from B's address.
fn outer(lab: &mut Lab, datagram: &[u8]) {
    lab.a
        .datagrams(socket(B), 0, datagram.len(), datagram, lab.now);
    lab.a.flush(lab.now);
}

/// Lets a packet arrive at A, whose tunnel has this framing, from B's address.
fn framed(lab: &mut Lab, carrier: Carrier, framing: Framing, packet: &[u8]) {
    *lab = Lab::plain(carrier, framing);
    let now = lab.now;
    lab.a
        .plain(carrier, socket(B), 0, packet.len(), packet, now);
}

const KEYED: Framing = Framing::Gre(Gre {
    key: Some(7),
    checksum: false,
});

/// Changes a route of A.
fn route(lab: &mut Lab, address: std::net::Ipv4Addr, next_hop: NextHop) {
    lab.a.install(lab.now, |snapshot| {
        add_route(snapshot, address, next_hop);
    });
}

/// Replaces A's peer by one that does not answer.
fn unknown_peer(lab: &mut Lab, endpoint: Option<std::net::SocketAddr>) {
    let now = lab.now;
    let mut config = peer(B);
    config.public_key = sam_wg::PrivateKey::generate([5; 32]).public();
    config.endpoint = endpoint.or(config.endpoint);
    lab.a.handshakes.set_peers(&[config], now);
    lab.underlay_up = false;
}

/// Returns a data message from B to A that A has not seen.
fn data_from_b(lab: &mut Lab) -> Vec<u8> {
    let now = lab.now;
    let bytes = frame(B.router_mac, B.host_mac, &udp(B.host, A.host, 64, b"x"));
    lab.b.frame_with(&bytes, Offload::default(), now);
    first_train(&mut lab.b, now)
}

/// Returns the handshake initiation that a fresh router sends.
fn first_datagram(router: &mut Router, now: std::time::Instant) -> Vec<u8> {
    router.host_packet(
        &udp(
            router.snapshot.tun.as_ref().unwrap().address,
            A.overlay,
            64,
            b"x",
        ),
        now,
    );
    first_train(router, now)
}

fn first_train(router: &mut Router, now: std::time::Instant) -> Vec<u8> {
    router.flush(now);
    loop {
        match router.tx.pop().expect("a train") {
            sam_dataplane::Egress::Train { buffer, .. } => {
                let bytes = buffer.bytes().to_vec();
                router.pool.give(buffer);
                return bytes;
            }
            sam_dataplane::Egress::Port { unit, .. } => router.pool.give(unit.buffer),
        }
    }
}
