//! Longest-prefix match over IPv4: a 16-8-8 trie, built in one go, never changed afterwards.
//!
//! The root has one slot per upper half of the address; a slot holds either the answer or the number of a block of
//! 256 slots for the next byte. A lookup is one to three loads and allocates nothing. Building paints the prefixes
//! shortest first, so a longer prefix always overwrites what a shorter one left. Longest match as in RFC 1812
//! section 5.2.4.3.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::NextHop;
use crate::ids::{PortId, TunnelId};

/// Immutable longest-prefix-match table.
#[derive(Debug, Clone, Default)]
pub struct Fib {
    /// One slot per upper 16 bits; empty when the table is empty.
    root: Vec<Slot>,
    /// Blocks of [`BLOCK`] slots, for bits 16 to 23 and 24 to 31.
    blocks: Vec<Slot>,
    /// What the table was built from, in prefix order.
    entries: Vec<(Ipv4Net, NextHop)>,
}

impl Fib {
    /// Returns the next hop of the longest matching prefix.
    #[must_use]
    #[inline]
    pub fn lookup(&self, destination: Ipv4Addr) -> Option<NextHop> {
        let bits = destination.to_bits();
        let mut slot = *self
            .root
            .get(usize::try_from(bits >> 16).expect("16 bits fit"))?;
        for byte in [(bits >> 8) & 0xff, bits & 0xff] {
            let Some(block) = slot.block() else { break };
            slot = self.blocks[block + usize::try_from(byte).expect("8 bits fit")];
        }
        slot.next_hop()
    }

    /// Lists all entries in prefix order.
    pub fn entries(&self) -> impl Iterator<Item = (Ipv4Net, NextHop)> + '_ {
        self.entries.iter().copied()
    }

    /// Sets all slots that `prefix` covers; called shortest prefix first.
    fn paint(&mut self, prefix: Ipv4Net, slot: Slot) {
        let bits = prefix.network().to_bits();
        let length = u32::from(prefix.prefix_len());
        let upper = usize::try_from(bits >> 16).expect("16 bits fit");
        if length <= 16 {
            self.root[upper..upper + (1 << (16 - length))].fill(slot);
            return;
        }
        let second = Self::descend(&mut self.root[upper], &mut self.blocks);
        let middle = second + usize::try_from((bits >> 8) & 0xff).expect("8 bits fit");
        if length <= 24 {
            self.blocks[middle..middle + (1 << (24 - length))].fill(slot);
            return;
        }
        let mut parent = self.blocks[middle];
        let third = Self::descend(&mut parent, &mut self.blocks);
        self.blocks[middle] = parent;
        let lower = third + usize::try_from(bits & 0xff).expect("8 bits fit");
        self.blocks[lower..lower + (1 << (32 - length))].fill(slot);
    }

    /// Returns the block below `parent`, made from the parent's answer when there is none.
    fn descend(parent: &mut Slot, blocks: &mut Vec<Slot>) -> usize {
        if let Some(block) = parent.block() {
            return block;
        }
        let start = blocks.len();
        blocks.resize(start + BLOCK, *parent);
        *parent = Slot::of_block(start);
        start
    }
}

/// Collects entries and builds a [`Fib`]; the last insert of a prefix wins.
#[derive(Debug, Clone, Default)]
pub struct FibBuilder {
    entries: BTreeMap<Ipv4Net, NextHop>,
}

impl FibBuilder {
    /// Adds or replaces an entry. Bits behind the prefix length do not matter.
    pub fn insert(&mut self, prefix: Ipv4Net, next_hop: NextHop) {
        self.entries.insert(prefix.trunc(), next_hop);
    }

    /// Builds the table.
    #[must_use]
    pub fn build(&self) -> Fib {
        let entries: Vec<_> = self
            .entries
            .iter()
            .map(|(&prefix, &next_hop)| (prefix, next_hop))
            .collect();
        let root = if entries.is_empty() {
            Vec::new()
        } else {
            vec![Slot::EMPTY; 1 << 16]
        };
        let mut fib = Fib {
            root,
            blocks: Vec::new(),
            entries,
        };
        let mut by_length = fib.entries.clone();
        by_length.sort_by_key(|(prefix, _)| prefix.prefix_len());
        for (prefix, next_hop) in by_length {
            fib.paint(prefix, Slot::of_next_hop(next_hop));
        }
        fib
    }
}

/// Nothing, an answer, or the number of a block: the top bit tells blocks, the next byte the kind of answer, the low
/// half its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot(u32);

impl Slot {
    const EMPTY: Self = Self(0);

    fn of_next_hop(next_hop: NextHop) -> Self {
        Self(match next_hop {
            NextHop::Local => LOCAL << 16,
            NextHop::Lan(PortId(id)) => LAN << 16 | u32::from(id),
            NextHop::Tunnel(TunnelId(id)) => TUNNEL << 16 | u32::from(id),
            NextHop::Withhold => WITHHOLD << 16,
            NextHop::Unreachable => UNREACHABLE << 16,
            NextHop::Blackhole => BLACKHOLE << 16,
        })
    }

    fn next_hop(self) -> Option<NextHop> {
        let id = u16::try_from(self.0 & 0xffff).expect("16 bits fit");
        match self.0 >> 16 {
            LOCAL => Some(NextHop::Local),
            LAN => Some(NextHop::Lan(PortId(id))),
            TUNNEL => Some(NextHop::Tunnel(TunnelId(id))),
            WITHHOLD => Some(NextHop::Withhold),
            UNREACHABLE => Some(NextHop::Unreachable),
            BLACKHOLE => Some(NextHop::Blackhole),
            _ => None,
        }
    }

