//! The guest's second serial port, a socket on this side. See `tests/guest/init` for the other end.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::netns::Outcome;
use crate::uninterrupted;

/// A connected line; one command at a time.
#[derive(Debug)]
pub(super) struct Line {
    stream: UnixStream,
}

impl Line {
    pub(super) fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("the emulator listens");
        Self { stream }
    }

    /// Runs a shell command, which is killed after `limit`. Standard error comes with standard output.
    pub(super) fn run(&mut self, command: &str, limit: Duration) -> Outcome {
        let patience = Some(limit + ANSWER);
        self.stream.set_read_timeout(patience).expect("not zero");
        let order = format!("{} {}\n{command}", limit.as_secs(), command.len());
        self.stream
            .write_all(order.as_bytes())
            .expect("the guest takes commands");
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        loop {
            if let Some(outcome) = finished(&answer) {
                return outcome;
            }
            match uninterrupted(|| self.stream.read(&mut part)) {
                Ok(length) if length > 0 => answer.extend_from_slice(&part[..length]),
                end => panic!(
                    "no answer to `{command}`: {end:?} after {}",
                    String::from_utf8_lossy(&answer)
                ),
            }
        }
    }
}

/// Takes the answer apart once it is complete: the output, a line break, and `@@ status`.
fn finished(answer: &[u8]) -> Option<Outcome> {
    let text = str::from_utf8(answer).ok()?.strip_suffix('\n')?;
    let (output, status) = text.rsplit_once("\n@@ ")?;
    Some(Outcome {
        code: status.parse().ok()?,
        stdout: output.to_owned(),
        stderr: String::new(),
    })
}

/// Time for an answer beyond that of the command.
const ANSWER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_its_status_and_not_before() {
        let answer = b"one\ntwo\n\n@@ 17\n";
        for length in 0..answer.len() {
            assert!(finished(&answer[..length]).is_none(), "{length} bytes");
        }
        let outcome = finished(answer).expect("complete");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (17, "one\ntwo\n"));
        let silent = finished(b"\n@@ 0\n").expect("complete");
        assert_eq!((silent.code, silent.stdout.as_str()), (0, ""));
    }
}
