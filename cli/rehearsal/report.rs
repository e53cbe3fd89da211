//! What a rehearsal came to, as programs read it.

use std::net::Ipv4Addr;

use serde::Serialize;

/// The whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rehearsal {
    /// Whose cloud was played.
    pub provider: String,
    /// The router of the configuration.
    pub node: String,
    /// Its network interface.
    pub nic: String,
    /// What the configuration does not say, and what stood in for it.
    pub invented: Vec<String>,
    /// What went wrong on order.
    pub faults: Vec<String>,
    /// What the router must be permitted, and whether the role that `samctl iam-policy` prints grants it.
    pub permissions: Vec<PermissionRow>,
    /// The steps, in their order.
    pub steps: Vec<StepRow>,
    /// Whether all of them ended as they should.
    pub passed: bool,
}

/// A permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PermissionRow {
    /// The provider's name of it.
    pub action: String,
    /// Whether the role has it; nothing where nobody can find out without using it.
    pub granted: Option<bool>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRow {
    /// Its name.
    pub step: String,
    /// What happens in it.
    pub what: String,
    /// Whether it ended as it should.
    pub passed: bool,
    /// Why not.
    pub why: Option<String>,
    /// Seconds that it took, waits among them.
    pub takes_s: f64,
    /// What is still to be done at its end.
    pub planned: Vec<String>,
    /// What the reconciler asked for, looks left out.
    pub orders: Vec<OrderRow>,
    /// What changed at the provider.
    pub changes: Vec<ChangeRow>,
}

/// A change that was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderRow {
    /// What.
    pub operation: String,
    /// With which addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// `done`, or the class of the failure.
    pub result: String,
    /// The provider's code and message.
    pub detail: String,
}

/// A line of the provider's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeRow {
    /// The provider's name of the operation.
    pub operation: String,
    /// The network interface that it changed.
    pub nic: String,
    /// Addresses that came.
    pub added: Vec<Ipv4Addr>,
    /// Addresses that went.
    pub removed: Vec<Ipv4Addr>,
    /// What forwarding became, if that changed.
    pub forwarding: Option<bool>,
}
