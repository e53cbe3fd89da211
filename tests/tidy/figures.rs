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
#[path = "../../benches/throughput/targets.rs"]
mod targets;

use selection::{Wanted, file, number};

#[test]
fn tables_and_picture_are_made_from_the_json() {
    let read = |name: &str| fs::read_to_string(root().join("benches").join(name)).expect(name);
    let results: results::Results =
        serde_json::from_str(&read("throughput.json")).expect("the JSON of a run");
    let remedy = "cargo test --bench throughput -- --render benches/throughput.json";
    assert!(
        table::markdown(&results) == read("throughput.md"),
        "{remedy}"
    );
    assert!(picture::svg(&results) == read("throughput.svg"), "{remedy}");
    let (readme, section) = (read("README.md"), targets::section(&results));
    let renewed = targets::replace(&readme, &section);
    assert!(renewed.as_ref() == Some(&readme), "{remedy}");
}

#[test]
fn a_target_is_reached_by_the_median_of_all_rounds_as_it_is_shown() {
    let plain = "plain kernel forwarding";
    let mut samples = Vec::new();
    for (round, ours) in [(1, 3.0), (2, 3.3), (3, 9.0)] {
        samples.push(sample(round, ("tcp-1", "gbit_s"), "samctl", ours));
        samples.push(sample(round, ("tcp-1", "gbit_s"), plain, 10.0));
        samples.push(sample(
            round,
            ("tcp-1", "gbit_s"),
            "wireguard-go with GSO",
            2.0,
        ));
        samples.push(sample(round, ("idle", "rtt_p50_us"), "samctl", 20.0 * ours));
        samples.push(sample(round, ("idle", "rtt_p50_us"), plain, 10.0));
        let (loaded, go) = (("loaded", "rtt_p99_us"), "wireguard-go with GSO");
        samples.push(sample(round, loaded, "samctl", 404.0));
        samples.push(sample(round, loaded, go, 1000.0));
        samples.push(sample(
            round,
            ("tcp-1", "resident_mib"),
            "samctl",
            10.0 + 20.0 * ours,
        ));
    }
    let results = results::Results {
        samples,
        ..results::Results::default()
    };

    let section = targets::section(&results);

    for row in [
        "| WireGuard | TCP 1 ÷ plain forwarding | ≥ 0.32 | 0.45 | 0.33 | yes |",
        "| WireGuard | TCP 1 ÷ wireguard-go with GSO | ≥ 1.7 | 2.5 | 1.65 | **no** |",
        "| WireGuard | idle round trip p50 over that of plain forwarding, µs | ≤ 220 | 80 | 56 | the aim |",
        "| WireGuard | resident memory in TCP 1, MiB | ≤ 64 | 32 | 76.0 | **no** |",
        "| WireGuard | round trip p99 beside TCP 1 ÷ wireguard-go with GSO | ≤ 0.4 | 0.1 | 0.40 | yes |",
        "| WireGuard | every packet real: TCP 1 ÷ plain forwarding | ≥ 0.75 | 0.95 | – | not run |",
        "| GRE | TCP 1 ÷ Open vSwitch GRE | ≥ 3 |  | – | not run |",
    ] {
        assert!(section.contains(row), "{row} in\n{section}");
    }
    let text = format!("before\n{section}\nafter\n");
    let renewed = targets::replace(&text, &section);
    assert_eq!(renewed, Some(text), "nothing around it changes");
    assert_eq!(targets::replace("no place", &section), None);
}

