//! `samctl check FILE`: every mistake at once, with its place and what to write instead.

use crate::Streams;
use crate::args::{CheckArgs, Format};
use crate::config::{Diagnostic, Loaded, Report, Secrets, load, render};
use crate::exit::{Exit, Failure};
use crate::output::machine;

/// Checks a file.
///
/// # Errors
/// When the result cannot be written.
pub fn check(args: &CheckArgs, format: Format, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    let secrets = if args.no_secrets {
        Secrets::Skip
    } else {
        Secrets::Read
    };
    let (report, loaded, exit) = match load(&args.file, secrets) {
        Ok(loaded) => (loaded.warnings.clone(), Some(loaded), Exit::Ok),
        Err(report) => (report, None, Exit::Usage),
    };
    match format {
        Format::Table => print_text(args, &report, loaded.as_ref(), streams)?,
        Format::Json => {
            write!(
                streams.stdout,
                "{}",
                machine::json(&values(&report.diagnostics()))
            )?;
        }
        Format::Yaml => {
            write!(
                streams.stdout,
                "{}",
                machine::yaml(&values(&report.diagnostics()))?
            )?;
        }
    }
    streams.stdout.flush()?;
    Ok(exit)
}

fn print_text(
    args: &CheckArgs,
    report: &Report,
    loaded: Option<&Loaded>,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    write!(streams.stderr, "{}", report.render(streams.color_stderr))?;
    let Some(loaded) = loaded else { return Ok(()) };
    if args.effective {
        write!(streams.stdout, "{}", render(loaded))?;
        return Ok(());
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
    )?;
    Ok(())
}

fn values(diagnostics: &[Diagnostic]) -> serde_json::Value {
    serde_json::to_value(diagnostics).expect("texts and numbers are always valid JSON")
}
