//! samctl: a self-contained userspace router for Selective Address Mobility, and the tool to operate it.
//!
//! The router is `samctl run`; every other verb talks to it over a unix socket or needs none. This library is the
//! program without its process: [`main_with`] takes arguments and streams, so that tests run verbs directly.

pub mod args;
pub mod bench;
pub mod client;
pub mod commands;
pub mod config;
pub mod decode;
pub mod demo;
pub mod exit;
pub mod injection;
pub mod mrt;
pub mod mrt_table;
pub mod output;
mod provider;
pub mod rehearsal;
mod wires;

use std::ffi::OsString;
use std::io::{Read, Write};

use clap::Parser;

use args::{Args, Format};
use exit::{Exit, Failure};

/// What a verb reads and writes: data to `stdout`, talk to `stderr`.
pub struct Streams<'a> {
    /// Keys come from here.
    pub stdin: &'a mut dyn Read,
    /// Data.
    pub stdout: &'a mut dyn Write,
    /// Errors, warnings and progress.
    pub stderr: &'a mut dyn Write,
    /// Whether `stdout` shows colors.
    pub color_stdout: bool,
    /// Whether `stderr` shows colors.
    pub color_stderr: bool,
}

/// Runs one command line, program name included.
pub fn main_with(args: impl IntoIterator<Item = OsString>, streams: &mut Streams<'_>) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let parsed = match Args::try_parse_from(&args) {
        Ok(parsed) => parsed,
        Err(error) => return refuse(&error, args::wants_json(&args), streams),
    };
    match commands::dispatch(&parsed, streams) {
        Ok(exit) => exit,
        Err(failure) => {
            // A reader that closed its end has seen enough.
            if failure.exit != Exit::Ok {
                report(&failure, parsed.output, streams);
            }
            failure.exit
        }
    }
}

/// Answers a command line that cannot be parsed, or that asks for help or the version.
fn refuse(error: &clap::Error, json: bool, streams: &mut Streams<'_>) -> Exit {
    if !error.use_stderr() {
        let text = error.render();
        return match write!(streams.stdout, "{text}") {
            Ok(()) => Exit::Ok,
            Err(_) => Exit::Failed,
        };
    }
    let text = error.render().to_string();
    if json {
        let message = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        let remedy = "see `samctl --help`".to_owned();
        report(
            &Failure::new(Exit::Usage, message).remedy(remedy),
            Format::Json,
            streams,
        );
    } else {
        write_best_effort(streams.stderr, &text);
    }
    Exit::Usage
}

/// Writes a failure in the form that the operator asked for.
fn report(failure: &Failure, format: Format, streams: &mut Streams<'_>) {
    let text = match format {
        Format::Table => failure.text(streams.color_stderr),
        Format::Json | Format::Yaml => format!("{}\n", failure.json()),
    };
    write_best_effort(streams.stderr, &text);
}

/// Writes talk; when even that cannot be written, nobody is left to be told.
fn write_best_effort(stream: &mut dyn Write, text: &str) {
    stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.flush())
        .unwrap_or(());
}
