//! `samctl bgp mrt inject FILE`: a file's routes told to a BGP speaker, as a neighbor of it would.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::time::Duration;

use serde::Serialize;

use crate::Streams;
use crate::args::{Format, InjectArgs};
use crate::exit::{Exit, Failure};
use crate::injection::{Injection, Terms};
use crate::mrt_table::MrtTable;
use crate::output::machine;

/// What is told, or would be.
#[derive(Debug, Serialize)]
struct Report {
    /// Routes of the file.
    routes: usize,
    /// What of the file is left out, and how often.
    left_out: BTreeMap<&'static str, u64>,
    /// Whom they are told.
    to: Option<String>,
    /// How many were told; `None` when nothing is sent.
    told: Option<usize>,
}

/// Tells the routes, or says what would be told.
///
/// # Errors
/// When the file cannot be read, or the session does not come up or ends early.
pub fn inject(
    args: &InjectArgs,
    format: Format,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let path = args.file.display();
    let unreadable = |error| Failure::new(Exit::Failed, format!("cannot read {path}: {error}"));
    let file = File::open(&args.file).map_err(|error| unreadable(error.to_string()))?;
    let table = MrtTable::read(BufReader::new(file), args.from).map_err(unreadable)?;
    let mut report = Report {
        routes: table.len(),
        left_out: table.left_out().clone(),
        to: args.to.map(|to| to.to_string()),
        told: None,
    };
    let (true, Some(to), Some(asn)) = (args.live, args.to, args.asn) else {
        print(&report, format, streams)?;
        return Ok(Exit::Ok);
    };
    if table.is_empty() {
        return Err(Failure::new(
            Exit::Failed,
            format!("no routes in {path} that could be told"),
        ));
    }
    let terms = Terms {
        to,
        asn,
        peer_asn: args.peer_asn.unwrap_or(asn),
        next_hop: args.next_hop,
    };
    let stay = args.seconds.map(Duration::from_secs);
    let injection = Injection::open(table, terms)?;
    injection.run(stay, |told| {
        report.told = Some(told);
        print(&report, format, streams)
    })?;
    Ok(Exit::Ok)
}

fn print(report: &Report, format: Format, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let values = || serde_json::to_value(report).unwrap_or_default();
    let text = match format {
        Format::Table => text(report),
        Format::Json => machine::json(&values()),
        Format::Yaml => machine::yaml(&values())?,
    };
    streams.stdout.write_all(text.as_bytes())?;
    Ok(streams.stdout.flush()?)
}

fn text(report: &Report) -> String {
    let mut text = format!("{} routes of IPv4 unicast\n", report.routes);
    for (reason, count) in &report.left_out {
        text += &format!("left out: {count} {reason}\n");
    }
    text += &match (report.told, &report.to) {
        (Some(told), Some(to)) => format!("told {told} to {to}; they are gone when this ends\n"),
        _ => "nothing is sent without --live\n".to_owned(),
    };
    text
}
