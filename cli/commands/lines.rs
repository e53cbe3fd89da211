//! Lines of a stream that comes in pieces.

use std::io;

/// Puts lines together from the pieces of a stream.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes a piece and hands on the lines that it completes.
    ///
    /// # Errors
    /// Those of `print`, and when a line does not end.
    pub(super) fn split(
        &mut self,
        bytes: &[u8],
        mut print: impl FnMut(&str) -> io::Result<()>,
    ) -> io::Result<()> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if !line.trim().is_empty() {
                print(line.trim())?;
            }
        }
        if self.rest.len() > MAX_LINE_BYTES {
            return Err(io::Error::other("the router sent a line without end"));
        }
        Ok(())
    }
}

const MAX_LINE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_pieces() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for piece in ["{\"a\"", ":1}\n\n{\"b\":2}\n{", "}\n"] {
            lines
                .split(piece.as_bytes(), |line| {
                    seen.push(line.to_owned());
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(seen, ["{\"a\":1}", "{\"b\":2}", "{}"]);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        let endless = vec![b'x'; MAX_LINE_BYTES + 1];
        assert!(lines.split(&endless, |_| Ok(())).is_err());
    }
}
