//! Which part this router plays on its LAN, where VRRP decides that: what is handed to the election, and what it says.
//!
//! An election that was not heard of is no election: the role is unknown, and the gate stays closed.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_bgp::session::SessionState;
use sam_vrrp::{Cause, Settings, State, Status};

use crate::Router;
use crate::config::{ActiveWhen, Capture, Config, Vrrp};
use crate::drain::DRAIN_PENALTY;
use crate::events::Event;
use crate::output::Output;
use crate::peers::{is_node, node_of, other_nodes, peer_of};
use crate::split_brain::{SUCCESSION, SplitBrain};

/// An election to take part in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VrrpPlan {
    /// Grows when the router has to begin anew: what was said of a former one does not count.
    pub generation: u64,
    /// The LAN.
    pub interface: String,
    /// The kernel's number of that interface: sockets on a former one of the same name are deaf.
    pub index: u32,
    /// Our address there.
    pub source: Ipv4Addr,
    /// Configuration.
    pub settings: Settings,
    /// Taken from the priority, for conditions that do not hold.
    pub penalty: u8,
    /// Taken from it besides while a thread of this router stands still.
    pub engine_penalty: u8,
    /// Whether no master that lives may be taken over from: this router has not heard all routes yet.
    pub fenced: bool,
}

/// What the election says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VrrpReport {
    /// Of which plan.
    pub generation: u64,
    /// How it is; `None` when it cannot be held.
    pub status: Option<Status>,
}

/// The part that this router plays.
#[derive(Debug, Default)]
pub(crate) struct LanRole {
    /// The election as last handed out.
    plan: Option<VrrpPlan>,
    generation: u64,
    status: Option<Status>,
    /// Disputes that led to announcements, and when the last did.
    conflicts: u64,
    disputed_at: Option<Instant>,
    /// Whether there was another dispute too shortly after that one.
    put_off: bool,
    /// Since when this router is master, if it is.
    master_since: Option<Instant>,
    /// The last time that two routers were master at once.
    split_brain: Option<SplitBrain>,
}

/// Shortest time between two rounds of announcements because of a dispute; each goes on for five seconds.
const DISPUTE_INTERVAL: Duration = Duration::from_secs(1);

impl LanRole {
    /// Takes in what the election says; tells whether there is a dispute that calls for announcements, and whether two
    /// routers were master at once.
    fn on_report(&mut self, report: &VrrpReport, now: Instant) -> (bool, Option<SplitBrain>) {
        let plan = self.plan.as_ref();
        let Some(plan) = plan.filter(|plan| plan.generation == report.generation) else {
            return (false, None);
        };
        let steady = self.master_since.is_some_and(|at| now >= at + SUCCESSION);
        let split = report.status.as_ref().and_then(|status| {
            let former = self.status.as_ref();
            SplitBrain::found(former, status, &plan.settings, steady, now)
        });
        self.split_brain = split.or(self.split_brain);
        let is_master = |status: &Status| status.state == State::Master;
        self.master_since = match report.status.as_ref().is_some_and(is_master) {
            true => self.master_since.or(Some(now)),
            false => None,
        };
        let count = |status: &Option<Status>| status.as_ref().map_or(0, |status| status.conflicts);
        let disputed = count(&report.status) > count(&self.status);
        self.status.clone_from(&report.status);
        self.put_off = (self.put_off || disputed) && self.master_since.is_some();
        (self.settle_dispute(now), split)
    }

    /// Has everything announced again because of a dispute, unless that was done a moment ago; tells whether it does.
    fn settle_dispute(&mut self, now: Instant) -> bool {
        let tell = self.put_off
            && self
                .disputed_at
                .is_none_or(|at| now >= at + DISPUTE_INTERVAL);
        if tell {
            (self.put_off, self.disputed_at) = (false, Some(now));
            self.conflicts += 1;
        }
        tell
    }

    /// When announcements that were put off are due.
    fn poll_timeout(&self) -> Option<Instant> {
        self.disputed_at
            .filter(|_| self.put_off)
            .map(|at| at + DISPUTE_INTERVAL)
    }

    /// Takes in the election to take part in; tells whether anything about it changed.
    fn on_plan(&mut self, wanted: Option<VrrpPlan>) -> bool {
        let key = |plan: &VrrpPlan| {
            let settings = &plan.settings;
            let multicast = settings.peers.is_empty();
            let ids = (settings.vrid, settings.version, multicast);
            (plan.interface.clone(), plan.index, plan.source, ids)
        };
        let anew = self.plan.as_ref().map(key) != wanted.as_ref().map(key);
        if anew {
            self.generation += 1;
            self.status = None;
            self.master_since = None;
            self.put_off = false;
        }
        let wanted = wanted.map(|plan| VrrpPlan {
            generation: self.generation,
            ..plan
        });
        let changed = self.plan != wanted;
        self.plan = wanted;
        changed
    }

