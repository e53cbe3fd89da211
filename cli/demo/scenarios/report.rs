//! What scenarios proved: the table for people and the JSON for programs come from the same structs.

use std::fmt::Write as _;

use serde::Serialize;

use super::Scenario;
use crate::demo::report::Flows;

/// What all scenarios of a run proved.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ScenariosReport {
    /// True only when all were run and every assertion holds.
    pub passed: bool,
    /// Delays were shorter and repetitions fewer than specified.
    pub quick: bool,
    /// Seconds from start to end, with the time to build the world.
    pub seconds: f64,
    /// One after the other.
    pub scenarios: Vec<ScenarioReport>,
}

/// What a scenario proved.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ScenarioReport {
    /// `D1` to `D10`.
    pub id: &'static str,
    /// In a few words.
    pub title: &'static str,
    /// What it does.
    pub does: &'static str,
    /// Whether it went through and every assertion holds.
    pub passed: bool,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What broke it.
    pub error: Option<String>,
    /// What happened when.
    pub steps: Vec<Step>,
    /// One per claim, with the names of the acceptance catalogue where it has one.
    pub assertions: Vec<Verdict>,
    /// The directed flows.
    pub flows: Phases,
}

/// The directed flows around a fault.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Phases {
    /// All.
    pub before: Flows,
    /// Those between sites that the fault must leave alone, as soon as it is there; none where that is said by `during`.
    pub at_once: Option<Flows>,
    /// All, while what is broken is so still; none where nothing is left.
    pub during: Option<Flows>,
    /// All.
    pub after: Flows,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Seconds since the start of the scenario.
    pub at_s: f64,
    /// What.
    pub what: String,
}

/// A claim and its evidence.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Name from the acceptance catalogue.
    pub name: &'static str,
    /// Whether it holds.
    pub passed: bool,
    /// What was seen.
    pub evidence: String,
    /// When it was judged, in seconds since the start of the scenario.
    pub at_s: f64,
}

impl ScenarioReport {
    /// Begins the report of a scenario.
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            id: scenario.id,
            title: scenario.title,
            does: scenario.does,
            ..Self::default()
        }
    }
}

impl ScenariosReport {
    /// Renders it for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        for scenario in &self.scenarios {
            let verdict = if scenario.passed { "passed" } else { "FAILED" };
            let (id, title, seconds) = (scenario.id, scenario.title, scenario.seconds);
            let _ = writeln!(out, "\n{id}  {title}: {verdict}, {seconds:.1} s");
            for assertion in &scenario.assertions {
                let mark = if assertion.passed { "ok  " } else { "FAIL" };
                let (name, evidence) = (assertion.name, &assertion.evidence);
                let _ = writeln!(out, "  {mark} {name:<44} {evidence}");
            }
            let phases = &scenario.flows;
            let phases = [
                Some(&phases.before),
                phases.at_once.as_ref(),
                phases.during.as_ref(),
                Some(&phases.after),
            ];
            for flow in phases.into_iter().flatten().flat_map(|flows| &flows.list) {
                if let Some(error) = &flow.error {
                    let _ = writeln!(out, "       {} -> {}: {error}", flow.from, flow.to);
                }
            }
            if let Some(error) = &scenario.error {
                let _ = writeln!(out, "  broke off: {error}");
            }
        }
        let passed = self.scenarios.iter().filter(|one| one.passed).count();
        let all = self.scenarios.len();
        let _ = writeln!(out, "\n{passed} of {all} passed, {:.0} s.", self.seconds);
        if self.quick {
            out += "With --quick: delays were shorter and repetitions fewer than specified.\n";
        }
        out
    }
}
