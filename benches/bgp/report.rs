//! What was measured, as JSON and as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::daemons::System;

/// A run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// When, on what.
    pub(crate) machine: String,
    /// How often each case ran.
    pub(crate) rounds: usize,
    /// Versions by name.
    pub(crate) versions: BTreeMap<String, String>,
    /// What could not run, and why.
    pub(crate) skipped: Vec<(String, String)>,
    /// All figures.
    pub(crate) samples: Vec<Sample>,
}

/// One figure.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Of which round.
    pub(crate) round: usize,
    /// Of whom.
    pub(crate) system: System,
    /// Of which case.
    pub(crate) case: String,
    /// Its name with its unit.
    pub(crate) figure: String,
    /// Its value.
    pub(crate) value: f64,
}

impl Report {
    /// Starts a report of this machine.
    pub(crate) fn describe(rounds: usize) -> Self {
        Self {
            machine: sam_testkit::machine::occasion(),
            rounds,
            versions: BTreeMap::new(),
            skipped: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Notes the version of a system; false when it is not installed.
    pub(crate) fn introduce(&mut self, system: System) -> bool {
        match system.version() {
            Ok(version) => {
                self.versions.insert(system.name().to_owned(), version);
                true
            }
            Err(error) => {
                self.skip(system.name().to_owned(), &error);
                false
            }
        }
    }

    /// Notes what could not run.
    pub(crate) fn skip(&mut self, what: String, why: &anyhow::Error) {
        self.skipped.push((what, format!("{why:#}")));
    }

    /// Shows the medians.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = format!(
            "# Routes\n\nMade by `cargo bench --bench bgp` from [bgp.json](bgp.json); do not edit.\n\n{}; medians of {}.\n\n",
            self.machine, self.rounds
        );
        for (name, version) in &self.versions {
            line(&mut text, &format!("- {name}: {version}"));
        }
        for (what, why) in &self.skipped {
            line(&mut text, &format!("- could not run: {what}: {why}"));
        }
        let systems: Vec<System> = System::ALL
            .into_iter()
            .filter(|system| self.samples.iter().any(|sample| sample.system == *system))
            .collect();
        let names: Vec<&str> = systems.iter().map(|system| system.name()).collect();
        line(
            &mut text,
            &format!("\n| case | figure | {} |", names.join(" | ")),
        );
        line(
            &mut text,
            &format!("|---|---|{}", "--:|".repeat(names.len())),
        );
        for (case, figure) in self.rows() {
            let values: Vec<String> = systems
                .iter()
                .map(|system| {
                    self.median(*system, case, figure)
                        .map_or_else(|| "–".to_owned(), shown)
                })
                .collect();
            line(
                &mut text,
                &format!("| {case} | {figure} | {} |", values.join(" | ")),
            );
        }
        text
    }

    /// Lists cases and figures as they were measured.
    fn rows(&self) -> Vec<(&str, &str)> {
        let mut rows: Vec<(&str, &str)> = Vec::new();
        for sample in &self.samples {
            let row = (sample.case.as_str(), sample.figure.as_str());
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        rows
    }

    fn median(&self, system: System, case: &str, figure: &str) -> Option<f64> {
        let mut values: Vec<f64> = self
            .samples
            .iter()
            .filter(|sample| {
                sample.system == system && sample.case == case && sample.figure == figure
            })
            .map(|sample| sample.value)
            .collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes everything");
}

fn shown(value: f64) -> String {
    match value {
        0.0..1.0 => format!("{value:.3}"),
        0.0..100.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}
