//! The published figures of the bench are those of its JSON: nothing in them is typed by hand.

use std::fs;

use crate::source::root;

#[path = "../../benches/throughput/picture.rs"]
mod picture;
#[path = "../../benches/throughput/results.rs"]
mod results;
#[path = "../../benches/throughput/table.rs"]
mod table;

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
