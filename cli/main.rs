//! Program entry: hands the process's streams to the library and its verdict to the shell.

use std::io::{IsTerminal, stderr, stdin, stdout};
use std::process::ExitCode;

fn main() -> ExitCode {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let mut streams = samctl::Streams {
        color_stdout: !plain && stdout().is_terminal(),
        color_stderr: !plain && stderr().is_terminal(),
        stdin: &mut stdin().lock(),
        stdout: &mut stdout(),
        stderr: &mut stderr(),
    };
    samctl::main_with(std::env::args_os(), &mut streams).into()
}
