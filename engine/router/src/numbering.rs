//! Small numbers for nodes: tunnel number and WireGuard peer index are the same and stay as long as the node does.

use std::collections::{BTreeMap, BTreeSet};

use sam_capture::NodeId;
use sam_dataplane::TunnelId;
use sam_wg::PeerIndex;

/// Numbers of all other nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Numbering {
    numbers: BTreeMap<NodeId, u16>,
}

impl Numbering {
    /// Makes the numbered nodes exactly `nodes`. A new node never takes the number of one that leaves in this step.
    pub(crate) fn apply(&mut self, nodes: &BTreeSet<NodeId>) {
        for &node in nodes {
            if !self.numbers.contains_key(&node)
                && let Some(number) = self.lowest_free()
            {
                self.numbers.insert(node, number);
            }
        }
        self.numbers.retain(|known, _| nodes.contains(known));
    }

    /// Returns the tunnel to a node.
    #[must_use]
    pub(crate) fn tunnel(&self, node: NodeId) -> Option<TunnelId> {
        self.numbers.get(&node).copied().map(TunnelId)
    }

    /// Returns the WireGuard peer of a node.
    #[must_use]
    pub(crate) fn peer(&self, node: NodeId) -> Option<PeerIndex> {
        self.numbers.get(&node).copied().map(PeerIndex)
    }

    /// Returns the node behind a tunnel.
    #[must_use]
    pub(crate) fn node(&self, tunnel: TunnelId) -> Option<NodeId> {
        self.numbers
            .iter()
            .find(|(_, number)| **number == tunnel.0)
            .map(|(node, _)| *node)
    }

    fn lowest_free(&self) -> Option<u16> {
        (0..=u16::MAX).find(|number| !self.numbers.values().any(|used| used == number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_while_nodes_come_and_go() {
        let mut numbering = Numbering::default();

        apply(&mut numbering, &[10, 20, 30]);
        apply(&mut numbering, &[10, 30, 40]);
        apply(&mut numbering, &[10, 30, 40, 50]);

        let number = |node| numbering.tunnel(NodeId(node)).map(|tunnel| tunnel.0);
        assert_eq!(
            [10, 20, 30, 40, 50].map(number),
            [Some(0), None, Some(2), Some(3), Some(1)]
        );
        assert_eq!(numbering.node(TunnelId(3)), Some(NodeId(40)));
        assert_eq!(numbering.peer(NodeId(50)), Some(PeerIndex(1)));
    }

    fn apply(numbering: &mut Numbering, nodes: &[u32]) {
        numbering.apply(&nodes.iter().copied().map(NodeId).collect());
    }
}
