//! Whatever a LAN, a host and the underlay send, in whatever order, across whatever changes of the forwarding state:
//! two routers with a live tunnel do not panic, lose no buffer, say what became of each packet, and carry a packet
//! afterwards.
//!
//! The input is a list of steps: a kind, an argument, and for most kinds some bytes.

#[expect(dead_code, reason = "the tests of the forwarder use all of it")]
#[path = "../forwarder/lab.rs"]
mod lab;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sam_dataplane::encap::{Framing, Gre, Gue, Payload, Plain, Vxlan};
use sam_dataplane::packet::arp::ArpPacket;
use sam_dataplane::snapshot::Encap;
use sam_dataplane::trace::TapPoint;
use sam_dataplane::{Carrier, Checksum, Gso, NextHop, Offload, TunnelId, Verdict};

use lab::{
    A, B, BROADCAST, LAN_INTERFACE, Lab, TUNNEL, WAN_INTERFACE, peer, silent, socket, superpacket,
    tcp, udp,
};

/// A router that only B's neighbor A knows, once its tunnels have no encryption.
const C: ([u8; 4], u16) = ([192, 0, 2, 3], 40_000);
const C_HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 30);
const TO_C: TunnelId = TunnelId(1);
/// Ways to B and C: each way is that of B with its place, and that of C with the place before.
const TRANSPORTS: [(Carrier, Framing); 5] = [
    (Carrier::Udp { port: 6080 }, Framing::Gue(Gue::Variant1)),
    (Carrier::GRE, Framing::Gre(Gre::PLAIN)),
    (Carrier::IPIP, Framing::Ipip),
    (Carrier::Udp { port: 5555 }, Framing::Fou(Payload::Ipip)),
    (
        Carrier::Udp { port: 4789 },
        Framing::Vxlan(Vxlan {
            vni: 7,
            from: [2, 0, 0, 0, 0, 1],
            to: [2, 0, 0, 0, 0, 2],
        }),
    ),
];
/// The kind of step that publishes another forwarding state.
const CHANGE: u8 = 10;
/// Steps of one input that are carried out; more would only be slow.
const STEPS: usize = 64;

pub(crate) fn check(data: &[u8]) {
    let mut lab = Lab::new();
    lab.set_tap();
    let mut input = Input(data);
    for _ in 0..STEPS {
        let Some([kind, argument]) = input.array() else {
            break;
        };
        step(&mut lab, kind, argument, &mut input);
        everything_received_is_judged(&mut lab, kind % 13 != CHANGE);
        lab.clear();
        lab.a.notices();
        lab.b.notices();
    }
    aftermath(&mut lab);
}

/// A listener learns what became of each packet that it sees coming, and what is forwarded came by the tunnel behind which
/// its source lives; `settled` tells whether the forwarding state is that of all of them.
fn everything_received_is_judged(lab: &mut Lab, settled: bool) {
    let tap = lab.a.forwarder.tap().unwrap();
    for record in std::iter::from_fn(|| tap.pop()).filter(|record| !record.outbound) {
        assert!(record.verdict.is_some(), "{record:?}");
        let forwarded = matches!(record.verdict, Some(Verdict::Forwarded(_)));
        if let (TapPoint::Inner(tunnel), true, true) = (record.point, settled, forwarded) {
            let source: [u8; 4] = record.data[12..16].try_into().unwrap();
            let home = lab.a.snapshot.fib.lookup(source.into());
            assert_eq!(home, Some(NextHop::Tunnel(tunnel)), "{record:?}");
        }
    }
    assert_eq!(tap.take_missed(), 0);
}

fn step(lab: &mut Lab, kind: u8, argument: u8, input: &mut Input<'_>) {
    let now = lab.now;
    match kind % 13 {
        0 => lab
            .a
            .frame_with(input.bytes(argument), Offload::default(), now),
        1 => {
            let offload = input.offload();
            lab.a.frame_with(input.bytes(argument), offload, now);
        }
        2 => lab.a.host_packet(input.bytes(argument), now),
        3 => {
            let [tos, segment] = input.array().unwrap_or_default();
            let bytes = input.bytes(argument);
            lab.a.datagrams(socket(B), tos, segment.into(), bytes, now);
        }
        // Packets that make sense, with a few changed bytes.
        4 => {
            let packet = input.spoil(udp(A.host, B.host, 64, &[argument; 40]));
            lab.send_a(&packet);
        }
        5 => {
            let packet = input.spoil(tcp(A.host, B.host, 1, &[7; 300]));
            let size = u16::from(argument);
            lab.send_a_with(&packet, superpacket(size));
        }
        6 => {
            let packet = input.spoil(udp(B.host, address(argument), 64, &[1; 1000]));
            lab.send_b(&packet);
        }
        7 => {
            let packet = input.spoil(udp(A.overlay, B.overlay, 64, &[argument; 9]));
            lab.a.host_packet(&packet, now);
        }
        8 => {
            let request = ArpPacket::request(A.host_mac, address(argument), address(argument >> 3));
            let bytes = input.spoil(request.emit_frame_to(BROADCAST).to_vec());
            lab.a.frame_with(&bytes, Offload::default(), now);
        }
        9 => lab.advance(Duration::from_millis(u64::from(argument) * 20)),
        CHANGE => change(lab, argument),
        12 => {
            let [tos, segment] = input.array().unwrap_or_default();
            let bytes = input.bytes(argument);
            let (carrier, _) = TRANSPORTS[usize::from(tos >> 2) % TRANSPORTS.len()];
            let from = if tos & 0x80 == 0 { socket(B) } else { C.into() };
            let interface = if tos & 0x40 == 0 {
                WAN_INTERFACE
            } else {
                LAN_INTERFACE
            };
            let sender = (carrier, from, interface);
            lab.a.plain_by(sender, tos & 3, segment.into(), bytes, now);
        }
        _ => {
            (lab.underlay_up, lab.hosts_up) = (argument & 1 == 0, argument & 2 == 0);
            lab.remark = (argument & 4 != 0).then_some(argument >> 3);
        }
    }
    lab.settle();
}

