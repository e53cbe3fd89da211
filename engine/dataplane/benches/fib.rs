//! The FIB with 100,000 hosts: lookups hot and cold, and a bulk build.
//!
//! Cold means: before each batch of lookups the caches are filled with something else, by the kernel, which copies packets
//! through them as it does between two batches of a router. Ice-cold: by this process, page by page, so that the processor
//! has forgotten where pages are, too. In a chain, each lookup waits for the one before; else they may overlap, as those of
//! a batch of packets do.

#![expect(
    clippy::disallowed_methods,
    reason = "a bench may open a file: what the kernel copies is in one"
)]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read as _, Seek as _};
use std::net::Ipv4Addr;

use criterion::{BatchSize, Criterion, Throughput};
use ipnet::Ipv4Net;
use sam_dataplane::{Fib, FibBuilder, NextHop, TunnelId};

const HOSTS: u32 = 100_000;
/// Lookups after each eviction.
const BATCH: usize = 64;
/// Larger than the caches of most machines.
const EVICTION_BYTES: usize = 96 << 20;

/// Its name, and the address of each host by number.
type Layout = (&'static str, fn(u32) -> u32);

/// Where the hosts are: all in one pool, or scattered over all pools there could be.
const LAYOUTS: [Layout; 2] = [
    ("dense", |index| 0x0a00_0000 + index),
    ("scattered", |index| index.wrapping_mul(0x9e37_79b1)),
];

fn lookups(criterion: &mut Criterion) {
    for (layout, address) in LAYOUTS {
        let fib = fib(address);
        let mut random = Random(1);
        let mut batch = || [(); BATCH].map(|()| Ipv4Addr::from_bits(address(random.below(HOSTS))));
        let hot = batch();
        let mut group = criterion.benchmark_group(format!("lookup/{layout}"));
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function("hot", |run| run.iter(|| all(&hot, |to| fib.lookup(to))));
        let mut evictions: [(&str, Box<dyn FnMut()>); 2] = [
            ("cold", Box::new(by_the_kernel())),
            ("ice-cold", Box::new(by_this_process())),
        ];
        group.sample_size(20);
        for (name, evict) in &mut evictions {
            let mut setup = || {
                evict();
                batch()
            };
            group.bench_function(*name, |run| {
                run.iter_batched(
                    &mut setup,
                    |batch| all(&batch, |to| fib.lookup(to)),
                    BatchSize::PerIteration,
                );
            });
            group.bench_function(format!("{name}-chain"), |run| {
                run.iter_batched(
                    &mut setup,
                    |batch| chain(&batch, |to| fib.lookup(to)),
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

fn builds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build");
    group.sample_size(10);
    for (layout, address) in LAYOUTS {
        group.bench_function(layout, |run| run.iter_with_large_drop(|| fib(address)));
    }
    group.finish();
}

fn all(batch: &[Ipv4Addr], lookup: impl Fn(Ipv4Addr) -> Option<NextHop>) {
    for address in batch {
        black_box(lookup(*address));
    }
}

/// Each address is known only when the answer before it is.
fn chain(batch: &[Ipv4Addr], lookup: impl Fn(Ipv4Addr) -> Option<NextHop>) {
    let mut zero = 0;
    for address in batch {
        let next = Ipv4Addr::from_bits(address.to_bits() ^ zero);
        // No tunnel has such a number, which only the answer can tell.
        zero = match lookup(next) {
            Some(NextHop::Tunnel(TunnelId(id))) => u32::from(id >> 15),
            Some(
                NextHop::Local
                | NextHop::Lan(_)
                | NextHop::Withhold
                | NextHop::Unreachable
                | NextHop::Blackhole,
            )
            | None => 0,
        };
    }
    black_box(zero);
}

/// Has the kernel copy a file of [`EVICTION_BYTES`], which is in memory, into a buffer that the caches hold.
fn by_the_kernel() -> impl FnMut() {
    let path = std::env::temp_dir().join(format!("samctl-fib-{}", std::process::id()));
    fs::write(&path, vec![1; EVICTION_BYTES]).expect("room for temporary files");
    let mut file = File::open(&path).expect("just written");
    fs::remove_file(&path).expect("just written");
    let mut packets = vec![0; 64 << 10];
    move || {
        file.rewind().expect("a file");
        while file.read(&mut packets).expect("a file") > 0 {}
        black_box(&packets);
    }
}

fn by_this_process() -> impl FnMut() {
    let mut memory = vec![0_u8; EVICTION_BYTES];
    move || {
        for line in memory.chunks_mut(64) {
            line[0] = line[0].wrapping_add(1);
        }
        black_box(&mut memory);
    }
}

fn fib(address: fn(u32) -> u32) -> Fib {
    let mut builder = FibBuilder::default();
    let pool = Ipv4Net::new(Ipv4Addr::new(10, 0, 0, 0), 8).expect("at most 32");
    builder.insert(pool, NextHop::Withhold);
    for index in 0..HOSTS {
        let hop = TunnelId((index % 100).try_into().expect("below 100"));
        let host = Ipv4Addr::from_bits(address(index));
        builder.insert(host.into(), NextHop::Tunnel(hop));
    }
    builder.build()
}

/// Xorshift: the same numbers in every run.
struct Random(u32);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % bound
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    lookups(&mut criterion);
    builds(&mut criterion);
    criterion.final_summary();
}