#[test]
fn a_run_with_other_settings_of_the_links_joins_one_of_the_same_kind() {
    let setting = |name: &str| results::Setting {
        name: name.to_owned(),
        title: format!("the setting {name}"),
        links: vec![],
        left_out: vec![],
    };
    let named = |name: &str, text: &str| results::Named {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let of = |offloads: &str, value| results::Sample {
        offloads: offloads.to_owned(),
        ..sample(1, ("tcp-1", "gbit_s"), "samctl", value)
    };
    let mut results = results::Results {
        systems: ["samctl", "Nebula", "of old"]
            .map(|name| named(name, ""))
            .into(),
        offloads: vec![setting("whole")],
        skipped: vec![
            named("single", "left out by BENCH_OFFLOADS"),
            named("wire", "left out by BENCH_OFFLOADS"),
        ],
        samples: vec![of("whole", 1.0)],
        ..results::Results::default()
    };
    let other = results::Results {
        systems: vec![named("samctl", "")],
        offloads: vec![setting("whole"), setting("single")],
        skipped: vec![
            named("whole", "left out by BENCH_OFFLOADS"),
            named("Nebula", "nebula is not installed"),
            named("round 2, single, tcp-1, samctl", "no answer"),
            named("round 2, whole, tcp-1, samctl", "no answer either"),
            named("samctl with the setting single", "no start"),
            named("samctl with the setting whole", "no start"),
        ],
        samples: vec![of("whole", 2.0), of("single", 3.0)],
        date: "2026-12-02".to_owned(),
        load: Some(4.0),
        ..results::Results::default()
    };
    let others: [fn(&mut results::Results); 4] = [
        |run| run.machine = "another".to_owned(),
        |run| run.inner_mtu = 1400,
        |run| run.outer_mtu = 9000,
        |run| run.systems[0].text = "of another version".to_owned(),
    ];
    for change in others {
        let mut changed = other.clone();
        change(&mut changed);
        assert!(results.add(changed).is_err());
    }
    results.add(other).expect("of the same kind");

    let of = |offloads| {
        let key = results::Key {
            offloads,
            case: "tcp-1",
            value: "gbit_s",
        };
        results.median(key, "samctl")
    };
    assert_eq!((of("whole"), of("single")), (Some(1.0), Some(3.0)));
    let expected = [
        named("wire", "left out by BENCH_OFFLOADS"),
        named("round 2, single, tcp-1, samctl", "no answer"),
        named("samctl with the setting single", "no start"),
        named("Nebula with the setting single", "nebula is not installed"),
        named(
            "of old with the setting single",
            "not in the run of 2026-12-02, load 4.0 at the start",
        ),
    ];
    assert_eq!(results.skipped, expected);
    let names: Vec<&str> = results.offloads.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["whole", "single"]);
    let method = results.method();
    let joined = "; 2026-12-02, load 4.0 at the start: the setting single";
    assert!(method.ends_with(joined), "{method}");
}

#[test]
fn an_option_without_its_file_is_refused() {
    let after = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let arguments = after("throughput --render a.json --add b.json");
    for (option, name) in [("--render", Some("a.json")), ("--add", Some("b.json"))] {
        assert_eq!(file(&arguments, option).expect("a file"), name);
        let arguments = after("throughput --bench");
        assert_eq!(file(&arguments, option).expect("no option"), None);
    }
    for text in ["throughput --add", "throughput --add --render a.json"] {
        assert!(file(&after(text), "--add").is_err(), "{text}");
    }
}

#[test]
fn medians_and_ratios_are_of_the_same_rounds() {
    assert_eq!(results::median(vec![]), None);
    assert_eq!(results::median(vec![3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(results::median(vec![4.0, 1.0]), Some(2.5));
    let tcp = ("tcp-1", "gbit_s");
    let results = results::Results {
        // The second round was twice as slow for all, and one system failed in the third.
        samples: vec![
            sample(1, tcp, "a", 4.0),
            sample(1, tcp, "b", 2.0),
            sample(2, tcp, "b", 1.0),
            sample(2, tcp, "a", 2.0),
            sample(3, tcp, "a", 9.0),
        ],
        ..results::Results::default()
    };
    let key = results::Key {
        offloads: "whole",
        case: "tcp-1",
        value: "gbit_s",
    };
    assert_eq!(results.ratio(key, "a", "b"), Some(2.0));
    assert_eq!(results.difference(key, "a", "b"), Some(1.5));
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

/// A value of one round, superpackets whole.
fn sample(round: u32, (case, name): (&str, &str), system: &str, value: f64) -> results::Sample {
    results::Sample {
        round,
        offloads: "whole".to_owned(),
        case: case.to_owned(),
        system: system.to_owned(),
        values: [(name.to_owned(), value)].into(),
    }
}
