//! One thread that seals or opens, and the sides of a tunnel at work in several threads at once.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use crate::ours::{OneByOne, Ours};
use crate::theirs::Theirs;
use crate::tunnels::{Core, Side, TRAIN, Train, Tunnels, Worker, packet};
use crate::turns::{Bench, Slice};

/// ring's AEAD alone, our core, our core datagram by datagram, boringtun.
pub(crate) fn alone(bench: &Bench) {
    let columns = ["ring", "ours", "one by one", "boringtun"];
    bench.title("one thread, ns per packet", &columns);
    for len in [64, 1420] {
        let mut slices = [
            bare(len, true),
            sealing::<Ours>(len),
            sealing::<OneByOne>(len),
            sealing::<Theirs>(len),
        ];
        bench.row(&format!("seal {len} B"), &mut slices);
        let mut slices = [
            bare(len, false),
            opening::<Ours>(len),
            opening::<OneByOne>(len),
            opening::<Theirs>(len),
        ];
        bench.row(&format!("open {len} B"), &mut slices);
    }
}

/// One thread that seals packets as long as they are, and padded to 16 bytes, up to an MTU that the longest fills.
pub(crate) fn padding(bench: &Bench) {
    bench.title("one thread, ns per packet", &["as it is", "padded"]);
    for len in [52, 65, 577, 1297, 1420] {
        let mut slices = [padded(len, 0), padded(len, 1420)];
        bench.row(&format!("seal {len} B"), &mut slices);
    }
}

/// Several threads: time that passes per packet that any of them has sealed or opened.
pub(crate) fn together(bench: &Bench) {
    let columns = ["ours", "one by one", "boringtun"];
    bench.title("threads, ns that pass per packet", &columns);
    type Plan = fn() -> Vec<Role>;
    let cases: [(&str, Plan); 7] = [
        ("1 tunnel, one seals", || vec![Role::near().seals([0])]),
        ("1 tunnel, one seals, one opens", || {
            vec![Role::near().seals([0]), Role::near().opens([0])]
        }),
        ("1 tunnel, two seal", || vec![Role::near().seals([0]); 2]),
        ("1 tunnel, two open", || vec![Role::near().opens([0]); 2]),
        ("1 tunnel, both sides, each seals and opens", || {
            let (near, far) = (Role::near(), Role::far(0));
            let roles = [near.clone().seals([0]), near.opens([0])];
            [&roles[..], &[far.clone().seals([0]), far.opens([0])]].concat()
        }),
        ("4 tunnels, two seal to all and open of two", || {
            [[0, 1], [2, 3]]
                .map(|own| Role::near().seals(0..4).opens(own))
                .to_vec()
        }),
        ("4 tunnels, four seal to all and open of one", || {
            [0, 1, 2, 3]
                .map(|own| Role::near().seals(0..4).opens([own]))
                .to_vec()
        }),
    ];
    for len in [64, 1420] {
        for (name, plan) in cases {
            let mut slices = [
                at_once::<Ours>(len, plan()),
                at_once::<OneByOne>(len, plan()),
                at_once::<Theirs>(len, plan()),
            ];
            bench.row(&format!("{name}, {len} B"), &mut slices);
        }
    }
}

/// What a thread does.
#[derive(Debug, Clone)]
struct Role {
    /// Which far side it belongs to; `None`: the near side.
    far: Option<usize>,
    seals: Vec<usize>,
    opens: Vec<usize>,
}

impl Role {
    fn near() -> Self {
        Self {
            far: None,
            seals: Vec::new(),
            opens: Vec::new(),
        }
    }

    fn far(tunnel: usize) -> Self {
        Self {
            far: Some(tunnel),
            ..Self::near()
        }
    }

    fn seals(mut self, tunnels: impl IntoIterator<Item = usize>) -> Self {
        self.seals.extend(tunnels);
        self
    }

    fn opens(mut self, tunnels: impl IntoIterator<Item = usize>) -> Self {
        self.opens.extend(tunnels);
        self
    }
}

/// A thread's work in a slice.
struct Job<W> {
    worker: W,
    inner: Vec<u8>,
    /// Tunnels for which a train is sealed, one after the other.
    seals: Vec<usize>,
    scratch: Train,
    /// Trains to be opened.
    opens: Vec<(usize, Train)>,
}

impl<W: Worker> Job<W> {
    /// Seals and opens in turn.
    fn run(&mut self) {
        for step in 0..self.seals.len().max(self.opens.len()) {
            if let Some(tunnel) = self.seals.get(step) {
                self.worker.seal(*tunnel, &self.inner, &mut self.scratch);
            }
            if let Some((tunnel, train)) = self.opens.get_mut(step) {
                self.worker.open(*tunnel, train);
            }
        }
    }

    fn packets(&self) -> usize {
        (self.seals.len() + self.opens.len()) * TRAIN
    }
}

