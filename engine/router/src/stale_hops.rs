//! Do the next hops of stale routes still answer? Asked while there are such routes, and only then.
//!
//! A route outlives the session that told it only as long as the node that it leads to is there. A packet of the size of
//! a ping goes to each such node, through the tunnel that its traffic takes; it comes back when the tunnel, the packet path
//! of the far router and its host live, whatever became of BGP. At first at short intervals, because a dead node must not
//! be believed in; then at long ones. A node whose own session ended in silence is not believed in until it answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_bgp::session::SessionState;
use sam_bgp::speaker::Event as BgpEvent;
use sam_capture::NodeId;
use sam_dataplane::PathProbe;
use sam_dataplane::path_probe::PROBE_MIN;

use crate::Router;
use crate::events::Event;
use crate::output::Output;
use crate::peers::node_of;

/// Next hops of stale routes.
#[derive(Debug)]
pub(crate) struct StaleHops {
    hops: BTreeMap<NodeId, Hop>,
    next_id: u32,
    probes: VecDeque<(NodeId, u32)>,
    changes: VecDeque<(NodeId, Verdict)>,
}

#[derive(Debug)]
struct Hop {
    verdict: Verdict,
    /// Probes that are not answered, the oldest first; any answer clears them.
    unanswered: VecDeque<u32>,
    next_at: Instant,
}

/// What is known about a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing yet; it is believed in.
    Open,
    /// It answers.
    Answers,
    /// It does not answer.
    Silent,
}

/// Probes in a row without an answer that make a next hop silent.
const LOST_LIMIT: usize = 3;
/// Interval of probes until the verdict, and after a loss.
const FIRST_INTERVAL: Duration = Duration::from_millis(300);
/// Interval of probes to a next hop that answers, or is known to be silent.
const INTERVAL: Duration = Duration::from_secs(1);
/// Answers are accepted to so many probes back.
const REMEMBERED: usize = 8;

impl StaleHops {
    /// Watches nobody. Probes are numbered from `seed`.
    pub(crate) fn new(seed: u32) -> Self {
        Self {
            hops: BTreeMap::new(),
            next_id: seed,
            probes: VecDeque::new(),
            changes: VecDeque::new(),
        }
    }

    /// Watches exactly these nodes.
    pub(crate) fn follow(&mut self, nodes: &BTreeSet<NodeId>, now: Instant) {
        self.hops.retain(|node, _| nodes.contains(node));
        for node in nodes {
            self.hops.entry(*node).or_insert_with(|| Hop {
                verdict: Verdict::Open,
                unanswered: VecDeque::new(),
                next_at: now,
            });
        }
    }

    /// Takes a watched node for silent until it answers.
    pub(crate) fn presume_silent(&mut self, node: NodeId) {
        if let Some(hop) = self.hops.get_mut(&node)
            && hop.verdict == Verdict::Open
        {
            hop.verdict = Verdict::Silent;
            self.changes.push_back((node, hop.verdict));
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for (node, hop) in self.hops.iter_mut().filter(|(_, hop)| hop.next_at <= now) {
            if hop.unanswered.len() >= LOST_LIMIT && hop.verdict != Verdict::Silent {
                hop.verdict = Verdict::Silent;
                self.changes.push_back((*node, hop.verdict));
            }
            if hop.unanswered.len() >= REMEMBERED {
                hop.unanswered.pop_front();
            }
            hop.unanswered.push_back(self.next_id);
            self.probes.push_back((*node, self.next_id));
            self.next_id = self.next_id.wrapping_add(1);
            let hurry = match hop.verdict {
                Verdict::Open => true,
                Verdict::Answers => hop.unanswered.len() > 1,
                Verdict::Silent => false,
            };
            hop.next_at = now + if hurry { FIRST_INTERVAL } else { INTERVAL };
        }
    }

    /// Takes in the answer to a probe.
    pub(crate) fn handle_answer(&mut self, node: NodeId, id: u32, now: Instant) {
        let Some(hop) = self.hops.get_mut(&node) else {
            return;
        };
        if !hop.unanswered.contains(&id) {
            return;
        }
        hop.unanswered.clear();
        hop.next_at = now + INTERVAL;
        if hop.verdict == Verdict::Silent {
            self.changes.push_back((node, Verdict::Answers));
        }
        hop.verdict = Verdict::Answers;
    }

    /// Returns when [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.hops.values().map(|hop| hop.next_at).min()
    }

