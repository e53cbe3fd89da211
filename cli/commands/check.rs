//! `samctl check FILE`: every mistake at once, with its place and what to write instead.

use std::io;

use serde_json::Value;

use crate::Streams;
use crate::args::{CheckArgs, Format};
use crate::config::{Loaded, Report, Secrets, load, render};
use crate::exit::{Exit, Failure};
use crate::output::machine;

/// Checks a file: the findings are talk for people and data for programs.
///
/// # Errors
/// When the result cannot be written.
pub fn check(args: &CheckArgs, format: Format, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    let secrets = if args.no_secrets {
        Secrets::Skip
    } else {
        Secrets::Read
    };
    let (report, loaded) = match load(&args.file, secrets) {
        Ok(loaded) => (loaded.warnings.clone(), Some(loaded)),
        Err(report) => (report, None),
    };
    let exit = if loaded.is_some() {
        Exit::Ok
    } else {
        Exit::Usage
    };
    match format {
        Format::Table => {
            write_report(&report, format, streams)?;
            if let Some(loaded) = loaded {
                print_result(args, &loaded, streams)?;
            }
        }
        Format::Json => write!(streams.stdout, "{}", machine::json(&findings(&report)))?,
        Format::Yaml => write!(streams.stdout, "{}", machine::yaml(&findings(&report))?)?,
    }
    streams.stdout.flush()?;
    Ok(exit)
}

/// Writes the findings about a file that another verb needs to standard error.
///
/// # Errors
/// When they cannot be written.
pub fn write_report(report: &Report, format: Format, streams: &mut Streams<'_>) -> io::Result<()> {
    let text = match format {
        Format::Table => report.render(streams.color_stderr),
        Format::Json | Format::Yaml => machine::json(&findings(report)),
    };
    streams.stderr.write_all(text.as_bytes())
}

fn print_result(args: &CheckArgs, loaded: &Loaded, streams: &mut Streams<'_>) -> io::Result<()> {
    if args.effective {
        return write!(streams.stdout, "{}", render(loaded));
    }
    let (file, config) = (args.file.display(), &loaded.config);
    let node = &config.own_node().name;
    let (nodes, pools) = (config.fabric.nodes.len(), config.fabric.pools.len());
    let unread = if args.no_secrets {
        "; key files were not read"
    } else {
        ""
    };
    let counts = format!("nodes: {nodes}, pools: {pools}");
    writeln!(
        streams.stdout,
        "{file}: good ({counts}, this is {node}{unread})"
    )
}

fn findings(report: &Report) -> Value {
    serde_json::to_value(report.diagnostics()).expect("texts and numbers are always valid JSON")
}
