//! `samctl test`: what passes between this router and the others, or between all of them.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{CheckStatus, NodeRef};

/// What passes between this router and the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathTestView {
    /// This router.
    pub from: NodeRef,
    /// Worst status: fail over warn over pass; skip only when nothing was tried.
    pub overall: CheckStatus,
    /// The others, by node id.
    pub peers: Vec<PathTestRow>,
}

/// What passes between all sites, as each router found out itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestMatrixView {
    /// Worst status; a router that could not be asked is a failure.
    pub overall: CheckStatus,
    /// The routers, by node id.
    pub sites: Vec<SiteTestRow>,
}

/// What one router found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteTestRow {
    /// The router.
    pub node: NodeRef,
    /// Its test; `None` when it could not be asked.
    pub test: Option<PathTestView>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What passes to one node and back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathTestRow {
    /// The node.
    pub node: NodeRef,
    /// Its overlay address.
    pub overlay: Ipv4Addr,
    /// Worst status of its checks.
    pub status: CheckStatus,
    /// `tunnel`, `session`, `echo`, `mtu`, `tcp`, `source`, in this order.
    pub checks: Vec<TestCheck>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCheck {
    /// Its name.
    pub name: String,
    /// Outcome.
    pub status: CheckStatus,
    /// What was measured, for a cell of a table.
    pub value: String,
    /// One sentence.
    pub message: String,
    /// What to do, when it warns or fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl TestCheck {
    /// Adds what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}
