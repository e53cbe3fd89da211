//! Clients that ping and a stream of TCP, while something happens.

use std::collections::BTreeMap;

use sam_testkit::netns::{Loss, Pings, Stream, wall_time};

use crate::event::milliseconds;
use crate::timeline::{Client, Mark, Timeline};

/// What came of an event: figures by name with unit, and its course where clients pinged.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) figures: BTreeMap<String, f64>,
    pub(crate) timeline: Option<Timeline>,
}

impl From<BTreeMap<String, f64>> for Outcome {
    fn from(figures: BTreeMap<String, f64>) -> Self {
        Self {
            figures,
            timeline: None,
        }
    }
}

/// Watching under way.
pub(crate) struct Watch {
    pings: Vec<(&'static str, Pings)>,
    stream: Stream,
    since: f64,
    began: f64,
    marks: Vec<(f64, String)>,
}

impl Watch {
    /// Starts with pings that run, each with its name, and a stream.
    pub(crate) fn start(pings: Vec<(&'static str, Pings)>, stream: Stream) -> Self {
        let now = wall_time();
        Self {
            pings,
            stream,
            since: now,
            began: now,
            marks: Vec::new(),
        }
    }

    /// The event happens at this moment.
    pub(crate) fn begin(&mut self) {
        self.began = wall_time();
    }

    /// Something changed hands at this moment.
    pub(crate) fn mark(&mut self, what: &str) {
        self.marks.push((wall_time(), what.to_owned()));
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Outcome {
        let since_event = |time: f64| (time - self.began) * 1e3;
        let mut losses = Vec::new();
        let mut clients = Vec::new();
        for (name, pings) in self.pings {
            let (loss, answers) = pings.stop_with_times();
            losses.push(loss);
            clients.push(Client::new(name, &answers, self.began));
        }
        let marks = self.marks.into_iter();
        let marks = marks.map(|(at, what)| {
            let at = since_event(at);
            Mark { at, what }
        });
        let timeline = Timeline {
            watched: (since_event(self.since), since_event(wall_time())),
            clients,
            marks: marks.collect(),
            ..Timeline::default()
        };
        Outcome {
            figures: figures(&losses, self.stream),
            timeline: Some(timeline),
        }
    }
}

fn figures(losses: &[Loss], stream: Stream) -> BTreeMap<String, f64> {
    let lost = losses.iter().map(|loss| loss.lost as f64);
    let gap = losses.iter().map(|loss| milliseconds(loss.gap));
    let mut figures = BTreeMap::from([
        (
            "pings lost, worst client".to_owned(),
            lost.fold(0.0, f64::max),
        ),
        ("longest gap, ms".to_owned(), gap.fold(0.0, f64::max)),
    ]);
    let waited = stream.stop();
    let broken = if waited.is_err() { 1.0 } else { 0.0 };
    figures.insert("TCP streams broken".to_owned(), broken);
    match waited {
        Ok(longest) => {
            figures.insert("TCP waited at most, ms".to_owned(), milliseconds(longest));
        }
        Err(error) => eprintln!("the stream broke: {error}"),
    }
    figures
}
