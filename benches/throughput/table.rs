//! The tables of a run, in Markdown.

use std::fmt::Write as _;

use super::results::{Key, Results};

/// One row of a table: case, value, its name, digits after the point.
type Row = (&'static str, &'static str, &'static str, usize);

const ROWS: &[Row] = &[
    ("tcp-1", "gbit_s", "TCP, 1 stream, Gbit/s", 2),
    ("tcp-1-back", "gbit_s", "TCP, 1 stream, back, Gbit/s", 2),
    ("tcp-4", "gbit_s", "TCP, 4 streams, Gbit/s", 2),
    ("tcp-4-back", "gbit_s", "TCP, 4 streams, back, Gbit/s", 2),
    ("udp-64", "kpps", "UDP 64 B, thousand packets/s", 0),
    ("udp-512", "kpps", "UDP 512 B, thousand packets/s", 0),
    ("udp-1400", "kpps", "UDP 1400 B, thousand packets/s", 0),
    (
        "flood-64",
        "kpps",
        "flood of UDP 64 B, thousand packets/s received",
        0,
    ),
    (
        "tcp-1",
        "cpu_s_per_gb",
        "processor seconds per GB, TCP 1",
        2,
    ),
    ("idle", "rtt_p50_us", "idle round trip p50, µs", 0),
    ("idle", "rtt_p99_us", "idle round trip p99, µs", 0),
    ("loaded", "rtt_p99_us", "round trip p99 beside TCP 1, µs", 0),
    ("tcp-1", "resident_mib", "resident memory in TCP 1, MiB", 1),
    ("tcp-1", "drops", "packets dropped in TCP 1", 0),
    ("udp-64", "lost_percent", "lost of UDP 64 B, %", 2),
    ("udp-512", "lost_percent", "lost of UDP 512 B, %", 2),
    ("udp-1400", "lost_percent", "lost of UDP 1400 B, %", 2),
    ("flood-64", "drops", "packets dropped in the flood", 0),
    ("flood-64", "lost_percent", "lost of the flood, %", 1),
    ("tcp-1", "bad_checksums", "bad checksums in TCP 1", 0),
    (
        "tcp-1-back",
        "bad_checksums",
        "bad checksums in TCP 1, back",
        0,
    ),
];

/// The system whose ratios are told.
const OURS: &str = "samctl";
const OUR_GRE: &str = "samctl GRE";
const OTHER_GRE: &str = "Open vSwitch GRE";
const GRE_RATIO: &str = "(samctl GRE ÷ Open vSwitch GRE)";

/// All tables of a run.
pub(crate) fn markdown(results: &Results) -> String {
    let mut out = format!(
        "# Figures\n\nMade by `cargo bench --bench throughput` from [throughput.json](throughput.json); do not edit.\n\n\
         {}. Inner MTU {}, outer MTU {}.\n\n",
        results.method(),
        results.inner_mtu,
        results.outer_mtu
    );
    for system in &results.systems {
        let _ = writeln!(out, "- {}: {}", system.name, system.text);
    }
    for (reason, names) in results.skipped_by_reason() {
        let _ = writeln!(out, "- not run: {}: {reason}", names.join(", "));
    }
    for offloads in &results.offloads {
        let _ = writeln!(
            out,
            "\n## {}\n\n{}\n",
            offloads.title,
            offloads.links.join("; ")
        );
        if !offloads.left_out.is_empty() {
            let names = offloads.left_out.join(", ");
            let _ = writeln!(out, "Not of interest with this, so not run: {names}.\n");
        }
        values(results, &offloads.name, &mut out);
        let _ = writeln!(
            out,
            "\nsamctl against each, median of the ratios of the same round:\n"
        );
        ratios(results, &offloads.name, &mut out);
    }
    if !results.moments.is_empty() {
        let _ = writeln!(out, "\n## Moments\n\n| moment | median |\n|---|--:|");
        for moment in &results.moments {
            let _ = writeln!(
                out,
                "| {} | {:.1} {} |",
                moment.name, moment.median, moment.unit
            );
        }
    }
    out
}

fn values(results: &Results, offloads: &str, out: &mut String) {
    let systems: Vec<&str> = names(results).collect();
    table(
        (offloads, &systems),
        "case",
        ROWS,
        out,
        |key, system, digits| {
            let median = results.median(key, system);
            median.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
        },
    );
}

fn ratios(results: &Results, offloads: &str, out: &mut String) {
    let told = ROWS
        .iter()
        .filter(|(_, value, ..)| !matches!(*value, "drops" | "lost_percent" | "bad_checksums"));
    let rows: Vec<Row> = told.copied().collect();
    let mut others: Vec<&str> = names(results).filter(|name| *name != OURS).collect();
    // Two that carry GRE in user space, beside ours that encrypts.
    if [OUR_GRE, OTHER_GRE]
        .iter()
        .all(|name| others.contains(name))
    {
        others.push(GRE_RATIO);
    }
    table(
        (offloads, &others),
        "samctl ÷",
        &rows,
        out,
        |key, system, _| {
            let (ours, other) = if system == GRE_RATIO {
                (OUR_GRE, OTHER_GRE)
            } else {
                (OURS, system)
            };
            let ratio = results.ratio(key, ours, other);
            ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"))
        },
    );
}

fn names(results: &Results) -> impl Iterator<Item = &str> {
    results.systems.iter().map(|system| system.name.as_str())
}

/// One line per row that any system has a value for.
fn table(
    (offloads, systems): (&str, &[&str]),
    corner: &str,
    rows: &[Row],
    out: &mut String,
    cell: impl Fn(Key<'_>, &str, usize) -> String,
) {
    let _ = writeln!(out, "| {corner} | {} |", systems.join(" | "));
    let _ = writeln!(out, "|---|{}", "--:|".repeat(systems.len()));
    for (case, value, name, digits) in rows {
        let key = Key {
            offloads,
            case,
            value,
        };
        let cells: Vec<String> = systems
            .iter()
            .map(|system| cell(key, system, *digits))
            .collect();
        if cells.iter().any(|cell| cell != "–") {
            let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
        }
    }
}