    /// Returns the next probe to send.
    pub(crate) fn poll_probe(&mut self) -> Option<(NodeId, u32)> {
        self.probes.pop_front()
    }

    /// Returns the next change of a verdict.
    pub(crate) fn poll_change(&mut self) -> Option<(NodeId, Verdict)> {
        self.changes.pop_front()
    }

    /// Tells whether [`Self::poll_change`] has something.
    pub(crate) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Lists the nodes that do not answer.
    pub(crate) fn silent(&self) -> impl Iterator<Item = NodeId> {
        let silent = |(_, hop): &(&NodeId, &Hop)| hop.verdict == Verdict::Silent;
        self.hops.iter().filter(silent).map(|(node, _)| *node)
    }
}

impl Router {
    /// Keeps what depends on sessions in step with what BGP tells: whose sessions were up, for the next start, and which
    /// next hops are to be watched.
    pub(crate) fn on_bgp_event(&mut self, event: &BgpEvent, now: Instant) {
        // A stop is no end of the relation: after it, these are the peers to wait for.
        if self.stopping {
            return;
        }
        let sessions = &mut self.state.sessions;
        match event {
            BgpEvent::Established { peer } => {
                sessions.insert(node_of(*peer));
            }
            BgpEvent::Down { peer, .. } => {
                sessions.remove(&node_of(*peer));
            }
            BgpEvent::Retained { peer, silent, .. } => {
                sessions.insert(node_of(*peer));
                self.watch_stale_hops(now);
                if *silent {
                    self.stale_hops.presume_silent(node_of(*peer));
                }
            }
            BgpEvent::StaleRemoved { peer, .. } => {
                let peers = self.speaker.peers();
                let there = peers
                    .iter()
                    .find(|view| view.id == *peer)
                    .is_some_and(|view| {
                        view.state == SessionState::Established || view.ipv4.stale_until.is_some()
                    });
                if !there {
                    sessions.remove(&node_of(*peer));
                }
                self.watch_stale_hops(now);
            }
            BgpEvent::RestartOver { missing } => {
                sessions.retain(|node| !missing.iter().any(|peer| node_of(*peer) == *node));
            }
            // The peer may still come back to what it left.
            BgpEvent::AttemptFailed { .. }
            | BgpEvent::LimitNear { .. }
            | BgpEvent::Rejected { .. }
            | BgpEvent::Malformed { .. }
            | BgpEvent::ConnectionRefused { .. } => {}
        }
    }

    /// Asks the next hops whose time it is.
    pub(crate) fn ask_stale_hops(&mut self, now: Instant) {
        if self.stale_hops.poll_timeout().is_some_and(|at| at <= now) {
            self.watch_stale_hops(now);
            self.stale_hops.handle_timeout(now);
        }
    }

    /// Makes paths and events follow what became of the next hops, and hands out the probes that are due.
    pub(crate) fn tell_stale_hops(&mut self, now: Instant) {
        while let Some((node, verdict)) = self.stale_hops.poll_change() {
            let event = match verdict {
                Verdict::Silent => Event::NextHopSilent { node },
                Verdict::Open | Verdict::Answers => Event::NextHopAnswers { node },
            };
            self.events.push(event, now);
        }
        let nodes = &self.config.fabric.nodes;
        let silent = self.stale_hops.silent();
        let silent = silent.filter_map(|node| Some(nodes.get(&node)?.overlay));
        let silent: BTreeSet<Ipv4Addr> = silent.collect();
        // Compared as a whole: whoever is no longer asked is no longer silent either.
        if silent != self.silent_hops {
            self.silent_hops.clone_from(&silent);
            self.speaker.set_silent_next_hops(silent, now);
            self.pump(now);
        }
        while let Some((node, id)) = self.stale_hops.poll_probe() {
            let to = self.config.fabric.nodes.get(&node);
            if let (Some(tunnel), Some(to)) = (self.numbering.tunnel(node), to) {
                let (to, size) = (to.overlay, PROBE_MIN);
                let probe = PathProbe {
                    tunnel,
                    to,
                    size,
                    id,
                };
                self.outputs.push_back(Output::Probe(probe));
            }
        }
    }

