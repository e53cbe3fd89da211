//! One worker and several: the same frames leave, each flow in order, and the counters add up to the same.
//!
//! The test plays the kernel: it hands each flow to one worker, fragments by their addresses alone, and ARP to all.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use proptest::prelude::*;
use sam_dataplane::encap::lane::udp_lane;
use sam_dataplane::encap::{Framing, Gue, Plain};
use sam_dataplane::icmp_limiter::IcmpLimiter;
use sam_dataplane::packet::arp::{ArpOperation, ArpPacket};
use sam_dataplane::packet::classify;
use sam_dataplane::segment::Segments;
use sam_dataplane::snapshot::Encap;
use sam_dataplane::{BufferPool, Checksum, DropReason, Egress, Forwarder, Offload, PortId, Role};

use crate::lab::*;
use crate::plain::GUE;

/// What depends on how flows are mixed in one worker: how many packets leave together, not which; and each worker asks for
/// its neighbors itself (decision 0010).
const OF_THE_MIX: [&str; 7] = [
    "arp-requests-sent",
    "routing-decisions",
    "trains-sent",
    "segments-merged",
    "lan-tx-units",
    "lan-tx-bytes",
    "tun-tx-units",
];
const FLOWS: u16 = 5;

/// One event.
#[derive(Debug, Clone)]
enum Step {
    /// A packet of a flow from the LAN.
    Lan(Kind, u16),
    /// A packet of a flow from the router's own host.
    Host(u16),
    /// A train of so many TCP packets of a flow from the tunnel.
    Train(u16, u8),
    /// A datagram of a flow from the tunnel.
    Datagram(Kind, u16),
    Arp(usize),
    /// The batch ends, and time goes on.
    Rest(u8),
}

/// What a packet is about.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Short,
    Super,
    Syn,
    TooBig,
    Long,
    Expired,
    FirstFragment,
    LastFragment,
    Nowhere,
    Withheld,
    Spoofed,
    /// For the other router itself.
    Router,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn one_and_four_workers_give_the_same_answers(steps in prop::collection::vec(step(), 1..120)) {
        let one = Team::run(1, &steps);
        for count in [2, 4] {
            let many = Team::run(count, &steps);
            prop_assert_eq!(many.differences(&one), Vec::<String>::new());
        }
    }
}

#[test]
fn every_kind_of_event_is_tried_and_several_workers_have_part_in_it() {
    // Twice, so that there are more ICMP errors than may be sent.
    let flows = (0..FLOWS).chain(0..FLOWS);
    let steps: Vec<Step> = flows.flat_map(every_step).collect();
    let (one, many) = (Team::run(1, &steps), Team::run(4, &steps));
    assert_eq!(many.differences(&one), Vec::<String>::new());

    let shares = many.workers.iter();
    let shares: Vec<u64> = shares
        .map(|worker| worker.counter("lan-rx-units"))
        .collect();
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
    for name in ["segments-merged", "tun-tx-units"] {
        let shares = many.workers.iter().map(|worker| worker.counter(name));
        assert!(shares.sum::<u64>() > 0, "{name}");
    }
    let sums = one.sums();
    for name in [
        "arp-replies-sent",
        "icmp-errors-sent",
        "mss-clamped",
        "fragments-made",
        "tun-rx-units",
    ] {
        assert!(sums[name] > 0, "{name}");
    }
    for reason in [
        DropReason::TooBig,
        DropReason::TtlExceeded,
        DropReason::NoRoute,
        DropReason::PoolWithheld,
        DropReason::SourceNotAllowed,
        DropReason::IcmpRateLimited,
    ] {
        assert!(sums[reason.name()] > 0, "{reason:?}");
    }
}

/// Router A with some workers, and all that left it.
struct Team {
    workers: Vec<Router>,
    now: Instant,
    /// By port (0: the tunnel) and flow, in order; see [`label`].
    sent: BTreeMap<(u16, String), Vec<Vec<u8>>>,
}

