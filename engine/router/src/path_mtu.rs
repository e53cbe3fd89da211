//! What is known about the paths of all tunnels: one [`Prober`] each, and what became of it since the last look.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sam_capture::NodeId;
use sam_dataplane::PathProbe;
use sam_dataplane::encap::Nested;
use sam_dataplane::snapshot::Encap;

use crate::Router;
use crate::events::Event;
use crate::output::Output;
use crate::prober::{CONFIRM_INTERVAL, Limits, Probe, Prober, Source};
use crate::tunnels::TunnelPlan;

/// The paths of all tunnels.
#[derive(Debug)]
pub(crate) struct PathMtus {
    paths: BTreeMap<NodeId, Path>,
    /// Number of the first probe of the next path.
    seed: u32,
    changes: VecDeque<Change>,
    probes: VecDeque<(NodeId, Probe)>,
}

#[derive(Debug)]
struct Path {
    way: Way,
    prober: Prober,
}

/// What may have a size of its own: where packets go, and in what.
type Way = (Option<SocketAddr>, Encap, Option<Nested>);

/// What was learnt about a path: it carries less than it promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Learnt {
    /// Largest inner packet.
    pub(crate) size: u16,
    /// How that is known.
    pub(crate) source: Source,
}

/// News about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// Whose.
    pub(crate) node: NodeId,
    /// Largest inner packet.
    pub(crate) size: u16,
    /// How that is known; `None`: the underlay promises it.
    pub(crate) source: Option<Source>,
}

/// Smallest packet that every IPv4 underlay is taken to carry (RFC 791 section 3.1: what every host accepts).
const FLOOR_IPV4: u16 = 576;
/// Smallest MTU of IPv6 (RFC 8200 section 5).
const FLOOR_IPV6: u16 = 1280;

impl PathMtus {
    /// Knows no path yet; probes are numbered from `seed`.
    #[must_use]
    pub(crate) fn new(seed: u32) -> Self {
        Self {
            paths: BTreeMap::new(),
            seed,
            changes: VecDeque::new(),
            probes: VecDeque::new(),
        }
    }

    /// Makes the paths those of `plans`. What was learnt about another way to a node is forgotten.
    pub(crate) fn follow(&mut self, plans: &BTreeMap<NodeId, TunnelPlan>) {
        self.paths.retain(|node, _| plans.contains_key(node));
        for (node, plan) in plans {
            let limits = limits(plan);
            let way = (plan.endpoint, plan.encap, plan.nested);
            let path = self.paths.entry(*node).or_insert_with(|| {
                self.seed = self.seed.wrapping_add(SEEDS_APART);
                Path {
                    way,
                    prober: Prober::new(limits, self.seed),
                }
            });
            if path.way != way {
                path.way = way;
                path.prober.reset();
            }
            path.prober.set_limits(limits);
        }
    }

    /// Lowers the MTU of tunnels to what was learnt.
    pub(crate) fn limit(&self, plans: &mut BTreeMap<NodeId, TunnelPlan>) {
        for (node, plan) in plans {
            plan.learnt = self.learnt(*node).filter(|learnt| learnt.size < plan.mtu);
            plan.mtu = plan.learnt.map_or(plan.mtu, |learnt| learnt.size);
        }
    }

    /// Lets something happen to the path of a node.
    pub(crate) fn handle(&mut self, node: NodeId, happen: impl FnOnce(&mut Prober)) {
        let Some(Path { prober, .. }) = self.paths.get_mut(&node) else {
            return;
        };
        let before = prober.size();
        happen(prober);
        if prober.size() != before {
            self.changes.push_back(Change {
                node,
                size: prober.size(),
                source: prober.source(),
            });
        }
        let probes = std::iter::from_fn(|| prober.poll_probe());
        self.probes.extend(probes.map(|probe| (node, probe)));
    }

    /// Takes in that long packets go to a node. The more such nodes, the more seldom each path is confirmed.
    pub(crate) fn handle_traffic(&mut self, node: NodeId, now: Instant) {
        let busy = self.paths.values().filter(|path| path.prober.is_busy(now));
        let busy = u32::try_from(busy.count()).unwrap_or(u32::MAX);
        let pace = CONFIRM_INTERVAL.max(PACE.saturating_mul(busy));
        self.handle(node, |prober| prober.handle_traffic(pace, now));
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let is_due = |path: &Path| path.prober.poll_timeout().is_some_and(|at| at <= now);
        let due = self.paths.iter().filter(|(_, path)| is_due(path));
        for node in due.map(|(node, _)| *node).collect::<Vec<_>>() {
            self.handle(node, |prober| prober.handle_timeout(now));
        }
    }

    /// Returns when [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let paths = self.paths.values();
        paths.filter_map(|path| path.prober.poll_timeout()).min()
    }

    /// Returns the next news.
    pub(crate) fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Returns the next probe to send.
    pub(crate) fn poll_probe(&mut self) -> Option<(NodeId, Probe)> {
        self.probes.pop_front()
    }

    fn learnt(&self, node: NodeId) -> Option<Learnt> {
        let prober = &self.paths.get(&node)?.prober;
        Some(Learnt {
            size: prober.size(),
            source: prober.source()?,
        })
    }
}

impl Router {
    /// Takes in that the underlay refused a packet into a tunnel; `mtu` counts the outer header, 0 is unknown.
    pub(crate) fn on_path_error(&mut self, node: NodeId, mtu: u16, now: Instant) {
        let overhead = self.bare_plan(node).map_or(0, |plan| plan.overhead);
        let size = (mtu > 0).then(|| mtu.saturating_sub(overhead));
        self.path_mtus
            .handle(node, |prober| prober.handle_error(size, now));
    }

    /// Does what is due on any path.
    pub(crate) fn time_paths(&mut self, now: Instant) {
        self.path_mtus.handle_timeout(now);
        self.forwarding_stale |= self.complaints.handle_timeout(now);
    }

    /// Returns when [`Self::time_paths`] wants to be called.
    pub(crate) fn paths_due(&self) -> Option<Instant> {
        let due = [
            self.path_mtus.poll_timeout(),
            self.complaints.poll_timeout(),
        ];
        due.into_iter().flatten().min()
    }

    /// Makes tunnels and events follow what became of the paths.
    pub(crate) fn tell_paths(&mut self, now: Instant) {
        while let Some(Change { node, size, source }) = self.path_mtus.poll_change() {
            self.forwarding_stale = true;
            let event = Event::PathMtu {
                node,
                mtu: size,
                by: source.map_or("underlay", Source::name).into(),
            };
            self.events.push(event, now);
        }
    }

    /// Hands out the probes that are due.
    pub(crate) fn send_probes(&mut self) {
        while let Some((node, Probe { id, size })) = self.path_mtus.poll_probe() {
            let to = self.config.fabric.nodes.get(&node);
            if let (Some(tunnel), Some(to)) = (self.numbering.tunnel(node), to) {
                let to = to.overlay;
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
}

fn limits(plan: &TunnelPlan) -> Limits {
    let is_ipv6 = plan.endpoint.is_some_and(|endpoint| endpoint.is_ipv6());
    let floor = if is_ipv6 { FLOOR_IPV6 } else { FLOOR_IPV4 };
    Limits {
        floor: floor.saturating_sub(plan.overhead),
        top: plan.mtu,
    }
}

/// Probes of two paths must not have the same number soon; an odd number far from others.
const SEEDS_APART: u32 = 0x9e37_79b9;
/// Time between the confirmations of two paths, at least.
const PACE: Duration = Duration::from_millis(5);
