//! Names of the steps of the decision process (bgp.md section 5.5).

use sam_bgp::DecisionStep;
use serde::{Deserialize, Serialize};

/// A step of the decision process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// Number as in the documentation; 0 for the first and last word (only path, identical).
    pub number: u8,
    /// Name.
    pub name: String,
    /// What it prefers.
    pub text: String,
}

impl StepView {
    /// The step of RFC 4271 section 9.1.2.2 that is not used here, and the reason.
    pub(super) fn unused() -> (Self, &'static str) {
        let step = Self {
            number: 8,
            name: "igp-metric".into(),
            text: "lowest metric to the next hop".into(),
        };
        let why = "differs from router to router, and all must choose the same owner";
        (step, why)
    }
}

impl From<DecisionStep> for StepView {
    fn from(step: DecisionStep) -> Self {
        let (number, name, text) = describe(step);
        Self {
            number,
            name: name.into(),
            text: text.into(),
        }
    }
}

/// Returns the short name of a step.
#[must_use]
pub fn step_name(step: DecisionStep) -> &'static str {
    describe(step).1
}

fn describe(step: DecisionStep) -> (u8, &'static str, &'static str) {
    match step {
        DecisionStep::OnlyPath => (0, "only-path", "there is no other path"),
        DecisionStep::Eligible => (1, "eligible", "next hop reachable, no loop"),
        DecisionStep::Steady => (1, "steady", "next hop did not come back only lately"),
        DecisionStep::LocalPref => (2, "local-pref", "highest LOCAL_PREF"),
        DecisionStep::LocalOrigin => (3, "local-origin", "originated here over learned"),
        DecisionStep::AsPathLength => (4, "as-path-length", "shortest AS_PATH"),
        DecisionStep::Origin => (5, "origin", "lowest ORIGIN"),
        DecisionStep::Med => (6, "med", "lowest MULTI_EXIT_DISC"),
        DecisionStep::External => (7, "external", "from another AS over our own"),
        DecisionStep::RouterId => (9, "router-id", "lowest ORIGINATOR_ID, else router id"),
        DecisionStep::ClusterListLength => (10, "cluster-list-length", "shortest CLUSTER_LIST"),
        DecisionStep::PeerAddress => (11, "peer-address", "lowest peer address"),
        DecisionStep::PathId => (12, "path-id", "lowest path identifier"),
        DecisionStep::Identical => (0, "identical", "the paths are the same"),
    }
}