    /// How often everything was announced because another router took itself for the master.
    pub(crate) fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// The last time that two routers were master at once.
    pub(crate) fn split_brain(&self) -> Option<&SplitBrain> {
        self.split_brain.as_ref()
    }

    /// Whether another router is heard to be the master.
    pub(crate) fn follows_master(&self) -> bool {
        let follows = |status: &Status| status.state == State::Backup && status.heard.is_some();
        self.status.as_ref().is_some_and(follows)
    }

    /// Whether this router is the one that answers, and why.
    pub(crate) fn is_master(&self) -> (bool, &'static str) {
        let Some(status) = &self.status else {
            return (false, "VRRP: who is master is unknown");
        };
        match (status.state, status.cause) {
            (State::Master, Cause::Relieved) => (true, "VRRP master: the former one left"),
            (State::Master, Cause::AddressOwner) => {
                (true, "VRRP master: the host has the virtual address")
            }
            (State::Master, _) => (true, "VRRP master: no other was heard"),
            (State::Backup, Cause::Outranked) => (false, "VRRP backup: another master won"),
            (State::Backup, Cause::Overslept) => {
                (false, "VRRP backup: this router was silent for too long")
            }
            (State::Backup, _) if status.heard.is_none() => {
                (false, "VRRP backup: listening who is master")
            }
            (State::Backup, _) => (false, "VRRP backup: another router is master"),
            (State::Initialize, _) => (false, "VRRP: not taking part"),
        }
    }
}

impl Config {
    /// The election that decides who acts on the LAN, if there is one.
    #[must_use]
    pub fn vrrp(&self) -> Option<&Vrrp> {
        match &self.local.capture {
            Capture::ProxyArp {
                active_when: ActiveWhen::Vrrp(vrrp),
                ..
            } => Some(vrrp),
            Capture::ProxyArp { .. } | Capture::Cloud(_) | Capture::None => None,
        }
    }

    /// Tells whether another node stands on our LAN: the nodes of a site with an election do. Which of them acts there
    /// decides the election, not BGP.
    #[must_use]
    pub(crate) fn shares_lan_with(&self, node: sam_capture::NodeId) -> bool {
        let own = self.own_node();
        let other = self.fabric.nodes.get(&node);
        let same_site = other.is_some_and(|other| other.id != own.id && other.site == own.site);
        same_site && self.vrrp().is_some()
    }

    /// Tells whether another router stands on our LAN.
    #[must_use]
    pub(crate) fn has_sibling(&self) -> bool {
        let mut nodes = self.fabric.nodes.keys();
        nodes.any(|node| self.shares_lan_with(*node))
    }

    /// Tells whether two nodes capture for one site in a cloud. Which of them does decide they and the provider, not BGP.
    #[must_use]
    pub(crate) fn share_cloud(&self, one: sam_capture::NodeId, other: sam_capture::NodeId) -> bool {
        let site = |id| {
            let node = self.fabric.nodes.get(&id)?;
            node.nic.as_ref().map(|_| node.site.as_str())
        };
        site(one).is_some_and(|one| site(other) == Some(one))
    }
}

impl Router {
    /// Takes in what the election says.
    pub(crate) fn on_vrrp(&mut self, report: &VrrpReport, now: Instant) {
        let was_master = self.lan_role.is_master().0;
        self.tell_others(report, now);
        let (disputed, split) = self.lan_role.on_report(report, now);
        self.forwarding_stale = true;
        if was_master && !self.lan_role.is_master().0 {
            // Whoever takes over announces itself before its advertisement is heard here.
            let since = now.checked_sub(SUCCESSION).unwrap_or(now);
            self.foreign_answers.forget_since(since);
        }
        let rival = report.status.as_ref().and_then(|status| status.heard);
        if let Some(rival) = rival.filter(|_| disputed) {
            let event = Event::VrrpConflict {
                address: rival.address,
                priority: rival.priority,
            };
            self.events.push(event, now);
        }
        if let (Some(split), Some(vrrp)) = (split, self.config.vrrp()) {
            let event = Event::SplitBrain {
                address: vrrp.settings.address,
                by: split.rival.to_string(),
                verdict: split.verdict(),
            };
            self.events.push(event, now);
        }
    }

    /// Tells operators of other routers in the election: two masters beside this one, or one that nobody named.
    fn tell_others(&mut self, report: &VrrpReport, now: Instant) {
        let (Some(vrrp), Some(status)) = (self.config.vrrp(), &report.status) else {
            return;
        };
        let former = self.lan_role.status.as_ref();
        let times = |status: &Status| status.rivals.map_or(0, |rivals| rivals.times);
        if let Some(rivals) = status.rivals
            && times(status) > former.map_or(0, times)
        {
            let [one, other] = rivals.addresses;
            let event = Event::SplitBrain {
                address: vrrp.settings.address,
                by: format!("{one} and {other}"),
                verdict: "both advertise as masters, and this router follows the better one"
                    .to_owned(),
            };
            self.events.push(event, now);
        }
        let known = former.map_or(&[][..], |former| &former.strangers);
        let new = status.strangers.iter().filter(|one| !known.contains(one));
        for &address in new {
            self.events.push(Event::VrrpStranger { address }, now);
        }
    }

