//! The file of `samctl lab fakecloud`: YAML to a [`World`], or every mistake with its place.

use std::path::Path;

use sam_fakecloud::{Scenario, ScenarioError, Time, World};

use super::finding::Findings;
use super::node::{Node, Value};
use super::report::Report;
use super::source::{Sources, Span};
use super::yaml;

/// Reads and checks a scenario.
///
/// # Errors
/// Everything that is wrong with it; of the wrong shape only the first mistake.
pub fn load_world(path: &Path, entropy: [u8; 32], now: Time) -> Result<World, Report> {
    let mut sources = Sources::default();
    let mut findings = Findings::default();
    let world = match sources.read(path) {
        Ok(file) => build(&sources, file, &mut findings, entropy, now),
        Err(reason) => {
            let file = sources.add(path.to_path_buf(), String::new());
            findings.error(start_of(file), reason);
            None
        }
    };
    world.ok_or_else(|| Report::new(sources, findings))
}

fn build(
    sources: &Sources,
    file: usize,
    findings: &mut Findings,
    entropy: [u8; 32],
    now: Time,
) -> Option<World> {
    let scenario: Scenario = yaml::typed(sources, file, findings)?;
    match World::new(&scenario, entropy, now) {
        Ok(world) => Some(world),
        Err(errors) => {
            let tree = yaml::parse(sources, file, findings)?;
            for ScenarioError {
                pointer,
                message,
                remedy,
            } in errors
            {
                findings.error(place(&tree, &pointer), message).help(remedy);
            }
            None
        }
    }
}

const fn start_of(file: usize) -> Span {
    Span {
        file,
        start: 0,
        end: 0,
    }
}

/// Finds the place of a JSON pointer, or of the part of it that is written.
fn place(tree: &Node, pointer: &str) -> Span {
    let mut node = tree;
    for part in pointer.split('/').skip(1) {
        let next = match &node.value {
            Value::Map(entries) => entries
                .iter()
                .find(|entry| entry.key == part)
                .map(|entry| &entry.node),
            Value::List(list) => part.parse().ok().and_then(|index: usize| list.get(index)),
            Value::Empty | Value::Text(_) => None,
        };
        let Some(next) = next else { break };
        node = next;
    }
    node.span
}
