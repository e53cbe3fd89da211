//! What is on our NIC, and how much more may be: what the other routers of the site have to know to take the rest.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Instant;

use super::Executor;
use super::ability::BLIND;
use crate::placement::Load;
use crate::plan::{Cause, Mode, capacity, captured};

impl Executor {
    /// What our NIC has and may have, as far as known. While the provider says that there is no room, it is full. What was
    /// seen before looks ended, or failed for too long, is not known any more.
    #[must_use]
    pub fn load(&self, now: Instant) -> Load {
        let max_captures = self.settings.max_captures;
        let blind = self.blind_since.is_some_and(|since| now >= since + BLIND);
        let known = self.settings.mode != Mode::Off && !blind;
        let Some(seen) = self.observed.as_ref().filter(|_| known) else {
            return Load {
                tells: true,
                inability: self.inability(now),
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
            tells: true,
            inability: self.inability(now),
            shares: false,
            capacity,
            refused: refused.map(|(address, _)| *address).collect(),
            held,
        }
    }
}