impl Team {
    #[expect(
        clippy::disallowed_methods,
        reason = "an `Instant` has no other origin"
    )]
    fn run(count: usize, steps: &[Step]) -> Self {
        let now = Instant::now();
        let limiter: Arc<IcmpLimiter> = Arc::default();
        let worker = |index| {
            let mut router = Router::new(A, B, now);
            // What it announced when it was the only one was not said.
            while let Some(egress) = router.tx.pop() {
                drop(egress);
            }
            (router.stats, router.pool) = (Arc::default(), BufferPool::new(BUFFERS));
            router.forwarder = Forwarder::new(
                router.handshakes.data_path(),
                Role::of_worker(index),
                Arc::clone(&limiter),
                Arc::clone(&router.stats),
            );
            router.install(now, |snapshot| {
                snapshot.tunnels[0].encap = Encap::Plain(Plain {
                    carrier: GUE,
                    framing: Framing::Gue(Gue::Variant1),
                    to: Some((B.underlay.0, 6080).into()),
                    by_lan: false,
                });
            });
            router
        };
        let mut team = Self {
            workers: (0..count).map(worker).collect(),
            now,
            sent: BTreeMap::new(),
        };
        // The host is known from here on.
        team.step(&Step::Arp(0));
        steps.iter().for_each(|step| team.step(step));
        team.step(&Step::Rest(1));
        team
    }

    fn step(&mut self, step: &Step) {
        let now = self.now;
        match *step {
            Step::Lan(kind, flow) => {
                let (packet, offload) = packet(kind, flow, (A, B));
                let bytes = frame(A.router_mac, A.host_mac, &packet);
                self.worker(&packet).frame_with(&bytes, offload, now);
            }
            Step::Host(flow) => {
                let packet = datagram(A.overlay, B.overlay, flow, 64, &[1; 50]);
                self.worker(&packet).host_packet(&packet, now);
            }
            Step::Train(flow, count) => {
                let segments = (0..u32::from(count)).map(|index| {
                    let sequence = 1 + index * 1000;
                    stream((B, A), flow, sequence, &[flow.to_be_bytes()[1]; 1000])
                });
                self.arrive(&segments.collect::<Vec<_>>());
            }
            Step::Datagram(kind, flow) => {
                let (packet, _) = packet(kind, flow, (B, A));
                self.arrive(&[packet]);
            }
            Step::Arp(which) => {
                let bytes = arps()[which].emit_frame_to(BROADCAST);
                for worker in &mut self.workers {
                    worker.frame_with(&bytes, Offload::default(), now);
                }
            }
            Step::Rest(millis) => {
                self.now += Duration::from_millis(millis.into());
                for worker in &mut self.workers {
                    worker.with(|forwarder, io| forwarder.flush(io, now));
                }
            }
        }
        self.collect();
    }

    /// The worker that the kernel hands a packet of the LAN or the host to.
    fn worker(&mut self, packet: &[u8]) -> &mut Router {
        let count = self.workers.len();
        let key = flow(packet);
        let hash = key.bytes().fold(7_usize, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(byte.into())
        });
        &mut self.workers[hash % count]
    }

    /// Lets packets of one flow arrive by the tunnel: B sends each flow from one port, and the port chooses the worker.
    fn arrive(&mut self, packets: &[Vec<u8>]) {
        let (first, now) = (&packets[0], self.now);
        let lane = udp_lane(first, &classify(first).unwrap());
        let from = (B.underlay.0, 30_000 + u16::from(lane)).into();
        let count = self.workers.len();
        let worker = &mut self.workers[usize::from(lane) % count];
        worker.plain(GUE, from, 0, first.len(), &packets.concat(), now);
    }

    fn collect(&mut self) {
        for worker in &mut self.workers {
            while let Some(egress) = worker.tx.pop() {
                match egress {
                    Egress::Port { port, unit } => {
                        let bytes = unit.buffer.bytes();
                        for (flow, packet) in wire_packets(port, bytes, unit.offload) {
                            self.sent.entry((port.0, flow)).or_default().push(packet);
                        }
                        worker.pool.give(unit.buffer);
                    }
                    Egress::Train {
                        segment, buffer, ..
                    } => {
                        for packet in buffer.bytes().chunks(segment.into()) {
                            let flow = (0, label(packet));
                            self.sent.entry(flow).or_default().push(packet.to_vec());
                        }
                        worker.pool.give(buffer);
                    }
                }
            }
            while worker.forwarder.poll_notice().is_some() {}
            assert_eq!(worker.tx.len(), 0);
        }
    }

    /// Flows of which something else was sent, or in another order, and counters that do not add up to the same.
    fn differences(&self, other: &Self) -> Vec<String> {
        let flows = self.sent.keys().chain(other.sent.keys());
        let flows = flows.filter(|flow| self.sent.get(flow) != other.sent.get(flow));
        let flows = flows.map(|flow| format!("{flow:?}"));
        let (sums, others) = (self.sums(), other.sums());
        let counters = sums.iter().filter(|(name, sum)| others[*name] != **sum);
        let counters = counters.map(|(name, sum)| format!("{name}: {sum}, not {}", others[name]));
        flows.chain(counters).collect()
    }

    /// Counters and drops of all workers together.
    fn sums(&self) -> BTreeMap<&'static str, u64> {
        let mut sums = BTreeMap::new();
        for worker in &self.workers {
            let counters = worker.stats.counters();
            let counters = counters.map(|(name, _, value)| (name, value));
            let drops = worker.stats.drops();
            let all = counters.chain(drops.map(|(reason, total)| (reason.name(), total)));
            for (name, value) in all.filter(|(name, _)| !OF_THE_MIX.contains(name)) {
                *sums.entry(name).or_default() += value;
            }
        }
        sums
    }
}

