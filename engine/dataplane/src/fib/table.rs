//! The forwarding table, and the one who keeps it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;

use super::NextHop;
use super::groups::Groups;
use super::trie::{NOTHING, Number, Trie};

/// Immutable longest-prefix-match table; copies are cheap.
#[derive(Debug, Clone, Default)]
pub struct Fib {
    /// Which group an address leads to.
    trie: Trie,
    /// Where each group leads now.
    ways: Arc<[Option<NextHop>]>,
}

impl Fib {
    /// Returns the next hop of the longest matching prefix.
    #[must_use]
    #[inline]
    pub fn lookup(&self, destination: Ipv4Addr) -> Option<NextHop> {
        self.way(self.trie.lookup(destination))
    }

    /// Lists all addresses that lead somewhere, in order, as prefixes; not those that the table was made from, but
    /// together they say the same.
    #[must_use]
    pub fn entries(&self) -> Vec<(Ipv4Net, NextHop)> {
        let mut entries = Vec::new();
        self.trie.both(&Trie::default(), |part| {
            let next_hop = self.way(part.number);
            entries.extend(next_hop.map(|next_hop| (part.prefix, next_hop)));
        });
        entries
    }

    /// Tells whether an address leads to `next_hop` that did not in `former`. Looks only at what changed, unless a group as
    /// a whole came to lead there.
    #[must_use]
    pub fn has_new(&self, next_hop: NextHop, former: &Self) -> bool {
        let there = Some(next_hop);
        let mut ways = self.ways.iter().zip(&*former.ways);
        let turned = ways.any(|(way, former)| *way == there && *former != there);
        let mut found = false;
        let visit = |part: super::trie::Difference| {
            found |= self.way(part.number) == there && former.way(part.former) != there;
        };
        if turned {
            self.trie.both(&former.trie, visit);
        } else {
            self.trie.changes(&former.trie, visit);
        }
        found
    }

    #[inline]
    fn way(&self, number: Number) -> Option<NextHop> {
        self.ways.get(number as usize).copied().flatten()
    }
}

/// Keeps routes and makes a [`Fib`] of them at any time. A route leads to a group `G`: a next hop, or whatever one can be
/// chosen from. Of the same prefix the last insert counts.
#[derive(Debug, Clone)]
pub struct FibBuilder<G = NextHop> {
    trie: Trie,
    routes: BTreeMap<Ipv4Net, Number>,
    /// How many prefixes of each length there are.
    lengths: [usize; 33],
    groups: Groups<G>,
}

impl<G> Default for FibBuilder<G> {
    fn default() -> Self {
        Self {
            trie: Trie::default(),
            routes: BTreeMap::new(),
            lengths: [0; 33],
            groups: Groups::default(),
        }
    }
}

impl<G: Ord + Clone> FibBuilder<G> {
    /// Adds or replaces a route. Bits behind the prefix length do not matter. Costs the routes inside of the prefix.
    pub fn insert(&mut self, prefix: Ipv4Net, group: G) {
        let prefix = prefix.trunc();
        let number = self.groups.acquire(group);
        match self.routes.insert(prefix, number) {
            Some(former) => self.groups.release(former),
            None => self.lengths[usize::from(prefix.prefix_len())] += 1,
        }
        self.paint(prefix, number);
    }

    /// Removes a route; tells whether there was one.
    pub fn remove(&mut self, prefix: Ipv4Net) -> bool {
        let prefix = prefix.trunc();
        let Some(number) = self.routes.remove(&prefix) else {
            return false;
        };
        self.groups.release(number);
        self.lengths[usize::from(prefix.prefix_len())] -= 1;
        let covering = self.covering(prefix).map_or(NOTHING, |(_, number)| number);
        self.paint(prefix, covering);
        true
    }

    /// Returns where the route of exactly this prefix leads.
    #[must_use]
    pub fn get(&self, prefix: Ipv4Net) -> Option<&G> {
        self.groups.get(*self.routes.get(&prefix.trunc())?)
    }

