//! Everything that a packet may meet at a router, over and over: nothing of it allocates.
//!
//! ```text
//!   LAN A ── router A ══ any transport ══ router B ── LAN B
//!               ║
//!               ╚══════ GUE ══ far end C, played by the test
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use sam_dataplane::encap::{Framing, Gre, Gue, Nested, Payload, Plain, Vxlan};
use sam_dataplane::packet::arp::ArpPacket;
use sam_dataplane::packet::ipv4::write_checksum;
use sam_dataplane::snapshot::{Encap, Tunnel};
use sam_dataplane::{
    Carrier, DropReason, Dscp, Egress, Lane, NextHop, Offload, PlainDatagrams, TunnelId, Unit,
};

use crate::ALLOCATIONS;
use crate::lab::{
    A, B, BROADCAST, LAN, Lab, MTU, Router, Site, add_route, frame, may_fragment, partial, ping,
    socket, superpacket, syn, tcp, udp,
};

/// Host behind C.
const C_HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 30);
const C: ([u8; 4], u16) = ([192, 0, 2, 3], 6080);
const C_TUNNEL: TunnelId = TunnelId(1);
const GUE: Carrier = Carrier::Udp { port: 6080 };
/// Rounds that are watched, and the time between two: WireGuard wants no new session, and no neighbor a question.
const ROUNDS: u32 = 300;
const STEP: Duration = Duration::from_millis(7);

/// Something that arrives.
enum Input {
    Frame(Vec<u8>, Offload),
    Host(Vec<u8>),
    /// Outer packets of one length, by a carrier or WireGuard, from an address.
    Outer(Option<Carrier>, SocketAddr, usize, Vec<u8>),
}

#[test]
fn whatever_a_packet_meets_allocates_nothing_through_any_transport() {
    for mut lab in transports() {
        connect_c(&mut lab);
        let (at_a, at_b) = (inputs_of_a(), inputs_of_b());
        for _ in 0..10 {
            round(&mut lab, &at_a, &at_b);
        }
        let merged = lab.a.counter("segments-merged");
        let before = ALLOCATIONS.get();

        for _ in 0..ROUNDS {
            round(&mut lab, &at_a, &at_b);
        }

        assert_eq!(ALLOCATIONS.get() - before, 0);
        // A superpacket of nine from B and one from C.
        assert_eq!(
            lab.a.counter("segments-merged") - merged,
            18 * u64::from(ROUNDS)
        );
        assert_everything_was_met(&lab);
        lab.assert_no_buffer_is_lost();
    }
}

/// Each input did what it is for, not something shorter.
fn assert_everything_was_met(lab: &Lab) {
    let rounds = u64::from(ROUNDS);
    for (name, least) in [
        ("fragments-made", 3 * rounds),
        ("mss-clamped", rounds),
        ("icmp-errors-sent", 30),
        ("arp-replies-sent", 100),
        ("arp-requests-received", 2 * rounds),
        ("arp-replies-received", rounds),
        ("tun-rx-units", rounds),
        ("tun-tx-units", rounds),
        // From B: one, nine, one to C, one to the host; from C: nine, and one to B.
        ("tunnel-rx-packets", 22 * rounds),
        ("trains-received", 5 * rounds),
    ] {
        assert!(
            lab.a.counter(name) >= least,
            "{name}: {}",
            lab.a.counter(name)
        );
    }
    for reason in [
        DropReason::TooBig,
        DropReason::TtlExceeded,
        DropReason::NoRoute,
        DropReason::Blackhole,
        DropReason::PoolWithheld,
        DropReason::SourceNotAllowed,
        DropReason::IpMalformed,
        DropReason::FrameNotForUs,
        DropReason::WgUnknownType,
        DropReason::EncapUnknownSource,
        DropReason::IcmpRateLimited,
    ] {
        assert!(lab.a.dropped(reason) > rounds / 2, "{reason:?}");
    }
}

/// WireGuard, with and without a tunnel inside, and everything without encryption.
fn transports() -> Vec<Lab> {
    let ends = Vxlan::between(77, A.overlay, B.overlay);
    let plain = [
        (GUE, Framing::Gue(Gue::Variant0(Payload::Gre))),
        (Carrier::Udp { port: 5555 }, Framing::Fou(Payload::Ipip)),
        (Carrier::Udp { port: 4789 }, Framing::Vxlan(ends)),
        (Carrier::IPIP, Framing::Ipip),
        (
            Carrier::GRE,
            Framing::Gre(Gre {
                key: Some(7),
                checksum: true,
            }),
        ),
    ];
    let plain = plain.into_iter().map(|(carrier, framing)| {
        changed(|tunnel, _, far| {
            let port = if let Carrier::Udp { port } = carrier {
                port
            } else {
                0
            };
            tunnel.encap = Encap::Plain(Plain {
                carrier,
                framing: towards(framing, far),
                to: Some(SocketAddr::from((far.underlay.0, port))),
                by_lan: false,
            });
        })
    });
    let nested = changed(|tunnel, own, far| {
        tunnel.nested = Some(Nested {
            carrier: Carrier::GRE,
            framing: Framing::Gre(Gre::PLAIN),
            own: own.overlay,
            far: far.overlay,
        });
    });
    [Lab::connected(), nested]
        .into_iter()
        .chain(plain)
        .collect()
}

