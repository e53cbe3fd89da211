//! What the underlay says about packets to other nodes that were not delivered: soft state per tunnel (RFC 2003 section 5).
//!
//! Anybody on the way can say such things, so they change little and not for long:
//! - No tunnel goes down by them, and what is sent goes out all the same.
//! - People see them for [`MEMORY`].
//! - Senders are told (RFC 2003 section 4) while the underlay repeats it, and [`HOLD`] longer, where nothing knows better: a
//!   WireGuard session has its own timers, and BFD hears whether packets arrive. That something comes by the tunnel is no such
//!   knowledge: it is about the other direction.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sam_capture::NodeId;
use sam_dataplane::snapshot::Encap;
use sam_dataplane::{TunnelId, Undelivered};

use crate::Router;
use crate::events::Event;
use crate::tunnels::TunnelPlan;

/// What is said about each node, lately.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    nodes: BTreeMap<NodeId, Complaint>,
}

/// What is said about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// Where packets went.
    to: Option<SocketAddr>,
    /// The latest reason.
    pub(crate) why: Undelivered,
    /// Who gave it.
    pub(crate) by: Option<IpAddr>,
    /// How often it was said, counted once per [`SPACING`].
    pub(crate) count: u32,
    /// How often of these it concerned senders, less than [`HOLD`] after the time before.
    grave: u32,
    /// When it concerned senders last.
    grave_last: Instant,
    /// When it was counted last.
    counted: Instant,
    /// When it was said last.
    pub(crate) last: Instant,
    /// Until when senders are told.
    until: Option<Instant>,
}

impl Complaints {
    /// Forgets what is said about other ways than those of `plans`.
    pub(crate) fn follow(&mut self, plans: &BTreeMap<NodeId, TunnelPlan>) {
        self.nodes.retain(|node, complaint| {
            let plan = plans.get(node);
            plan.is_some_and(|plan| plan.endpoint == complaint.to)
        });
    }

    /// Takes in an error about a packet to `to`. Returns whether nothing was said lately.
    pub(crate) fn handle_error(
        &mut self,
        node: NodeId,
        to: Option<SocketAddr>,
        (why, by): (Undelivered, Option<IpAddr>),
        now: Instant,
    ) -> bool {
        let known = self.nodes.get(&node).copied();
        let known = known.filter(|known| known.to == to && now < known.last + MEMORY);
        let mut complaint = known.unwrap_or(Complaint {
            to,
            why,
            by,
            count: 0,
            grave: 0,
            grave_last: now,
            counted: now,
            last: now,
            until: None,
        });
        (complaint.why, complaint.by, complaint.last) = (why, by, now);
        if now >= complaint.grave_last + HOLD {
            complaint.grave = 0;
        }
        if complaint.count == 0 || now >= complaint.counted + SPACING {
            complaint.counted = now;
            complaint.count = complaint.count.saturating_add(1);
            complaint.grave += u32::from(why.concerns_senders() && complaint.grave < LEAST);
        }
        if why.concerns_senders() {
            complaint.grave_last = now;
            if complaint.grave >= LEAST {
                complaint.until = Some(now + HOLD);
            }
        }
        self.nodes.insert(node, complaint);
        known.is_none()
    }

    /// Ends what is over; returns whether senders of some tunnel are told no more.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        let mut any = false;
        for complaint in self.nodes.values_mut() {
            if complaint.until.is_some_and(|until| until <= now) {
                complaint.until = None;
                any = true;
            }
        }
        any
    }

    /// Returns when [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.nodes.values().filter_map(|said| said.until).min()
    }

    /// Tells whether the senders of packets to a node are to be told.
    pub(crate) fn is_unreachable(&self, node: NodeId) -> bool {
        let said = self.nodes.get(&node);
        said.is_some_and(|said| said.until.is_some())
    }

    /// Returns what is said about a node.
    pub(crate) fn about(&self, node: NodeId, now: Instant) -> Option<&Complaint> {
        let said = self.nodes.get(&node);
        said.filter(|said| now < said.last + MEMORY)
    }
}

impl Router {
    /// Takes in that the underlay says that packets into a tunnel were not delivered; returns the event, if that is news.
    pub(crate) fn on_undelivered(
        &mut self,
        tunnel: TunnelId,
        why: Undelivered,
        by: Option<IpAddr>,
        now: Instant,
    ) -> Option<Event> {
        let node = self.numbering.node(tunnel)?;
        let plan = self.bare_plan(node)?;
        let before = self.tells_senders(node, &plan);
        let is_news = self
            .complaints
            .handle_error(node, plan.endpoint, (why, by), now);
        self.forwarding_stale |= self.tells_senders(node, &plan) != before;
        is_news.then(|| Event::Undelivered {
            node,
            reason: why.name().into(),
            by,
        })
    }

