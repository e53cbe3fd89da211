//! Batches in and out allocate nothing after the first ones (R4): a counting allocator watches the sockets of the packet path.

#![expect(unsafe_code, reason = "a global allocator cannot be written without")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail by panic and say what they skip"
)]

#[path = "kernel/cable.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
mod cable;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use sam_dataplane::{Buffer, BufferPool, Unit};
use sam_net::tun::TunOffloads;
use sam_net::{PacketSocket, Train, Tun, UdpSocket};

use cable::{Cable, LEFT, RIGHT, namespace, set_up};

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

const ROUNDS: usize = 200;

#[test]
fn trains_of_datagrams() {
    let any = "127.0.0.1:0".parse().unwrap();
    let (mut sender, mut receiver) = (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
    let (to, mut pool) = (receiver.local_addr(), BufferPool::new(64));
    let (mut received, mut failures, mut sent) = (Vec::new(), Vec::new(), Vec::new());
    watch(|| {
        for (segment, length) in [(1000, 20_000), (500, 500), (300, 1000)] {
            let buffer = filled(&mut pool, length);
            let train = Train {
                to,
                segment,
                tos: 2,
                buffer,
            };
            sent.push(train);
        }
        assert_eq!(sender.send_trains(&mut sent, &mut failures), 3);
        sent.drain(..).for_each(|train| pool.give(train.buffer));
        let mut arrived = 0;
        while arrived < 21_500 {
            receiver.recv_batch(&mut pool, &mut received, 8).unwrap();
            for train in received.drain(..) {
                arrived += train.buffer.len();
                pool.give(train.buffer);
            }
        }
    });
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn frames_of_a_lan_port() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    let open =
        |side: &sam_net::Namespace, name| side.enter(|| PacketSocket::open(name, None)).unwrap();
    let (left, right) = (open(&cable.left, LEFT), open(&cable.right, RIGHT));
    let (Ok(mut left), Ok(mut right)) = (left, right) else {
        println!("skipped: no packet sockets");
        return;
    };
    let mut pool = BufferPool::new(128);
    let (mut received, mut failures, mut sent) = (Vec::new(), Vec::new(), Vec::new());
    // An EtherType for experiments, which nobody else speaks here.
    let header = [&right.mac()[..], &left.mac(), &[0x88, 0xb5]].concat();
    watch(|| {
        for _ in 0..5 {
            let mut buffer = filled(&mut pool, 200);
            buffer.bytes_mut()[..14].copy_from_slice(&header);
            sent.push(Unit::plain(buffer));
        }
        assert_eq!(left.send_batch(&sent, &mut failures), 5);
        sent.drain(..).for_each(|unit| pool.give(unit.buffer));
        let mut arrived = 0;
        while arrived < 5 {
            right.recv_batch(&mut pool, &mut received, 8).unwrap();
            for unit in received.drain(..).flatten() {
                arrived += usize::from(unit.buffer.bytes()[12..14] == header[12..]);
                pool.give(unit.buffer);
            }
        }
    });
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn packets_of_the_host() {
    let Some(namespace) = namespace() else { return };
    let opened = namespace.enter(|| Tun::open_queues("tun-count", 1, TunOffloads::TcpUdp));
    let Ok(mut tuns) = opened.unwrap() else {
        println!("skipped: no TUN device");
        return;
    };
    namespace
        .enter(|| set_up("tun-count", Some("10.8.0.1/24")))
        .unwrap();
    let host = namespace
        .enter(|| std::net::UdpSocket::bind("10.8.0.1:7000"))
        .unwrap()
        .unwrap();
    let (tun, mut pool) = (&mut tuns[0], BufferPool::new(8));
    let far: std::net::SocketAddr = "10.8.0.2:7000".parse().unwrap();
    watch(|| {
        host.send_to(b"to the far end", far).unwrap();
        let mut buffer = pool.take().unwrap();
        let offload = loop {
            match tun.recv(&mut buffer).unwrap() {
                Some(offload) if buffer.bytes()[..10].ends_with(&[17]) => break offload,
                // What the kernel sends on its own.
                Some(_) => buffer.clear(),
                None => {}
            }
        };
        // Back to its sender: source and destination change places.
        buffer.bytes_mut()[12..20].rotate_left(4);
        let unit = Unit { buffer, offload };
        tun.send(&unit).unwrap();
        pool.give(unit.buffer);
        let mut datagram = [0; 99];
        let (length, _) = host.recv_from(&mut datagram).unwrap();
        assert_eq!(&datagram[..length], b"to the far end");
    });
}

#[test]
fn the_allocator_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

/// Runs `round` some times to warm up, then many times without any allocation.
fn watch(mut round: impl FnMut()) {
    (0..3).for_each(|_| round());
    let before = ALLOCATIONS.get();
    (0..ROUNDS).for_each(|_| round());
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

fn filled(pool: &mut BufferPool, length: usize) -> Buffer {
    let mut buffer = pool.take().unwrap();
    buffer.tail_mut()[..length].fill(7);
    buffer.grow(length);
    buffer
}

fn count() {
    // A thread that ends has no counter any more, and nobody who asks.
    let _counted = ALLOCATIONS.try_with(|counter| counter.set(counter.get() + 1));
}
