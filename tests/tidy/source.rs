//! The source files of the project.

use std::fs;
use std::path::{Path, PathBuf};

/// A file with Rust in it.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Path below the root.
    pub(crate) name: String,
    /// Everything in it.
    pub(crate) text: String,
}

impl Source {
    /// The file without the tests at its end.
    pub(crate) fn production(&self) -> &str {
        let tests = self.text.find("\n#[cfg(test)]\nmod ");
        &self.text[..tests.unwrap_or(self.text.len())]
    }

    /// The tests in it: all of it below a folder `tests`, else what stands at its end.
    pub(crate) fn tests(&self) -> &str {
        let folder = self.name.starts_with("tests/") || self.name.contains("/tests/");
        if folder || self.name.ends_with("/tests.rs") {
            return &self.text;
        }
        &self.text[self.production().len()..]
    }

    /// Its lines without comments.
    pub(crate) fn code(&self) -> impl Iterator<Item = &str> {
        self.text
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default())
    }
}

/// The root of the project.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All source files but those of this test, which spells out what others must not.
pub(crate) fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for folder in ["bgp", "benches", "capture", "cli", "engine", "tests"] {
        collect(&root().join(folder), &mut files);
    }
    assert!(files.len() > 200, "found only {} source files", files.len());
    files.sort();
    files
        .iter()
        .map(|path| read(path))
        .filter(|source| !source.name.starts_with("tests/tidy/"))
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

fn read(path: &Path) -> Source {
    let name = path.strip_prefix(root()).expect("below the root");
    Source {
        name: name.display().to_string(),
        text: fs::read_to_string(path).expect("source file is readable"),
    }
}
