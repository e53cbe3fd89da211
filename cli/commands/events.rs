//! `samctl events [-f]`: what happened, one line per event as text.
//!
//! Without `-f` the router answers with a list of what it kept; with `-f` it sends one JSON object per line, those
//! kept first, until either side ends.

use std::io;

use serde_json::Value;

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

/// Puts lines together from the pieces of a stream.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn split(
        &mut self,
        bytes: &[u8],
        mut print: impl FnMut(&str) -> io::Result<()>,
    ) -> io::Result<()> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if !line.trim().is_empty() {
                print(line.trim())?;
            }
        }
        if self.rest.len() > MAX_LINE_BYTES {
            return Err(io::Error::other("the router sent a line without end"));
        }
        Ok(())
    }
}

const MAX_LINE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_pieces() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for piece in ["{\"a\"", ":1}\n\n{\"b\":2}\n{", "}\n"] {
            lines
                .split(piece.as_bytes(), |line| {
                    seen.push(line.to_owned());
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(seen, ["{\"a\":1}", "{\"b\":2}", "{}"]);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        let endless = vec![b'x'; MAX_LINE_BYTES + 1];
        assert!(lines.split(&endless, |_| Ok(())).is_err());
    }
}
