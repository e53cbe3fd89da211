//! Giving captured addresses back by order, and leaving them alone for a while: so that a machine of this site can get the
//! address, or that nothing stays behind when the router is removed.
//!
//! A hold ends by itself, with a further order, or when the router restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_capture::placement::{Member, place};
use sam_capture::{Executor, NodeId};

use crate::Router;
use crate::commands::CommandRefusal;
use crate::config::CaptureMode;
use crate::events::Event;
use crate::input::Command;

/// How long an address that was given back is left alone, where nothing is said.
pub const DEFAULT_RELEASE: Duration = Duration::from_secs(600);
/// The longest such time.
pub const RELEASE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most addresses that are left alone.
const HOLDS_MAX: usize = 4096;

/// Addresses that are left alone by order.
#[derive(Debug, Default)]
pub(crate) struct Releases {
    until: BTreeMap<Ipv4Addr, Instant>,
    /// Until when all are, and the network interface is as it was before the router.
    all_until: Option<Instant>,
}

impl Releases {
    /// The addresses that are left alone now.
    pub(crate) fn addresses(&self) -> BTreeSet<Ipv4Addr> {
        self.until.keys().copied().collect()
    }

    /// Whether all are.
    pub(crate) fn all(&self) -> bool {
        self.all_until.is_some()
    }

    /// Ends what is over; tells whether anything is.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let before = (self.until.len(), self.all_until);
        self.until.retain(|_, until| now < *until);
        self.all_until = self.all_until.filter(|until| now < *until);
        before != (self.until.len(), self.all_until)
    }

    /// When the next one is over.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.until.values().copied().chain(self.all_until).min()
    }

    fn set(&mut self, address: Ipv4Addr, hold: Duration, now: Instant) {
        if hold.is_zero() {
            self.until.remove(&address);
        } else if self.until.len() < HOLDS_MAX || self.until.contains_key(&address) {
            self.until.insert(address, now + hold);
        }
    }
}

impl Router {
    /// Tells whether addresses may be given back by order.
    pub(crate) fn check_release(&self, address: Option<Ipv4Addr>) -> Result<(), CommandRefusal> {
        let cloud = self.config.cloud().ok_or(CommandRefusal::NoCloud)?;
        if cloud.mode < CaptureMode::Approve {
            return Err(CommandRefusal::ChangesNothing);
        }
        match address {
            Some(address) if self.config.pool_of(address).is_none() => Err(
                CommandRefusal::NotAdmitted(sam_capture::ImportRejection::OutsidePool),
            ),
            Some(_) | None => Ok(()),
        }
    }

    /// Gives an address back, or all, and leaves it alone for some time; none ends that.
    pub(crate) fn release(&mut self, address: Option<Ipv4Addr>, hold: Duration, now: Instant) {
        let releases = &mut self.cloud.releases;
        if let Some(address) = address {
            releases.set(address, hold, now);
        } else {
            releases.all_until = (!hold.is_zero()).then(|| now + hold);
            // As long as they are left alone there is a reason to put the interface back.
            for address in self.cloud.executor.iter().flat_map(Executor::held) {
                releases.set(address, hold, now);
            }
            if hold.is_zero() {
                releases.until.clear();
            }
        }
        self.cloud.touch();
        let hold_s = hold.as_secs();
        self.events
            .push(Event::CaptureHeld { address, hold_s }, now);
    }

    /// Tells whether an action that ended can be undone.
    pub(crate) fn check_undo(&self, id: u64) -> Result<(), CommandRefusal> {
        self.check_release(None)?;
        let (operation, addresses) = self.done(id).ok_or(CommandRefusal::NotDone)?;
        let held = self.cloud.releases.addresses();
        match operation {
            "assign" | "seize" => Ok(()),
            "unassign" if !addresses.is_disjoint(&held) => Ok(()),
            "set-forwarding" => Err(CommandRefusal::ForwardingNeeded),
            _ => Err(CommandRefusal::NotUndoable),
        }
    }

    /// Undoes an action: gives back what it captured, or captures what was given back by order.
    pub(crate) fn undo(&mut self, id: u64, now: Instant) {
        let Some((operation, addresses)) = self.done(id) else {
            return;
        };
        let hold = if operation == "unassign" {
            Duration::ZERO
        } else {
            DEFAULT_RELEASE
        };
        for address in addresses {
            self.release(Some(address), hold, now);
        }
    }

    /// The last change of an action that was made.
    fn done(&self, id: u64) -> Option<(&'static str, BTreeSet<Ipv4Addr>)> {
        let history = self.cloud.executor.iter().flat_map(Executor::history);
        let done = history.filter(|done| done.id == id && done.result == "done");
        let last = done.last()?;
        Some((last.operation, last.addresses.clone()))
    }

    /// The other routers of the site that have, or would take, what an order to this one gives back: it holds at them only
    /// if they are given the same order.
    #[must_use]
    pub fn siblings_to_tell(&self, command: &Command) -> BTreeSet<NodeId> {
        if let Command::Release { address, .. } = command {
            let one = address.map(|address| self.takers(&[address].into()));
            return one.unwrap_or_else(|| self.takers_of_all());
        }
        let Command::Undo(id) = command else {
            return BTreeSet::new();
        };
        let done = self.done(*id);
        done.map_or_else(BTreeSet::new, |(_, addresses)| self.takers(&addresses))
    }

    /// The other routers that addresses are placed with once this one has them no more.
    fn takers(&self, addresses: &BTreeSet<Ipv4Addr>) -> BTreeSet<NodeId> {
        let own = self.config.local.node;
        let Some(mut site) = self.cloud.site() else {
            return BTreeSet::new();
        };
        for (node, _, load) in &mut site.members {
            if *node == own {
                load.held.retain(|address| !addresses.contains(address));
            }
        }
        let members = site.members.iter();
        let members = members.filter_map(|(node, candidate, load)| {
            Some(Member {
                node: *node,
                candidate: (*candidate)?,
                load,
            })
        });
        let members: Vec<Member<'_>> = members.collect();
        let all = self.cloud.placement().keys().chain(addresses).copied();
        let placement = place(all, &members);
        let nodes = addresses.iter();
        let nodes = nodes.filter_map(|address| Some(placement.get(address)?.as_ref()?.node));
        nodes.filter(|node| *node != own).collect()
    }

    /// The others that share, or the one of them that is elected.
    fn takers_of_all(&self) -> BTreeSet<NodeId> {
        let own = self.config.local.node;
        let site = self.cloud.site().filter(|site| site.shared);
        let takers: BTreeSet<NodeId> = match site {
            Some(site) => {
                let there = site.members.iter().filter(|(_, there, _)| there.is_some());
                there.map(|(node, _, _)| *node).collect()
            }
            None => self.cloud.election.elected().into_iter().collect(),
        };
        takers.into_iter().filter(|node| *node != own).collect()
    }
}
