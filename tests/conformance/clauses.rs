//! Which test proves which clause: every line of `clauses.txt` names a test that exists.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Documents that must be covered, and by how many clauses at least.
const DOCUMENTS: &[(&str, usize)] = &[
    ("RFC 4271", 5),
    ("RFC 4456", 2),
    ("RFC 7606", 1),
    ("RFC 6793", 5),
    ("RFC 7313", 4),
    ("RFC 7911", 5),
    ("RFC 5880", 6),
    ("RFC 5881", 1),
    ("RFC 5882", 3),
    ("RFC 5883", 1),
    ("RFC 1624", 1),
    ("RFC 6040", 1),
    ("RFC 826", 2),
    ("RFC 5227", 2),
    ("RFC 1812", 4),
    ("RFC 1191", 2),
    ("RFC 8899", 3),
    ("RFC 2983", 1),
    ("RFC 791", 1),
    ("WireGuard", 8),
    ("BGP invariant", 9),
    ("BGP robustness", 11),
    ("Lesson", 30),
];

#[test]
fn every_clause_names_a_test_that_exists() {
    let mut faults = Vec::new();
    for clause in clauses() {
        let text = fs::read_to_string(root().join(&clause.file)).unwrap_or_default();
        let found = text.contains(&format!("fn {}(", clause.test));
        if !found {
            faults.push(format!(
                "{}: {} has no test {}",
                clause.name, clause.file, clause.test
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_document_is_covered() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for clause in clauses() {
        let document = DOCUMENTS
            .iter()
            .find(|(document, _)| clause.name.starts_with(&format!("{document} ")));
        let (document, _) = document.unwrap_or_else(|| panic!("{}: unknown document", clause.name));
        *counts.entry(document).or_default() += 1;
    }
    for (document, least) in DOCUMENTS {
        let count = counts.get(document).copied().unwrap_or(0);
        assert!(count >= *least, "{document}: {count} of {least} clauses");
    }
}

/// One line: `CLAUSE: what it demands | FILE | TEST`.
struct Clause {
    name: String,
    file: String,
    test: String,
}

fn clauses() -> Vec<Clause> {
    let text = fs::read_to_string(root().join("tests/conformance/clauses.txt")).expect("clauses");
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let parts: Vec<&str> = line.split(" | ").collect();
            let [name, file, test] = parts[..] else {
                panic!("not three parts: {line}");
            };
            Clause {
                name: name.to_owned(),
                file: file.to_owned(),
                test: test.to_owned(),
            }
        })
        .collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