/// The flow of a packet, as the kernel tells flows apart: by addresses, protocol and ports, and fragments without ports.
fn flow(packet: &[u8]) -> String {
    let is_fragment = packet[6] & 0x3f != 0 || packet[7] != 0;
    let ports = match packet[9] {
        6 | 17 if !is_fragment => &packet[20..24],
        _ => &[],
    };
    format!("{:?} {} {ports:?}", &packet[12..20], packet[9])
}

/// What keeps its order: a flow, the fragments of a datagram, errors about a flow.
fn label(packet: &[u8]) -> String {
    let about = match packet[9] {
        1 => packet.get(40..52),
        _ => packet
            .get(4..6)
            .filter(|_| packet[6] & 0x3f != 0 || packet[7] != 0),
    };
    format!("{} {about:?}", flow(packet))
}

/// What the wire sees of a frame or host packet: each packet of a superpacket for itself, complete.
fn wire_packets(port: PortId, bytes: &[u8], mut offload: Offload) -> Vec<(String, Vec<u8>)> {
    let packet = if port == TUN { bytes } else { &bytes[14..] };
    if port != TUN {
        if bytes[12..14] == [8, 6] {
            let arp = ArpPacket::parse(&bytes[14..]).unwrap();
            let is_question = arp.operation == ArpOperation::Request && !arp.is_gratuitous();
            let answer = (!is_question).then(|| ("ARP".to_owned(), bytes.to_vec()));
            return answer.into_iter().collect();
        }
        if let Checksum::Partial { start, .. } = &mut offload.checksum {
            *start -= 14;
        }
    }
    let segments = Segments::new(packet, &classify(packet).unwrap(), offload).unwrap();
    let wire = segments.iter().map(|segment| {
        let mut bytes = vec![0; segment.len()];
        segment.write(&mut bytes);
        (label(&bytes), without_meaningless(bytes))
    });
    wire.collect()
}

