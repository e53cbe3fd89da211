//! Throughput through two routers, ours beside others, in one run: `cargo bench --bench throughput`.
//!
//! ```text
//!   client a ── lan ── router a ── wan ── router b ── lan ── client b        (network namespaces, veth)
//! ```
//! Systems take turns within each round, so a machine whose speed drifts treats all alike; what counts is the ratio
//! to plain kernel forwarding of the same round. Needs root, iperf3 and, for the other systems, wireguard-go, wg and
//! boringtun-cli; what is missing is named and left out. `BENCH_ROUNDS` (default 3), `BENCH_SECONDS` (default 4).

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark is run for what it prints"
)]

mod iperf;
mod lab;
mod moments;
mod systems;

use std::collections::BTreeMap;

use iperf::{Case, Sample};
use lab::Lab;
use systems::System;

fn main() {
    if let Err(error) = run() {
        eprintln!("throughput: {error:#}");
        std::process::exit(1);
    }
}

fn run() -> anyhow::Result<()> {
    let rounds = number("BENCH_ROUNDS", 3);
    let seconds = number("BENCH_SECONDS", 4);
    let systems: Vec<System> = System::ALL
        .into_iter()
        .filter(|system| match system.missing() {
            None => true,
            Some(what) => {
                eprintln!("skipped: {}: {what} is not installed", system.name());
                false
            }
        })
        .collect();
    let mut samples: BTreeMap<(Case, System), Vec<Sample>> = BTreeMap::new();
    for round in 1..=rounds {
        for &system in &systems {
            eprintln!("round {round} of {rounds}: {}", system.name());
            let lab = Lab::build()?;
            let running = system.start(&lab)?;
            for case in Case::ALL {
                match iperf::measure(&lab, case, seconds) {
                    Ok(sample) => samples.entry((case, system)).or_default().push(sample),
                    Err(error) => eprintln!("  {}: {error:#}", case.name()),
                }
            }
            drop(running);
        }
    }
    print(&systems, &samples);
    moments::print()
}

fn print(systems: &[System], samples: &BTreeMap<(Case, System), Vec<Sample>>) {
    println!(
        "\nMedians; TCP and UDP in Gbit/s of payload received, packets in thousands a second received.\n"
    );
    print!("| case |");
    for system in systems {
        print!(" {} |", system.name());
    }
    println!("\n|---|{}", "--:|".repeat(systems.len()));
    for case in Case::ALL {
        print!("| {} |", case.name());
        for system in systems {
            match samples.get(&(case, *system)) {
                Some(list) => print!(" {} |", case.render(&median(list))),
                None => print!(" – |"),
            }
        }
        println!();
    }
}

fn median(samples: &[Sample]) -> Sample {
    let mut sorted = samples.to_vec();
    sorted.sort_by(|a, b| a.gbit_s.total_cmp(&b.gbit_s));
    sorted[sorted.len() / 2].clone()
}

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}
