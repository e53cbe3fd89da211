//! What is on our NIC, and how much more may be: what the other routers of the site have to know to take the rest.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Instant;

use super::Executor;
use crate::placement::Load;
use crate::plan::{Cause, capacity, captured};

impl Executor {
    /// What our NIC has and may have, as far as known. While the provider says that there is no room, it is full.
    ///
    /// `shares`: whether this router shares captures with the others of its site.
    #[must_use]
    pub fn load(&self, shares: bool, now: Instant) -> Load {
        let max_captures = self.settings.max_captures;
        let Some(seen) = &self.observed else {
            return Load {
                shares,
                capacity: max_captures,
                ..Load::default()
            };
        };
        let pools = &self.settings.pools;
        let held: BTreeSet<Ipv4Addr> = captured(pools, &seen.observation).collect();
        let full = self.full_until.is_some_and(|until| now < until);
        let capacity = if full {
            Some(held.len())
        } else {
            capacity(pools, max_captures, &seen.observation)
        };
        let cooldowns = self.cooldowns.iter();
        let refused = cooldowns.filter(|(_, cooldown)| match cooldown.cause {
            Cause::HeldBySibling(_)
            | Cause::HeldByStranger(_)
            | Cause::Unmarked(_)
            | Cause::Refused { .. } => true,
            // It comes back.
            Cause::Fight => false,
        });
        Load {
            shares,
            capacity,
            refused: refused.map(|(address, _)| *address).collect(),
            held,
        }
    }
}
