//! The steps of the packet path one by one: classify, checksum, segment, coalesce.

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{Criterion, Throughput};
use sam_dataplane::coalesce::Coalescer;
use sam_dataplane::packet::checksum::{Sum, pseudo_header};
use sam_dataplane::packet::classify;
use sam_dataplane::packet::ipv4::{Ipv4Header, TCP};
use sam_dataplane::segment::Segments;
use sam_dataplane::{BufferPool, Checksum, Gso, Offload};

/// Payload of one wire packet, and how many make a superpacket.
const PAYLOAD: usize = 1380;
const PACKETS: usize = 45;

const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const DESTINATION: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 3);

fn classifies(criterion: &mut Criterion) {
    let packet = tcp(0, 0, PAYLOAD);
    criterion.bench_function("classify", |run| {
        run.iter(|| classify(black_box(&packet)));
    });
}

fn checksums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum");
    for length in [64, PAYLOAD] {
        let bytes = vec![0x5a; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(length.to_string(), |run| {
            run.iter(|| Sum::of(black_box(&bytes)).checksum());
        });
    }
    group.finish();
}

/// One superpacket of 45 wire packets, cut and written to a buffer.
fn segments(criterion: &mut Criterion) {
    let packet = tcp(0, 0, PACKETS * PAYLOAD);
    let classified = classify(&packet).expect("valid");
    let offload = Offload {
        gso: Gso::Tcp {
            size: PAYLOAD.try_into().expect("below 2^16"),
        },
        checksum: Checksum::Partial {
            start: 20,
            offset: 16,
        },
    };
    let mut wire = [0; 1500];
    let mut group = criterion.benchmark_group("segment");
    group.throughput(Throughput::Bytes(packet.len() as u64));
    group.bench_function("superpacket of 45", |run| {
        run.iter(|| {
            let segments = Segments::new(&packet, &classified, offload).expect("it is sound");
            for segment in segments.iter() {
                segment.write(&mut wire[..segment.len()]);
                black_box(&wire);
            }
        });
    });
    group.finish();
}

/// 45 wire packets merged into one superpacket, their checksums verified.
fn coalesces(criterion: &mut Criterion) {
    let packets: Vec<_> = (0..PACKETS)
        .map(|index| tcp(index.try_into().expect("few"), index * PAYLOAD, PAYLOAD))
        .collect();
    let mut pool = BufferPool::new(2);
    let mut coalescer = Coalescer::new();
    let mut group = criterion.benchmark_group("coalesce");
    group.throughput(Throughput::Bytes((PACKETS * packets[0].len()) as u64));
    group.bench_function("superpacket of 45", |run| {
        run.iter(|| {
            let mut merged = Vec::with_capacity(1);
            for packet in &packets {
                let classified = classify(packet).expect("valid");
                coalescer
                    .push((), packet, &classified, &mut pool, &mut |(), unit| {
                        merged.push(unit);
                    })
                    .expect("a free buffer");
            }
            coalescer.flush(&mut |(), unit| merged.push(unit));
            assert_eq!(merged.len(), 1);
            for unit in merged {
                pool.give(unit.buffer);
            }
        });
    });
    group.finish();
}

/// A TCP packet whose checksums are right.
fn tcp(id: u16, sequence: usize, payload: usize) -> Vec<u8> {
    let mut l4 = vec![0x5a; 20 + payload];
    l4[..4].copy_from_slice(&[0x9c, 0x40, 0x13, 0x89]);
    let sequence = u32::try_from(sequence).expect("below 2^32");
    l4[4..8].copy_from_slice(&sequence.to_be_bytes());
    l4[8..20].copy_from_slice(&[0, 0, 0, 1, 0x50, 0x10, 2, 0, 0, 0, 0, 0]);
    let length = u16::try_from(l4.len()).expect("below 2^16");
    let sum = pseudo_header(SOURCE, DESTINATION, TCP, length).plus(Sum::of(&l4));
    l4[16..18].copy_from_slice(&sum.checksum().to_be_bytes());
    let header = Ipv4Header {
        tos: 0,
        total: length + 20,
        id,
        dont_fragment: true,
        ttl: 64,
        protocol: TCP,
        source: SOURCE,
        destination: DESTINATION,
    };
    [&header.emit()[..], &l4].concat()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    classifies(&mut criterion);
    checksums(&mut criterion);
    segments(&mut criterion);
    coalesces(&mut criterion);
    criterion.final_summary();
}