    /// When the election wants something: announcements that were put off, or the end of the fence.
    pub(crate) fn election_due(&self) -> Option<Instant> {
        self.config.vrrp()?;
        let due = [
            self.lan_role.poll_timeout(),
            self.fence.poll_timeout(),
            self.lan_orders.poll_timeout(),
        ];
        due.into_iter().flatten().min()
    }

    /// Has everything announced again that was put off.
    pub(crate) fn time_disputes(&mut self, now: Instant) {
        self.forwarding_stale |= self.lan_role.settle_dispute(now);
    }

    /// Hands the election out, as far as it changed.
    pub(crate) fn tell_vrrp(&mut self) {
        let wanted = self.vrrp_plan();
        if self.lan_role.on_plan(wanted) {
            self.forwarding_stale = true;
            let plan = self.lan_role.plan.clone();
            self.outputs.push_back(Output::Vrrp(plan));
        }
    }

    /// Tells when the gate opens or closes.
    pub(crate) fn tell_gate(&mut self, now: Instant) {
        let gate = self.gate();
        let told = self.gate.replace(gate);
        // At start the gate is closed until the LAN shows up; that is no news.
        let news = told.map_or(gate.open, |told| told != gate);
        if news && self.config.local.capture.interface().is_some() {
            self.events.push(
                Event::Gate {
                    open: gate.open,
                    reason: gate.reason.into(),
                },
                now,
            );
        }
    }

    /// The election to take part in: none without a LAN that is up and an address on it.
    fn vrrp_plan(&self) -> Option<VrrpPlan> {
        let vrrp = self.config.vrrp()?;
        let lan = self.host.lan.as_ref()?;
        if self.stopping || !lan.up {
            return None;
        }
        let mut settings = vrrp.settings.clone();
        settings.preempt &= !self.fence.is_early();
        let awaits_floor = settings.owns_address() && self.fence.is_early();
        Some(VrrpPlan {
            generation: 0,
            interface: self.config.local.capture.interface()?.to_owned(),
            index: lan.index,
            source: lan.address?.addr(),
            settings,
            penalty: self.vrrp_penalty(vrrp),
            engine_penalty: vrrp.track.engine,
            fenced: self.fence.is_up() || awaits_floor,
        })
    }

    /// The sum of the penalties for what does not work.
    fn vrrp_penalty(&self, vrrp: &Vrrp) -> u8 {
        if self.state.drained {
            return DRAIN_PENALTY;
        }
        let conditions = self.vrrp_conditions(vrrp);
        let failed = conditions.into_iter().filter(|condition| !condition.holds);
        failed.fold(0, |sum, condition| {
            u8::saturating_add(sum, condition.penalty)
        })
    }

    /// What is tracked here; how the threads are the election itself looks at. A condition about which there is nothing to
    /// know holds, and in a router that has just begun one about which nothing is known yet.
    pub(crate) fn vrrp_conditions(&self, vrrp: &Vrrp) -> [TrackedCondition; 2] {
        let is_met = |penalty, met: &dyn Fn() -> bool| penalty == 0 || met();
        let early = self.fence.is_early();
        let is_elsewhere =
            |node| is_node(&self.config, peer_of(node)) && !self.config.shares_lan_with(node);
        let bgp_up = || {
            let peers = self.speaker.peers();
            let mut peers = peers
                .iter()
                .filter(|peer| is_elsewhere(node_of(peer.id)))
                .peekable();
            let up = |state| state == SessionState::Established;
            early || peers.peek().is_none() || peers.any(|peer| up(peer.state))
        };
        let tunnels_up = || {
            let others = other_nodes(&self.config);
            let mut others = others.filter(|node| is_elsewhere(node.id)).peekable();
            // A session of WireGuard outlives its path by minutes; BFD does not.
            let carries = |node| {
                let may_come = early && !self.host.tunnel_failed(node);
                let is_up = self.tunnel_up(node) || self.path_watch.is_up(node);
                (may_come || is_up) && !self.path_watch.has_failed(node)
            };
            others.peek().is_none() || others.any(|node| carries(node.id))
        };
        [
            ("bgp", vrrp.track.bgp, is_met(vrrp.track.bgp, &bgp_up)),
            (
                "tunnels",
                vrrp.track.tunnels,
                is_met(vrrp.track.tunnels, &tunnels_up),
            ),
        ]
        .map(|(name, penalty, holds)| TrackedCondition {
            name,
            penalty,
            holds,
        })
    }
}

/// A condition with a penalty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TrackedCondition {
    /// Its name in the configuration.
    pub(crate) name: &'static str,
    /// What is taken from the priority while it does not hold; zero: it is not tracked.
    pub(crate) penalty: u8,
    /// Whether it holds.
    pub(crate) holds: bool,
}
