//! The hosts that another router of our LAN has heard, as they are known to one that stands by.
//!
//! The claims of the router that acts say which hosts live here, and their MACs. Who stands by keeps them as homes: it
//! claims them in the moment in which it acts, and asks them whether they are there. So a host that says nothing is
//! reached on, and not only when it is found again. A claim that ends says nothing about its host, for it ends with the
//! role as well; what another site has is forgotten.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use sam_bgp::News;
use sam_capture::{ClaimState, Owner};
use sam_dataplane::notice::Mac;

use super::admission::Refusal;
use super::home::Home;
use super::{Discovery, HOMES};
use crate::Router;

impl Discovery {
    /// Takes in that another router of the LAN claims an address for its host.
    fn inherit(&mut self, address: Ipv4Addr, mac: Mac, now: Instant) {
        let known = self.homes.get(&address);
        let since = known.filter(|home| home.mac == mac).map(|home| home.since);
        if known.is_some() || self.has_room() {
            let mut home = Home::new(mac, now);
            home.since = since.unwrap_or(now);
            self.homes.insert(address, home);
        } else {
            *self.counters.entry(Refusal::TooMany.name()).or_default() += 1;
        }
    }

    /// Makes room for one more home, in place of the one that nobody has claimed for longest.
    fn has_room(&mut self) -> bool {
        if self.homes.len() < HOMES {
            return true;
        }
        let unclaimed = self.homes.iter();
        let unclaimed =
            unclaimed.filter_map(|(address, home)| Some((home.unclaimed_since?, *address)));
        let oldest = unclaimed.min();
        oldest.is_some_and(|(_, address)| self.homes.remove(&address).is_some())
    }

    /// Takes in that nobody claims an address.
    fn keep(&mut self, address: Ipv4Addr, now: Instant) {
        if let Some(home) = self.homes.get_mut(&address) {
            home.unclaimed_since.get_or_insert(now);
        }
    }

    /// Takes in that what was read of owners does not count.
    fn keep_all(&mut self, now: Instant) {
        for home in self.homes.values_mut() {
            home.unclaimed_since.get_or_insert(now);
        }
    }
}

impl Router {
    /// Follows the claims on the LAN while this router stands by.
    pub(super) fn follow_sibling(&mut self, now: Instant) {
        let mut discovery = std::mem::take(&mut self.discovery);
        let feed = self.owners.feed();
        let mut cursor = discovery.cursor.unwrap_or_else(|| feed.subscribe());
        while let Some(news) = feed.next(&mut cursor) {
            match news {
                News::Complete { .. } => {}
                News::Resync => discovery.keep_all(now),
                News::Changed { key, .. } => {
                    let owner = self.owners.holding(key).map(|holding| holding.owner);
                    self.follow_claim(&mut discovery, key, owner, now);
                }
            }
        }
        discovery.cursor = Some(cursor);
        self.discovery = discovery;
    }

    fn follow_claim(
        &self,
        discovery: &mut Discovery,
        address: Ipv4Addr,
        owner: Option<Owner>,
        now: Instant,
    ) {
        let holds = |state| matches!(state, ClaimState::Active | ClaimState::Handover);
        let is_ours = |owner: &Owner| owner.local || self.config.shares_lan_with(owner.node);
        match owner {
            Some(owner) if is_ours(&owner) => {
                let mac = owner.mac.filter(|_| !owner.local);
                let admitted = |mac: &Mac| self.admit_home(address, *mac, now).is_ok();
                if let Some(mac) = mac.filter(admitted) {
                    discovery.inherit(address, mac, now);
                }
            }
            Some(owner) if holds(owner.state) => drop(discovery.homes.remove(&address)),
            Some(_) | None => discovery.keep(address, now),
        }
    }

    /// The MACs of hosts that another router of our LAN would have to know; none where there is none.
    pub(crate) fn hosts_to_tell(&self) -> BTreeMap<Ipv4Addr, Mac> {
        if !self.has_sibling() {
            return BTreeMap::new();
        }
        let homes = self.discovery.homes().iter();
        homes.map(|(address, home)| (*address, home.mac)).collect()
    }

    /// Tells whether another router stands on our LAN.
    pub(crate) fn has_sibling(&self) -> bool {
        self.config.has_sibling()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOST: Mac = [2, 0, 0, 0, 0, 1];

    #[test]
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn whom_nobody_has_claimed_for_longest_makes_room_for_another_one() {
        let (mut discovery, now) = (Discovery::default(), Instant::now());
        let address = |number: usize| Ipv4Addr::from_bits(number.try_into().expect("few"));
        for number in 0..=HOMES {
            discovery.inherit(address(number), HOST, now);
        }
        assert_eq!(discovery.counters["too-many"], 1);

        for (number, second) in [(7, 2), (5, 1), (6, 3)] {
            discovery.keep(address(number), now + Duration::from_secs(second));
        }
        discovery.inherit(address(HOMES), HOST, now);

        assert_eq!(discovery.homes.len(), HOMES);
        assert!(!discovery.homes.contains_key(&address(5)));
        assert!(discovery.homes.contains_key(&address(HOMES)));
    }
}
