//! Orders about addresses of a LAN that one of its routers did not get, because it was not there: what the LAN gave to another
//! site, or got from one, meanwhile.
//!
//! A handover is an order to both routers of a LAN (`crate::handover`). Who was down meanwhile still has the address in its
//! file, or has it not, and nobody tells it anything else. It learns what was given away from who holds the address by order,
//! in three situations.
//!
//! 1. It stands by, and the router that acts claims nothing of what another site holds: given away before.
//! 2. It takes its LAN over, and finds another site in possession, be it later: a node of which nothing was heard in that moment
//!    says what it holds when it is heard again. What this router was told to own since is newer, and nobody's to undo.
//! 3. It begins, and has not heard everybody yet: what is found held is taken for given away, and what is not may still be,
//!    so that it claims as standby until it is informed (`crate::startup_fence`).
//!
//! It is saved, for the holder may be away when this router begins the next time. What was given away is not claimed while
//! anybody else does, and as standby when its holder is lost; an order here, an offer of the holder, or a claim of the
//! router beside takes it back.
//!
//! What the LAN got says the claim of the router that acts: who stands by owns by order what that one does, as long as it does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use sam_bgp::{Cursor, Feed, News};
use sam_capture::{ClaimSource, NodeId};

use crate::Router;
use crate::claims::rivals;
use crate::drain::Presence;
use crate::events::Event;
use crate::origination::Rival;
use crate::startup_fence::FLOOR;

/// How long no router of the LAN may claim an inherited address before it is forgotten: a change of roles takes less.
const UNCLAIMED: Duration = Duration::from_secs(10);

/// What is remembered to follow orders that somebody else got.
#[derive(Debug, Default)]
pub(crate) struct LanOrders {
    /// Whether this router acted when claims were decided last, and everybody had been heard who tells routes.
    acted: bool,
    /// What it was told to own when it began to act, and not again since; `None` while it stands by.
    judged: Option<BTreeSet<Ipv4Addr>>,
    /// Nodes of which nothing was heard when it took its LAN over, and since when something is. Looked at whenever claims are, so
    /// that nothing has to be done when a node's time is over.
    unheard: BTreeMap<NodeId, Option<Instant>>,
    /// Where claims were read up to while it stands by; `None` has all of the LAN looked at.
    cursor: Option<Cursor>,
    /// What it was told to own then.
    told: BTreeSet<Ipv4Addr>,
    /// Since when no router of the LAN claims an inherited address.
    unclaimed: BTreeMap<Ipv4Addr, Instant>,
    /// When the first of these is forgotten, as things are.
    due: Option<Instant>,
}

impl LanOrders {
    /// Returns when an inherited address is forgotten. What is heard too late to count is judged when it is heard.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Has all claims looked at, for what they mean has changed.
    pub(crate) fn reread(&mut self) {
        self.cursor = None;
    }

    /// Takes in an order to this router: it is newer than all that is heard of later.
    pub(crate) fn on_order(&mut self, address: Ipv4Addr) {
        if let Some(judged) = &mut self.judged {
            judged.remove(&address);
        }
    }
}

impl Router {
    /// Follows who holds what this router is told to own, and what the router beside it does; `claimed` are the claims of others
    /// on what it claims itself.
    pub(crate) fn follow_lan_orders(&mut self, claimed: &BTreeMap<Ipv4Addr, Rival>, now: Instant) {
        self.lan_orders.due = None;
        if !self.has_sibling() {
            return;
        }
        if self.gate().open {
            self.follow_holders(claimed, now);
        } else {
            self.follow_acting_router(now);
        }
    }

    /// While this router acts: what others hold since before it did.
    fn follow_holders(&mut self, claimed: &BTreeMap<Ipv4Addr, Rival>, now: Instant) {
        (self.lan_orders.cursor, self.lan_orders.unclaimed) = (None, BTreeMap::new());
        // What comes with the last word of the routes counts too, so the first look after it is one of a router that begins.
        let begins = !std::mem::replace(&mut self.lan_orders.acted, !self.fence.is_uninformed());
        self.follow_unheard(begins, now);
        if self.lan_orders.judged.is_none() {
            self.lan_orders.judged = Some(self.told_to_own());
        }
        let is_judged = |address: &Ipv4Addr| {
            let judged = self.lan_orders.judged.as_ref();
            judged.is_some_and(|judged| judged.contains(address))
        };
        let held = claimed.iter().filter(|(address, rival)| {
            let given_away = begins || self.is_held_unheard(**address);
            rival.held_beside || (rival.ordered && is_judged(address) && given_away)
        });
        let held = held.map(|(address, rival)| (*address, *rival)).collect();
        self.learn(&held, now);
    }

