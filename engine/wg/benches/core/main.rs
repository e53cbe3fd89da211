//! Our core beside boringtun, in turns: packets in one thread and in several, handshakes, storms of them, an hour of renewals.
//!
//! ```text
//!   cargo bench -p sam-wg                       all of it, two minutes
//!   cargo bench -p sam-wg -- GROUP              one of alone, padding, together, costs, storm, hour
//!   BENCH_ROUNDS=400 cargo bench -p sam-wg      slices of each case, 60 by default; medians are shown
//! ```
#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench may fail by panic, and its time starts now"
)]

mod hour;
mod ours;
mod packets;
mod storm;
mod theirs;
mod tunnels;
mod turns;

use turns::Bench;

fn main() {
    let bench = Bench::from_environment();
    let groups: [(&str, fn(&Bench)); 6] = [
        ("alone", packets::alone),
        ("padding", packets::padding),
        ("together", packets::together),
        ("costs", storm::costs),
        ("storm", storm::throughput),
        ("hour", hour::run),
    ];
    for (name, run) in groups {
        if bench.wants(name) {
            run(&bench);
        }
    }
}
