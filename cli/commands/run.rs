//! `samctl run -c FILE`: the router.

use crate::Streams;
use crate::args::{Format, RunArgs};
use crate::exit::{Exit, Failure};

/// Runs the router in the foreground.
///
/// # Errors
/// Always: the engine is not part of this build.
pub fn run(_args: &RunArgs, _format: Format, _streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    Err(Failure::new(
        Exit::Failed,
        "`samctl run` is unavailable in this build",
    ))
}
