//! Merges consecutive packets of one flow into superpackets (data-plane.md section 4.4), the inverse of [`segment`].
//!
//! A packet that may not be merged passes unchanged, behind the open run of its flow: a flow keeps its order. Flows
//! among each other are emitted in the order in which their runs end. Everything open ends with [`Coalescer::flush`],
//! at the end of a batch.
//!
//! [`segment`]: crate::segment

mod run;

use std::net::Ipv4Addr;

use self::run::{Candidate, Extension, Run};
use crate::buffer::BufferPool;
use crate::drop_reason::DropReason;
use crate::packet::{Classified, L4};
use crate::unit::Unit;

pub use self::run::{MERGED_MAX, TUNNEL_PORTS};

/// Most flows with an open run; the oldest run ends when another flow needs its place.
pub const RUNS_MAX: usize = 16;

/// Collects packets into runs. `K` is what the packets of one superpacket share besides the flow, such as the egress.
#[derive(Debug)]
pub struct Coalescer<K> {
    /// Open runs in the order of their first packets, at most one per flow.
    open: Vec<(Flow<K>, Run)>,
    /// UDP ports whose datagrams travel alone, besides [`TUNNEL_PORTS`].
    alone: Vec<u16>,
}

/// Packets that must stay in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Flow<K> {
    key: K,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    /// Source and destination port; unknown for fragments and protocols without ports.
    ports: Option<[u8; 4]>,
}

impl<K: Copy + Eq> Coalescer<K> {
    /// Makes a coalescer without open runs.
    #[must_use]
    pub fn new() -> Self {
        Self {
            open: Vec::with_capacity(RUNS_MAX),
            alone: Vec::new(),
        }
    }

    /// Lets datagrams from and to these ports travel alone, besides those of [`TUNNEL_PORTS`].
    pub fn set_alone(&mut self, ports: Vec<u16>) {
        self.alone = ports;
    }

    /// Takes one complete IPv4 packet (no pending work) and emits the units that it ends.
    ///
    /// # Errors
    /// `BufferPoolEmpty` when the packet needs a buffer and there is none; the packet is lost then.
    pub fn push(
        &mut self,
        key: K,
        packet: &[u8],
        classified: &Classified,
        pool: &mut BufferPool,
        emit: &mut impl FnMut(K, Unit),
    ) -> Result<(), DropReason> {
        let packet = packet.get(..classified.total).unwrap_or(packet);
        let flow = Flow::of(key, packet, classified);
        let candidate = Candidate::of(packet, classified);
        let candidate = candidate.filter(|candidate| !candidate.uses(&self.alone));
        if candidate.is_some_and(|candidate| self.extend(&flow, &candidate, emit)) {
            return Ok(());
        }
        self.end_runs_of(&flow, emit);
        let mut buffer = pool.take().ok_or(DropReason::BufferPoolEmpty)?;
        if !buffer.append(packet) {
            pool.give(buffer);
            return Err(DropReason::IpMalformed);
        }
        match candidate.filter(Candidate::may_open) {
            Some(candidate) => self.start(flow, Run::start(buffer, &candidate), emit),
            None => emit(key, Unit::plain(buffer)),
        }
        Ok(())
    }

    /// Ends all runs.
    pub fn flush(&mut self, emit: &mut impl FnMut(K, Unit)) {
        for (flow, run) in self.open.drain(..) {
            emit(flow.key, run.finish());
        }
    }

    /// Appends a packet to the open run of its flow and returns whether that was possible.
    fn extend(
        &mut self,
        flow: &Flow<K>,
        candidate: &Candidate<'_>,
        emit: &mut impl FnMut(K, Unit),
    ) -> bool {
        // The newest run is the likeliest.
        let Some(index) = self.open.iter().rposition(|(open, _)| open == flow) else {
            return false;
        };
        match self.open[index].1.extend(candidate) {
            Extension::Refused => false,
            Extension::Merged => true,
            Extension::MergedLast => {
                let (flow, run) = self.open.remove(index);
                emit(flow.key, run.finish());
                true
            }
        }
    }

