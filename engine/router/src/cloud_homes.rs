//! Which addresses live in our cloud's subnet, by what its provider lists: addresses on network interfaces that no router
//! of the fabric has, of machines that run.
//!
//! A list says more than silence does, but it is not always right: one that lacks an address is believed when it goes on
//! to do so, and one without any machine only after a long time. Looks that fail say nothing. Of a site's routers the one
//! that captures for it claims what is found; all of them look, so that another one can go on at once.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_capture::provider::{Holder, NicId};
use sam_capture::{ClaimSource, Executor};

use crate::Router;
use crate::config::CaptureMode;
use crate::events::Event;

/// Learning by the provider's list which addresses live at a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProviderDiscovery {
    /// Time between two lists while they show something new.
    pub interval: Duration,
    /// How long lists may lack an address before it counts as gone.
    pub expiry: Duration,
}

impl Default for ProviderDiscovery {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(20),
            expiry: Duration::from_secs(60),
        }
    }
}

/// Most addresses that are known.
const HOMES: usize = 4096;
/// How long lists must be without any machine until that is believed.
const EMPTY: Duration = Duration::from_secs(600);

/// The machines of the subnet.
#[derive(Debug, Default)]
pub(crate) struct CloudHomes {
    homes: BTreeMap<Ipv4Addr, CloudHome>,
    /// Since when lists have been without any machine.
    empty_since: Option<Instant>,
    /// The list that was taken in last.
    taken: u64,
    /// Whether this router is the one that claims them for its site.
    pub(crate) claims: bool,
}

/// A machine's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CloudHome {
    pub(crate) nic: NicId,
    pub(crate) since: Instant,
    /// When it was listed last.
    pub(crate) seen: Instant,
    /// Since when lists have been without it.
    missing_since: Option<Instant>,
}

impl CloudHomes {
    /// All that are known, claimed or not.
    pub(crate) fn known(&self) -> &BTreeMap<Ipv4Addr, CloudHome> {
        &self.homes
    }

    /// Takes in a list of the machines, without routers and what routers put somewhere.
    fn take(
        &mut self,
        machines: &BTreeMap<Ipv4Addr, &Holder>,
        expiry: Duration,
        now: Instant,
    ) -> Vec<Event> {
        if machines.is_empty() && !self.homes.is_empty() {
            let since = *self.empty_since.get_or_insert(now);
            if now < since + EMPTY {
                for home in self.homes.values_mut() {
                    home.missing_since.get_or_insert(now);
                }
                return Vec::new();
            }
        } else {
            self.empty_since = None;
        }
        let mut events = self.forget(machines, expiry, now);
        for (&address, holder) in machines {
            if holder.running == Some(false) {
                continue;
            }
            let nic = holder.nic.clone();
            if let Some(home) = self.homes.get_mut(&address) {
                (home.nic, home.seen, home.missing_since) = (nic, now, None);
            } else if self.homes.len() < HOMES {
                events.push(Event::MachineFound {
                    address,
                    nic: nic.0.clone(),
                });
                let (since, seen) = (now, now);
                let home = CloudHome {
                    nic,
                    since,
                    seen,
                    missing_since: None,
                };
                self.homes.insert(address, home);
            }
        }
        events
    }

    /// Forgets machines that are stopped, and those that were not listed for long.
    fn forget(
        &mut self,
        machines: &BTreeMap<Ipv4Addr, &Holder>,
        expiry: Duration,
        now: Instant,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        self.homes.retain(|&address, home| {
            let reason = match machines.get(&address) {
                Some(holder) if holder.running == Some(false) => "stopped",
                // Lists that failed meanwhile say nothing of it.
                None if now >= *home.missing_since.get_or_insert(now) + expiry => "not-listed",
                Some(_) | None => return true,
            };
            events.push(Event::MachineGone {
                address,
                nic: home.nic.0.clone(),
                reason: reason.into(),
            });
            false
        });
        events
    }
}

impl Router {
    /// Takes in the newest list of the provider, if there is one.
    pub(crate) fn follow_inventory(&mut self, now: Instant) {
        let cloud = self.config.cloud();
        let cloud = cloud.filter(|cloud| cloud.mode > CaptureMode::Off);
        let Some(settings) = cloud.and_then(|cloud| cloud.discovery) else {
            self.cloud_homes.homes.clear();
            return;
        };
        let Some(inventory) = self.cloud.executor.as_ref().and_then(Executor::inventory) else {
            return;
        };
        if inventory.number == self.cloud_homes.taken {
            return;
        }
        let number = inventory.number;
        let holders = inventory.holders.iter();
        let machines = holders.filter(|(address, holder)| self.is_machine(**address, holder));
        let machines = machines.map(|(address, holder)| (*address, holder));
        let machines: BTreeMap<_, _> = machines.collect();
        let mut homes = std::mem::take(&mut self.cloud_homes);
        homes.taken = number;
        let events = homes.take(&machines, settings.expiry, now);
        self.cloud_homes = homes;
        for event in events {
            self.forwarding_stale = true;
            self.events.push(event, now);
        }
    }

    /// The machines that this router claims: all of them if that is up to it; else those that it has claimed so far, until
    /// another router of the site is heard to claim them.
    pub(crate) fn claimed_machines(&self) -> impl Iterator<Item = &Ipv4Addr> {
        self.cloud_homes.homes.keys().filter(|address| {
            let claim = self.origination.claim_on(**address);
            let is_left = || claim.is_some_and(|claim| claim.source == ClaimSource::Provider);
            self.cloud_homes.claims || (is_left() && !self.sibling_holds(**address))
        })
    }

