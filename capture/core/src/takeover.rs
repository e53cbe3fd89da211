//! How addresses get on our NIC, from who has them: one change at the provider, then look again.
//!
//! Only what nobody has, or what a router of our site had that is gone, is taken. The provider's abilities decide by which
//! change, never its name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::node::NodeId;
use crate::plan::Cause;
use crate::provider::{Capabilities, Holder, NicId, Observation, Operation};

/// What is known about those who may have addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holders<'a> {
    /// Who has which of the addresses, found a moment ago.
    pub(crate) found: &'a BTreeMap<Ipv4Addr, Holder>,
    /// NICs of the other routers of our site.
    pub(crate) members: &'a BTreeMap<NicId, NodeId>,
    /// Those of them that are gone.
    pub(crate) gone: &'a BTreeSet<NodeId>,
}

/// What to do about some addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Takeover {
    /// The next change, for as many of them as go in one.
    pub(crate) step: Option<Operation>,
    /// Routers from which it takes something.
    pub(crate) from: BTreeSet<NodeId>,
    /// Those that must be left alone.
    pub(crate) refused: BTreeMap<Ipv4Addr, Cause>,
    /// Those that are on our NIC already: our look at it is old.
    pub(crate) mine: BTreeSet<Ipv4Addr>,
}

/// Decides how addresses that are wanted get on our NIC.
#[must_use]
pub(crate) fn take_over(
    addresses: &BTreeSet<Ipv4Addr>,
    holders: Holders<'_>,
    own: &Observation,
    capabilities: Capabilities,
) -> Takeover {
    let mut takeover = Takeover::default();
    let mut free = BTreeSet::new();
    let mut held: BTreeMap<Ipv4Addr, (NodeId, Holder)> = BTreeMap::new();
    for &address in addresses {
        match judge(address, holders, &own.nic) {
            Judgement::Free => drop(free.insert(address)),
            Judgement::Mine => drop(takeover.mine.insert(address)),
            Judgement::Refused(cause) => drop(takeover.refused.insert(address, cause)),
            Judgement::Seizable(node, holder) => drop(held.insert(address, (node, holder))),
        }
    }
    if !free.is_empty() {
        takeover.step = Some(Operation::Assign {
            addresses: free,
            version: own.version.clone(),
        });
    } else if capabilities.moves && !held.is_empty() {
        takeover.from = held.values().map(|(node, _)| *node).collect();
        let addresses = held.into_iter();
        takeover.step = Some(Operation::Seize {
            addresses: addresses.map(|(at, (_, holder))| (at, holder)).collect(),
        });
    } else if let Some((node, first)) = held.values().next().cloned() {
        let of_nic = held
            .iter()
            .filter(|(_, (_, holder))| holder.nic == first.nic);
        takeover.from = BTreeSet::from([node]);
        takeover.step = Some(Operation::Strip {
            addresses: of_nic.map(|(address, _)| *address).collect(),
            nic: first.nic,
            version: first.nic_version,
        });
    }
    takeover
}

enum Judgement {
    Free,
    Mine,
    Refused(Cause),
    Seizable(NodeId, Holder),
}

