//! What was measured, as JSON and as a table.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::musts;
use super::place::Place;
use super::timeline::Timeline;

/// A run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Where the events happen.
    pub(crate) place: Place,
    /// When, on what.
    pub(crate) machine: String,
    /// How often each event happened.
    pub(crate) rounds: usize,
    /// All figures.
    pub(crate) samples: Vec<Sample>,
    /// The course of each event in each round; runs of former times have none.
    #[serde(default)]
    pub(crate) timelines: Vec<Timeline>,
}

/// One figure.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Of which round.
    pub(crate) round: usize,
    /// Of which event.
    pub(crate) event: String,
    /// Its name with its unit.
    pub(crate) figure: String,
    /// Its value.
    pub(crate) value: f64,
}

impl Report {
    /// Starts a report of this machine.
    pub(crate) fn describe(place: Place, rounds: usize) -> Self {
        Self {
            place,
            machine: sam_testkit::machine::occasion(),
            rounds,
            samples: Vec::new(),
            timelines: Vec::new(),
        }
    }

    /// Adds the figures of an event.
    pub(crate) fn add(&mut self, round: usize, event: &str, figures: &BTreeMap<String, f64>) {
        let samples = figures.iter().map(|(figure, value)| Sample {
            round,
            event: event.to_owned(),
            figure: figure.clone(),
            value: *value,
        });
        self.samples.extend(samples);
    }

    /// The figures whose median is more than it may be.
    pub(crate) fn missed(&self) -> Vec<(&str, &str)> {
        let rows = self.rows().into_iter();
        let too_much = |event, figure| {
            musts::of(event, figure).is_some_and(|most| self.values(event, figure).0 > most)
        };
        rows.filter(|(event, figure)| too_much(event, figure))
            .collect()
    }

    /// Shows medians and worst cases, and what each must keep to.
    pub(crate) fn to_markdown(&self) -> String {
        let file = self.place.file();
        let mut text = format!(
            "# {}\n\nMade by `cargo bench --bench takeover` from [{file}.json]({file}.json); do not edit.\n\n{}; \
             {} rounds. Pings every 10 ms, so that a gap of 20 ms is one lost ping at most.\n\n\
             | event | figure | median | worst | at most |\n|---|---|--:|--:|--:|\n",
            self.place.title(),
            self.machine,
            self.rounds
        );
        for (event, figure) in self.rows() {
            let (median, worst) = self.values(event, figure);
            let must = match musts::of(event, figure) {
                Some(most) if median > most => format!("**{most:.0}: missed**"),
                Some(most) => format!("{most:.0}"),
                None => String::new(),
            };
            writeln!(
                text,
                "| {event} | {figure} | {median:.0} | {worst:.0} | {must} |"
            )
            .expect("a string takes everything");
        }
        let missed = self.missed().len();
        writeln!(text, "\n{missed} medians are more than they may be.").expect("a string");
        text
    }

    /// Median and worst of a figure.
    fn values(&self, event: &str, figure: &str) -> (f64, f64) {
        let values = self.samples.iter();
        let values = values
            .filter(|sample| (sample.event.as_str(), sample.figure.as_str()) == (event, figure));
        let mut values: Vec<f64> = values.map(|sample| sample.value).collect();
        values.sort_by(f64::total_cmp);
        let median = values.get(values.len() / 2).copied().unwrap_or(0.0);
        (median, values.last().copied().unwrap_or(0.0))
    }

    /// Lists events and figures as they were measured.
    fn rows(&self) -> Vec<(&str, &str)> {
        let mut rows: Vec<(&str, &str)> = Vec::new();
        for sample in &self.samples {
            let row = (sample.event.as_str(), sample.figure.as_str());
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        rows
    }
}