    fn watch_stale_hops(&mut self, now: Instant) {
        let hops = self.speaker.stale_next_hops();
        let nodes = self.config.fabric.nodes.values();
        let nodes = nodes.filter(|node| hops.contains(&node.overlay));
        self.stale_hops
            .follow(&nodes.map(|node| node.id).collect(), now);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(3);

    #[test]
    fn nobody_is_asked_without_need() {
        let hops = StaleHops::new(7);
        assert_eq!(hops.poll_timeout(), None);
        let (mut hops, now) = watched();
        hops.follow(&BTreeSet::new(), now);
        hops.handle_timeout(now);
        assert_eq!((hops.poll_timeout(), hops.poll_probe()), (None, None));
    }

    #[test]
    fn a_node_that_never_answers_is_silent_within_a_second() {
        let (mut hops, start) = watched();
        let told = pass(&mut hops, start, 1);
        assert_eq!(told, [(NODE, Verdict::Silent)]);
        assert_eq!(hops.silent().collect::<Vec<_>>(), [NODE]);
    }

    #[test]
    fn a_node_that_answers_is_asked_once_a_second_and_silent_after_three_losses() {
        let (mut hops, mut now) = watched();
        for _ in 0..5 {
            hops.handle_timeout(now);
            let (_, id) = hops.poll_probe().unwrap();
            hops.handle_answer(NODE, id, now);
            assert_eq!(hops.poll_timeout(), Some(now + INTERVAL));
            now += INTERVAL;
        }
        assert_eq!(pass(&mut hops, now, 1), []);
        assert_eq!(
            pass(&mut hops, now + INTERVAL, 1),
            [(NODE, Verdict::Silent)]
        );
    }

    #[test]
    fn a_late_answer_brings_it_back_and_a_foreign_one_does_not() {
        let (mut hops, start) = watched();
        pass(&mut hops, start, 2);
        let now = start + INTERVAL * 3;
        hops.handle_answer(NODE, 99, now);
        assert_eq!(hops.poll_change(), None);
        let (_, id) = std::iter::from_fn(|| hops.poll_probe()).last().unwrap();
        hops.handle_answer(NODE, id, now);
        assert_eq!(hops.poll_change(), Some((NODE, Verdict::Answers)));
        assert_eq!(hops.silent().count(), 0);
    }

    #[test]
    fn a_node_that_fell_silent_before_is_not_believed_in_until_it_answers() {
        let (mut hops, now) = watched();
        hops.presume_silent(NODE);
        hops.presume_silent(NodeId(4));
        assert_eq!(hops.poll_change(), Some((NODE, Verdict::Silent)));
        hops.handle_timeout(now);
        let (_, id) = hops.poll_probe().unwrap();
        hops.handle_answer(NODE, id, now);
        assert_eq!(hops.poll_change(), Some((NODE, Verdict::Answers)));
    }

    fn watched() -> (StaleHops, Instant) {
        let (mut hops, now) = (StaleHops::new(7), Instant::now());
        hops.follow(&BTreeSet::from([NODE]), now);
        (hops, now)
    }

    /// Lets seconds pass without an answer; returns what is told.
    fn pass(hops: &mut StaleHops, start: Instant, seconds: u64) -> Vec<(NodeId, Verdict)> {
        let end = start + Duration::from_secs(seconds);
        while let Some(at) = hops.poll_timeout().filter(|at| *at <= end) {
            hops.handle_timeout(at.max(start));
        }
        std::iter::from_fn(|| hops.poll_change()).collect()
    }
}
