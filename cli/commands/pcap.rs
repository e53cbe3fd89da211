//! `samctl pcap [-w FILE]`: the router's own capture, as pcapng.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::Streams;
use crate::client::Client;
use crate::exit::{Exit, Failure};

/// Writes packets until interrupted or the router ends the stream.
///
/// # Errors
/// When no router answers, or the output cannot be written.
pub fn pcap(
    write: Option<&Path>,
    client: &Client,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let Some(path) = write else {
        client.follow("/v1/pcap", |bytes| {
            streams.stdout.write_all(bytes)?;
            streams.stdout.flush()
        })?;
        return Ok(Exit::Ok);
    };
    let file = File::create(path).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("cannot create {}: {error}", path.display()),
        )
    })?;
    let mut file = BufWriter::new(file);
    writeln!(
        streams.stderr,
        "capturing to {}, stop with Ctrl-C",
        path.display()
    )?;
    client.follow("/v1/pcap", |bytes| {
        file.write_all(bytes)?;
        file.flush()
    })?;
    Ok(Exit::Ok)
}