    /// Follows which nodes are still to say what they hold: they are not there, or have been for a moment only.
    fn follow_unheard(&mut self, begins: bool, now: Instant) {
        let mut unheard = std::mem::take(&mut self.lan_orders.unheard);
        if begins {
            let nodes = self.config.fabric.nodes.keys();
            let elsewhere = nodes.filter(|node| {
                **node != self.config.local.node && !self.config.shares_lan_with(**node)
            });
            unheard = elsewhere.map(|node| (*node, None)).collect();
        }
        for (node, heard) in unheard.iter_mut().filter(|(_, heard)| heard.is_none()) {
            *heard = (self.presence(*node) != Presence::Absent).then_some(now);
        }
        // Whoever is there when this router begins to act has said it.
        unheard.retain(|_, heard| heard.is_none_or(|at| !begins && now < at + FLOOR));
        self.lan_orders.unheard = unheard;
    }

    /// Tells whether a node holds an address by order that had no say when this router began to act.
    fn is_held_unheard(&self, address: Ipv4Addr) -> bool {
        let unheard = &self.lan_orders.unheard;
        if unheard.is_empty() {
            return false;
        }
        let claims = self.living_claims(address).into_iter();
        let mut ordered = claims.filter(|owner| owner.source == ClaimSource::Configured);
        ordered.any(|owner| unheard.contains_key(&owner.node))
    }

    /// While this router stands by: what others hold, and what the router that acts does.
    fn follow_acting_router(&mut self, now: Instant) {
        (self.lan_orders.acted, self.lan_orders.judged) = (false, None);
        let changed = changed_claims(self.speaker.rib_feed(), &mut self.lan_orders.cursor);
        let begins = changed.is_none();
        let changed = changed.unwrap_or_else(|| self.claimed_beside());
        let told = self.told_to_own();
        let mut looked_at = changed.clone();
        // A new order has to be compared with what others hold, and says nothing about what the other router has.
        if begins || self.lan_orders.told != told {
            looked_at.extend(&told);
            self.lan_orders.told.clone_from(&told);
        }
        let looked_at = looked_at.into_iter();
        let looked_at = looked_at.map(|address| (address, ClaimSource::Configured));
        let claims = rivals(
            &self.speaker,
            &self.config,
            &looked_at.collect(),
            &BTreeSet::new(),
        );
        for address in changed {
            let rival = claims.get(&address).copied().unwrap_or_default();
            self.follow_order_beside(address, rival, now);
        }
        let held = claims
            .into_iter()
            .filter(|(_, rival)| rival.held_beside || (rival.ordered && !rival.beside));
        self.learn(&held.collect(), now);
        self.forget_unclaimed(now);
    }

    /// The addresses that the other routers of the LAN own, or did: few of those that a big fabric has.
    fn claimed_beside(&self) -> BTreeSet<Ipv4Addr> {
        let owners = self.owners.owners();
        let beside = owners.filter(|owner| self.config.shares_lan_with(owner.node));
        let inherited = self.state.inherited.iter().copied();
        beside.map(|owner| owner.address).chain(inherited).collect()
    }

    /// Takes in what the other routers of the LAN claim of an address.
    fn follow_order_beside(&mut self, address: Ipv4Addr, rival: Rival, now: Instant) {
        if self.state.inherited.contains(&address) {
            if rival.ordered_beside || rival.beside {
                self.lan_orders.unclaimed.remove(&address);
            } else {
                self.lan_orders.unclaimed.entry(address).or_insert(now);
            }
            return;
        }
        let enrollment = self.speaker.policy().enrollment();
        let may = enrollment.admit(self.config.local.node, address).is_ok();
        // What another site has by order the LAN is giving away.
        let is_new = !rival.ordered && !self.lan_orders.told.contains(&address);
        if rival.ordered_beside && may && is_new {
            self.state.inherited.insert(address);
            self.tell_order(address, "inherited", now);
        }
    }