    /// Tells whether it claims what the provider lists, or what is left of that.
    pub(crate) fn claims_machines(&self) -> bool {
        self.cloud_homes.claims || self.claimed_machines().next().is_some()
    }

    /// Somebody wants an address that nobody owns: it may be that of a new machine, if it is up to us to find these.
    pub(crate) fn hurry_list(&mut self, now: Instant) {
        let finds = self.claims_machines();
        let executor = self.cloud.executor.as_mut().filter(|_| finds);
        if let Some(executor) = executor {
            executor.hurry_list(now);
        }
    }

    fn sibling_holds(&self, address: Ipv4Addr) -> bool {
        let own = self.config.local.node;
        let siblings = self.config.fabric.nodes.keys().filter(|node| **node != own);
        let mut siblings = siblings.filter(|node| self.config.share_cloud(own, **node));
        siblings.any(|node| self.has_taken_over(address, *node))
    }

    /// Tells whether an address is a machine's, and may live at this site: it is on no router's interface, and none put it
    /// there. One that is not the interface's first address, and that another site owns, may have been left behind by
    /// a router that the fabric knows no more.
    fn is_machine(&self, address: Ipv4Addr, holder: &Holder) -> bool {
        let own = self.config.local.node;
        let admitted = self.speaker.policy().enrollment().admit(own, address);
        let mut nodes = self.config.fabric.nodes.values();
        let is_router = nodes.any(|node| node.nic.as_ref() == Some(&holder.nic));
        let nic = self.cloud.executor.as_ref().and_then(Executor::nic);
        let is_ours = nic == Some(&holder.nic);
        let site = |node| self.config.fabric.nodes.get(&node).map(|node| &node.site);
        let elsewhere = self.owners.holding(address);
        let elsewhere = elsewhere.is_some_and(|held| site(held.owner.node) != site(own));
        let is_left =
            !holder.entry.primary && elsewhere && !self.cloud_homes.homes.contains_key(&address);
        admitted.is_ok() && !is_router && !is_ours && holder.entry.ours != Some(true) && !is_left
    }
}

#[cfg(test)]
mod tests {
    use sam_capture::provider::Entry;

    use super::*;

    #[test]
    fn what_runs_is_found_and_what_is_stopped_is_gone_at_once() {
        let mut case = Case::new();
        assert_eq!(
            case.take(&[(10, Some(true)), (11, None), (12, Some(false))]),
            ["machine-found", "machine-found"]
        );
        assert_eq!(case.lasts(), [10, 11]);

        assert_eq!(
            case.take(&[(10, Some(false)), (11, None)]),
            ["machine-gone"]
        );

        assert_eq!(case.lasts(), [11]);
    }

    #[test]
    fn what_is_not_listed_for_a_moment_stays() {
        let mut case = Case::new();
        case.take(&[(10, None), (11, None)]);
        // Lists failed for ten minutes; the first one since may be one in part.
        case.now += Duration::from_secs(600);
        assert_eq!(case.take(&[(10, None)]), [""; 0]);
        case.now += Duration::from_secs(59);
        assert_eq!(case.take(&[(10, None)]), [""; 0]);
        assert_eq!(case.lasts(), [10, 11]);

        case.now += Duration::from_secs(1);

        assert_eq!(case.take(&[(10, None)]), ["machine-gone"]);
        assert_eq!(case.lasts(), [10]);
    }

    #[test]
    fn a_list_without_machines_is_not_believed_for_long() {
        let mut case = Case::new();
        case.take(&[(10, None), (11, None)]);
        for _ in 0..10 {
            assert_eq!(case.take(&[]), [""; 0]);
            case.now += Duration::from_secs(59);
        }
        assert_eq!(
            case.take(&[(10, None)]),
            ["machine-gone"],
            "11 is not there"
        );
        assert_eq!(case.take(&[]), [""; 0], "the time begins anew");
        case.now += EMPTY;
        assert_eq!(case.take(&[]), ["machine-gone"]);
        // Where all are stopped the list is not empty.
        case.take(&[(10, None)]);
        assert_eq!(case.take(&[(10, Some(false))]), ["machine-gone"]);
    }

    struct Case {
        homes: CloudHomes,
        now: Instant,
    }

    impl Case {
        #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
        fn new() -> Self {
            Self {
                homes: CloudHomes::default(),
                now: Instant::now(),
            }
        }

        fn take(&mut self, machines: &[(u8, Option<bool>)]) -> Vec<&'static str> {
            let holder = |running| Holder {
                nic: NicId("nic-machine".into()),
                nic_version: None,
                entry: Entry {
                    primary: true,
                    ours: None,
                    id: None,
                    version: None,
                },
                running,
            };
            let machines = machines.iter();
            let holders = machines
                .map(|(last, running)| (Ipv4Addr::new(10, 77, 60, *last), holder(*running)));
            let holders: BTreeMap<_, _> = holders.collect();
            let machines = holders.iter().map(|(address, holder)| (*address, holder));
            let expiry = Duration::from_secs(60);
            let events = self.homes.take(&machines.collect(), expiry, self.now);
            events.iter().map(Event::name).collect()
        }

        fn lasts(&self) -> Vec<u8> {
            let homes = self.homes.known().keys();
            homes.map(|address| address.octets()[3]).collect()
        }
    }
}
