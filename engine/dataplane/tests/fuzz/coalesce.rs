//! A stream of packets of a few flows: cutting what was merged gives each flow what arrived, in order.

use std::collections::BTreeMap;

use sam_dataplane::coalesce::Coalescer;
use sam_dataplane::packet::checksum::{self, Sum, pseudo_header};
use sam_dataplane::packet::classify;
use sam_dataplane::packet::ipv4::{Ipv4Header, TCP, UDP};
use sam_dataplane::segment::Segments;
use sam_dataplane::{BufferPool, Unit};

/// Packets by their ports and egress.
type Flows = BTreeMap<(u8, Vec<u8>), Vec<Vec<u8>>>;

pub(crate) fn check(data: &[u8]) {
    let (mut arrived, mut left) = (Flows::new(), Flows::new());
    let mut pool = BufferPool::new(8);
    let mut coalescer = Coalescer::new();
    let mut units = Vec::new();
    let mut senders = [Sender::default(); 4];
    for step in data.as_chunks::<4>().0 {
        let egress = step[0] >> 7;
        let packet = senders[usize::from(step[0] % 4)].packet(*step);
        let classified = classify(&packet).expect("built with care");
        let pushed = coalescer.push(egress, &packet, &classified, &mut pool, &mut |key, unit| {
            units.push((key, unit))
        });
        if pushed.is_ok() {
            arrived
                .entry((egress, packet[20..24].to_vec()))
                .or_default()
                .push(packet);
        }
        for (key, unit) in units.drain(..) {
            cut(key, unit, &mut left, &mut pool);
        }
    }
    coalescer.flush(&mut |key, unit| units.push((key, unit)));
    for (key, unit) in units {
        cut(key, unit, &mut left, &mut pool);
    }
    assert_eq!(left, arrived);
    assert_eq!(pool.available(), 8);
}

fn cut(egress: u8, unit: Unit, left: &mut Flows, pool: &mut BufferPool) {
    let packet = unit.buffer.bytes();
    let classified = classify(packet).expect("merged packets are valid");
    let pieces = left.entry((egress, packet[20..24].to_vec())).or_default();
    let segments = Segments::new(packet, &classified, unit.offload).expect("it can be cut again");
    pieces.extend(segments.iter().map(|segment| {
        let mut slot = vec![0; segment.len()];
        segment.write(&mut slot);
        slot
    }));
    pool.give(unit.buffer);
}

/// One end of a flow; each packet continues where the last one ended.
#[derive(Clone, Copy, Default)]
struct Sender {
    sequence: u32,
    id: u16,
}

impl Sender {
    /// Builds a packet from a step: flow and egress, flags, length, deviations from the regular stream.
    fn packet(&mut self, [flow, flags, length, odd]: [u8; 4]) -> Vec<u8> {
        let payload = vec![flow; usize::from(length)];
        // Ids count up; a constant id could not come back the same.
        self.id = self.id.wrapping_add(if odd == 1 { 2 } else { 1 });
        self.sequence = self.sequence.wrapping_add(u32::from(odd == 2));
        let protocol = if flow & 1 == 0 { TCP } else { UDP };
        let mut l4 = vec![0x40 + flow % 4, 0, 0x13, 0x88];
        let field = if protocol == TCP {
            l4.extend(self.sequence.to_be_bytes());
            let usual = 0x10 | (flags & 0x08);
            l4.extend([
                0,
                0,
                0,
                odd & 0x80,
                0x50,
                if odd == 3 { flags } else { usual },
                1,
                0,
                0,
                0,
                0,
                0,
            ]);
            16
        } else {
            l4.extend([0, 0, 0, 0]);
            l4[4..6].copy_from_slice(&(u16::from(length) + 8).to_be_bytes());
            6
        };
        l4.extend(&payload);
        self.sequence = self.sequence.wrapping_add(u32::from(length));
        let (source, destination) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let l4_length = u16::try_from(l4.len()).expect("short");
        let sum = pseudo_header(source, destination, protocol, l4_length)
            .plus(Sum::of(&l4))
            .checksum();
        let sum = if protocol == UDP {
            checksum::udp(sum)
        } else {
            sum
        };
        l4[field..field + 2].copy_from_slice(&(sum ^ u16::from(odd == 4)).to_be_bytes());
        let header = Ipv4Header {
            tos: if odd == 5 { flags } else { 0 },
            total: l4_length + 20,
            id: self.id,
            dont_fragment: odd & 0x40 == 0,
            ttl: 64 - u8::from(odd == 6),
            protocol,
            source,
            destination,
        };
        [&header.emit()[..], &l4].concat()
    }
}
