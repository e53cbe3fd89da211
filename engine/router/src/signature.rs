//! What every node sees alike of who owns an address, as one short text: equal views give equal texts on all nodes, so that logs and
//! answers of different routers can be compared.
//!
//! In it are the address, its pool, the owner's claim with its sequence, and the sequences of all other active claims. Not in
//! it is what differs from node to node or with every refresh: who told, path ids, MED, age, whether a path is stale. The fence
//! of captures compares the owner's part of it field by field (`sam_capture::PathSignature`, decision 0020).

use std::collections::BTreeSet;
use std::fmt::Write;

use blake2::{Blake2s256, Digest as _};
use sam_capture::{NodeId, Owner};

/// Of the layout below; another layout gets another number.
const VERSION: u8 = 1;
/// Octets of the hash that are shown: 128 bits.
const SHOWN: usize = 16;

/// Signs: who owns an address, and the other nodes that claim it actively with the sequence of each.
pub(crate) fn signature(owner: &Owner, others: &BTreeSet<(NodeId, u32)>) -> String {
    let mut hash = Blake2s256::new();
    hash.update([VERSION]);
    hash.update(owner.address.octets());
    hash.update(owner.pool.to_be_bytes());
    hash.update(owner.next_hop.octets());
    for (node, sequence) in std::iter::once(&(owner.node, owner.sequence)).chain(others) {
        hash.update(node.0.to_be_bytes());
        hash.update(sequence.to_be_bytes());
    }
    // The only part whose length varies, by less than a claim is long: no two views are the same octets.
    hash.update(owner.state.name());
    let mut text = String::with_capacity(2 * SHOWN);
    for octet in &hash.finalize()[..SHOWN] {
        write!(text, "{octet:02x}").expect("a string accepts all text");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use sam_capture::{ClaimSource, ClaimState};

    use super::*;

    #[test]
    fn each_part_of_a_view_changes_it_and_what_differs_between_nodes_does_not() {
        let none = BTreeSet::new();
        let base = signature(&owner(), &none);
        assert_eq!(base.len(), 32);
        let changed: [fn(&mut Owner); 6] = [
            |it| it.address = Ipv4Addr::new(10, 77, 60, 11),
            |it| it.pool = 2,
            |it| it.node = NodeId(3),
            |it| it.sequence = 8,
            |it| it.state = ClaimState::Draining,
            |it| it.next_hop = Ipv4Addr::new(10, 99, 0, 3),
        ];
        let mut seen = BTreeSet::from([base.clone()]);
        for change in changed {
            let mut owner = owner();
            change(&mut owner);
            assert!(seen.insert(signature(&owner, &none)), "{owner:?}");
        }
        for others in [&[(4, 1)][..], &[(4, 2)], &[(5, 1)], &[(4, 1), (5, 1)]] {
            let others = others
                .iter()
                .map(|(node, sequence)| (NodeId(*node), *sequence));
            assert!(seen.insert(signature(&owner(), &others.collect())));
        }
        let elsewhere = Owner {
            local: false,
            source: ClaimSource::Observed,
            mac: Some([2; 6]),
            ..owner()
        };
        assert_eq!(signature(&elsewhere, &none), base);
    }

    fn owner() -> Owner {
        Owner {
            address: Ipv4Addr::new(10, 77, 60, 10),
            node: NodeId(2),
            state: ClaimState::Active,
            sequence: 7,
            pool: 1,
            source: ClaimSource::Configured,
            next_hop: Ipv4Addr::new(10, 99, 0, 2),
            local: true,
            successor: None,
            mac: None,
        }
    }
}
