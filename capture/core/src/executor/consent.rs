//! What an operator said yes to: one change at the provider, and not whatever its action comes to later.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::addresses_of;
use crate::provider::{NicId, Operation};

/// A change as people read it. Versions are none of their business: they change with every look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Consent {
    operation: &'static str,
    /// The addresses, and from which NIC each is taken.
    addresses: BTreeMap<Ipv4Addr, Option<NicId>>,
    /// What forwarding is set to.
    forwarding: Option<bool>,
}

impl Consent {
    /// Consent to a change.
    pub(super) fn to(step: &Operation) -> Self {
        let from = |address: &Ipv4Addr| match step {
            Operation::Seize { addresses } => {
                addresses.get(address).map(|holder| holder.nic.clone())
            }
            Operation::Strip { nic, .. } => Some(nic.clone()),
            Operation::Observe
            | Operation::FindHolders(_)
            | Operation::Inventory
            | Operation::Preflight
            | Operation::Assign { .. }
            | Operation::Unassign { .. }
            | Operation::SetForwarding { .. } => None,
        };
        let addresses = addresses_of(step);
        let forwarding = if let Operation::SetForwarding { enabled, .. } = step {
            Some(*enabled)
        } else {
            None
        };
        Self {
            operation: step.name(),
            addresses: addresses.iter().map(|at| (*at, from(at))).collect(),
            forwarding,
        }
    }

    /// Tells whether a change is the same, or a part of it.
    pub(super) fn covers(&self, step: &Operation) -> bool {
        let step = Self::to(step);
        let mut addresses = step.addresses.iter();
        (self.operation, self.forwarding) == (step.operation, step.forwarding)
            && addresses.all(|(address, from)| self.addresses.get(address) == Some(from))
    }
}
