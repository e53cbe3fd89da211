//! Longest-prefix match (skeleton).
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::NextHop;

/// Immutable longest-prefix-match table.
#[derive(Debug, Clone, Default)]
pub struct Fib {}

impl Fib {
    /// Returns the next hop of the longest matching prefix.
    #[must_use]
    pub fn lookup(&self, _destination: Ipv4Addr) -> Option<NextHop> {
        todo!()
    }

    /// Lists all entries in prefix order.
    pub fn entries(&self) -> impl Iterator<Item = (Ipv4Net, NextHop)> + '_ {
        std::iter::empty()
    }
}

/// Collects entries and builds a [`Fib`]; the last insert of a prefix wins.
#[derive(Debug, Clone, Default)]
pub struct FibBuilder {}

impl FibBuilder {
    /// Adds or replaces an entry.
    pub fn insert(&mut self, _prefix: Ipv4Net, _next_hop: NextHop) {
        todo!()
    }

    /// Builds the table.
    #[must_use]
    pub fn build(&self) -> Fib {
        todo!()
    }
}