/// Publishes another forwarding state at A.
fn change(lab: &mut Lab, argument: u8) {
    let now = lab.now;
    if argument.is_multiple_of(7) {
        // The peer disappears and comes back without a session.
        lab.a.handshakes.set_peers(&[], now);
        lab.a.handshakes.set_peers(&[peer(B)], now);
    }
    if argument.is_multiple_of(5) {
        // The way to B has no encryption from now on, and there is one to C; B goes on as before.
        let place = usize::from(argument / 5) % TRANSPORTS.len();
        let before = (place + TRANSPORTS.len() - 1) % TRANSPORTS.len();
        lab.a.install(now, |snapshot| {
            let Some(mut to_b) = snapshot.tunnels.first().cloned() else {
                return;
            };
            let mut to_c = to_b.clone();
            to_b.encap = plain(TRANSPORTS[place], socket(B));
            to_c.encap = plain(TRANSPORTS[before], C.into());
            (to_c.id, to_c.site) = (TO_C, TO_C.0);
            snapshot.tunnels = vec![to_b, to_c];
            lab::add_route(snapshot, C_HOST, NextHop::Tunnel(TO_C));
        });
        return;
    }
    lab.a.install(now, |snapshot| match argument % 8 {
        0 => snapshot.lans.clear(),
        1 => snapshot.tunnels.clear(),
        2 => snapshot.tun = None,
        3 => snapshot
            .lans
            .iter_mut()
            .for_each(|lan| lan.gate_open ^= true),
        4 => {
            let mtu = 68 + u16::from(argument) * 5;
            snapshot
                .tunnels
                .iter_mut()
                .for_each(|tunnel| tunnel.mtu = mtu);
        }
        5 => lab::add_route(snapshot, B.host, NextHop::Withhold),
        6 => lab::add_route(snapshot, B.host, NextHop::Tunnel(TUNNEL)),
        _ => *snapshot = lab::snapshot(A, B),
    });
}

fn plain((carrier, framing): (Carrier, Framing), to: SocketAddr) -> Encap {
    Encap::Plain(Plain {
        carrier,
        framing,
        to: Some(to),
        by_lan: false,
    })
}

/// Everything comes back: buffers once nothing is forwarded any more, traffic once all is as at the start.
fn aftermath(lab: &mut Lab) {
    let now = lab.now;
    for router in [&mut lab.a, &mut lab.b] {
        router.install(now, |snapshot| {
            *snapshot = sam_dataplane::Snapshot::default()
        });
    }
    lab.settle();
    lab.assert_no_buffer_is_lost();

    (lab.underlay_up, lab.hosts_up, lab.remark) = (true, true, None);
    lab.a
        .install(now, |snapshot| *snapshot = lab::snapshot(A, B));
    lab.b
        .install(now, |snapshot| *snapshot = lab::snapshot(B, A));
    // A handshake may be due, and its retry, and ARP for hosts that had failed.
    for _ in 0..8 {
        lab.advance(Duration::from_secs(5));
        lab.clear();
        lab.send_a(&udp(A.host, B.host, 64, b"alive"));
        if !lab.at_server().is_empty() {
            return;
        }
    }
    panic!("the tunnel does not carry packets any more");
}

/// The bytes that drive a test.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn bytes(&mut self, length: u8) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(usize::from(length).min(self.0.len()));
        self.0 = rest;
        bytes
    }

    fn offload(&mut self) -> Offload {
        let [kind, size, start, offset] = self.array().unwrap_or_default();
        let size = u16::from(size) << (kind >> 6);
        Offload {
            gso: match kind % 3 {
                0 => Gso::None,
                1 => Gso::Tcp { size },
                _ => Gso::Udp { size },
            },
            checksum: if kind & 8 == 0 {
                Checksum::Complete
            } else {
                Checksum::Partial {
                    start: start.into(),
                    offset: offset.into(),
                }
            },
        }
    }

    /// Changes up to three bytes; the last of them is followed by a zero length.
    fn spoil(&mut self, mut packet: Vec<u8>) -> Vec<u8> {
        let [changes] = self.array().unwrap_or_default();
        for _ in 0..changes % 4 {
            let [position, bits] = self.array().unwrap_or_default();
            let position = usize::from(position) % packet.len();
            packet[position] ^= bits;
        }
        packet
    }
}

/// One of the addresses that mean something in the lab.
fn address(choice: u8) -> Ipv4Addr {
    let known = [
        A.host,
        B.host,
        A.router,
        B.router,
        A.overlay,
        C_HOST,
        silent(A),
        silent(B),
        Ipv4Addr::UNSPECIFIED,
    ];
    known[usize::from(choice) % known.len()]
}
