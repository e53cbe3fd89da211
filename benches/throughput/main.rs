//! Throughput, cost and latency through two routers, ours beside others, in one run.
//!
//! ```text
//!   client a ── lan ── router a ── wan ── router b ── lan ── client b        (network namespaces, veth)
//! ```
//! All systems stand side by side and take turns at every case, so a machine whose speed drifts treats all alike;
//! what counts is the ratio within a round. What cannot run is named. benches/README.md says how to use it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark is run for what it prints"
)]

mod carried;
mod cases;
mod iperf;
mod kernel;
mod lab;
mod latency;
mod machine;
mod moments;
mod nebula;
mod offloads;
mod openvpn;
mod ours;
mod ovs;
mod picture;
mod plan;
mod results;
mod running;
mod selection;
mod systems;
mod table;
mod targets;
mod window;
mod wireguard;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use lab::{INNER_MTU, Lab, OUTER_MTU};
use offloads::Offloads;
use plan::{Plan, count};
use results::{Named, Results, Sample, Setting};
use running::Running;
use selection::file;
use systems::System;

fn main() {
    if let Err(error) = run() {
        eprintln!("throughput: {error:#}");
        std::process::exit(1);
    }
}

/// Measures and writes, or with `--render FILE` makes tables and picture of an earlier run anew; `--add FILE` adds another
/// run to that one, which measured with other settings of the links.
fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let (rendered, added) = (file(&arguments, "--render")?, file(&arguments, "--add")?);
    ensure!(
        rendered.is_some() || added.is_none(),
        "--add goes with --render FILE"
    );
    if let Some(path) = rendered {
        let folder = Path::new(path).parent().unwrap_or_else(|| Path::new("."));
        let mut results = read(path)?;
        if let Some(other) = added {
            results.add(read(other)?)?;
            write_json(&results, folder)?;
        }
        return render(&results, folder);
    }
    let folder = std::env::var_os("BENCH_OUT").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/throughput"),
        PathBuf::from,
    );
    fs::create_dir_all(&folder)?;
    let mut results = describe()?;
    let plan = Plan::of_the_environment(&mut results)?;
    for round in 1..=results.rounds {
        for &&offloads in &plan.offloads {
            let mut stands = Stand::build(&plan, offloads, &mut results)?;
            measure(&mut stands, &plan, offloads, round, &mut results);
        }
        // A run that is interrupted has written what it knows.
        write_json(&results, &folder)?;
    }
    if plan.moments {
        results.moments = moments::measure_all()?;
    }
    write_json(&results, &folder)?;
    render(&results, &folder)
}

/// One system in a topology of its own.
struct Stand {
    system: &'static System,
    // Ended before the namespaces go.
    running: Running,
    lab: Lab,
}

impl Stand {
    /// Builds one per system; one that does not come up is named and left out.
    fn build(plan: &Plan, offloads: Offloads, results: &mut Results) -> Result<Vec<Self>> {
        let mut stands = Vec::new();
        for &system in &plan.systems {
            let lab = Lab::build()?;
            offloads.apply(&lab)?;
            if !results
                .offloads
                .iter()
                .any(|known| known.name == offloads.name())
            {
                results.offloads.push(Setting {
                    name: offloads.name().to_owned(),
                    title: offloads.title().to_owned(),
                    links: Offloads::read(&lab),
                    left_out: plan.cases_with(offloads).1,
                });
            }
            match system.start(&lab) {
                Ok(running) => stands.push(Self {
                    system,
                    running,
                    lab,
                }),
                Err(error) => {
                    let what = format!("{} with {}", system.name, offloads.title());
                    skip(results, &what, format!("{error:#}"));
                }
            }
        }
        Ok(stands)
    }
}

fn measure(
    stands: &mut [Stand],
    plan: &Plan,
    offloads: Offloads,
    round: u32,
    results: &mut Results,
) {
    let seconds = results.seconds;
    for case in plan.cases_with(offloads).0 {
        for stand in &mut *stands {
            let system = stand.system.name;
            let title = format!(
                "round {round}, {}, {}, {system}",
                offloads.name(),
                case.name()
            );
            match case.measure(&stand.lab, &stand.running, seconds) {
                Ok(values) => {
                    eprintln!("{title}: {}", in_words(&values));
                    results.samples.push(Sample {
                        round,
                        offloads: offloads.name().to_owned(),
                        case: case.name().to_owned(),
                        system: system.to_owned(),
                        values,
                    });
                }
                Err(error) => skip(results, &title, format!("{error:#}")),
            }
        }
    }
}

fn in_words(values: &std::collections::BTreeMap<String, f64>) -> String {
    let words = values
        .iter()
        .map(|(name, value)| format!("{name} {value:.2}"));
    words.collect::<Vec<_>>().join(", ")
}

fn describe() -> Result<Results> {
    Ok(Results {
        date: sam_testkit::machine::today(),
        machine: sam_testkit::machine::description(),
        build: if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        }
        .to_owned(),
        rounds: count("BENCH_ROUNDS", 3)?,
        seconds: count("BENCH_SECONDS", 4)?,
        load: sam_testkit::machine::load(),
        inner_mtu: INNER_MTU,
        outer_mtu: OUTER_MTU,
        ..Results::default()
    })
}

/// Names what does not run; once, if every round says the same.
fn skip(results: &mut Results, what: &str, why: String) {
    eprintln!("not run: {what}: {why}");
    let skipped = Named {
        name: what.to_owned(),
        text: why,
    };
    if !results.skipped.contains(&skipped) {
        results.skipped.push(skipped);
    }
}

fn read(path: &str) -> Result<Results> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    serde_json::from_str(&text).with_context(|| format!("{path} is not of this bench"))
}

fn write_json(results: &Results, folder: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(results)? + "\n";
    Ok(fs::write(folder.join("throughput.json"), text)?)
}

/// Writes tables and picture, puts what was aimed at into the README beside them, and prints the tables.
fn render(results: &Results, folder: &Path) -> Result<()> {
    let (tables, reached) = (table::markdown(results), targets::section(results));
    fs::write(folder.join("throughput.md"), &tables)?;
    fs::write(folder.join("throughput.svg"), picture::svg(results))?;
    let readme = folder.join("README.md");
    let text = fs::read_to_string(&readme).unwrap_or_default();
    if let Some(text) = targets::replace(&text, &reached) {
        fs::write(readme, text)?;
    }
    println!("{tables}\n{reached}\nwritten to {}", folder.display());
    Ok(())
}
