//! The table of faults in capture/README.md names tests that exist.

use std::collections::BTreeSet;
use std::fs;

use crate::source::{root, sources};

#[test]
fn every_fault_of_capture_names_tests_that_exist() {
    let text = fs::read_to_string(root().join("capture/README.md")).expect("capture/README.md");
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let named: BTreeSet<&str> = rows
        .flat_map(|row| row.split('`').skip(1).step_by(2))
        .collect();
    assert!(named.len() > 30, "the tables are gone: {named:?}");
    let all: Vec<String> = sources().into_iter().map(|source| source.text).collect();
    let exists = |name: &&str| {
        let test = format!("fn {name}(");
        all.iter().any(|text| text.contains(&test))
    };
    let missing: Vec<&str> = named.into_iter().filter(|name| !exists(name)).collect();
    assert_eq!(missing, [""; 0], "no test has these names");
}
