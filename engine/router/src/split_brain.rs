//! Split brain: two routers of one LAN that act there at once. What tells of it, and who of both is silent.
//!
//! The election ends it, by advertisements or by their copies in ARP, and both routers compute the same: the better
//! priority wins, among equals the higher LAN address (RFC 9568 section 6.4.3). Answers to our own questions are the
//! evidence that does not depend on it.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_capture::NodeId;
use sam_dataplane::notice::Mac;
use sam_vrrp::{Cause, Settings, State, Status};

use crate::Router;
use crate::config::Config;

/// Two masters at once, as the election ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SplitBrain {
    /// LAN address of the other router.
    pub(crate) rival: Ipv4Addr,
    /// Its priority.
    pub(crate) rival_priority: u8,
    /// Our priority.
    pub(crate) priority: u8,
    /// Whether this router keeps the role.
    pub(crate) keeps: bool,
    /// When it was noticed last.
    pub(crate) at: Instant,
}

/// Who was master for less time has just taken over: the former one may not have heard of it yet.
pub(crate) const SUCCESSION: Duration = Duration::from_secs(1);

impl SplitBrain {
    /// Finds out what a change of the election says; `steady`: this router had been master for longer than
    /// [`SUCCESSION`].
    pub(crate) fn found(
        former: Option<&Status>,
        status: &Status,
        settings: &Settings,
        steady: bool,
        now: Instant,
    ) -> Option<Self> {
        let rival = status.heard.filter(|_| steady)?;
        let conflicts = former.map_or(0, |former| former.conflicts);
        let keeps = status.state == State::Master && status.conflicts > conflicts;
        // A router with preemption takes the role from one that works, and one with penalties gives it up: no fault.
        let ousted = status.state == State::Backup
            && status.cause == Cause::Outranked
            && former.is_some_and(|former| former.state == State::Master)
            && !settings.preempt
            && status.penalty == 0;
        // Who only says that it leaves was no second master, as far as known.
        let found = (keeps && rival.best_priority > 0) || ousted;
        found.then_some(Self {
            rival: rival.address,
            rival_priority: rival.best_priority,
            priority: status.priority,
            keeps,
            at: now,
        })
    }

    /// Says who keeps silent, and by which rule.
    pub(crate) fn verdict(&self) -> String {
        let rule = if self.rival_priority == self.priority {
            format!("equal priority {}, the higher address wins", self.priority)
        } else {
            format!("priority {} against {}", self.priority, self.rival_priority)
        };
        let rival = self.rival;
        match self.keeps {
            true => format!("this router keeps the role, {rival} is silent: {rule}"),
            false => format!("this router is silent, {rival} keeps the role: {rule}"),
        }
    }
}

impl Router {
    /// Takes in the MAC that another node has on its LAN, as its marker says. That of a router of our LAN is saved: what it says
    /// there must not be taken for the words of a host while BGP cannot tell it.
    pub(crate) fn on_router_mac(&mut self, node: NodeId, mac: Option<Mac>) {
        let Some(mac) = mac else {
            return;
        };
        self.router_macs.insert(node, mac);
        if self.config.shares_lan_with(node) {
            self.state.router_macs.insert(node, mac);
        }
    }

    /// The node on our LAN that has this MAC there, by what nodes told.
    pub(crate) fn sibling_at(&self, mac: Mac) -> Option<NodeId> {
        let mut siblings = siblings(&self.config, &self.router_macs);
        siblings
            .find(|(_, other)| *other == mac)
            .map(|(node, _)| node)
    }

    /// MACs of the other routers of our LAN.
    pub(crate) fn sibling_macs(&self) -> Vec<Mac> {
        let siblings = siblings(&self.config, &self.router_macs);
        siblings.map(|(_, mac)| mac).collect()
    }
}

fn siblings<'a>(
    config: &'a Config,
    macs: &'a std::collections::BTreeMap<NodeId, Mac>,
) -> impl Iterator<Item = (NodeId, Mac)> + 'a {
    let ours = macs
        .iter()
        .filter(|(node, _)| config.shares_lan_with(**node));
    ours.map(|(node, mac)| (*node, *mac))
}

#[cfg(test)]
mod tests {
    use sam_vrrp::{Heard, Version};

    use super::*;

    const RIVAL: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 2);

    #[test]
    fn a_second_master_is_one_and_what_follows_from_orders_and_takeovers_is_none() {
        let former = status(State::Master, Cause::Silence);
        let keeps = Status {
            conflicts: 1,
            ..former.clone()
        };
        let ousted = status(State::Backup, Cause::Outranked);
        let found = |status: &Status, preempt, steady| {
            let settings = settings(preempt);
            SplitBrain::found(Some(&former), status, &settings, steady, now())
        };
        let verdict = |found: Option<SplitBrain>| found.map(|found| found.verdict());

        let kept = "this router keeps the role, 10.77.60.2 is silent: priority 100 against 50";
        assert_eq!(verdict(found(&keeps, true, true)).as_deref(), Some(kept));
        let lost = "this router is silent, 10.77.60.2 keeps the role: priority 100 against 50";
        assert_eq!(verdict(found(&ousted, false, true)).as_deref(), Some(lost));

        assert_eq!(found(&keeps, false, false), None, "it has just taken over");
        assert_eq!(found(&ousted, false, false), None);
        assert_eq!(found(&ousted, true, true), None, "preemption");
        let penalty = Status {
            penalty: 1,
            ..ousted
        };
        assert_eq!(
            found(&penalty, false, true),
            None,
            "it got worse, or is drained"
        );
        assert_eq!(found(&former, false, true), None, "nothing new");
        let mut farewell = keeps;
        farewell.heard = farewell.heard.map(|heard| Heard {
            best_priority: 0,
            ..heard
        });
        assert_eq!(found(&farewell, false, true), None);
        let others = [
            status(State::Backup, Cause::Overslept),
            status(State::Initialize, Cause::Stopped),
        ];
        assert!(
            others
                .iter()
                .all(|other| found(other, false, true).is_none())
        );
    }

    #[test]
    fn among_equals_the_address_is_the_rule() {
        let equal = SplitBrain {
            rival: RIVAL,
            rival_priority: 100,
            priority: 100,
            keeps: false,
            at: now(),
        };
        assert!(equal.verdict().ends_with("the higher address wins"));
    }

    fn status(state: State, cause: Cause) -> Status {
        Status {
            state,
            since: now(),
            cause,
            priority: 100,
            penalty: 0,
            heard: Some(Heard {
                address: RIVAL,
                priority: 50,
                best_priority: 50,
                interval: Duration::from_millis(300),
                at: now(),
                copy_only: false,
            }),
            rivals: None,
            strangers: Vec::new(),
            down_interval: Duration::from_secs(1),
            promotions: 1,
            conflicts: 0,
            sent: 0,
            received: 0,
        }
    }

    fn settings(preempt: bool) -> Settings {
        Settings {
            version: Version::V3,
            vrid: 60,
            priority: 100,
            address: Ipv4Addr::new(10, 77, 60, 254),
            interval: Duration::from_millis(300),
            preempt,
            peers: [].into(),
            routers: [].into(),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "times are only shown")]
    fn now() -> Instant {
        Instant::now()
    }
}
