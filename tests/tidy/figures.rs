//! The published figures of the bench are those of its JSON: nothing in them is typed by hand.

use std::fs;

use crate::source::root;

#[path = "../../benches/throughput/picture.rs"]
mod picture;
#[path = "../../benches/throughput/results.rs"]
mod results;
#[path = "../../benches/throughput/selection.rs"]
mod selection;
#[path = "../../benches/throughput/table.rs"]
mod table;

use selection::{Wanted, number};

#[test]
fn tables_and_picture_are_made_from_the_json() {
    let read = |name: &str| fs::read_to_string(root().join("benches").join(name)).expect(name);
    let results: results::Results =
        serde_json::from_str(&read("throughput.json")).expect("the JSON of a run");
    let remedy = "cargo bench --bench throughput -- --render benches/throughput.json";
    assert!(
        table::markdown(&results) == read("throughput.md"),
        "{remedy}"
    );
    assert!(picture::svg(&results) == read("throughput.svg"), "{remedy}");
}

#[test]
fn medians_and_ratios_are_of_the_same_rounds() {
    assert_eq!(results::median(vec![]), None);
    assert_eq!(results::median(vec![3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(results::median(vec![4.0, 1.0]), Some(2.5));
    let sample = |round, system: &str, value| results::Sample {
        round,
        offloads: "whole".to_owned(),
        case: "tcp-1".to_owned(),
        system: system.to_owned(),
        values: [("gbit_s".to_owned(), value)].into(),
    };
    let results = results::Results {
        // The second round was twice as slow for all, and one system failed in the third.
        samples: vec![
            sample(1, "a", 4.0),
            sample(1, "b", 2.0),
            sample(2, "b", 1.0),
            sample(2, "a", 2.0),
            sample(3, "a", 9.0),
        ],
        ..results::Results::default()
    };
    let key = results::Key {
        offloads: "whole",
        case: "tcp-1",
        value: "gbit_s",
    };
    assert_eq!(results.ratio(key, "a", "b"), Some(2.0));
    assert_eq!(results.median(key, "a"), Some(4.0));
    assert_eq!(results.median(key, "nobody"), None);
}

#[test]
fn what_a_run_leaves_out_is_named_with_its_reason() {
    let all = ["ours", "other", "third", "fourth"];
    let wanted = Wanted::parse("BENCH_SYSTEMS", Some("ours, other"), &all).expect("known names");
    let missing = |name: &&str| (*name != "ours").then(|| format!("{name} is not installed"));
    let mut results = results::Results::default();

    let chosen = wanted.choose(&all, |name| name, missing, &mut results.skipped);

    assert_eq!(chosen, [&"ours"]);
    results.offloads.push(results::Setting {
        name: "wire".to_owned(),
        title: "every packet real".to_owned(),
        links: vec![],
        left_out: vec!["tcp-4-back".to_owned(), "udp-512".to_owned()],
    });
    let json = serde_json::to_value(&results).expect("JSON");
    for (at, name, text) in [
        (0, "other", "other is not installed"),
        (1, "third", "left out by BENCH_SYSTEMS"),
        (2, "fourth", "left out by BENCH_SYSTEMS"),
    ] {
        assert_eq!(json["skipped"][at]["name"], name, "{json}");
        assert_eq!(json["skipped"][at]["text"], text, "{json}");
    }
    assert_eq!(json["offloads"][0]["left_out"][1], "udp-512");
    let tables = table::markdown(&results);
    for line in [
        "- not run: other: other is not installed\n",
        "- not run: third, fourth: left out by BENCH_SYSTEMS\n",
        "Not of interest with this, so not run: tcp-4-back, udp-512.\n",
    ] {
        assert!(tables.contains(line), "{line} in\n{tables}");
    }
}

#[test]
fn a_run_that_is_asked_for_nothing_known_is_refused() {
    let all = ["ours", "other"];
    let everything = Wanted::parse("BENCH_SYSTEMS", None, &all).expect("no list");
    assert_eq!(everything.refusal("other"), None);
    for list in ["", "ours,othr", "ours,"] {
        let error = Wanted::parse("BENCH_SYSTEMS", Some(list), &all).expect_err(list);
        let text = error.to_string();
        assert!(
            text.contains("BENCH_SYSTEMS") && text.contains("ours, other"),
            "{text}"
        );
    }
    assert_eq!(number("BENCH_ROUNDS", None, 3).expect("the default"), 3);
    assert_eq!(number("BENCH_ROUNDS", Some("2"), 3).expect("good"), 2);
    for text in ["", "0", "-1", "two"] {
        let error = number("BENCH_ROUNDS", Some(text), 3).expect_err(text);
        assert!(error.to_string().contains("BENCH_ROUNDS"), "{error}");
    }
}
