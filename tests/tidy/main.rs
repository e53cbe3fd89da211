//! House rules that the compiler does not check (engine/ARCHITECTURE.md): sizes, heads, `unsafe`, bounds, crate
//! arrows, proofs of drops, documents in step, figures from the JSON.
//!
//! An exception needs a line `PATH: RULE: reason` in `tests/tidy/allow.txt`; one that is not needed is an error too.

mod crates;
mod documents;
mod faults;
mod figures;
mod rules;
mod source;
mod takeover;

use std::fs;

use sam_dataplane::DropReason;

use rules::RULES;
use source::{root, sources};

#[test]
fn every_file_keeps_the_rules() {
    let exceptions = exceptions();
    let mut failures = Vec::new();
    let mut used = Vec::new();
    for source in sources() {
        for (rule, check) in RULES {
            let Some(fault) = check(&source) else {
                continue;
            };
            let key = (source.name.clone(), (*rule).to_owned());
            if exceptions.contains(&key) {
                used.push(key);
            } else {
                failures.push(format!("{}: {rule}: {fault}", source.name));
            }
        }
    }
    let idle = exceptions.iter().filter(|key| !used.contains(key));
    failures.extend(idle.map(|(name, rule)| format!("{name}: {rule}: exception not needed")));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A rule about a file that has moved would hold for nothing.
#[test]
fn every_path_that_packets_take_is_there() {
    let sources = sources();
    let is_there = |path: &&&str| sources.iter().any(|source| source.name.starts_with(**path));
    let gone: Vec<&&str> = rules::PACKET_PATH
        .iter()
        .filter(|path| !is_there(path))
        .collect();
    assert!(gone.is_empty(), "PACKET_PATH names {gone:?}");
}

/// R5: a drop that no test provokes is one that nobody knows.
#[test]
fn every_drop_reason_is_provoked_by_a_test() {
    let sources = sources();
    let missing: Vec<String> = DropReason::ALL
        .iter()
        .map(|reason| format!("DropReason::{reason:?}"))
        .filter(|name| {
            !sources.iter().any(|source| {
                let tests = source.tests();
                provoked(tests, name)
            })
        })
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn a_reason_that_is_only_listed_as_somebody_elses_is_not_provoked() {
    let list = "const BY_DRIVERS: &[DropReason] = &[\n    DropReason::SendBusy,\n];\n";
    assert!(!provoked(list, "DropReason::SendBusy"));
    let case = format!("{list}assert_eq!(dropped(DropReason::SendBusy), 1)");
    assert!(provoked(&case, "DropReason::SendBusy"));
    assert!(!provoked(
        "DropReason::SendBusyLoop",
        "DropReason::SendBusy"
    ));
}

/// Tells whether tests name a reason outside the list of those that others must provoke.
fn provoked(tests: &str, name: &str) -> bool {
    let list = tests.find("const BY_DRIVERS").map(|start| {
        let length = tests[start..].find("];").expect("end of the list");
        start..start + length
    });
    tests.match_indices(name).any(|(at, _)| {
        let listed = list.as_ref().is_some_and(|list| list.contains(&at));
        let next = tests[at + name.len()..].chars().next();
        !listed && !next.is_some_and(char::is_alphanumeric)
    })
}

/// Path and rule of each exception.
fn exceptions() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("tests/tidy/allow.txt")).expect("allow.txt");
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let mut parts = line.splitn(3, ": ");
            let (path, rule, reason) = (parts.next(), parts.next(), parts.next());
            assert!(
                reason.is_some_and(|reason| reason.len() > 10),
                "{line}: no reason"
            );
            (
                path.expect("path").to_owned(),
                rule.expect("rule").to_owned(),
            )
        })
        .collect()
}
