//! Real threads: the device renews sessions while two workers seal and two open, and not one packet is lost.
//!
//! ```text
//!   sealer, sealer --packets--> opener, opener      time: STEP longer with every renewal
//!        \_________signals________/
//!                     |
//!             devices (this thread)
//! ```
#![expect(clippy::unwrap_used, reason = "a test may fail by panic")]

#[path = "device/world.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
mod world;

use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use sam_wg::{DataPath, Opened, Signal};
use world::{A, B, Node, PEER, World, origin, packet};

/// How far time goes between renewals: a session of this age is old, but not expired.
const STEP: Duration = Duration::from_secs(121);
const RENEWALS: u32 = 40;
const NOTHING: u32 = u32::MAX;

/// What the threads share.
struct Shared {
    start: Instant,
    renewals: AtomicU32,
    done: AtomicU32,
    /// Rounds that each sealer has finished.
    rounds: [AtomicU32; 2],
    sealed: AtomicU32,
    taken: AtomicU32,
    /// Which of the packets taken each opener has in hand.
    in_hand: [AtomicU32; 2],
}

impl Shared {
    fn now(&self) -> Instant {
        self.start + STEP * self.renewals.load(SeqCst)
    }

    /// Returns how many packets are opened for certain: an opener that is not let run holds up the count.
    fn opened(&self) -> u32 {
        let taken = self.taken.load(SeqCst);
        let in_hand = self.in_hand.iter().map(|place| place.load(SeqCst));
        in_hand.min().unwrap().min(taken)
    }
}

#[test]
fn sessions_are_renewed_under_the_hands_of_four_threads_and_nothing_is_lost() {
    let mut world = World::established(1);
    let shared = Shared {
        start: world.now,
        renewals: AtomicU32::new(0),
        done: AtomicU32::new(0),
        rounds: [AtomicU32::new(0), AtomicU32::new(0)],
        sealed: AtomicU32::new(0),
        taken: AtomicU32::new(0),
        in_hand: [AtomicU32::new(NOTHING), AtomicU32::new(NOTHING)],
    };
    let (packets, arrivals) = sync_channel(64);
    let (signals, reports) = sync_channel(4096);
    let arrivals = Mutex::new(arrivals);
    let mut numbers: Vec<u32> = thread::scope(|scope| {
        let (shared, arrivals) = (&shared, &arrivals);
        for thread in 0..2 {
            let path = world.nodes[A].device.data_path();
            let (packets, signals) = (packets.clone(), signals.clone());
            scope.spawn(move || seal(shared, thread, path, &packets, &signals));
        }
        let openers = shared.in_hand.each_ref().map(|in_hand| {
            let (path, signals) = (world.nodes[B].device.data_path(), signals.clone());
            let lane = (arrivals, in_hand);
            scope.spawn(move || open(shared, path, lane, &signals))
        });
        drop((packets, signals));
        for renewal in 1..=RENEWALS {
            shared.renewals.store(renewal, SeqCst);
            renew(&mut world.nodes, &reports, shared.now(), u64::from(renewal));
            settle(shared);
        }
        shared.done.store(1, SeqCst);
        let numbers = openers.map(|opener| opener.join().unwrap());
        numbers.concat()
    });
    numbers.sort_unstable();
    let sealed = shared.sealed.load(SeqCst);
    assert!(sealed > RENEWALS * 64, "{sealed}");
    assert_eq!(numbers, (0..sealed).collect::<Vec<_>>());
}

/// Seals packets with numbers of their own until the end.
fn seal(
    shared: &Shared,
    thread: usize,
    mut path: DataPath,
    packets: &SyncSender<Vec<u8>>,
    signals: &SyncSender<(usize, Signal)>,
) {
    while shared.done.load(SeqCst) == 0 {
        // Farther ahead, and what another thread has in hand would fall out of the replay window.
        wait_until(|| {
            let round = |thread: usize| shared.rounds[thread].load(SeqCst);
            let opener_follows = shared.sealed.load(SeqCst) < shared.opened() + 4000;
            let sealer_follows = round(thread) < round(1 - thread) + 60;
            opener_follows && sealer_follows || shared.done.load(SeqCst) == 1
        });
        let now = shared.now();
        path.refresh();
        for _ in 0..32 {
            let (number, mut out) = (shared.sealed.fetch_add(1, SeqCst), vec![0; 64]);
            let len = path.seal(PEER, &packet(number), &mut out, now).unwrap();
            out.truncate(len);
            packets.send(out).unwrap();
        }
        while let Some(signal) = path.poll_signal() {
            signals.send((A, signal)).unwrap();
        }
        shared.rounds[thread].fetch_add(1, SeqCst);
    }
}

/// Opens what comes and returns the numbers.
fn open(
    shared: &Shared,
    mut path: DataPath,
    (arrivals, in_hand): (&Mutex<Receiver<Vec<u8>>>, &AtomicU32),
    signals: &SyncSender<(usize, Signal)>,
) -> Vec<u32> {
    let (mut numbers, from) = (Vec::new(), "192.0.2.1:51820".parse().unwrap());
    loop {
        let queue = arrivals.lock().unwrap();
        let Ok(datagram) = queue.recv() else {
            return numbers;
        };
        in_hand.store(shared.taken.load(SeqCst), SeqCst);
        shared.taken.fetch_add(1, SeqCst);
        drop(queue);
        path.refresh();
        let mut out = [0; 64];
        let opened = path.open(from, &datagram, &mut out, shared.now());
        let Ok(Opened::Packet { len, .. }) = opened else {
            panic!("{opened:?}");
        };
        numbers.push(u32::from_be_bytes(out[len - 4..len].try_into().unwrap()));
        while let Some(signal) = path.poll_signal() {
            signals.send((B, signal)).unwrap();
        }
        in_hand.store(NOTHING, SeqCst);
    }
}

/// Acts on what workers report until both devices have completed this many handshakes more.
fn renew(nodes: &mut [Node; 2], reports: &Receiver<(usize, Signal)>, now: Instant, renewals: u64) {
    while nodes
        .iter()
        .any(|node| node.status().handshakes <= renewals)
    {
        let (node, signal) = reports.recv_timeout(Duration::from_secs(60)).unwrap();
        nodes[node].device.handle_signal(signal, now);
        for node in [A, B, A] {
            let (mut message, from) = ([0; 148], nodes[node].address);
            while let Some((_, len)) = nodes[node].device.poll_transmit(&mut message) {
                let Node { device, path, .. } = &mut nodes[1 - node];
                path.refresh();
                if let Ok(Opened::Handshake) = path.open(from, &message[..len], &mut [0; 148], now)
                {
                    device.handle_message(from, &message[..len], now).unwrap();
                }
                while let Some(signal) = path.poll_signal() {
                    device.handle_signal(signal, now);
                }
            }
        }
    }
}

/// Waits until both sealers use what is published, and all that was sealed before is opened.
fn settle(shared: &Shared) {
    let rounds = [0, 1].map(|thread| shared.rounds[thread].load(SeqCst));
    let finished = |thread: usize| shared.rounds[thread].load(SeqCst) >= rounds[thread] + 2;
    wait_until(|| finished(0) && finished(1));
    let sealed = shared.sealed.load(SeqCst);
    wait_until(|| shared.opened() >= sealed);
}

fn wait_until(condition: impl Fn() -> bool) {
    let start = origin();
    while !condition() {
        assert!(origin() - start < Duration::from_secs(60), "a thread ended");
        thread::yield_now();
    }
}
