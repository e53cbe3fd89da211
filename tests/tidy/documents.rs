//! Documents in step with the program: README, decisions, changelog.

use std::fs;

use clap::CommandFactory;

use crate::source::root;

#[test]
fn the_readme_shows_every_verb() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let command = samctl::args::Args::command();
    let missing: Vec<String> = command
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .filter(|verb| !shows(&readme, verb))
        .collect();
    assert_eq!(
        missing,
        Vec::<String>::new(),
        "README.md does not show them"
    );
}

#[test]
fn a_verb_inside_another_word_is_not_shown() {
    assert!(shows("| `run -c FILE` |", "run"));
    assert!(shows("samctl run -c FILE", "run"));
    assert!(!shows("`runs` on Linux, samctl runs too", "run"));
}

/// Tells whether a text shows a verb, after the program's name or as a word set as code.
fn shows(text: &str, verb: &str) -> bool {
    [format!("`{verb}"), format!("samctl {verb}")]
        .iter()
        .any(|shown| {
            text.match_indices(shown.as_str()).any(|(at, _)| {
                let next = text[at + shown.len()..].chars().next();
                !next.is_some_and(char::is_alphanumeric)
            })
        })
}

#[test]
fn decisions_are_numbered_short_and_have_a_status() {
    let folder = root().join("engine/decisions");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("decisions")
        .map(|entry| entry.expect("entry").path())
        .collect();
    files.sort();
    for (index, path) in files.iter().enumerate() {
        let name = path.file_name().expect("name").to_string_lossy();
        let text = fs::read_to_string(path).expect("text");
        let number = format!("{:04}", index + 1);
        assert!(
            name.starts_with(&format!("{number}-")),
            "{name} is not {number}"
        );
        assert!(text.starts_with(&format!("# {number} ")), "{name}: title");
        assert!(text.contains("\nStatus: "), "{name}: status");
        assert!(text.lines().count() <= 60, "{name}: more than 60 lines");
    }
}

#[test]
fn the_changelog_has_a_place_for_what_comes() {
    let text = fs::read_to_string(root().join("CHANGELOG.md")).expect("CHANGELOG.md");
    assert!(text.contains("\n## Unreleased\n"));
}
