//! `samctl completion SHELL`

use clap::CommandFactory;
use clap_complete::Shell;

use crate::Streams;
use crate::args::Args;
use crate::exit::{Exit, Failure};

/// Prints a completion script.
///
/// # Errors
/// When it cannot be written.
pub fn completion(shell: Shell, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "samctl", &mut script);
    streams.stdout.write_all(&script)?;
    Ok(Exit::Ok)
}
