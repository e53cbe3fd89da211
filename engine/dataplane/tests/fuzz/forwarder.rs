//! Whatever a LAN, a host and the underlay send, in whatever order, across whatever changes of the forwarding state:
//! two routers with a live tunnel do not panic, lose no buffer, say what became of each packet, and carry a packet
//! afterwards.
//!
//! The input is a list of steps: a kind, an argument, and for most kinds some bytes.

#[expect(dead_code, reason = "the tests of the forwarder use all of it")]
#[path = "../forwarder/lab.rs"]
mod lab;

use std::time::Duration;

use sam_dataplane::encap::{Framing, Gre, Gue, Plain};
use sam_dataplane::packet::arp::ArpPacket;
use sam_dataplane::snapshot::Encap;
use sam_dataplane::{Carrier, Checksum, Gso, NextHop, Offload};

use lab::{A, B, BROADCAST, Lab, TUNNEL, peer, silent, socket, superpacket, tcp, udp};

const CARRIERS: [Carrier; 3] = [Carrier::Udp { port: 6080 }, Carrier::GRE, Carrier::IPIP];
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
        everything_received_is_judged(&mut lab);
        lab.clear();
        lab.a.notices();
        lab.b.notices();
    }
    aftermath(&mut lab);
}

/// A listener learns what became of each packet that it sees coming.
fn everything_received_is_judged(lab: &mut Lab) {
    let tap = lab.a.forwarder.tap().unwrap();
    for record in std::iter::from_fn(|| tap.pop()).filter(|record| !record.outbound) {
        assert!(record.verdict.is_some(), "{record:?}");
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
        10 => change(lab, argument),
        12 => {
            let [tos, segment] = input.array().unwrap_or_default();
            let (bytes, carrier) = (input.bytes(argument), CARRIERS[usize::from(argument % 3)]);
            lab.a
                .plain(carrier, socket(B), tos, segment.into(), bytes, now);
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
        // The way to B has no encryption from now on; B goes on as before.
        let carrier = CARRIERS[usize::from(argument % 3)];
        let framing = match carrier {
            Carrier::Udp { .. } => Framing::Gue(Gue::Variant1),
            Carrier::Ip { .. } => Framing::Gre(Gre::PLAIN),
        };
        lab.a.install(now, |snapshot| {
            for tunnel in &mut snapshot.tunnels {
                tunnel.encap = Encap::Plain(Plain {
                    carrier,
                    framing,
                    to: Some(socket(B)),
                });
            }
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
fn address(choice: u8) -> std::net::Ipv4Addr {
    let known = [
        A.host,
        B.host,
        A.router,
        B.router,
        A.overlay,
        silent(A),
        silent(B),
        std::net::Ipv4Addr::UNSPECIFIED,
    ];
    known[usize::from(choice) % known.len()]
}
