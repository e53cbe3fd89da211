//! What this router held by order when it ran last, and says so when it begins again.
//!
//! Who has the better claim has it by the router id, wherever one stands, and the other one steps back. A router that begins hears
//! that claim together with everything else, and would step back before anybody has heard what it held: not even a router that
//! listens for it (`crate::lan_orders`), because its LAN may have given the address away. So what it held it goes on to claim in
//! full for [`PATIENCE`] after it hears of the better claim, which is as long as such a router listens. Where nobody does, both
//! were told to own the address, and the better claim has it as ever: all others follow that one meanwhile, too.
//!
//! Not so a router with another one beside it on its LAN, which takes what it finds held for given away.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_capture::{ClaimSource, ClaimState};

use crate::Router;
use crate::config::Config;
use crate::journal::RuntimeState;
use crate::origination::Rival;
use crate::startup_fence::FLOOR;

/// How long who took a LAN over listens to a node that it hears for the first time.
const PATIENCE: Duration = FLOOR;

/// Addresses that this router goes on to claim, whoever else does.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    /// Since when a better claim on each is heard.
    outdone: BTreeMap<Ipv4Addr, Option<Instant>>,
}

impl Holdings {
    /// Begins with what was held when this router ran last.
    pub(crate) fn new(config: &Config, state: &RuntimeState) -> Self {
        if config.has_sibling() {
            return Self::default();
        }
        let held = state.held.iter();
        Self {
            outdone: held.map(|address| (*address, None)).collect(),
        }
    }

    /// Follows what others claim; `begins`: claims of others, or what to claim oneself, may not be known yet.
    fn follow(&mut self, rivals: &BTreeMap<Ipv4Addr, Rival>, begins: bool, now: Instant) {
        for (address, since) in &mut self.outdone {
            if rivals.get(address).is_some_and(|rival| rival.wins) {
                since.get_or_insert(now);
            }
        }
        self.outdone
            .retain(|_, since| since.map_or(begins, |at| now < at + PATIENCE));
    }

    /// Tells whether an address is claimed in full, whoever else claims it.
    pub(crate) fn contains(&self, address: Ipv4Addr) -> bool {
        self.outdone.contains_key(&address)
    }

    /// Returns when one of them is left to the better claim.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let first = self.outdone.values().flatten().min();
        first.map(|since| *since + PATIENCE)
    }
}

impl Router {
    /// Follows what others claim of what this router held when it ran last.
    pub(crate) fn follow_holdings(&mut self, rivals: &BTreeMap<Ipv4Addr, Rival>, now: Instant) {
        let begins = self.fence.is_uninformed() || !self.gate().may_originate;
        self.holdings.follow(rivals, begins, now);
    }

    /// Saves what this router holds by order. A stop, and a LAN that is away, end claims without a word about who holds what.
    pub(crate) fn save_holdings(&mut self) {
        if self.stopping || self.has_sibling() || !self.gate().may_originate {
            return;
        }
        let holds = |state| matches!(state, ClaimState::Active | ClaimState::Handover);
        let claims = self.origination.claims();
        let held = claims
            .filter(|(_, claim)| claim.source == ClaimSource::Configured && holds(claim.state));
        self.state.held = held.map(|(address, _)| address).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, address};

    #[test]
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn what_was_held_is_claimed_until_a_better_claim_has_been_heard_for_ten_seconds() {
        let (start, instant) = (Instant::now(), Duration::from_nanos(1));
        let state = RuntimeState {
            held: [10, 11].map(address).into(),
            ..RuntimeState::default()
        };
        let mut holdings = Holdings::new(&fixture::config(1, 3, &[]), &state);
        let better = Rival {
            wins: true,
            ..Rival::default()
        };
        let (lesser, rivals) = (Rival::default(), [(address(10), better)].into());
        holdings.follow(&[(address(10), lesser)].into(), true, start);
        assert_eq!(holdings.poll_timeout(), None);
        assert!(holdings.contains(address(10)) && !holdings.contains(address(12)));

        holdings.follow(&rivals, false, start);
        assert!(!holdings.contains(address(11)), "everybody was heard");
        assert_eq!(holdings.poll_timeout(), Some(start + PATIENCE));
        holdings.follow(&rivals, false, start + PATIENCE - instant);
        assert!(holdings.contains(address(10)));
        holdings.follow(&BTreeMap::new(), true, start + PATIENCE);
        assert!(!holdings.contains(address(10)));
        assert_eq!(holdings.poll_timeout(), None);
    }
}