    /// Tunnels whose senders are told that nothing arrives.
    pub(crate) fn unreachable_tunnels(
        &self,
        plans: &BTreeMap<NodeId, TunnelPlan>,
    ) -> BTreeSet<TunnelId> {
        let told = plans
            .iter()
            .filter(|(node, plan)| self.tells_senders(**node, plan));
        told.map(|(_, plan)| plan.tunnel).collect()
    }

    /// Tells whether who sends into a tunnel is told that nothing arrives. What is received by it does not count.
    pub(crate) fn tells_senders(&self, node: NodeId, plan: &TunnelPlan) -> bool {
        matches!(plan.encap, Encap::Plain(_))
            && self.complaints.is_unreachable(node)
            && !self.path_watch.is_up(node)
    }
}

/// How long an error is shown, as kernels remember it (`IPTUNNEL_ERR_TIMEO`).
pub(crate) const MEMORY: Duration = Duration::from_secs(30);
/// How long senders are told after the last error, and how far apart errors in a row are. Routers limit what they say, often to
/// one error a second.
pub(crate) const HOLD: Duration = Duration::from_secs(5);
/// Errors closer to each other than this count once: several sockets may hear one.
pub(crate) const SPACING: Duration = Duration::from_millis(100);
/// Errors in a row before senders are told. A router that starts again, or a neighbor that is asked for, causes one or two.
pub(crate) const LEAST: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(2);
    const LOST: (Undelivered, Option<IpAddr>) = (Undelivered::HostUnreachable, None);

    #[test]
    fn senders_are_told_after_some_errors_and_not_for_long() {
        let (mut said, start) = (Complaints::default(), start());
        for number in 0..LEAST {
            assert!(!said.is_unreachable(NODE), "{number}");
            let first = said.handle_error(NODE, None, LOST, start + number * SPACING);
            assert_eq!(first, number == 0);
        }
        assert!(said.is_unreachable(NODE));
        let until = start + (LEAST - 1) * SPACING + HOLD;
        assert_eq!(said.poll_timeout(), Some(until));
        assert!(!said.handle_timeout(until - SPACING));
        assert!(said.handle_timeout(until) && !said.is_unreachable(NODE));
        assert_eq!(said.poll_timeout(), None);
        // It takes as much again.
        said.handle_error(NODE, None, LOST, until);
        assert!(!said.is_unreachable(NODE));
        let about = said.about(NODE, until).expect("just said");
        assert_eq!((about.why, about.count), (LOST.0, LEAST + 1));
        assert_eq!(said.about(NODE, until + MEMORY), None);
    }

    #[test]
    fn one_error_that_many_sockets_hear_counts_once() {
        let (mut said, start) = (Complaints::default(), start());
        for _ in 0..100 {
            said.handle_error(NODE, None, LOST, start);
        }
        assert!(!said.is_unreachable(NODE));
        assert_eq!(said.about(NODE, start).map(|said| said.count), Some(1));
    }

    #[test]
    fn only_errors_close_to_each_other_are_in_a_row() {
        let tick = Duration::from_nanos(1);
        for (apart, told) in [
            (HOLD - tick, true),
            (HOLD, false),
            (MEMORY - Duration::from_secs(1), false),
        ] {
            let (mut said, start) = (Complaints::default(), start());
            for number in 0..2 * LEAST {
                let now = start + number * apart;
                said.handle_error(NODE, None, LOST, now);
                let expected = told && number + 1 >= LEAST;
                assert_eq!(said.is_unreachable(NODE), expected, "{apart:?} {number}");
                // Those that do not concern senders keep nothing alive.
                let odd = (Undelivered::ParameterProblem, None);
                said.handle_error(NODE, None, odd, now + apart / 2);
            }
            let count = said.about(NODE, start + (2 * LEAST - 1) * apart);
            assert_eq!(count.map(|said| said.count), Some(4 * LEAST));
        }
    }

    #[test]
    fn what_does_not_concern_senders_is_only_remembered() {
        let (mut said, start) = (Complaints::default(), start());
        for number in 0..10 {
            let odd = (Undelivered::ParameterProblem, None);
            said.handle_error(NODE, None, odd, start + number * SPACING);
        }
        assert!(!said.is_unreachable(NODE));
        assert_eq!(said.about(NODE, start).map(|said| said.count), Some(10));
    }

    #[test]
    fn what_was_said_about_another_way_to_a_node_is_forgotten() {
        let (mut said, start) = (Complaints::default(), start());
        for number in 0..LEAST {
            said.handle_error(NODE, None, LOST, start + number * SPACING);
        }
        let other = Some("192.0.2.1:9".parse().unwrap());
        assert!(said.handle_error(NODE, other, LOST, start + LEAST * SPACING));
        assert!(!said.is_unreachable(NODE));
        said.follow(&BTreeMap::new());
        assert_eq!(said.about(NODE, start), None);
    }

    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn start() -> Instant {
        Instant::now()
    }
}
