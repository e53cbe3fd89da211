//! What an executor is told by the configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::node::NodeId;
use crate::plan::Mode;
use crate::pool::Pool;
use crate::provider::NicId;

/// What an executor is told by the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How far it goes on its own.
    pub mode: Mode,
    /// Pools.
    pub pools: Vec<Pool>,
    /// Our own NIC, where the configuration names it: any other one is not looked at.
    pub nic: Option<NicId>,
    /// NICs of the other routers of our site.
    pub members: BTreeMap<NicId, NodeId>,
    /// Changes per minute.
    pub budget: usize,
    /// How long a change may take from its decision to its last request.
    pub patience: Duration,
    /// Time between looks while nothing happens.
    pub poll: Duration,
    /// Time between two lists of everything in the subnet; `None`: nobody wants them.
    pub inventory: Option<Duration>,
}
