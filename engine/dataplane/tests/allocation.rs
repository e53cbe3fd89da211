//! No allocation per packet after start (invariant R4): a counting allocator watches 10 000 packets per direction, and
//! everything that a packet may meet, through every transport. What does allocate is named in decision 0036.
#![expect(unsafe_code, reason = "a global allocator cannot be written without")]
#![expect(clippy::unwrap_used, reason = "a test may fail by panic")]

#[path = "forwarder/lab.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
mod lab;
#[path = "allocation/matrix.rs"]
mod matrix;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use lab::{A, B, Lab, Router, frame, superpacket, tcp, udp};
use sam_dataplane::encap::{Framing, Gre, Nested, Plain};
use sam_dataplane::snapshot::Encap;
use sam_dataplane::{Carrier, Egress, Lane, Offload, PlainDatagrams};

/// Passes everything on to the system and counts what the current thread asks for.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed to `System` unchanged; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` by way of `alloc` or `realloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `pointer` came from `System` by way of `alloc` or `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[test]
fn ten_thousand_packets_each_way_allocate_nothing() {
    assert_nothing_is_allocated(Lab::connected());
}

#[test]
fn without_encryption_nothing_is_allocated_either() {
    for carrier in [Carrier::Udp { port: 6080 }, Carrier::GRE] {
        let mut lab = Lab::connected();
        let now = lab.now;
        for (router, far) in [(&mut lab.a, B), (&mut lab.b, A)] {
            let gre = Gre {
                key: Some(7),
                checksum: true,
            };
            let encap = Encap::Plain(Plain {
                carrier,
                framing: Framing::Gre(gre),
                to: Some(lab::socket(far)),
                by_lan: false,
            });
            router.install(now, |snapshot| snapshot.tunnels[0].encap = encap);
        }
        assert_nothing_is_allocated(lab);
    }
}

#[test]
fn gre_inside_of_wireguard_allocates_nothing_either() {
    let mut lab = Lab::connected();
    let now = lab.now;
    for (router, own, far) in [(&mut lab.a, A, B), (&mut lab.b, B, A)] {
        let nested = Nested {
            carrier: Carrier::GRE,
            framing: Framing::Gre(Gre::PLAIN),
            own: own.overlay,
            far: far.overlay,
        };
        router.install(now, |snapshot| snapshot.tunnels[0].nested = Some(nested));
    }
    assert_nothing_is_allocated(lab);
}

#[test]
fn a_neighbor_whose_confirmation_is_old_allocates_nothing() {
    let mut lab = Lab::connected();
    let state = |lab: &Lab| lab.b.forwarder.neighbors()[0].state;
    assert_eq!(state(&lab), "reachable");
    let later = lab.now + Duration::from_secs(30);
    let before = ALLOCATIONS.get();
    lab.b
        .with(|forwarder, io| forwarder.handle_timeout(io, later));
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!(state(&lab), "stale");
}

fn assert_nothing_is_allocated(mut lab: Lab) {
    let plain = frame(
        A.router_mac,
        A.host_mac,
        &udp(A.host, B.host, 64, &[1; 1000]),
    );
    let long = tcp(A.host, B.host, 1, &vec![2; 9 * 1380]);
    let long = frame(A.router_mac, A.host_mac, &long);
    round(&mut lab, &plain, &long);
    let sent_before = lab.b.counter("tunnel-rx-packets");
    let before = ALLOCATIONS.get();
    for _ in 0..1000 {
        round(&mut lab, &plain, &long);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!(lab.b.counter("tunnel-rx-packets") - sent_before, 10_000);
    assert_eq!((lab.a.drops(), lab.b.drops()), (vec![], vec![]));
    lab.assert_no_buffer_is_lost();
}

#[test]
fn the_allocator_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

/// Sends one packet and one superpacket of nine from LAN A to LAN B.
fn round(lab: &mut Lab, plain: &[u8], long: &[u8]) {
    let Lab { a, b, now, .. } = lab;
    receive(a, plain, Offload::default(), *now);
    receive(a, long, superpacket(1380), *now);
    a.with(|forwarder, io| forwarder.flush(io, *now));
    while let Some(egress) = a.tx.pop() {
        let Egress::Train {
            lane,
            segment,
            tos,
            buffer,
            ..
        } = egress
        else {
            panic!("only trains")
        };
        let mut copy = b.pool.take().unwrap();
        assert!(copy.append(buffer.bytes()));
        a.pool.give(buffer);
        let from = lab::socket(A);
        let (segment, port) = (usize::from(segment), 6080);
        let carrier = match lane {
            Lane::WireGuard => {
                b.with(|forwarder, io| {
                    forwarder.handle_datagrams(from, tos, segment, copy, io, *now);
                });
                continue;
            }
            Lane::Udp(_) => Carrier::Udp { port },
            Lane::Ip { protocol } => Carrier::Ip { protocol },
        };
        let datagrams = PlainDatagrams {
            carrier,
            from,
            interface: 0,
            tos,
            segment,
            buffer: copy,
        };
        b.with(|forwarder, io| forwarder.handle_plain(datagrams, io, *now));
    }
    b.with(|forwarder, io| forwarder.flush(io, *now));
    while let Some(egress) = b.tx.pop() {
        let Egress::Port { unit, .. } = egress else {
            continue;
        };
        b.pool.give(unit.buffer);
    }
}

fn receive(router: &mut Router, bytes: &[u8], offload: Offload, now: Instant) {
    let mut buffer = router.pool.take().unwrap();
    assert!(buffer.append(bytes));
    let unit = sam_dataplane::Unit { buffer, offload };
    router.with(|forwarder, io| forwarder.handle_frame(lab::LAN, unit, io, now));
}

fn count() {
    // A thread that ends has no counter any more, and nobody who asks.
    let _counted = ALLOCATIONS.try_with(|counter| counter.set(counter.get() + 1));
}
