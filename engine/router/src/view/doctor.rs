//! `samctl doctor`: the schema of routerd's doctor, so that runbooks carry over (mobility.md section 1.5).
//!
//! Exit rule: non-zero only when a check fails; warnings and skipped checks do not fail the command.

use serde::{Deserialize, Serialize};

/// All checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorView {
    /// Worst status: fail over warn over pass; skip only when every check was skipped.
    pub overall: CheckStatus,
    /// How many of each.
    pub summary: DoctorSummary,
    /// The checks, by area.
    pub checks: Vec<CheckRow>,
}

impl DoctorView {
    /// Returns the names of the areas, in order of appearance.
    #[must_use]
    pub fn areas(&self) -> Vec<&str> {
        let mut areas = Vec::new();
        for check in &self.checks {
            if !areas.contains(&check.area.as_str()) {
                areas.push(check.area.as_str());
            }
        }
        areas
    }

    /// Returns the checks of one area only, or `None` when there is no such area.
    #[must_use]
    pub fn area(&self, area: &str) -> Option<Self> {
        let checks: Vec<CheckRow> = self
            .checks
            .iter()
            .filter(|check| check.area == area)
            .cloned()
            .collect();
        if checks.is_empty() {
            return None;
        }
        let count = |status| checks.iter().filter(|check| check.status == status).count();
        let overall = checks.iter().map(|check| check.status).max()?;
        let summary = DoctorSummary {
            overall,
            pass: count(CheckStatus::Pass),
            warn: count(CheckStatus::Warn),
            fail: count(CheckStatus::Fail),
            skip: count(CheckStatus::Skip),
        };
        Some(Self {
            overall,
            summary,
            checks,
        })
    }
}

/// Numbers of checks by status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorSummary {
    /// Equal to [`DoctorView::overall`]; routerd's runbooks look for it here.
    pub overall: CheckStatus,
    /// Passed.
    pub pass: usize,
    /// Warnings.
    pub warn: usize,
    /// Failed.
    pub fail: usize,
    /// Not applicable, or the fact could not be read.
    pub skip: usize,
}

/// Outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckStatus {
    /// Not applicable, or the fact could not be read.
    Skip,
    /// As it should be.
    Pass,
    /// Works, but look at it.
    Warn,
    /// Does not work, or will not.
    Fail,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRow {
    /// Area: host, lan, tunnel, bgp, routes, owners, identity, drops.
    pub area: String,
    /// Name, unique within the area.
    pub name: String,
    /// Outcome.
    pub status: CheckStatus,
    /// One sentence.
    pub message: String,
    /// More, where there is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do, when it warns or fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}
