//! What clients lose when the router that serves their LAN changes: killed, stopped, drained; and an address handed over.
//!
//! ```text
//!   client ──┬── router onprem (priority 150) ══╗
//!   client ──┤                                  ╠══ router aws ── client
//!            └── router azure  (priority 100) ══╝
//! ```
//! Every client pings every ten milliseconds, in both directions, and a stream of TCP runs, all the time. Each event happens
//! anew in each round. benches/README.md says how to use it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark is run for what it prints"
)]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

mod captured;
mod cloud_event;
mod event;
mod musts;
mod newcomer;
mod partition;
mod picture;
mod place;
mod report;
mod timeline;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};

use cloud_event::CloudEvent;
use event::Event;
use place::Place;
use report::Report;
use timeline::Timeline;
use watch::Outcome;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, file, ..] = arguments.as_slice()
        && flag == "--render"
    {
        let text = fs::read_to_string(file).expect("the JSON of a run");
        let report: Report = serde_json::from_str(&text).expect("the JSON of a run");
        let folder = Path::new(file).parent().unwrap_or_else(|| Path::new("."));
        render(&report, folder);
        return;
    }
    if sam_net::process::effective_user_id() != 0 {
        eprintln!("takeover: needs root, for network namespaces");
        std::process::exit(1);
    }
    measure();
}

fn measure() {
    let folder = std::env::var_os("BENCH_OUT").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/takeover"),
        PathBuf::from,
    );
    fs::create_dir_all(&folder).expect("writable");
    let rounds = std::env::var("BENCH_ROUNDS").map_or(5, |text| text.parse().expect("a number"));
    let mut lan = Report::describe(Place::Lan, rounds);
    let mut clouds = Report::describe(Place::Clouds, rounds);
    let cases = std::env::var("BENCH_CASES").unwrap_or_default();
    let wanted = |name: &str| cases.is_empty() || cases.split(',').any(|case| means(case, name));
    for round in 1..=rounds {
        for event in Event::ALL.into_iter().filter(|event| wanted(event.name())) {
            take(&mut lan, round, event.name(), event.run());
        }
        for event in CloudEvent::all().filter(|event| wanted(&event.name())) {
            take(&mut clouds, round, &event.name(), event.run());
        }
        // A run that is interrupted has written what it knows.
        measured([&lan, &clouds]).for_each(|report| save(report, &folder));
    }
    for report in measured([&lan, &clouds]) {
        render(report, &folder);
        println!("{}\nwritten to {}", report.to_markdown(), folder.display());
    }
    if [lan, clouds]
        .iter()
        .any(|report| !report.missed().is_empty())
    {
        std::process::exit(1);
    }
}

/// Tells whether a word of `BENCH_CASES` means an event: by its name, or a part of it unless that is the name of another.
fn means(case: &str, name: &str) -> bool {
    let is_name = Event::ALL.iter().any(|event| event.name() == case);
    case == name || !is_name && name.contains(case)
}

/// Of a place where nothing happened this time, the former report stays.
fn measured(reports: [&Report; 2]) -> impl Iterator<Item = &Report> {
    let happened = |report: &&Report| !report.samples.is_empty();
    reports.into_iter().filter(happened)
}

/// Takes in what came of an event.
fn take(report: &mut Report, round: usize, event: &str, outcome: Outcome) {
    println!("round {round}, {event}: {:?}", outcome.figures);
    report.add(round, event, &outcome.figures);
    let timeline = outcome.timeline.map(|timeline| Timeline {
        round,
        event: event.to_owned(),
        ..timeline
    });
    report.timelines.extend(timeline);
}

fn save(report: &Report, folder: &Path) {
    let text = serde_json::to_string_pretty(report).expect("plain values");
    let name = format!("{}.json", report.place.file());
    fs::write(folder.join(name), text).expect("writable");
}

/// Writes the table and the picture.
fn render(report: &Report, folder: &Path) {
    let file = |kind: &str| folder.join(format!("{}.{kind}", report.place.file()));
    fs::write(file("md"), report.to_markdown()).expect("writable");
    if let Some(picture) = picture::svg(report) {
        fs::write(file("svg"), picture).expect("writable");
    }
}
