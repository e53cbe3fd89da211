//! What is configured about a provider as a whole: names, limits, and how slow and how late it is.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// Settings of one provider.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) region: String,
    pub(crate) zone: String,
    /// Account, subscription or tenancy.
    pub(crate) account: String,
    /// Resource group or compartment.
    pub(crate) group: String,
    pub(crate) page_size: usize,
    pub(crate) lag: Lag,
    pub(crate) latency: Latency,
    pub(crate) atomic_move: bool,
    /// Addresses per NIC, by machine type.
    pub(crate) address_limits: BTreeMap<String, usize>,
    pub(crate) keys: BTreeMap<String, Key>,
}

/// How long a change is not seen yet, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Lag {
    /// By calls that read.
    pub describe_ms: u32,
    /// By the metadata service.
    pub metadata_ms: u32,
    /// By the fabric, which goes on to deliver to the former holder.
    pub fabric_ms: u32,
}

/// How long calls take, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Latency {
    /// Those that only read.
    pub read_ms: u32,
    /// Those that change, until the effect.
    pub write_ms: u32,
    /// What goes on after the answer, where the provider has such operations.
    pub operation_ms: u32,
}

/// Credentials of a person or program outside.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    /// Name: an access key id, who has the token, or at OCI `USER/FINGERPRINT`.
    pub id: String,
    /// Secret access key, bearer token, or at OCI the public key as PEM.
    pub secret: String,
    /// The role that it carries.
    pub role: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Key({}, role {}, ..)", self.id, self.role)
    }
}

pub(crate) fn milliseconds(value: u32) -> TimeDelta {
    TimeDelta::milliseconds(i64::from(value))
}
