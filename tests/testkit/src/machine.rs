//! What machine a benchmark ran on, for its report: one way to say so for all of them.

use std::fs;
use std::process::Command;

/// Date, machine, and what else was going on: the head of a report.
#[must_use]
pub fn occasion() -> String {
    let load = load().map_or_else(|| "unknown".to_owned(), |load| load.to_string());
    format!("{}: {}, load {load} at the start", today(), description())
}

/// The day, in UTC.
#[must_use]
pub fn today() -> String {
    let date = Command::new("date").args(["-u", "+%F"]).output();
    date.map_or_else(
        |_| "date unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// Kernel, processor and number of processors, in one line.
#[must_use]
pub fn description() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // The part before the first dash; the rest names who built it.
    let kernel = kernel
        .trim()
        .split('-')
        .next()
        .unwrap_or_default()
        .to_owned();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{processors} processors ({model}), Linux {kernel}")
}

/// The one-minute load average.
#[must_use]
pub fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}