    /// Ends the runs that a packet of `flow` must not overtake.
    fn end_runs_of(&mut self, flow: &Flow<K>, emit: &mut impl FnMut(K, Unit)) {
        for (flow, run) in self.open.extract_if(.., |(open, _)| open.overlaps(flow)) {
            emit(flow.key, run.finish());
        }
    }

    /// Keeps a new run open, in place of the oldest if there are too many.
    fn start(&mut self, flow: Flow<K>, run: Run, emit: &mut impl FnMut(K, Unit)) {
        if self.open.len() == RUNS_MAX {
            let (flow, run) = self.open.remove(0);
            emit(flow.key, run.finish());
        }
        self.open.push((flow, run));
    }
}

impl<K: Copy + Eq> Default for Coalescer<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy + Eq> Flow<K> {
    fn of(key: K, packet: &[u8], classified: &Classified) -> Self {
        let ports = match classified.l4 {
            L4::Tcp { .. } | L4::Udp if !classified.fragment => packet
                .get(classified.ip_header..)
                .and_then(|l4| l4.first_chunk().copied()),
            L4::Tcp { .. } | L4::Udp | L4::Icmp { .. } | L4::Other => None,
        };
        Self {
            key,
            source: classified.source,
            destination: classified.destination,
            protocol: classified.protocol,
            ports,
        }
    }

