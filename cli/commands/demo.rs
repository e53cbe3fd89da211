//! `samctl demo`: a four-site fabric in namespaces of this machine, and what it proved.

use crate::Streams;
use crate::args::{DemoArgs, Format};
use crate::demo::{Options, Report, run};
use crate::exit::{Exit, Failure};
use crate::output::machine;

/// Shows the demo. Standard output gets the report, standard error the progress.
///
/// # Errors
/// When something is missing on this machine or broke; a claim that does not hold ends with exit code 5.
pub fn demo(args: &DemoArgs, format: Format, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    let options = Options {
        keep: args.keep,
        progress: true,
    };
    let mut written = Ok(());
    let report = run(options, |report| written = print(report, format, streams))
        .map_err(|error| Failure::new(Exit::Failed, format!("{error:#}")))?;
    written?;
    Ok(if report.passed {
        Exit::Ok
    } else {
        Exit::ChecksFailed
    })
}

fn print(report: &Report, format: Format, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let text = match format {
        Format::Table => report.text(),
        Format::Json => machine::json(&values(report)),
        Format::Yaml => machine::yaml(&values(report))?,
    };
    write!(streams.stdout, "{text}")?;
    streams.stdout.flush()?;
    Ok(())
}

fn values(report: &Report) -> serde_json::Value {
    serde_json::to_value(report).unwrap_or_default()
}