/// A lab whose tunnel differs at both ends.
fn changed(change: impl Fn(&mut Tunnel, Site, Site)) -> Lab {
    let mut lab = Lab::connected();
    let now = lab.now;
    for (router, own, far) in [(&mut lab.a, A, B), (&mut lab.b, B, A)] {
        router.install(now, |snapshot| change(&mut snapshot.tunnels[0], own, far));
    }
    lab
}

fn towards(framing: Framing, far: Site) -> Framing {
    match framing {
        Framing::Vxlan(ends) if far == A => Framing::Vxlan(Vxlan {
            from: ends.to,
            to: ends.from,
            ..ends
        }),
        Framing::Vxlan(_) | Framing::Ipip | Framing::Gre(_) | Framing::Fou(_) | Framing::Gue(_) => {
            framing
        }
    }
}

/// Gives A a second tunnel, without encryption, and both a route to what is behind it.
fn connect_c(lab: &mut Lab) {
    let now = lab.now;
    lab.a.install(now, |snapshot| {
        let tunnel = Tunnel {
            id: C_TUNNEL,
            name: "c".to_owned(),
            encap: Encap::Plain(Plain {
                carrier: GUE,
                framing: Framing::Gue(Gue::Variant1),
                to: Some(C.into()),
                by_lan: false,
            }),
            nested: None,
            mtu: MTU,
            mss_clamp: true,
            force_fragment: false,
            dscp: Dscp::default(),
            site: C_TUNNEL.0,
        };
        snapshot.tunnels.push(tunnel);
        add_route(snapshot, C_HOST, NextHop::Tunnel(C_TUNNEL));
    });
    lab.b.install(now, |snapshot| {
        add_route(snapshot, C_HOST, NextHop::Tunnel(TunnelId(0)));
    });
    lab.settle();
    lab.clear();
}

fn inputs_of_a() -> Vec<Input> {
    let whole = Offload::default();
    let lan = |ip: &[u8]| Input::Frame(frame(A.router_mac, A.host_mac, ip), whole);
    let to = |address: &str| udp(A.host, address.parse().unwrap(), 64, b"x");
    let fragment = |flags: u16| {
        let mut packet = udp(A.host, B.host, 64, &[3; 800]);
        packet[6..8].copy_from_slice(&flags.to_be_bytes());
        write_checksum(&mut packet[..20]);
        packet
    };
    let long = partial(tcp(A.host, B.host, 1, &[2; 9 * 1300]));
    let run: Vec<u8> = (0..9)
        .flat_map(|index| tcp(C_HOST, A.host, 1 + index * 1300, &[4; 1300]))
        .collect();
    let request = ArpPacket::request(A.host_mac, A.host, B.host);
    let unanswered = ArpPacket::request(A.host_mac, A.host, A.router);
    let reply = ArpPacket::request(A.router_mac, A.router, A.host).reply(A.host_mac);
    let arp = |packet: ArpPacket, to| Input::Frame(packet.emit_frame_to(to).to_vec(), whole);
    let from_c = |segment, bytes| Input::Outer(Some(GUE), C.into(), segment, bytes);
    let stranger = SocketAddr::from(([198, 51, 100, 9], 6080));
    vec![
        lan(&udp(A.host, B.host, 64, &[1; 1000])),
        Input::Frame(frame(A.router_mac, A.host_mac, &long), superpacket(1300)),
        lan(&syn(A.host, B.host, 1460)),
        lan(&ping(A.host, B.host, &[5; 56])),
        lan(&fragment(0x2000)),
        lan(&fragment(100)),
        lan(&may_fragment(udp(A.host, B.host, 64, &[6; 3000]))),
        lan(&tcp(A.host, B.host, 1, &[7; 1450])),
        lan(&udp(A.host, B.host, 1, b"x")),
        lan(&to("203.0.113.9")),
        lan(&to("198.51.100.1")),
        lan(&to("10.77.60.99")),
        lan(&udp(B.host, A.host, 64, b"spoofed")),
        lan(&[0x45, 0, 0]),
        Input::Frame(frame(BROADCAST, A.host_mac, &to("10.77.60.20")), whole),
        arp(request, BROADCAST),
        arp(unanswered, BROADCAST),
        arp(reply, A.router_mac),
        Input::Host(udp(A.overlay, B.overlay, 64, &[8; 100])),
        from_c(1340, run),
        from_c(48, udp(C_HOST, B.host, 64, &[9; 20])),
        Input::Outer(Some(GUE), stranger, 48, udp(C_HOST, A.host, 64, &[9; 20])),
        Input::Outer(None, socket(B), 9, vec![9; 9]),
    ]
}