    /// Tells whether packets of both may belong to one flow: a fragment may have any ports.
    fn overlaps(&self, other: &Self) -> bool {
        let any = self.ports.is_none() || other.ports.is_none();
        *self
            == Self {
                ports: if any { self.ports } else { other.ports },
                ..*other
            }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::classify;
    use crate::packet::ipv4::{Ipv4Header, put, word};
    use crate::sample::{self, IP, Tcp, Udp};
    use crate::segment::Segments;
    use crate::unit::{Checksum, Gso, Offload};

    const DATA: [u8; 100] = [5; 100];
    const PSH_ACK: u8 = 0x18;

    /// What a row is about, how many units come out, and what goes in.
    type Row<T> = (&'static str, usize, T);
    type Change = fn(&mut Tcp<'static>);
    type Build = fn(u16) -> Vec<u8>;
    type ChangeBytes = fn(u16, &mut Vec<u8>);

    /// The second of two packets differs from the expected one in one field; how many units come out?
    #[test]
    fn tcp_packets_are_merged_by_the_rules_of_the_kernel() {
        let rows: &[Row<Change>] = &[
            ("the next segment", 1, |_| ()),
            ("a shorter segment", 1, |next| next.payload = &DATA[..60]),
            ("a longer segment", 2, |next| next.payload = &[5; 101]),
            ("PSH on the second", 1, |next| next.flags = PSH_ACK),
            ("a gap", 2, |next| next.sequence = 1101),
            ("a retransmission", 2, |next| next.sequence = 1000),
            ("out of order", 2, |next| next.sequence = 900),
            ("another acknowledgment", 2, |next| next.acknowledgment += 1),
            ("another window", 2, |next| next.window += 1),
            ("other options", 2, |next| next.options = &[1, 1, 1, 1]),
            ("a pure ACK", 2, |next| next.payload = &[]),
            ("SYN", 2, |next| next.flags = 0x12),
            ("FIN", 2, |next| next.flags = 0x11),
            ("RST", 2, |next| next.flags = 0x14),
            ("URG", 2, |next| next.flags = 0x30),
            ("CWR", 2, |next| next.flags = 0x90),
            ("ECE on the second only", 2, |next| next.flags = 0x50),
            ("no ACK", 2, |next| next.flags = 0x00),
            ("another source port", 2, |next| next.ports.0 += 1),
            ("another destination port", 2, |next| next.ports.1 += 1),
            ("another DSCP", 2, |next| next.ip.tos = 4),
            ("another ECN", 2, |next| next.ip.tos = 2),
            ("another TTL", 2, |next| next.ip.ttl = 63),
            ("DF on the first only", 2, |next| {
                next.ip.dont_fragment = false
            }),
            ("a constant id with DF", 1, |next| next.ip.id = 100),
            ("an id that jumps", 2, |next| next.ip.id = 102),
        ];
        for (row, units, change) in rows {
            let mut next = tcp(1);
            change(&mut next);
            let emitted = coalesced(&[tcp(0).build(), next.build()]);
            assert_eq!(emitted.len(), *units, "{row}");
            let data = emitted.iter().flat_map(data_of).count();
            assert_eq!(data, 100 + next.payload.len(), "{row}");
        }
    }

    /// Both of two packets in sequence are built by one function of their index; how many units come out?
    #[test]
    fn properties_of_both_packets_are_judged_by_the_rules_of_the_kernel() {
        let rows: &[Row<Build>] = &[
            ("ECE on both", 1, |i| changed(i, |tcp| tcp.flags = 0x50)),
            ("PSH on both", 2, |i| changed(i, |tcp| tcp.flags = PSH_ACK)),
            ("no DF, ids count up", 1, |i| {
                changed(i, |tcp| tcp.ip.dont_fragment = false)
            }),
            ("no DF, constant id", 2, |i| {
                changed(i, |tcp| tcp.ip = CONSTANT_ID)
            }),
            ("an id that wraps", 1, |i| {
                changed(i, |tcp| tcp.ip.id = tcp.ip.id.wrapping_sub(101))
            }),
            ("options that differ", 2, |i| {
                changed(i, |tcp| tcp.options = OPTIONS[usize::from(i)])
            }),
            ("equal options", 1, |i| {
                changed(i, |tcp| tcp.options = OPTIONS[0])
            }),
            ("first fragments", 2, |i| set(i, 6, 0x20)),
            ("later fragments", 2, |i| set(i, 7, 0x10)),
            ("IP options", 2, with_ip_options),
            ("segments of 8 bytes", 1, |i| sized(i, 8)),
            ("segments of 7 bytes", 2, |i| sized(i, 7)),
            ("a corrupt first packet", 2, |i| {
                corrupt_if(i == 0, tcp(i).build())
            }),
            ("a corrupt second packet", 2, |i| {
                corrupt_if(i == 1, tcp(i).build())
            }),
        ];
        for (row, units, build) in rows {
            assert_eq!(coalesced(&[build(0), build(1)]).len(), *units, "{row}");
        }
    }

    #[test]
    fn ids_must_go_on_as_they_began() {
        let ids = |ids: [u16; 3]| {
            let packets = [0, 1, 2].map(|i| changed(i, |tcp| tcp.ip.id = ids[usize::from(i)]));
            coalesced(&packets).len()
        };
        assert_eq!((ids([5, 6, 7]), ids([5, 5, 5])), (1, 1));
        assert_eq!((ids([5, 6, 6]), ids([5, 5, 6])), (2, 2));
    }

    #[test]
    fn datagrams_without_checksum_are_not_merged_even_if_their_sum_is_zero() {
        let mut pair = [0, 1].map(|id| {
            Udp {
                payload: &[0; 8],
                ip: sample::with_id(id),
                ..Udp::default()
            }
            .build()
        });
        for packet in &mut pair {
            let wanted = word(packet, 26);
            put(packet, 28, wanted);
            put(packet, 26, 0);
            assert!(sample::is_intact(packet));
        }
        assert_eq!(coalesced(&pair).len(), 2);
    }

    /// Datagrams of the given lengths, some changed by their index; how many units come out?
    #[test]
    fn udp_datagrams_are_merged_by_the_rules_of_the_kernel() {
        let rows: &[Row<(&[usize], ChangeBytes)>] = &[
            ("equal length", 1, (&[80, 80, 80], |_, _| ())),
            ("the last shorter", 1, (&[80, 80, 60], |_, _| ())),
            ("one in between shorter", 2, (&[80, 60, 80], |_, _| ())),
            ("the second longer", 2, (&[60, 80], |_, _| ())),
            ("the second empty", 2, (&[80, 0], |_, _| ())),
            (
                "no checksum",
                2,
                (&[80, 80], |_, packet| put(packet, 26, 0)),
            ),
            (
                "bytes behind",
                2,
                (&[80, 60], |i, packet| add_trailer(i == 1, packet)),
            ),
            (
                "a corrupt one",
                2,
                (&[80, 80], |i, packet| packet[50] ^= low_byte(i)),
            ),
        ];
        for (row, units, (lengths, change)) in rows {
            let packets: Vec<_> = (0u16..)
                .zip(*lengths)
                .map(|(index, length)| {
                    let mut packet = udp(index, *length, sample::PORTS);
                    change(index, &mut packet);
                    packet
                })
                .collect();
            assert_eq!(coalesced(&packets).len(), *units, "{row}");
        }
    }

    #[test]
    fn datagrams_of_tunnels_are_never_merged() {
        let pair = |ports| coalesced(&[udp(0, 80, ports), udp(1, 80, ports)]).len();
        assert_eq!(pair((4000, 4790)), 1);
        for tunnel in [4789, 8472, 6081, 51820] {
            assert_eq!(
                (pair((4000, tunnel)), pair((tunnel, 4000))),
                (2, 2),
                "{tunnel}"
            );
        }
    }

    #[test]
    fn a_superpacket_says_how_it_is_to_be_cut() {
        let emitted = coalesced(&[
            tcp(0).build(),
            tcp(1).build(),
            Tcp {
                flags: PSH_ACK,
                ..tcp(2)
            }
            .build(),
        ]);
        let mut expected = Tcp {
            payload: &[5; 300],
            flags: PSH_ACK,
            ..tcp(0)
        }
        .build();
        sample::make_partial(&mut expected);
        let [unit] = emitted.as_slice() else {
            panic!("one unit, not {}", emitted.len())
        };
        assert_eq!(unit.buffer.bytes(), expected);
        let checksum = Checksum::Partial {
            start: 20,
            offset: 16,
        };
        assert_eq!(
            unit.offload,
            Offload {
                gso: Gso::Tcp { size: 100 },
                checksum
            }
        );
    }

    #[test]
    fn a_single_packet_keeps_its_checksum_and_loses_its_padding() {
        let packet = corrupt_if(true, tcp(0).build());
        let emitted = coalesced(&[[&packet[..], &[0; 6]].concat()]);
        assert_eq!(
            (emitted[0].buffer.bytes(), emitted[0].offload),
            (&packet[..], Offload::default())
        );
    }

    #[test]
    fn a_superpacket_stays_within_64_packets_and_65535_bytes() {
        let small: Vec<_> = (0..65).map(|index| tcp(index).build()).collect();
        let payload = [1; 1024];
        let large: Vec<_> = (0..64u16)
            .map(|index| {
                let ip = sample::with_id(index);
                Tcp {
                    payload: &payload,
                    sequence: u32::from(index) * 1024,
                    ip,
                    ..Tcp::default()
                }
                .build()
            })
            .collect();
        let lengths = |packets: &[Vec<u8>]| {
            coalesced(packets)
                .iter()
                .map(|unit| unit.buffer.len())
                .collect::<Vec<_>>()
        };
        assert_eq!(lengths(&small), [40 + 6400, 140]);
        assert_eq!(lengths(&large), [40 + 63 * 1024, 1064]);
    }

    #[test]
    fn a_packet_for_another_egress_is_not_merged() {
        let mut pool = BufferPool::new(4);
        let mut coalescer = Coalescer::new();
        let mut keys = Vec::new();
        for (key, packet) in [(1, tcp(0).build()), (2, tcp(1).build())] {
            let classified = classify(&packet).unwrap();
            coalescer
                .push(key, &packet, &classified, &mut pool, &mut |key, _| {
                    keys.push(key)
                })
                .unwrap();
        }
        coalescer.flush(&mut |key, _| keys.push(key));
        assert_eq!(keys, [1, 2]);
    }

    #[test]
    fn fragments_do_not_overtake_the_open_run_of_any_ports() {
        let fragment = set(2, 7, 0x10);
        let emitted = coalesced(&[tcp(0).build(), tcp(1).build(), fragment.clone()]);
        assert_eq!(emitted.len(), 2);
        assert_eq!(emitted[1].buffer.bytes(), fragment);
    }

    #[test]
    fn icmp_passes_open_runs_of_other_protocols() {
        let echo = set(7, 9, 1);
        let emitted = coalesced(&[tcp(0).build(), echo.clone(), tcp(1).build()]);
        assert_eq!(emitted.len(), 2);
        assert_eq!(emitted[0].buffer.bytes(), echo);
    }

    #[test]
    fn the_oldest_run_ends_when_there_are_too_many_flows() {
        let flow = |port, index| {
            Tcp {
                ports: (port, 5001),
                ..tcp(index)
            }
            .build()
        };
        let mut packets: Vec<_> = (0..17).map(|port| flow(port, 0)).collect();
        packets.extend([flow(1, 1), flow(0, 1)]);
        let ports: Vec<_> = coalesced(&packets)
            .iter()
            .map(|unit| word(unit.buffer.bytes(), 20))
            .collect();
        // The second packet of flow 0 takes the place of flow 1, which had been merged before.
        let expected: Vec<_> = [0, 1].into_iter().chain(2..17).chain([0]).collect();
        assert_eq!(ports, expected);
    }

    #[test]
    fn an_empty_pool_is_an_error_and_open_runs_still_grow() {
        let mut pool = BufferPool::new(1);
        let mut coalescer = Coalescer::new();
        let mut units = Vec::new();
        let mut push = |packet: Vec<u8>| {
            let classified = classify(&packet).unwrap();
            coalescer.push((), &packet, &classified, &mut pool, &mut |(), unit| {
                units.push(unit)
            })
        };
        assert_eq!(push(tcp(0).build()), Ok(()));
        assert_eq!(
            push(Udp::default().build()),
            Err(DropReason::BufferPoolEmpty)
        );
        assert_eq!(push(tcp(1).build()), Ok(()));
        coalescer.flush(&mut |(), unit| units.push(unit));
        assert_eq!((units.len(), units[0].buffer.len()), (1, 240));
    }

    proptest! {
        #[test]
        fn cutting_what_was_merged_gives_the_packets_that_arrived(steps in prop::collection::vec(any::<Step>(), 1..200)) {
            let mut senders = [0; 4].map(|_| Sender { sequence: 77, id: 65_500 });
            let arrived: Vec<_> = steps.iter().map(|step| senders[usize::from(step.flow % 4)].packet(step)).collect();
            let units = coalesced(&arrived);
            prop_assert!(units.len() <= arrived.len());
            let left: Vec<_> = units.iter().flat_map(pieces).collect();
            prop_assert_eq!(left.len(), arrived.len());
            for flow in 0..4u16 {
                let of_flow = |packets: &[Vec<u8>]| {
                    packets.iter().filter(|packet| word(packet, 20) == flow).cloned().collect::<Vec<_>>()
                };
                prop_assert_eq!(of_flow(&left), of_flow(&arrived));
            }
        }
    }

    /// One packet of a random stream; most continue their flow.
    #[derive(Debug, Clone)]
    struct Step {
        flow: u8,
        shape: u8,
        length: u8,
    }

    impl Arbitrary for Step {
        type Parameters = ();
        type Strategy = BoxedStrategy<Self>;

        fn arbitrary_with((): ()) -> Self::Strategy {
            (any::<u8>(), any::<u8>(), any::<u8>())
                .prop_map(|(flow, shape, length)| Self {
                    flow,
                    shape,
                    length,
                })
                .boxed()
        }
    }

    /// One end of a flow: even flows are TCP, odd ones UDP.
    struct Sender {
        sequence: u32,
        id: u16,
    }

    impl Sender {
        fn packet(&mut self, step: &Step) -> Vec<u8> {
            let payload = vec![
                step.length;
                if step.shape < 200 {
                    100
                } else {
                    step.length.into()
                }
            ];
            let ports = (u16::from(step.flow % 4), 5001);
            let id_step = if step.shape == 180 { 5 } else { 1 };
            let ip = Ipv4Header {
                dont_fragment: step.flow < 128,
                ..sample::with_id(self.id)
            };
            self.id = self.id.wrapping_add(id_step);
            let packet = if step.flow.is_multiple_of(2) {
                let flags = match step.shape {
                    0..150 => 0x10,
                    150..170 => PSH_ACK,
                    170..190 => 0x50,
                    shape => shape,
                };
                let packet = Tcp {
                    ports,
                    sequence: self.sequence,
                    flags,
                    payload: &payload,
                    ip,
                    ..Tcp::default()
                };
                self.sequence +=
                    u32::try_from(payload.len()).unwrap() + u32::from(step.shape == 100);
                packet.build()
            } else {
                Udp {
                    ports,
                    payload: &payload,
                    ip,
                }
                .build()
            };
            corrupt_if(step.shape == 50, packet)
        }
    }

    fn pieces(unit: &Unit) -> Vec<Vec<u8>> {
        let packet = unit.buffer.bytes();
        let classified = classify(packet).unwrap();
        let segments = Segments::new(packet, &classified, unit.offload).unwrap();
        segments.iter().map(sample::written).collect()
    }

    /// Pushes packets in one batch and returns what comes out.
    fn coalesced(packets: &[Vec<u8>]) -> Vec<Unit> {
        let mut pool = BufferPool::new(packets.len());
        let mut coalescer = Coalescer::new();
        let mut units = Vec::new();
        for packet in packets {
            let classified = classify(packet).unwrap();
            coalescer
                .push((), packet, &classified, &mut pool, &mut |(), unit| {
                    units.push(unit)
                })
                .unwrap();
        }
        coalescer.flush(&mut |(), unit| units.push(unit));
        units
    }

    /// Returns segment `index` of a stream of segments of 100 bytes.
    fn tcp(index: u16) -> Tcp<'static> {
        let sequence = 1000 + u32::from(index) * 100;
        Tcp {
            sequence,
            payload: &DATA,
            ip: sample::with_id(IP.id + index),
            ..Tcp::default()
        }
    }

    fn changed(index: u16, change: impl FnOnce(&mut Tcp<'static>)) -> Vec<u8> {
        let mut packet = tcp(index);
        change(&mut packet);
        packet.build()
    }

    /// Returns segment `index` of a stream of segments of `length` bytes.
    fn sized(index: u16, length: u16) -> Vec<u8> {
        let sequence = u32::from(index * length);
        changed(index, |tcp| {
            (tcp.sequence, tcp.payload) = (sequence, &DATA[..length.into()])
        })
    }

    /// Returns segment `index` with one byte of its IP header changed.
    fn set(index: u16, at: usize, value: u8) -> Vec<u8> {
        let mut packet = tcp(index).build();
        packet[at] = value;
        sample::fix_header(&mut packet);
        packet
    }

    fn with_ip_options(index: u16) -> Vec<u8> {
        let mut packet = tcp(index).build();
        packet.splice(20..20, [1, 1, 1, 1]);
        (packet[0], packet[3]) = (0x46, packet[3] + 4);
        sample::fix_header(&mut packet);
        packet
    }

    fn udp(index: u16, length: usize, ports: (u16, u16)) -> Vec<u8> {
        Udp {
            ports,
            payload: &DATA[..length],
            ip: sample::with_id(index),
        }
        .build()
    }

    fn add_trailer(wanted: bool, packet: &mut Vec<u8>) {
        if wanted {
            packet.extend([0; 4]);
            packet[3] += 4;
            sample::fix_header(packet);
        }
    }

    fn low_byte(index: u16) -> u8 {
        index.to_be_bytes()[1]
    }

    fn corrupt_if(wanted: bool, mut packet: Vec<u8>) -> Vec<u8> {
        if let Some(last) = packet.last_mut() {
            *last ^= u8::from(wanted);
        }
        packet
    }

    const OPTIONS: [&[u8]; 2] = [&[1, 1, 1, 1], &[1, 1, 1, 0]];
    const CONSTANT_ID: Ipv4Header = Ipv4Header {
        dont_fragment: false,
        ..IP
    };

    fn data_of(unit: &Unit) -> Vec<u8> {
        let classified = classify(unit.buffer.bytes()).unwrap();
        unit.buffer.bytes()[classified.payload..].to_vec()
    }
}
