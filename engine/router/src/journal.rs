//! Run-time state that survives a restart: what operators ordered, and the sequence of each owned address.
//!
//! The router hands out the whole state with every change ([`crate::Output::Journal`], before the news leaves by
//! BGP) and takes the restored one in [`crate::Router::new`]. It is small: one entry per address ever owned here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// State that is not configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeState {
    /// Addresses owned by order of an operator.
    pub announced: BTreeSet<Ipv4Addr>,
    /// Configured addresses not owned by order of an operator.
    pub withdrawn: BTreeSet<Ipv4Addr>,
    /// Sequence of the last acquisition of each address.
    pub sequences: BTreeMap<Ipv4Addr, u32>,
}