/// All roles at once.
fn at_once<C: Core>(len: u16, roles: Vec<Role>) -> Slice<'static>
where
    C::Side: 'static,
{
    let tunnels = roles
        .iter()
        .flat_map(|role| role.seals.iter().chain(&role.opens));
    let count = tunnels.max().map_or(1, |most| most + 1);
    let tunnels = C::tunnels(count);
    Box::new(move || {
        let jobs: Vec<_> = roles.iter().map(|role| job(&tunnels, role, len)).collect();
        let packets: usize = jobs.iter().map(Job::packets).sum();
        let barrier = Barrier::new(jobs.len());
        let times = thread::scope(|scope| {
            let threads = jobs.into_iter().map(|mut job| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let start = Instant::now();
                    job.run();
                    (start, Instant::now())
                })
            });
            let threads: Vec<_> = threads.collect();
            let times = threads.into_iter().map(|thread| thread.join());
            times.collect::<Result<Vec<_>, _>>().expect("no panic")
        });
        let first = times.iter().map(|(start, _)| *start).min();
        let last = times.iter().map(|(_, end)| *end).max();
        let (first, last) = (first.expect("a thread"), last.expect("a thread"));
        nanos(first, last) / packets as f64
    })
}

/// Prepares the work of a thread; what it is to open is sealed here.
fn job<'a, S: Side>(tunnels: &'a Tunnels<S>, role: &Role, len: u16) -> Job<S::Worker<'a>> {
    let inner = packet(len);
    let side = role.far.map_or(&tunnels.near, |far| &tunnels.far[far]);
    let mut opens = Vec::new();
    if !role.opens.is_empty() {
        for step in 0..TRAINS {
            let tunnel = role.opens[step % role.opens.len()];
            let (sealer, at_sealer) = match role.far {
                None => (&tunnels.far[tunnel], 0),
                Some(far) => (&tunnels.near, far),
            };
            let mut train = Train::new(inner.len());
            sealer.worker().seal(at_sealer, &inner, &mut train);
            opens.push((tunnel, train));
        }
    }
    let seals = (0..TRAINS).filter_map(|step| {
        let place = step % role.seals.len().max(1);
        role.seals.get(place).copied()
    });
    Job {
        worker: side.worker(),
        seals: seals.collect(),
        scratch: Train::new(inner.len()),
        inner,
        opens,
    }
}

fn sealing<C: Core>(len: u16) -> Slice<'static>
where
    C::Side: 'static,
{
    let (tunnels, inner) = (C::tunnels(1), packet(len));
    Box::new(move || {
        let (mut worker, mut train) = (tunnels.near.worker(), Train::new(inner.len()));
        let start = Instant::now();
        for _ in 0..TRAINS {
            worker.seal(0, black_box(&inner), &mut train);
        }
        nanos(start, Instant::now()) / (TRAINS * TRAIN) as f64
    })
}

fn padded(len: u16, limit: usize) -> Slice<'static> {
    let (tunnels, inner) = (Ours::tunnels(1), packet(len));
    Box::new(move || {
        let mut worker = tunnels.near.worker();
        worker.pad_up_to(limit);
        let mut train = worker.train(inner.len());
        let start = Instant::now();
        for _ in 0..TRAINS {
            worker.seal(0, black_box(&inner), &mut train);
        }
        nanos(start, Instant::now()) / (TRAINS * TRAIN) as f64
    })
}

fn opening<C: Core>(len: u16) -> Slice<'static>
where
    C::Side: 'static,
{
    let (tunnels, inner) = (C::tunnels(1), packet(len));
    Box::new(move || {
        let mut sealer = tunnels.far[0].worker();
        let mut trains = vec![Train::new(inner.len()); TRAINS];
        for train in &mut trains {
            sealer.seal(0, &inner, train);
        }
        let mut worker = tunnels.near.worker();
        let start = Instant::now();
        for train in &mut trains {
            worker.open(0, train);
        }
        nanos(start, Instant::now()) / (TRAINS * TRAIN) as f64
    })
}

/// What cannot be saved: the cipher in place.
fn bare(len: u16, seal: bool) -> Slice<'static> {
    use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
    let key = UnboundKey::new(&CHACHA20_POLY1305, &[1; 32]).expect("32 bytes");
    let (key, inner) = (LessSafeKey::new(key), packet(len));
    let nonce = || Nonce::assume_unique_for_key([1; 12]);
    Box::new(move || {
        let mut sealed = inner.clone();
        key.seal_in_place_append_tag(nonce(), Aad::empty(), &mut sealed)
            .expect("short");
        let mut copies = vec![sealed; TRAINS * TRAIN];
        let start = Instant::now();
        for copy in &mut copies {
            if seal {
                let text = &mut copy[..inner.len()];
                let tag = key.seal_in_place_separate_tag(nonce(), Aad::empty(), text);
                black_box(tag.expect("short").as_ref());
            } else {
                let opened = key.open_in_place(nonce(), Aad::empty(), copy);
                black_box(opened.expect("genuine"));
            }
        }
        nanos(start, Instant::now()) / (TRAINS * TRAIN) as f64
    })
}

fn nanos(start: Instant, end: Instant) -> f64 {
    (end - start).as_nanos() as f64
}

/// Trains that a thread seals or opens in a slice: half a megabyte of long packets in flight, less than a window of 8192.
const TRAINS: usize = 16;
