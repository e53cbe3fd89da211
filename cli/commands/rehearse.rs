//! `samctl capture rehearse`: the capture part of a configuration against a fake of its cloud.

use super::check::write_report;
use crate::Streams;
use crate::args::{Format, RehearseArgs};
use crate::config::{Secrets, load};
use crate::exit::{Exit, Failure};
use crate::output::{Text, machine};
use crate::rehearsal;

/// Rehearses, and prints what would be done at the provider.
///
/// # Errors
/// When the configuration captures in no cloud, or the fake cannot be served.
pub fn rehearse(
    args: &RehearseArgs,
    format: Format,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    // Keys are not needed: no tunnel is made.
    let config = match load(&args.config, Secrets::Skip) {
        Ok(loaded) => loaded.config,
        Err(report) => {
            write_report(&report, format, streams)?;
            return Ok(Exit::Usage);
        }
    };
    let rehearsal = rehearsal::rehearse(&config, &args.faults)?;
    let values = || serde_json::to_value(&rehearsal).expect("texts and numbers are valid JSON");
    let text = match format {
        Format::Table => rehearsal.text(streams.color_stdout),
        Format::Json => machine::json(&values()),
        Format::Yaml => machine::yaml(&values())?,
    };
    write!(streams.stdout, "{text}")?;
    Ok(if rehearsal.passed {
        Exit::Ok
    } else {
        Exit::ChecksFailed
    })
}
