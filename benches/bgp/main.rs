//! How fast routes pass: our BGP speaker beside BIRD, FRR and GoBGP, the same feed in the same run.
//!
//! ```text
//!   feeder ── TCP ── daemon under test (route reflector) ── TCP ── 1 … 10 clients        (one network namespace)
//! ```
//! Feeder and clients encode and count, nothing else. Systems take turns at every case; what counts is the ratio
//! within a round. What cannot run is named. benches/README.md says how to use it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark is run for what it prints"
)]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures are rounded anyway"
)]

mod cases;
mod daemons;
mod death;
mod feed;
mod peer;
mod report;
mod speaker;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use cases::Case;
use daemons::{DAEMON, System};
use report::{Report, Sample};

fn main() {
    if let Err(error) = run() {
        eprintln!("bgp: {error:#}");
        std::process::exit(1);
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [flag, count, peers @ ..] if flag == "--speaker" => {
            let peers = peers
                .iter()
                .map(|peer| peer.parse())
                .collect::<Result<Vec<Ipv4Addr>, _>>()?;
            speaker::serve(DAEMON, &peers, Path::new(count))
        }
        [flag, file, ..] if flag == "--render" => {
            let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
            let report: Report = serde_json::from_str(&text)?;
            let folder = Path::new(file).parent().unwrap_or_else(|| Path::new("."));
            Ok(fs::write(folder.join("bgp.md"), report.to_markdown())?)
        }
        _ => measure(),
    }
}

fn measure() -> Result<()> {
    let folder = std::env::var_os("BENCH_OUT").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bgp"),
        PathBuf::from,
    );
    fs::create_dir_all(&folder)?;
    enter_namespace()?;
    let mut report = Report::describe(number("BENCH_ROUNDS", 3)?);
    let systems: Vec<System> = System::ALL
        .into_iter()
        .filter(|system| wanted("BENCH_SYSTEMS", system.name()))
        .filter(|system| report.introduce(*system))
        .collect();
    let routes = number("BENCH_ROUTES", 1_000_000)?;
    let cases = [
        Case::Load(routes),
        Case::Reflect(routes / 10, 10),
        Case::Reflect(routes, 5),
        Case::Change,
        Case::ChangeUnderLoad(routes),
        Case::PeerDeath(routes),
    ];
    for round in 1..=report.rounds {
        for case in cases {
            for &system in &systems {
                if wanted("BENCH_CASES", case.key()) && case.concerns(system) {
                    measure_one(case, system, round, &mut report)?;
                }
            }
        }
        // A run that is interrupted has written what it knows.
        fs::write(
            folder.join("bgp.json"),
            serde_json::to_string_pretty(&report)?,
        )?;
    }
    fs::write(folder.join("bgp.md"), report.to_markdown())?;
    println!("{}\nwritten to {}", report.to_markdown(), folder.display());
    Ok(())
}

fn measure_one(case: Case, system: System, round: usize, report: &mut Report) -> Result<()> {
    let scratch = std::env::temp_dir().join(format!("samctl-bgp-{}", std::process::id()));
    fs::create_dir(&scratch)?;
    let outcome = case.run(system, &scratch);
    fs::remove_dir_all(&scratch)?;
    println!(
        "round {round}, {}, {}: {outcome:?}",
        case.name(),
        system.name()
    );
    match outcome {
        Ok(figures) => {
            let samples = figures.into_iter().map(|(figure, value)| Sample {
                round,
                system,
                case: case.name(),
                figure,
                value,
            });
            report.samples.extend(samples);
        }
        Err(error) => report.skip(format!("{}, {}", case.name(), system.name()), &error),
    }
    Ok(())
}

/// Moves this process into a network namespace of its own, where all of 10.255.0.0/16 is here.
fn enter_namespace() -> Result<()> {
    ensure!(
        sam_net::process::effective_user_id() == 0,
        "needs root, for a network namespace of its own"
    );
    sam_net::netns::Namespace::create()?.move_thread()?;
    let arguments = "address add 10.255.0.1/16 dev lo";
    let status = Command::new("ip").args(arguments.split(' ')).status()?;
    ensure!(status.success(), "ip {arguments} failed");
    Ok(())
}

fn wanted(variable: &str, name: &str) -> bool {
    std::env::var(variable).map_or(true, |list| list.split(',').any(|wanted| wanted == name))
}

fn number(variable: &str, default: usize) -> Result<usize> {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{variable} is no number: {text}")),
        Err(_) => Ok(default),
    }
}