    /// Returns the route that a packet to `address` takes.
    #[must_use]
    pub fn longest_match(&self, address: Ipv4Addr) -> Option<(Ipv4Net, &G)> {
        let host = Ipv4Net::from(address);
        let exact = self.routes.get_key_value(&host);
        let exact = exact.map(|(prefix, number)| (*prefix, *number));
        let (prefix, number) = exact.or_else(|| self.covering(host))?;
        Some((prefix, self.groups.get(number)?))
    }

    /// Lists all routes in prefix order.
    pub fn routes(&self) -> impl Iterator<Item = (Ipv4Net, &G)> {
        let routes = self.routes.iter();
        routes.filter_map(|(prefix, number)| Some((*prefix, self.groups.get(*number)?)))
    }

    /// Lists what routes lead to, each once.
    pub fn groups(&self) -> impl Iterator<Item = &G> {
        self.groups.iter()
    }

    /// Returns how many routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Tells whether there are no routes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Makes the table in which each group leads where `way` says. Costs the groups, not the routes.
    #[must_use]
    pub fn build_by(&self, way: impl Fn(&G) -> Option<NextHop>) -> Fib {
        Fib {
            trie: self.trie.clone(),
            ways: self.groups.ways(way).into(),
        }
    }

    /// Has everything that `prefix` covers lead to a group, but for what longer prefixes cover.
    fn paint(&mut self, prefix: Ipv4Net, number: Number) {
        self.trie.paint(prefix, number);
        if prefix.prefix_len() == 32 {
            return;
        }
        // In this order shorter prefixes come first.
        let behind = self
            .routes
            .range(prefix..)
            .skip_while(|(it, _)| **it == prefix);
        for (longer, number) in behind.take_while(|(it, _)| prefix.contains(*it)) {
            self.trie.paint(*longer, *number);
        }
    }

    /// Returns the longest route that covers `prefix` and more.
    fn covering(&self, prefix: Ipv4Net) -> Option<(Ipv4Net, Number)> {
        let lengths = (0..prefix.prefix_len()).rev();
        let mut shorter = lengths
            .filter(|length| self.lengths[usize::from(*length)] > 0)
            .map(|length| Ipv4Net::new_assert(prefix.addr(), length).trunc());
        shorter.find_map(|shorter| Some((shorter, *self.routes.get(&shorter)?)))
    }
}

