//! `samctl bgp monitor [rib|rib-ipv6|neighbors|owners]`: what is there, then what changes.

use std::io;

use sam_router::view::MonitorView;
use serde::Deserialize;

use super::lines::Lines;
use super::show::Request;
use crate::Streams;
use crate::args::{Format, Topic};
use crate::exit::{Exit, Failure};
use crate::output::monitor_line;

/// A line of the stream.
#[derive(Debug, Deserialize)]
struct Stamped {
    time: f64,
    #[serde(flatten)]
    change: MonitorView,
}

/// Prints changes until either side ends.
///
/// # Errors
/// When no router answers, or the output cannot be written.
pub fn monitor(
    topic: Topic,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let topic = match topic {
        Topic::Rib => "rib",
        Topic::RibIpv6 => "rib-ipv6",
        Topic::Neighbors => "neighbors",
        Topic::Owners => "owners",
    };
    let mut lines = Lines::default();
    let path = format!("/v1/bgp/monitor?topic={topic}");
    request.client.follow(&path, |bytes| {
        lines.split(bytes, |line| print(line, request.format, streams))?;
        streams.stdout.flush()
    })?;
    Ok(Exit::Ok)
}

/// Prints one line of the stream; what is not understood is passed on as it came.
fn print(line: &str, format: Format, streams: &mut Streams<'_>) -> io::Result<()> {
    match (format, serde_json::from_str::<Stamped>(line)) {
        (Format::Table, Ok(told)) => {
            let text = monitor_line(told.time, &told.change, streams.color_stdout);
            writeln!(streams.stdout, "{text}")
        }
        (Format::Table, Err(_)) | (Format::Json, _) => writeln!(streams.stdout, "{line}"),
        // A JSON object is YAML; the mark makes each one a document.
        (Format::Yaml, _) => writeln!(streams.stdout, "--- {line}"),
    }
}