    fn of_block(start: usize) -> Self {
        let number =
            u32::try_from(start / BLOCK).expect("fewer blocks than IPv4 has /24 and /16 prefixes");
        Self(IS_BLOCK | number)
    }

    fn block(self) -> Option<usize> {
        (self.0 & IS_BLOCK != 0)
            .then(|| usize::try_from(self.0 & !IS_BLOCK).expect("31 bits fit") * BLOCK)
    }
}

/// Slots per block: one byte of the address.
const BLOCK: usize = 256;
const IS_BLOCK: u32 = 1 << 31;
const LOCAL: u32 = 1;
const LAN: u32 = 2;
const TUNNEL: u32 = 3;
const WITHHOLD: u32 = 4;
const UNREACHABLE: u32 = 5;
const BLACKHOLE: u32 = 6;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_table_matches_nothing() {
        assert_eq!(Fib::default().lookup(Ipv4Addr::new(10, 0, 0, 1)), None);
        assert_eq!(
            FibBuilder::default().build().lookup(Ipv4Addr::UNSPECIFIED),
            None
        );
    }

    #[test]
    fn the_longest_prefix_wins_at_every_level() {
        let fib = table(&[
            ("0.0.0.0/0", NextHop::Unreachable),
            ("10.0.0.0/8", NextHop::Withhold),
            ("10.1.0.0/16", NextHop::Blackhole),
            ("10.1.2.0/24", NextHop::Lan(PortId(7))),
            ("10.1.2.128/25", NextHop::Tunnel(TunnelId(1))),
            ("10.1.2.200/32", NextHop::Local),
        ]);
        for (address, expected) in [
            ("8.8.8.8", NextHop::Unreachable),
            ("10.9.9.9", NextHop::Withhold),
            ("10.1.3.1", NextHop::Blackhole),
            ("10.1.2.127", NextHop::Lan(PortId(7))),
            ("10.1.2.199", NextHop::Tunnel(TunnelId(1))),
            ("10.1.2.200", NextHop::Local),
            ("10.1.2.201", NextHop::Tunnel(TunnelId(1))),
        ] {
            assert_eq!(
                fib.lookup(address.parse().unwrap()),
                Some(expected),
                "{address}"
            );
        }
    }

    #[test]
    fn the_last_insert_of_a_prefix_wins_and_host_bits_do_not_matter() {
        let mut builder = FibBuilder::default();
        builder.insert("10.0.0.1/24".parse().unwrap(), NextHop::Local);
        builder.insert("10.0.0.2/24".parse().unwrap(), NextHop::Blackhole);
        let fib = builder.build();
        assert_eq!(
            fib.entries().collect::<Vec<_>>(),
            [("10.0.0.0/24".parse().unwrap(), NextHop::Blackhole)]
        );
        assert_eq!(
            fib.lookup(Ipv4Addr::new(10, 0, 0, 9)),
            Some(NextHop::Blackhole)
        );
    }

    #[test]
    fn ten_thousand_hosts_are_found_and_use_few_blocks() {
        let mut builder = FibBuilder::default();
        let first = Ipv4Addr::new(10, 77, 0, 0).to_bits();
        for index in 0..10_000_u16 {
            let prefix = Ipv4Net::from(Ipv4Addr::from_bits(first + u32::from(index)));
            builder.insert(prefix, NextHop::Tunnel(TunnelId(index)));
        }
        let fib = builder.build();
        assert_eq!(fib.entries().count(), 10_000);
        assert_eq!(fib.blocks.len(), (1 + 10_000_usize.div_ceil(256)) * BLOCK);
        for index in 0..10_000_u16 {
            let address = Ipv4Addr::from_bits(first + u32::from(index));
            assert_eq!(fib.lookup(address), Some(NextHop::Tunnel(TunnelId(index))));
        }
        assert_eq!(fib.lookup(Ipv4Addr::from_bits(first + 10_000)), None);
    }

    proptest! {
        #[test]
        fn a_lookup_equals_the_naive_longest_match(
            prefixes in prop::collection::vec((any::<u32>(), 0_u8..=32, next_hops()), 0..60),
            strangers in prop::collection::vec(any::<u32>(), 20),
        ) {
            let mut builder = FibBuilder::default();
            for &(bits, length, next_hop) in &prefixes {
                // Few distinct upper bits make nested prefixes likely.
                builder.insert(Ipv4Net::new((bits & 0x0303_ffff).into(), length).unwrap(), next_hop);
            }
            let fib = builder.build();
            let near = builder.entries.keys().flat_map(|prefix| {
                let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
                [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
            });
            for bits in near.chain(strangers.iter().copied()) {
                let address = Ipv4Addr::from_bits(bits);
                prop_assert_eq!(fib.lookup(address), naive(&builder.entries, address), "{}", address);
            }
        }
    }

    fn naive(entries: &BTreeMap<Ipv4Net, NextHop>, address: Ipv4Addr) -> Option<NextHop> {
        let matching = entries
            .iter()
            .filter(|(prefix, _)| prefix.contains(&address));
        matching
            .max_by_key(|(prefix, _)| prefix.prefix_len())
            .map(|(_, &next_hop)| next_hop)
    }

    fn next_hops() -> impl Strategy<Value = NextHop> {
        prop_oneof![
            Just(NextHop::Local),
            any::<u16>().prop_map(|id| NextHop::Lan(PortId(id))),
            any::<u16>().prop_map(|id| NextHop::Tunnel(TunnelId(id))),
            Just(NextHop::Withhold),
            Just(NextHop::Unreachable),
            Just(NextHop::Blackhole),
        ]
    }

    fn table(entries: &[(&str, NextHop)]) -> Fib {
        let mut builder = FibBuilder::default();
        for (prefix, next_hop) in entries {
            builder.insert(prefix.parse().unwrap(), *next_hop);
        }
        builder.build()
    }
}
