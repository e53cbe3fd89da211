//! `samctl bgp mrt dump [FILE]`, `samctl bgp mrt read FILE`, and the way to `samctl bgp mrt inject FILE`.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::Streams;
use crate::args::{Format, MrtCommand};
use crate::client::Client;
use crate::commands::inject::inject;
use crate::exit::{Exit, Failure};
use crate::mrt::{MrtLine, MrtReader};
use crate::output::mrt_line;

/// Writes a table, or shows a file or tells its routes.
///
/// # Errors
/// When no router answers, or a file cannot be read or written, or nobody takes its routes.
pub fn mrt(
    command: &MrtCommand,
    client: &Client,
    format: Format,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    match command {
        MrtCommand::Dump { file } => dump(file.as_deref(), client, streams),
        MrtCommand::Read { file } => read(file, format, streams),
        MrtCommand::Inject(args) => inject(args, format, streams),
    }
}

fn dump(path: Option<&Path>, client: &Client, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    let bytes = client.fetch("/v1/bgp/mrt")?;
    match path {
        None => {
            streams.stdout.write_all(&bytes)?;
            streams.stdout.flush()?;
        }
        Some(path) => std::fs::write(path, &bytes).map_err(|error| {
            let path = path.display();
            Failure::new(Exit::Failed, format!("cannot write {path}: {error}"))
        })?,
    }
    Ok(Exit::Ok)
}

/// Fails when a record cannot be read or a message is malformed, after everything else was shown.
fn read(path: &Path, format: Format, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    let file = File::open(path).map_err(|error| {
        let path = path.display();
        Failure::new(Exit::Failed, format!("cannot read {path}: {error}"))
    })?;
    let mut problems = 0u64;
    for line in MrtReader::new(BufReader::new(file)).flatten() {
        problems += u64::from(matches!(line, MrtLine::Problem(_)));
        print(&line, format, streams)?;
    }
    streams.stdout.flush()?;
    if problems > 0 {
        return Err(Failure::new(
            Exit::Failed,
            format!("bad records in {}: {problems}", path.display()),
        ));
    }
    Ok(Exit::Ok)
}

fn print(line: &MrtLine, format: Format, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let json = || {
        serde_json::to_string(line)
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot print as JSON: {error}")))
    };
    match format {
        Format::Table => writeln!(streams.stdout, "{}", mrt_line(line, streams.color_stdout))?,
        Format::Json => writeln!(streams.stdout, "{}", json()?)?,
        // A JSON object is YAML; the mark makes each one a document.
        Format::Yaml => writeln!(streams.stdout, "--- {}", json()?)?,
    }
    Ok(())
}
