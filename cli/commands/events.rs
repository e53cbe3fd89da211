//! `samctl events [-f]`: what happened, one line per event as text.
//!
//! Without `-f` the router answers with a list of what it kept; with `-f` it sends one JSON object per line, those
//! kept first, until either side ends.

use std::io;

use serde_json::Value;

use super::lines::Lines;
use super::show::Request;
use crate::Streams;
use crate::args::Format;
use crate::exit::{Exit, Failure};
use crate::output::{event_line, machine};

/// Prints events.
///
/// # Errors
/// When no router answers, or the output cannot be written.
pub fn events(
    follow: bool,
    request: &Request<'_>,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    if follow {
        let mut lines = Lines::default();
        request.client.follow("/v1/events?follow=true", |bytes| {
            lines.split(bytes, |line| print(line, request.format, streams))
        })?;
        return Ok(Exit::Ok);
    }
    let events = request.document::<Vec<Value>>("/v1/events?follow=false")?;
    match request.format {
        Format::Table => {
            for event in &events.view {
                writeln!(
                    streams.stdout,
                    "{}",
                    event_line(event, streams.color_stdout)
                )?;
            }
        }
        Format::Json => write!(streams.stdout, "{}", machine::json(&events.json))?,
        Format::Yaml => write!(streams.stdout, "{}", machine::yaml(&events.json)?)?,
    }
    Ok(Exit::Ok)
}

/// Prints one line of the stream; what is no JSON is passed on as it came.
fn print(line: &str, format: Format, streams: &mut Streams<'_>) -> io::Result<()> {
    match (format, serde_json::from_str(line)) {
        (Format::Table, Ok(event)) => {
            writeln!(
                streams.stdout,
                "{}",
                event_line(&event, streams.color_stdout)
            )?;
        }
        (Format::Table, Err(_)) | (Format::Json, _) => writeln!(streams.stdout, "{line}")?,
        // A JSON object is YAML; the mark makes each one a document.
        (Format::Yaml, _) => writeln!(streams.stdout, "--- {line}")?,
    }
    streams.stdout.flush()
}
