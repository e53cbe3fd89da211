//! `samctl demo`: a fabric in namespaces of this machine.

use crate::Streams;
use crate::args::{DemoArgs, Format};
use crate::exit::{Exit, Failure};

/// Shows the demo.
///
/// # Errors
/// Always: the demo is not part of this build.
pub fn demo(
    _args: &DemoArgs,
    _format: Format,
    _streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    Err(Failure::new(
        Exit::Failed,
        "`samctl demo` is unavailable in this build",
    ))
}