fn inputs_of_b() -> Vec<Input> {
    let lan = |ip: &[u8], offload| {
        let bytes = frame(B.router_mac, B.host_mac, ip);
        Input::Frame(bytes, offload)
    };
    let long = partial(tcp(B.host, A.host, 1, &[2; 9 * 1300]));
    vec![
        lan(&udp(B.host, A.host, 64, &[1; 1000]), Offload::default()),
        lan(&long, superpacket(1300)),
        lan(&udp(B.host, C_HOST, 64, &[1; 100]), Offload::default()),
        Input::Host(udp(B.overlay, A.overlay, 64, &[8; 100])),
    ]
}

/// Lets everything arrive once, and carries what leaves to the other router.
fn round(lab: &mut Lab, at_a: &[Input], at_b: &[Input]) {
    lab.now += STEP;
    let Lab { a, b, now, .. } = lab;
    for (router, inputs) in [(&mut *a, at_a), (&mut *b, at_b)] {
        for input in inputs {
            arrive(router, input, *now);
        }
    }
    // What they answer each other comes to an end.
    for _ in 0..4 {
        end_batch(a, *now);
        carry(a, b, A, *now);
        end_batch(b, *now);
        carry(b, a, B, *now);
    }
}

fn arrive(router: &mut Router, input: &Input, now: Instant) {
    let mut buffer = router.pool.take().unwrap();
    match input {
        Input::Frame(bytes, offload) => {
            assert!(buffer.append(bytes));
            let unit = Unit {
                buffer,
                offload: *offload,
            };
            router.with(|forwarder, io| forwarder.handle_frame(LAN, unit, io, now));
        }
        Input::Host(bytes) => {
            assert!(buffer.append(bytes));
            let unit = Unit::plain(buffer);
            router.with(|forwarder, io| forwarder.handle_host_packet(unit, io, now));
        }
        Input::Outer(carrier, from, segment, bytes) => {
            assert!(buffer.append(bytes));
            router.with(|forwarder, io| match *carrier {
                None => forwarder.handle_datagrams(*from, 0, *segment, buffer, io, now),
                Some(carrier) => {
                    let datagrams = PlainDatagrams {
                        carrier,
                        from: *from,
                        tos: 0,
                        segment: *segment,
                        interface: 0,
                        buffer,
                    };
                    forwarder.handle_plain(datagrams, io, now);
                }
            });
        }
    }
}

/// Ends the batch; control reads its notices, and nobody the signals of a session that stays.
fn end_batch(router: &mut Router, now: Instant) {
    router.with(|forwarder, io| forwarder.flush(io, now));
    while router.forwarder.poll_notice().is_some() {}
    while router.forwarder.poll_post().is_some() {}
}

/// Carries the trains of one router to the other; LANs, hosts and C swallow the rest.
fn carry(from: &mut Router, to: &mut Router, sender: Site, now: Instant) {
    while let Some(egress) = from.tx.pop() {
        let (lane, outer, segment, tos, bytes) = match egress {
            Egress::Port { unit, .. } => {
                from.pool.give(unit.buffer);
                continue;
            }
            Egress::Train {
                lane,
                to,
                segment,
                tos,
                buffer,
            } => (lane, to, usize::from(segment), tos, buffer),
        };
        if outer.ip() == SocketAddr::from(C).ip() {
            from.pool.give(bytes);
            continue;
        }
        let mut buffer = to.pool.take().unwrap();
        assert!(buffer.append(bytes.bytes()));
        from.pool.give(bytes);
        let carrier = match lane {
            Lane::WireGuard => None,
            Lane::Udp(_) => Some(Carrier::Udp { port: outer.port() }),
            Lane::Ip { protocol } => Some(Carrier::Ip { protocol }),
        };
        let from = socket(sender);
        to.with(|forwarder, io| match carrier {
            None => forwarder.handle_datagrams(from, tos, segment, buffer, io, now),
            Some(carrier) => {
                let datagrams = PlainDatagrams {
                    carrier,
                    from,
                    tos,
                    segment,
                    interface: 0,
                    buffer,
                };
                forwarder.handle_plain(datagrams, io, now);
            }
        });
    }
}