impl FibBuilder {
    /// Makes the table.
    #[must_use]
    pub fn build(&self) -> Fib {
        self.build_by(|next_hop| Some(*next_hop))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{PortId, TunnelId};

    #[test]
    fn an_empty_table_matches_nothing() {
        assert_eq!(Fib::default().lookup(Ipv4Addr::new(10, 0, 0, 1)), None);
        let empty: FibBuilder = FibBuilder::default();
        assert_eq!(empty.build().lookup(Ipv4Addr::UNSPECIFIED), None);
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
        assert_eq!(
            builder.routes().collect::<Vec<_>>(),
            [("10.0.0.0/24".parse().unwrap(), &NextHop::Blackhole)]
        );
        assert_eq!(
            builder.build().lookup(Ipv4Addr::new(10, 0, 0, 9)),
            Some(NextHop::Blackhole)
        );
    }

    #[test]
    fn all_routes_of_a_group_turn_at_once_and_what_was_published_stays() {
        let (main, backup) = (TunnelId(1), TunnelId(2));
        let mut builder = FibBuilder::default();
        for host in 0..1000 {
            let prefix = Ipv4Net::from(Ipv4Addr::from_bits(0x0a00_0000 + host));
            builder.insert(prefix, [main, backup]);
        }
        let first = builder.build_by(|[main, _]| Some(NextHop::Tunnel(*main)));
        let second = builder.build_by(|[_, backup]| Some(NextHop::Tunnel(*backup)));
        for host in 0..1000 {
            let address = Ipv4Addr::from_bits(0x0a00_0000 + host);
            assert_eq!(first.lookup(address), Some(NextHop::Tunnel(main)));
            assert_eq!(second.lookup(address), Some(NextHop::Tunnel(backup)));
        }
        assert_eq!(second.ways.len(), 2, "nothing, and one for all routes");
        assert!(second.has_new(NextHop::Tunnel(backup), &first));
        assert!(!second.has_new(NextHop::Tunnel(main), &first));
    }

    #[test]
    fn groups_without_routes_are_forgotten() {
        let mut builder = FibBuilder::default();
        let prefix = "10.0.0.1/32".parse().unwrap();
        for tunnel in 0..100 {
            builder.insert(prefix, NextHop::Tunnel(TunnelId(tunnel)));
        }
        assert_eq!(builder.build().ways.len(), 3);
        assert!(builder.remove(prefix) && !builder.remove(prefix));
        assert!(builder.is_empty());
        assert_eq!(builder.build().lookup(prefix.addr()), None);
    }

    proptest! {
        /// Whatever comes and goes, a lookup finds the longest match, and tables that were made before do not change.
        #[test]
        fn a_lookup_equals_the_naive_longest_match(
            steps in prop::collection::vec((any::<u32>(), 0_u8..=32, any::<bool>(), next_hops()), 0..60),
            strangers in prop::collection::vec(any::<u32>(), 20),
        ) {
            let mut builder = FibBuilder::default();
            let mut naive = BTreeMap::new();
            let mut former = (Fib::default(), BTreeMap::new());
            for (step, &(bits, length, comes, next_hop)) in steps.iter().enumerate() {
                let prefix = prefix_of(bits, length);
                if comes || step % 3 > 0 {
                    builder.insert(prefix, next_hop);
                    naive.insert(prefix, next_hop);
                } else {
                    let (bits, length, ..) = steps[usize::from(length) % (step + 1)];
                    let any = prefix_of(bits, length);
                    prop_assert_eq!(builder.remove(any), naive.remove(&any).is_some());
                }
                if step == steps.len() / 2 {
                    former = (builder.build(), naive.clone());
                }
            }
            let fib = builder.build();
            prop_assert!(builder.routes().map(|(prefix, hop)| (prefix, *hop)).eq(naive.clone()));
            let prefixes = naive.keys().chain(former.1.keys());
            let near = prefixes.flat_map(|prefix| {
                let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
                [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
            });
            let addresses: Vec<_> = near.chain(strangers).map(Ipv4Addr::from_bits).collect();
            for &address in &addresses {
                let found = longest(&naive, address);
                prop_assert_eq!(fib.lookup(address), found.map(|(_, hop)| hop), "{}", address);
                let match_of = builder.longest_match(address).map(|(prefix, hop)| (prefix, *hop));
                prop_assert_eq!(match_of, found);
                let before = longest(&former.1, address).map(|(_, hop)| hop);
                prop_assert_eq!(former.0.lookup(address), before);
            }
            let copy = fib.entries().into_iter().fold(FibBuilder::default(), |mut copy, (prefix, hop)| {
                copy.insert(prefix, hop);
                copy
            });
            for &address in &addresses {
                prop_assert_eq!(copy.build().lookup(address), fib.lookup(address));
            }
            for hop in [NextHop::Local, NextHop::Withhold] {
                let leads = |fib: &Fib, at| fib.lookup(at) == Some(hop);
                let new = addresses.iter().any(|at| leads(&fib, *at) && !leads(&former.0, *at));
                // Near the ends of all prefixes every stretch has an address.
                prop_assert_eq!(fib.has_new(hop, &former.0), new, "{:?}", hop);
            }
        }
    }

    /// Few distinct bits make nested prefixes likely.
    fn prefix_of(bits: u32, length: u8) -> Ipv4Net {
        Ipv4Net::new_assert((bits & 0x0303_0f0f).into(), length).trunc()
    }

    fn longest(routes: &BTreeMap<Ipv4Net, NextHop>, at: Ipv4Addr) -> Option<(Ipv4Net, NextHop)> {
        let matching = routes.iter().filter(|(prefix, _)| prefix.contains(&at));
        let longest = matching.max_by_key(|(prefix, _)| prefix.prefix_len());
        longest.map(|(prefix, next_hop)| (*prefix, *next_hop))
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