/// The identification of a packet that is never fragmented means nothing (RFC 6864 section 4.1): what was merged counts anew,
/// and what is merged depends on what came in between.
fn without_meaningless(mut packet: Vec<u8>) -> Vec<u8> {
    let is_atomic = packet[6] & 0x7f == 0x40 && packet[7] == 0;
    if is_atomic {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

fn packet(kind: Kind, flow: u16, (from, to): (Site, Site)) -> (Vec<u8>, Offload) {
    let short = |to, ttl| datagram(from.host, to, flow, ttl, &[flow.to_be_bytes()[1]; 100]);
    let fragment = |flags: u16| {
        edit(short(to.host, 64), |header| {
            header[6..8].copy_from_slice(&flags.to_be_bytes());
        })
    };
    let plain = match kind {
        Kind::Super => {
            let packet = partial(stream((from, to), flow, 1, &[3; 7000]));
            return (packet, superpacket(1000));
        }
        Kind::Short => short(to.host, 64),
        Kind::Syn => syn(from.host, to.host, 1460),
        Kind::TooBig => stream((from, to), flow, 1, &[4; 1450]),
        Kind::Long => {
            let packet = datagram(from.host, to.host, flow, 64, &[5; 3000]);
            edit(may_fragment(packet), |header| {
                header[4..6].copy_from_slice(&(1 + flow).to_be_bytes());
            })
        }
        Kind::Expired => short(to.host, 1),
        Kind::FirstFragment => fragment(0x2000),
        Kind::LastFragment => fragment(20),
        Kind::Nowhere => short([203, 0, 113, 9].into(), 64),
        Kind::Withheld => short([10, 77, 60, 99].into(), 64),
        Kind::Spoofed => datagram(to.host, from.host, flow, 64, b"x"),
        Kind::Router => short(to.overlay, 64),
    };
    (plain, Offload::default())
}

fn datagram(from: Ipv4Addr, to: Ipv4Addr, flow: u16, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(from.octets(), to.octets(), ttl).udp(4000 + flow, 5000);
    builder.write(&mut packet, payload).unwrap();
    packet
}

fn stream((from, to): (Site, Site), flow: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(from.host.octets(), to.host.octets(), 64);
    let builder = builder.tcp(4000 + flow, 5001, sequence, 1000).ack(99);
    builder.write(&mut packet, payload).unwrap();
    packet
}

/// A question that is answered, one that is not, one by our host for itself, and one for an address that nobody has.
fn arps() -> [ArpPacket; 4] {
    [
        ArpPacket::request(A.host_mac, A.host, B.host),
        ArpPacket::request(A.host_mac, A.host, A.router),
        ArpPacket::request(A.host_mac, A.host, A.host),
        ArpPacket::request(A.host_mac, A.host, silent(A)),
    ]
}

const KINDS: [Kind; 12] = [
    Kind::Short,
    Kind::Super,
    Kind::Syn,
    Kind::TooBig,
    Kind::Long,
    Kind::Expired,
    Kind::FirstFragment,
    Kind::LastFragment,
    Kind::Nowhere,
    Kind::Withheld,
    Kind::Spoofed,
    Kind::Router,
];

fn every_step(flow: u16) -> Vec<Step> {
    let lan = KINDS.map(|kind| Step::Lan(kind, flow));
    let tunnel = KINDS.map(|kind| Step::Datagram(kind, flow));
    let arp = (0..arps().len()).map(Step::Arp);
    let others = [Step::Host(flow), Step::Train(flow, 9), Step::Rest(3)];
    lan.into_iter()
        .chain(tunnel)
        .chain(arp)
        .chain(others)
        .collect()
}

fn step() -> impl Strategy<Value = Step> {
    let kind = || prop::sample::select(KINDS.to_vec());
    prop_oneof![
        4 => (kind(), 0..FLOWS).prop_map(|(kind, flow)| Step::Lan(kind, flow)),
        1 => (0..FLOWS).prop_map(Step::Host),
        2 => (0..FLOWS, 1..40_u8).prop_map(|(flow, count)| Step::Train(flow, count)),
        2 => (kind(), 0..FLOWS).prop_map(|(kind, flow)| Step::Datagram(kind, flow)),
        1 => (0..arps().len()).prop_map(Step::Arp),
        // So short in all that no neighbor has to be asked again, which each worker does for itself.
        2 => (0..20_u8).prop_map(Step::Rest),
    ]
}