    /// Forgets inherited addresses that no router of the LAN has claimed for a while, though all of them are there.
    fn forget_unclaimed(&mut self, now: Instant) {
        if self.lan_orders.unclaimed.is_empty() || !self.lan_role.follows_master() {
            return;
        }
        let nodes = self.config.fabric.nodes.keys();
        let mut beside = nodes.filter(|node| self.config.shares_lan_with(**node));
        if !beside.all(|node| self.presence(*node) != Presence::Absent) {
            return;
        }
        let over = |since: &Instant| now >= *since + UNCLAIMED;
        let unclaimed = self.lan_orders.unclaimed.iter();
        let forgotten: Vec<Ipv4Addr> = unclaimed
            .filter(|(_, since)| over(since))
            .map(|(address, _)| *address)
            .collect();
        for address in forgotten {
            self.lan_orders.unclaimed.remove(&address);
            self.state.given_away.remove(&address);
            if self.state.inherited.remove(&address) {
                self.tell_order(address, "forgotten", now);
            }
        }
        let first = self.lan_orders.unclaimed.values().min();
        self.lan_orders.due = first.map(|since| *since + UNCLAIMED);
    }

    /// Takes in who holds what this router is told to own.
    fn learn(&mut self, held: &BTreeMap<Ipv4Addr, Rival>, now: Instant) {
        if held.is_empty() {
            return;
        }
        let told = self.told_to_own();
        let known = self.state.given_away.clone();
        for (&address, rival) in held {
            // What is offered is taken by order, or refused (`crate::handover`).
            if rival.held_beside {
                self.state.given_away.remove(&address);
            } else if !rival.offers && told.contains(&address) {
                self.state.given_away.insert(address);
            }
        }
        // The packets of its hosts go elsewhere.
        self.forwarding_stale |= self.state.given_away != known;
        let new: Vec<_> = self.state.given_away.difference(&known).copied().collect();
        for address in new {
            self.tell_order(address, "given-away", now);
        }
    }

    /// Tells whether an address is another site's, though this router is told to own it.
    pub(crate) fn is_given_away(&self, address: Ipv4Addr) -> bool {
        self.state.given_away.contains(&address)
    }

    /// Tells whether an address is owned here only because the router that acts has it by order.
    pub(crate) fn is_inherited(&self, address: Ipv4Addr) -> bool {
        self.state.inherited.contains(&address)
    }

    fn tell_order(&mut self, address: Ipv4Addr, step: &str, now: Instant) {
        let node = self.owner_of(address);
        let node = node.unwrap_or(self.config.local.node);
        let event = Event::Handover {
            address,
            node,
            step: step.to_owned(),
        };
        self.events.push(event, now);
    }
}

/// Returns the addresses whose claims changed since this was asked last; `None` when it is asked first, or some that are gone were
/// missed, and all of the LAN are to be looked at.
fn changed_claims<C: Copy + Default>(
    feed: &Feed<Ipv4Net, C>,
    cursor: &mut Option<Cursor>,
) -> Option<BTreeSet<Ipv4Addr>> {
    let mut begins = cursor.is_none();
    let place = cursor.get_or_insert_with(|| feed.subscribe());
    let mut changed = BTreeSet::new();
    while let Some(news) = feed.next(place) {
        match news {
            // The whole table is passed over: to look each prefix of it up takes long.
            News::Changed { .. } if begins => {}
            News::Changed { key, .. } => {
                changed.insert(key.addr());
            }
            News::Complete { .. } => {}
            News::Resync => begins = true,
        }
    }
    (!begins).then_some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_missed_what_is_gone_looks_at_everything_once_again() {
        let mut feed: Feed<Ipv4Net> = Feed::default();
        let kept: Ipv4Net = "10.77.60.10/32".parse().unwrap();
        let others = (0..20_000).map(|host: u32| Ipv4Net::from(Ipv4Addr::from(host)));
        feed.note(kept, None, true);
        let stamps: Vec<_> = others
            .map(|key| (key, feed.note(key, None, true)))
            .collect();
        let mut cursor = None;
        assert_eq!(changed_claims(&feed, &mut cursor), None);
        assert_eq!(changed_claims(&feed, &mut cursor), Some([].into()));

        // More than the feed remembers.
        for (key, stamp) in stamps {
            feed.note(key, stamp, false);
        }

        assert_eq!(changed_claims(&feed, &mut cursor), None);
        assert_eq!(changed_claims(&feed, &mut cursor), Some([].into()));
    }
}
