//! The pictures of the takeover bench show what its JSON says.

use std::fs;

use crate::source::root;

#[path = "../../benches/takeover/musts.rs"]
mod musts;
#[path = "../../benches/takeover/picture.rs"]
mod picture;
#[path = "../../benches/takeover/place.rs"]
mod place;
#[path = "../../benches/takeover/report.rs"]
mod report;
#[path = "../../benches/takeover/timeline.rs"]
mod timeline;

use place::Place;
use report::Report;
use timeline::{Client, Mark, Timeline};

#[test]
fn silence_is_time_without_answers() {
    // Answers every 10 ms, but for 700 ms that begin 100 ms after the event.
    let answers = (0..200).map(|n| 50.0 + f64::from(n) * 0.01);
    let answers: Vec<f64> = answers
        .filter(|at| !(50.6001..51.2999).contains(at))
        .collect();

    let client = Client::new("LAN to elsewhere", &answers, 50.5);

    let [(from, to)] = client.silences[..] else {
        panic!("{client:?}")
    };
    assert!((from - 100.0).abs() < 0.1 && (to - 800.0).abs() < 0.1);
}

#[test]
fn each_event_is_drawn_as_it_was_in_its_worst_round() {
    let mut report = Report::describe(Place::Lan, 2);
    report.timelines = vec![timeline(1, "drain", 300.0), timeline(2, "drain", 700.0)];

    let lan = picture::svg(&report).expect("events of a LAN");

    // 660 pixels are 500 ms before and 2000 ms after the event.
    assert_eq!(lan.matches("class=\"silent\"").count(), 1);
    assert!(lan.contains("class=\"silent\" x=\"322.0\" y="), "{lan}");
    assert!(lan.contains("width=\"184.8\" height=\"10\""), "{lan}");
    assert!(lan.contains(">drain</text>") && lan.contains(">moved</text>"));
    assert!(lan.contains("<title>What clients of a LAN lose</title>"));
    assert_eq!(picture::svg(&Report::default()), None);
}

#[test]
fn the_table_has_the_median_and_the_worst_of_all_rounds() {
    let mut report = Report::default();
    for (round, value) in [(1, 30.0), (2, 10.0), (3, 20.0)] {
        report.add(
            round,
            "drain",
            &[("longest gap, ms".to_owned(), value)].into(),
        );
    }

    let table = report.to_markdown();

    assert!(
        table.contains("| drain | longest gap, ms | 20 | 30 |"),
        "{table}"
    );
}

#[test]
fn published_tables_and_pictures_are_made_from_the_json() {
    let read = |name: &str| fs::read_to_string(root().join("benches").join(name)).ok();
    for place in [Place::Lan, Place::Clouds] {
        let file = |kind: &str| format!("{}.{kind}", place.file());
        let json = read(&file("json")).expect("a published run");
        let report: Report = serde_json::from_str(&json).expect("the JSON of a run");
        let json = file("json");
        let remedy = format!("cargo bench --bench takeover -- --render benches/{json}");
        assert_eq!(report.place, place, "{json}");
        assert!(Some(report.to_markdown()) == read(&file("md")), "{remedy}");
        assert!(picture::svg(&report) == read(&file("svg")), "{remedy}");
    }
}

fn timeline(round: usize, event: &str, silence: f64) -> Timeline {
    let client = Client {
        name: "LAN to elsewhere".to_owned(),
        silences: vec![(0.0, silence)],
    };
    let mark = Mark {
        at: silence,
        what: "moved".to_owned(),
    };
    Timeline {
        round,
        event: event.to_owned(),
        watched: (-500.0, 2000.0),
        clients: vec![client],
        marks: vec![mark],
    }
}