fn judge(address: Ipv4Addr, holders: Holders<'_>, own: &NicId) -> Judgement {
    let Some(holder) = holders.found.get(&address) else {
        return Judgement::Free;
    };
    if holder.nic == *own {
        return Judgement::Mine;
    }
    let Some(&node) = holders.members.get(&holder.nic) else {
        return Judgement::Refused(Cause::HeldByStranger(holder.nic.clone()));
    };
    if holder.entry.primary || holder.entry.ours == Some(false) {
        return Judgement::Refused(Cause::Unmarked(holder.nic.clone()));
    }
    if !holders.gone.contains(&node) {
        return Judgement::Refused(Cause::HeldBySibling(node));
    }
    Judgement::Seizable(node, holder.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Entry, Version};

    #[test]
    fn what_nobody_has_is_assigned_first() {
        let mut case = Case::new();
        case.found(11, "nic-b");

        let takeover = case.take(&[10, 11]);

        let assign = Operation::Assign {
            addresses: [address(10)].into(),
            version: Some(Version("own".into())),
        };
        assert_eq!(takeover.step, Some(assign));
        assert_eq!(takeover.from, [].into());
    }

    #[test]
    fn what_a_router_that_is_gone_has_is_moved_where_the_provider_can() {
        let mut case = Case::new();
        case.found(10, "nic-b").found(11, "nic-c");

        let takeover = case.take(&[10, 11]);

        let Some(Operation::Seize { addresses }) = takeover.step else {
            panic!("{takeover:?}")
        };
        assert_eq!(addresses.len(), 2);
        assert_eq!(takeover.from, [NodeId(2), NodeId(3)].into());
    }

    #[test]
    fn elsewhere_it_is_stripped_nic_by_nic() {
        let mut case = Case::new();
        case.capabilities.moves = false;
        case.found(10, "nic-b")
            .found(11, "nic-c")
            .found(12, "nic-b");

        let takeover = case.take(&[10, 11, 12]);

        let strip = Operation::Strip {
            nic: NicId("nic-b".into()),
            addresses: [address(10), address(12)].into(),
            version: Some(Version("nic-b-1".into())),
        };
        assert_eq!(takeover.step, Some(strip));
        assert_eq!(takeover.from, [NodeId(2)].into());
    }

    #[test]
    fn nothing_is_taken_from_strangers_routers_that_are_there_or_by_hand() {
        let mut case = Case::new();
        case.gone = [NodeId(2)].into();
        case.found(10, "nic-x")
            .found(11, "nic-c")
            .found(12, "nic-b");
        case.found(13, "nic-b").found(14, "nic-a");
        case.found.get_mut(&address(12)).unwrap().entry.primary = true;
        case.found.get_mut(&address(13)).unwrap().entry.ours = Some(false);

        let takeover = case.take(&[10, 11, 12, 13, 14]);

        assert_eq!(takeover.step, None);
        assert_eq!(takeover.mine, [address(14)].into());
        let nic = |name: &str| NicId(name.into());
        let refused = [
            (address(10), Cause::HeldByStranger(nic("nic-x"))),
            (address(11), Cause::HeldBySibling(NodeId(3))),
            (address(12), Cause::Unmarked(nic("nic-b"))),
            (address(13), Cause::Unmarked(nic("nic-b"))),
        ];
        assert_eq!(takeover.refused, refused.into());
    }

    struct Case {
        found: BTreeMap<Ipv4Addr, Holder>,
        members: BTreeMap<NicId, NodeId>,
        gone: BTreeSet<NodeId>,
        capabilities: Capabilities,
    }

    impl Case {
        fn new() -> Self {
            let nic = |name: &str| NicId(name.into());
            Self {
                found: BTreeMap::new(),
                members: [(nic("nic-b"), NodeId(2)), (nic("nic-c"), NodeId(3))].into(),
                gone: [NodeId(2), NodeId(3)].into(),
                capabilities: Capabilities {
                    moves: true,
                    batch: 50,
                    marks: true,
                },
            }
        }

        fn found(&mut self, last: u8, nic: &str) -> &mut Self {
            let holder = Holder {
                nic: NicId(nic.into()),
                nic_version: Some(Version(format!("{nic}-1"))),
                entry: Entry {
                    primary: false,
                    ours: None,
                    id: None,
                    version: None,
                },
                running: None,
            };
            self.found.insert(address(last), holder);
            self
        }

        fn take(&self, lasts: &[u8]) -> Takeover {
            let own = Observation {
                nic: NicId("nic-a".into()),
                subnet: "10.77.60.0/24".parse().unwrap(),
                version: Some(Version("own".into())),
                forwarding: true,
                entries: BTreeMap::new(),
                limit: None,
            };
            let holders = Holders {
                found: &self.found,
                members: &self.members,
                gone: &self.gone,
            };
            let addresses = lasts.iter().copied().map(address).collect();
            take_over(&addresses, holders, &own, self.capabilities)
        }
    }

    fn address(last: u8) -> Ipv4Addr {
        [10, 77, 60, last].into()
    }
}
