//! One line per step, on the terminal of the user.

use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Where and since when.
#[derive(Debug)]
pub(super) struct Progress {
    on: bool,
    colored: bool,
    since: Instant,
}

impl Progress {
    /// Begins; says nothing unless it is `on`.
    pub(super) fn new(on: bool) -> Self {
        let colored = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            on,
            colored,
            since: Instant::now(),
        }
    }

    /// Says what comes now.
    pub(super) fn step(&mut self, text: &str) {
        if !self.on {
            return;
        }
        let (dim, plain) = if self.colored {
            ("\x1b[2m", "\x1b[0m")
        } else {
            ("", "")
        };
        let seconds = self.since.elapsed().as_secs_f64();
        writeln!(std::io::stderr(), "{dim}{seconds:6.2} s{plain}  {text}").ok();
    }
}
