//! Sealing and opening allocate nothing: a counting allocator watches 10,000 packets each way.
#![expect(unsafe_code, reason = "a global allocator cannot be written without")]
#![expect(clippy::unwrap_used, reason = "a test may fail by panic")]

#[path = "device/world.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use sam_wg::{OpenError, Opened, Order, RUN_MAX, Run, SealError};
use world::{A, B, PEER, World, packet};

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
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` by way of `alloc` or `realloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: `pointer` came from `System` by way of `alloc` or `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[test]
fn ten_thousand_packets_each_way_allocate_nothing() {
    let world = World::established(1);
    let addresses = [A, B].map(|node| world.nodes[node].address);
    let mut paths = [A, B].map(|node| world.nodes[node].device.data_path());
    let (inner, mut sealed, mut opened) = (packet(1), [0; 2048], [0; 2048]);
    let mut signals = 0;
    let before = ALLOCATIONS.get();
    for number in 0..20_000 {
        // 8.5 ms apart, so that the session gets old on the way and has to be renewed.
        let now = world.now + Duration::from_micros(number * 8500);
        let (from, to) = if number % 2 == 0 { (A, B) } else { (B, A) };
        let len = paths[from].seal(PEER, &inner, &mut sealed, now).unwrap();
        // Sometimes from elsewhere.
        let mut source = addresses[from];
        source.set_port(source.port() + u16::from(number % 10 == 0));
        let open = paths[to].open(source, &sealed[..len], &mut opened, now);
        assert!(matches!(open, Ok(Opened::Packet { .. })));
        let again = paths[to].open(source, &sealed[..len], &mut opened, now);
        assert_eq!(again, Err(OpenError::Replay));
        signals += usize::from(paths[to].poll_signal().is_some());
        paths[to].refresh();
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert!(signals > 100, "{signals}");
}

#[test]
fn whole_runs_of_packets_allocate_nothing() {
    let world = World::established(1);
    let mut paths = [A, B].map(|node| world.nodes[node].device.data_path());
    let (inner, now, mut sealed) = (packet(1), world.now, [0; 64 * 56]);
    let run = Run {
        from: world.nodes[A].address,
        segment: 56,
        order: Order::Kept,
    };
    let before = ALLOCATIONS.get();
    for _ in 0..200 {
        for slot in sealed.chunks_mut(56) {
            assert_eq!(paths[A].seal(PEER, &inner, slot, now), Ok(56));
        }
        // One that is not genuine, and one twice.
        sealed[200] ^= 1;
        sealed.copy_within(..56, 63 * 56);
        paths[B].open_run(run, &mut sealed, now);
        let opened = std::iter::from_fn(|| paths[B].poll_opened());
        assert_eq!(opened.filter(Result::is_ok).count(), RUN_MAX - 2);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn refused_packets_allocate_nothing() {
    let mut world = World::connected(1);
    let source = world.nodes[A].address;
    let (inner, garbage, mut out) = (packet(1), [4; 256], [0; 2048]);
    let (mut initiation, mut cookie_reply) = ([0; 148], [0; 64]);
    (initiation[0], cookie_reply[0]) = (1, 3);
    let path = &mut world.nodes[A].path;
    let before = ALLOCATIONS.get();
    for number in 0..10_000 {
        let now = world.now + Duration::from_millis(number);
        let refused = path.seal(PEER, &inner, &mut out, now);
        assert_eq!(refused, Err(SealError::NoSession));
        let refused = path.open(source, &garbage, &mut out, now);
        assert_eq!(refused, Err(OpenError::UnknownType));
        let refused = path.open(source, &initiation, &mut out, now);
        assert_eq!(refused, Err(OpenError::BadMac));
        let refused = path.open(source, &cookie_reply, &mut out, now);
        assert_eq!(refused, Err(OpenError::UnknownIndex));
    }
    assert_eq!(
        ALLOCATIONS.get() - before,
        0,
        "with its queue of signals full"
    );
}
