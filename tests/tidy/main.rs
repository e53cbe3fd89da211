//! House rules that the compiler does not check: sizes, head comments, crate arrows, bounds (engine/ARCHITECTURE.md).
//!
//! An exception needs a line `PATH: RULE: reason` in `tests/tidy/allow.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Production lines per file (tests at its end do not count).
const MAX_LINES: usize = 600;

/// Which of our crates each crate may use; arrows point down only (R2).
const ARROWS: &[(&str, &[&str])] = &[
    (
        "samctl",
        &[
            "sam-runtime",
            "sam-router",
            "sam-capture",
            "sam-wg",
            "sam-net",
            "sam-bgp",
        ],
    ),
    (
        "sam-runtime",
        &[
            "sam-router",
            "sam-capture",
            "sam-net",
            "sam-dataplane",
            "sam-wg",
            "sam-bgp",
        ],
    ),
    ("sam-net", &["sam-dataplane"]),
    (
        "sam-router",
        &["sam-capture", "sam-bgp", "sam-dataplane", "sam-wg"],
    ),
    ("sam-capture", &["sam-bgp"]),
    ("sam-dataplane", &["sam-wg"]),
    ("sam-bgp", &[]),
    ("sam-wg", &[]),
];

/// Crates that may not read clocks, sockets, files or the environment (R1).
const PURE: &[&str] = &[
    "bgp",
    "capture/core",
    "engine/dataplane",
    "engine/router",
    "engine/wg",
];

#[test]
fn no_file_is_longer_than_the_limit() {
    let failures = sources()
        .into_iter()
        .filter_map(|source| {
            let lines = source.production().lines().count();
            (lines > MAX_LINES && !allowed(&source.name, "size")).then(|| {
                format!(
                    "{}: {lines} production lines, at most {MAX_LINES}",
                    source.name
                )
            })
        })
        .collect::<Vec<_>>();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_file_says_at_its_head_what_it_owns() {
    let failures = sources()
        .into_iter()
        .filter(|source| !source.text.starts_with("//!") && !allowed(&source.name, "head"))
        .map(|source| format!("{}: the first line must be a //! comment", source.name))
        .collect::<Vec<_>>();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn crate_arrows_point_down_only() {
    let packages = workspace_packages();
    for (package, dependencies) in &packages {
        if package == "sam-testkit" {
            continue;
        }
        let allowed = ARROWS
            .iter()
            .find(|(name, _)| name == package)
            .unwrap_or_else(|| panic!("{package} is not in the table of crates"))
            .1;
        for dependency in dependencies {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{package} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn pure_crates_share_one_clippy_configuration() {
    let texts = PURE
        .iter()
        .map(|folder| fs::read_to_string(root().join(folder).join("clippy.toml")).expect(folder))
        .collect::<BTreeSet<_>>();
    assert_eq!(
        texts.len(),
        1,
        "the clippy.toml files of the pure crates differ"
    );
    assert!(
        texts
            .first()
            .is_some_and(|text| text.contains("std::time::Instant::now"))
    );
}

#[test]
fn unsafe_code_lives_in_the_net_crate_only() {
    let failures = sources()
        .into_iter()
        .filter(|source| !source.name.starts_with("engine/net/"))
        .filter(|source| !allowed(&source.name, "unsafe"))
        .filter(|source| {
            source.text.lines().any(|line| {
                let code = line.split("//").next().unwrap_or_default();
                code.contains("unsafe {")
                    || code.contains("unsafe fn")
                    || code.contains("unsafe impl")
            })
        })
        .map(|source| source.name)
        .filter(|name| name != "tests/tidy/main.rs")
        .collect::<Vec<_>>();
    assert!(
        failures.is_empty(),
        "unsafe outside engine/net: {failures:?}"
    );
}

#[test]
fn no_queue_is_unbounded() {
    forbid_in_production(
        "bounded",
        &["unbounded_channel", "mpsc::channel()", "channel::unbounded"],
    );
}

#[test]
fn nothing_is_left_unfinished() {
    forbid_in_production("unfinished", &["todo!(", "unimplemented!(", "FIXME", "XXX"]);
}

fn forbid_in_production(rule: &str, words: &[&str]) {
    let failures = sources()
        .into_iter()
        .filter(|source| source.name != "tests/tidy/main.rs" && !allowed(&source.name, rule))
        .flat_map(|source| {
            words
                .iter()
                .filter(|word| source.production().contains(**word))
                .map(|word| format!("{}: {word}", source.name))
                .collect::<Vec<_>>()
        })
        .collect::<Vec<_>>();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

struct Source {
    name: String,
    text: String,
}

impl Source {
    fn production(&self) -> &str {
        let end = self
            .text
            .find("\n#[cfg(test)]\nmod ")
            .unwrap_or(self.text.len());
        &self.text[..end]
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for folder in ["bgp", "benches", "capture", "cli", "engine", "tests"] {
        collect(&root().join(folder), &mut files);
    }
    assert!(files.len() > 20, "found only {} source files", files.len());
    files
        .into_iter()
        .map(|path| Source {
            name: path
                .strip_prefix(root())
                .expect("below the root")
                .display()
                .to_string(),
            text: fs::read_to_string(&path).expect("source file is readable"),
        })
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

fn allowed(name: &str, rule: &str) -> bool {
    let text = fs::read_to_string(root().join("tests/tidy/allow.txt")).unwrap_or_default();
    text.lines()
        .any(|line| line.starts_with(&format!("{name}: {rule}: ")))
}

fn workspace_packages() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let ours = dependencies
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .filter_map(|dependency| dependency["name"].as_str())
                .filter(|name| name.starts_with("sam-"))
                .map(str::to_owned)
                .collect();
            (package["name"].as_str().expect("name").to_owned(), ours)
        })
        .collect()
}
