//! What every provider's client refuses by itself, before it asks anybody.

use std::net::Ipv4Addr;

use sam_capture::provider::{Capabilities, Entry, ErrorClass, Operation, ProviderError};

use crate::http::error;

/// Checks an operation against what a provider can do.
///
/// # Errors
/// [`ErrorClass::Permanent`] when there is no address, too many of them, or no such change; [`ErrorClass::LocalOwner`]
/// when one is the own address of a NIC.
pub fn check(operation: &Operation, capabilities: Capabilities) -> Result<(), ProviderError> {
    match operation {
        Operation::Observe
        | Operation::Inventory
        | Operation::Preflight
        | Operation::SetForwarding { .. } => Ok(()),
        Operation::FindHolders(addresses) | Operation::Assign { addresses, .. } => {
            check_number(addresses.len(), capabilities)
        }
        Operation::Strip { addresses, .. } => check_number(addresses.len(), capabilities),
        Operation::Seize { addresses } => {
            if !capabilities.moves {
                let message = "addresses cannot be moved in one change here";
                return Err(error(ErrorClass::Permanent, "NoMoves", message));
            }
            check_number(addresses.len(), capabilities)?;
            let mut held = addresses.iter();
            held.try_for_each(|(address, holder)| check_entry(*address, &holder.entry))
        }
        Operation::Unassign { addresses, .. } => {
            check_number(addresses.len(), capabilities)?;
            let mut held = addresses.iter();
            held.try_for_each(|(address, entry)| check_entry(*address, entry))
        }
    }
}

fn check_number(number: usize, capabilities: Capabilities) -> Result<(), ProviderError> {
    if (1..=capabilities.batch).contains(&number) {
        return Ok(());
    }
    let most = capabilities.batch;
    let message = format!("{number} addresses at once, where 1 to {most} are possible");
    Err(error(ErrorClass::Permanent, "BatchSize", &message))
}

fn check_entry(address: Ipv4Addr, entry: &Entry) -> Result<(), ProviderError> {
    if !entry.primary {
        return Ok(());
    }
    let message = format!("{address} is the own address of a NIC");
    Err(error(ErrorClass::LocalOwner, "PrimaryAddress", &message))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const CAPABILITIES: Capabilities = Capabilities {
        moves: false,
        batch: 2,
        marks: false,
    };

    fn addresses(count: u8) -> BTreeSet<Ipv4Addr> {
        (1..=count)
            .map(|last| Ipv4Addr::new(10, 0, 0, last))
            .collect()
    }

    #[test]
    fn no_address_and_too_many_are_refused() {
        for (count, good) in [(0, false), (1, true), (2, true), (3, false)] {
            let operation = Operation::FindHolders(addresses(count));
            assert_eq!(check(&operation, CAPABILITIES).is_ok(), good, "{count}");
        }
    }

    #[test]
    fn the_own_address_of_a_nic_is_never_touched() {
        let entry = Entry {
            primary: true,
            ours: None,
            id: None,
            version: None,
        };
        let operation = Operation::Unassign {
            addresses: BTreeMap::from([(Ipv4Addr::new(10, 0, 0, 1), entry)]),
            version: None,
        };
        let refused = check(&operation, CAPABILITIES).expect_err("refused");
        assert_eq!(refused.class, ErrorClass::LocalOwner);
    }

    #[test]
    fn moves_need_a_provider_that_can() {
        let operation = Operation::Seize {
            addresses: BTreeMap::new(),
        };
        let refused = check(&operation, CAPABILITIES).expect_err("refused");
        assert_eq!(refused.code, "NoMoves");
    }
}
