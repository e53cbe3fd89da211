//! `samctl demo`: a four-site fabric in namespaces of this machine, and what it proved.

use serde::Serialize;
use serde_json::json;

use crate::Streams;
use crate::args::{DemoArgs, Format};
use crate::demo::scenarios::{self, SCENARIOS};
use crate::demo::{self, Options};
use crate::exit::{Exit, Failure};
use crate::output::machine;

/// Shows the demo, or runs scenarios. Standard output gets the report, standard error the progress.
///
/// # Errors
/// When something is missing on this machine or broke; a claim that does not hold ends with exit code 5.
pub fn demo(args: &DemoArgs, format: Format, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    if args.list {
        return list(format, streams);
    }
    let options = Options {
        keep: args.keep,
        progress: true,
        quick: args.quick,
    };
    let broke = |error: anyhow::Error| Failure::new(Exit::Failed, format!("{error:#}"));
    let mut written = Ok(());
    let passed = if args.scenario.is_empty() {
        let report = demo::run(options, |report| {
            written = print(report, || report.text(), format, streams);
        });
        report.map_err(broke)?.passed
    } else {
        let chosen = scenarios::find(&args.scenario).map_err(|unknown| {
            Failure::new(Exit::Usage, format!("there is no scenario {unknown}"))
                .remedy("`samctl demo --list` says which there are")
        })?;
        let report = scenarios::run(&chosen, options, |report| {
            written = print(report, || report.text(), format, streams);
        });
        report.map_err(broke)?.passed
    };
    written?;
    Ok(if passed { Exit::Ok } else { Exit::ChecksFailed })
}

fn list(format: Format, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    let all: Vec<_> = { SCENARIOS.iter() }
        .map(|known| json!({ "id": known.id, "title": known.title, "does": known.does }))
        .collect();
    let text = || {
        let lines = SCENARIOS.iter();
        let lines =
            lines.map(|known| format!("{:<4} {}\n     {}\n", known.id, known.title, known.does));
        lines.collect()
    };
    print(&all, text, format, streams)?;
    Ok(Exit::Ok)
}

fn print(
    report: &impl Serialize,
    text: impl FnOnce() -> String,
    format: Format,
    streams: &mut Streams<'_>,
) -> Result<(), Failure> {
    let values = serde_json::to_value(report).unwrap_or_default();
    let text = match format {
        Format::Table => text(),
        Format::Json => machine::json(&values),
        Format::Yaml => machine::yaml(&values)?,
    };
    write!(streams.stdout, "{text}")?;
    streams.stdout.flush()?;
    Ok(())
}
