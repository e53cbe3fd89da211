//! The text of the files that a configuration was read from, and places in it.
//!
//! Owns every file's text so that a message can quote it. Refuses files that are too large to be a configuration.
//! A [`Span`] is in bytes; lines and columns (both from 1, columns in characters) are computed only for messages.

use std::io::Read;
use std::path::{Path, PathBuf};

/// One file as it was read.
#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    /// Path as the operator would type it.
    pub(crate) path: PathBuf,
    /// The whole text.
    pub(crate) text: String,
}

/// A range of bytes in one of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// Index of the file in [`Sources`].
    pub(crate) file: usize,
    /// First byte.
    pub(crate) start: usize,
    /// One past the last byte.
    pub(crate) end: usize,
}

/// All files of one configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    files: Vec<SourceFile>,
}

/// Where a span begins, for people and editors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Line, from 1.
    pub(crate) line: usize,
    /// Column in characters, from 1.
    pub(crate) column: usize,
}

impl Sources {
    /// Reads a file and returns its index.
    ///
    /// # Errors
    /// A sentence for the operator when the file cannot be read, is too large or is not UTF-8.
    pub(crate) fn read(&mut self, path: &Path) -> Result<usize, String> {
        let mut bytes = Vec::new();
        // No more than that: what is no ordinary file may have no end.
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| format!("cannot read {}: {}", path.display(), reason(&error)))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(format!(
                "{} is too large; a configuration has at most {MAX_FILE_BYTES} bytes",
                path.display()
            ));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| format!("{} is not UTF-8 text", path.display()))?;
        Ok(self.add(path.to_path_buf(), text))
    }

    /// Adds a text that is already in memory and returns its index.
    pub(crate) fn add(&mut self, path: PathBuf, text: String) -> usize {
        self.files.push(SourceFile { path, text });
        self.files.len() - 1
    }

    /// Returns the file of an index from [`Sources::read`].
    ///
    /// # Panics
    /// When the index is of other sources.
    #[must_use]
    pub(crate) fn file(&self, index: usize) -> &SourceFile {
        &self.files[index]
    }

    /// Computes where a span begins.
    #[must_use]
    pub(crate) fn position(&self, span: Span) -> Position {
        let before = self
            .file(span.file)
            .text
            .get(..span.start)
            .unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        Position { line, column }
    }
}

/// Says why a file operation failed, in words rather than numbers.
pub(crate) fn reason(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::NotFound {
        return "no such file".into();
    }
    let words = error.to_string();
    words
        .split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase()
}

/// Four thousand nodes fit; a disk image does not.
const MAX_FILE_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let mut sources = Sources::default();
        let file = sources.add("a.yaml".into(), "a: 1\nbü: x\n".into());
        let at = |start| {
            sources.position(Span {
                file,
                start,
                end: start,
            })
        };
        assert_eq!(at(0), Position { line: 1, column: 1 });
        assert_eq!(at(5), Position { line: 2, column: 1 });
        assert_eq!(
            at(10),
            Position { line: 2, column: 5 },
            "ü is one column and two bytes"
        );
    }
}
