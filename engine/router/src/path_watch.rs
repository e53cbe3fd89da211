//! What BFD says about the ways to the other nodes, and to BGP neighbors outside of the fabric, and what follows (RFC 5882).
//!
//! 1. Never up: nothing follows. A node that does not answer, or not yet, is treated as one without BFD.
//! 2. Up, then down: its next hop is unreachable at once, and its BGP session ends.
//! 3. Up again: reachable at once, but for a while other paths are preferred, longer after each failure.
//!    Routes of neighbors outside go and come with their sessions alone.
//! 4. Held down by an operator at either end: says nothing about the path, so nothing follows.
//!
//! Only our own restart makes something of the first case: who is not up after a while then is not waited for, unless its
//! BGP session is.
//!
//! A verdict also ends when something else proves it wrong: a new BGP session, whose TCP passes the same tunnel, another
//! run of the node, or another transport to it, of which nothing is known yet. So a node that no longer answers BFD is not lost for good.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use sam_bfd::{LastDown, SessionStatus, State};
use sam_capture::{NodeId, RouteKind, RouteTags};

use crate::Router;
use crate::config::Config;
use crate::events::Event;
use crate::output::Output;
use crate::peers::{other_nodes, peer_of};

/// How long a next hop that came back is not preferred; twice as long after each further failure.
const HOLD_UP: Duration = Duration::from_secs(3);
/// The longest hold-up.
const HOLD_UP_MAX: Duration = Duration::from_secs(60);
/// How long a node may take to come up: one that this router cannot call goes on with the session from before its restart,
/// and calls when nothing came for 15 s (WireGuard's keepalive and rekey timeouts).
const PATIENCE: Duration = Duration::from_secs(17);
/// Failures within this time count.
pub(crate) const FLAP_WINDOW: Duration = Duration::from_secs(600);
/// Failures remembered.
const FLAPS_MAX: usize = 16;

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathChange {
    /// Packets pass in both directions.
    Up,
    /// Packets do not pass any more.
    Failed(LastDown),
    /// An operator holds the session down.
    HeldDown(LastDown),
}

/// What is known of the way to one node.
#[derive(Debug, Default)]
struct NodePath {
    /// Which session the counts are of.
    discriminator: u32,
    ups: u64,
    failures: u64,
    last_down: Option<LastDown>,
    /// It failed, and nothing says that it works again.
    failed: bool,
    /// BFD says that packets pass.
    up: bool,
    /// It was not up for long enough that it may be taken for absent.
    absent: bool,
    /// When that is so, unless it is up before.
    absent_at: Option<Instant>,
    /// Other paths are preferred until then.
    steady_at: Option<Instant>,
    flaps: VecDeque<Instant>,
}

/// The ways to all nodes that BFD watches.
#[derive(Debug, Default)]
pub(crate) struct PathWatch {
    nodes: BTreeMap<NodeId, NodePath>,
    epochs: BTreeMap<NodeId, u32>,
}

impl PathWatch {
    /// Takes in how all sessions are; returns what changed, by node.
    pub(crate) fn on_sessions(
        &mut self,
        sessions: &[SessionStatus],
        config: &Config,
        now: Instant,
    ) -> Vec<(NodeId, PathChange)> {
        let outside = config.local.foreign.watched();
        let by_address: BTreeMap<Ipv4Addr, NodeId> = other_nodes(config)
            .map(|node| (node.overlay, node.id))
            .chain(outside.map(|address| (address, NodeId(address.into()))))
            .collect();
        let mut changes = Vec::new();
        // Who is not watched any more is not known to be up.
        self.nodes.values_mut().for_each(|path| path.up = false);
        let watched = sessions
            .iter()
            .filter_map(|session| by_address.get(&session.peer));
        let watched: BTreeSet<NodeId> = watched.copied().collect();
        for (node, path) in &mut self.nodes {
            if !watched.contains(node) {
                (path.absent, path.absent_at) = (false, None);
            }
        }
        for session in sessions {
            if let Some(node) = by_address.get(&session.peer) {
                let path = self.nodes.entry(*node).or_default();
                // Nothing waits for neighbors outside.
                let is_node = config.fabric.nodes.contains_key(node);
                let news = path.on_session(session, is_node.then_some(PATIENCE), now);
                changes.extend(news.into_iter().map(|change| (*node, change)));
            }
        }
        changes
    }

    /// Takes in that a BGP session with a node came up; tells whether that overrules BFD.
    pub(crate) fn on_established(&mut self, node: NodeId, now: Instant) -> bool {
        let path = self.nodes.get_mut(&node).filter(|path| path.failed);
        path.is_some_and(|path| {
            path.recover(now);
            true
        })
    }

    /// Takes in which run of a node speaks; tells whether that overrules BFD.
    pub(crate) fn on_epoch(&mut self, node: NodeId, epoch: u32) -> bool {
        let former = self.epochs.insert(node, epoch);
        let another = former.is_some_and(|former| former != epoch);
        let path = self
            .nodes
            .get_mut(&node)
            .filter(|path| path.failed && another);
        path.is_some_and(|path| {
            path.failed = false;
            true
        })
    }

    /// Lists the nodes to which packets are lost, as far as BFD knows.
    pub(crate) fn failed(&self) -> Vec<NodeId> {
        let nodes = self.nodes.iter();
        nodes
            .filter(|(_, path)| path.failed)
            .map(|(node, _)| *node)
            .collect()
    }

    /// Forgets nodes that are gone, everything when BFD is off, and what failed by another tunnel than the present one.
    pub(crate) fn on_config(&mut self, old: &Config, config: &Config) {
        let known = |node: &NodeId| config.fabric.nodes.contains_key(node);
        let outside: BTreeSet<NodeId> = config
            .local
            .foreign
            .watched()
            .map(|address| NodeId(address.into()))
            .collect();
        self.nodes
            .retain(|node, _| config.fabric.bfd.is_some() && known(node) || outside.contains(node));
        for (node, path) in &mut self.nodes {
            path.failed &= old.wraps_alike(config, *node);
        }
        self.epochs.retain(|node, _| known(node));
    }

    /// Ends hold-ups that are over, and the patience with who does not come up; tells whether there were any.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        let mut any = false;
        for path in self.nodes.values_mut() {
            if path.steady_at.is_some_and(|at| at <= now) {
                path.steady_at = None;
                any = true;
            }
            if path.absent_at.is_some_and(|at| at <= now) {
                path.absent_at = None;
                path.absent = true;
                any = true;
            }
        }
        any
    }

    /// Returns when the next hold-up is over, or the next node to be taken for absent.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let times = self.nodes.values();
        times
            .flat_map(|path| [path.steady_at, path.absent_at])
            .flatten()
            .min()
    }

    /// Lists the nodes that are not there, as far as BFD knows: they failed, or never came up.
    pub(crate) fn absent(&self) -> BTreeSet<NodeId> {
        let nodes = self.nodes.iter();
        let absent = nodes.filter(|(_, path)| path.failed || path.absent);
        absent.map(|(node, _)| *node).collect()
    }

    /// Lists the nodes of which it is not known yet whether packets reach them: they may still come up.
    pub(crate) fn pending(&self) -> impl Iterator<Item = NodeId> {
        let nodes = self.nodes.iter();
        let pending = nodes.filter(|(_, path)| !path.up && path.absent_at.is_some());
        pending.map(|(node, _)| *node)
    }

    /// Tells whether packets to a node are lost, as far as BFD knows.
    pub(crate) fn has_failed(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|path| path.failed)
    }

    /// Returns until when other paths are preferred to those by a node.
    pub(crate) fn steady_at(&self, node: NodeId) -> Option<Instant> {
        self.nodes.get(&node)?.steady_at
    }

    /// Tells whether BFD says that packets pass to a node.
    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|path| path.up)
    }

    /// Counts the failures within [`FLAP_WINDOW`].
    pub(crate) fn flaps(&self, node: NodeId, now: Instant) -> usize {
        self.nodes
            .get(&node)
            .map_or(0, |path| path.recent(now).count())
    }

    /// Next hops that came back only lately.
    pub(crate) fn unsteady(&self, config: &Config) -> BTreeSet<Ipv4Addr> {
        let nodes = config.fabric.nodes.values();
        nodes
            .filter(|node| self.steady_at(node.id).is_some())
            .map(|node| node.overlay)
            .collect()
    }
}

impl NodePath {
    /// Takes in how its session is; `patience`: how long it is waited for, if it is.
    fn on_session(
        &mut self,
        session: &SessionStatus,
        patience: Option<Duration>,
        now: Instant,
    ) -> Vec<PathChange> {
        if session.local_discriminator != self.discriminator {
            // Another session, of which nothing is known yet.
            self.discriminator = session.local_discriminator;
            (self.ups, self.failures, self.last_down) = (0, 0, None);
            self.failed = false;
            (self.absent, self.absent_at) = (false, patience.map(|patience| now + patience));
        }
        let mut changes = Vec::new();
        let down = session
            .last_down
            .filter(|_| session.last_down != self.last_down);
        if let Some(down) = down {
            if session.failures > self.failures {
                self.fail(now);
                changes.push(PathChange::Failed(down));
            } else {
                changes.push(PathChange::HeldDown(down));
            }
        }
        if session.ups > self.ups && session.state == State::Up {
            changes.push(PathChange::Up);
        }
        // Who says that its operator holds it down is heard, and the path is no matter of BFD any more.
        if session.state == State::Up || session.remote_state == State::AdminDown {
            self.recover(now);
            (self.absent, self.absent_at) = (false, None);
        }
        self.up = session.state == State::Up;
        self.ups = session.ups;
        self.failures = session.failures;
        self.last_down = session.last_down;
        changes
    }

    fn fail(&mut self, now: Instant) {
        self.failed = true;
        self.steady_at = None;
        if self.flaps.len() == FLAPS_MAX {
            self.flaps.pop_front();
        }
        self.flaps.push_back(now);
    }

    fn recover(&mut self, now: Instant) {
        if std::mem::take(&mut self.failed) {
            let further = self.recent(now).count().saturating_sub(1).min(FLAPS_MAX);
            let hold_up = HOLD_UP.saturating_mul(1 << further).min(HOLD_UP_MAX);
            self.steady_at = Some(now + hold_up);
        }
    }

    fn recent(&self, now: Instant) -> impl Iterator<Item = &Instant> {
        let flaps = self.flaps.iter();
        flaps.filter(move |at| now.saturating_duration_since(**at) < FLAP_WINDOW)
    }
}

impl Router {
    /// Takes in how all BFD sessions are.
    pub(crate) fn on_bfd(&mut self, sessions: &[SessionStatus], now: Instant) {
        let changes = self.path_watch.on_sessions(sessions, &self.config, now);
        self.path_changes.extend(changes);
        self.next_hops_stale = true;
        // Who is heard refutes what others say.
        self.forwarding_stale |= self.complaints.poll_timeout().is_some();
    }

    /// Has paths, sessions and operators follow what became of the ways to other nodes. A failed path is out of the FIB
    /// before its BGP session is ended (RFC 5882 section 4.1).
    pub(crate) fn follow_paths(&mut self, now: Instant) {
        if !std::mem::take(&mut self.next_hops_stale) {
            return;
        }
        self.follow_next_hops(now);
        for (node, change) in std::mem::take(&mut self.path_changes) {
            let event = match change {
                PathChange::Up => Event::BfdUp { node },
                PathChange::Failed(down) | PathChange::HeldDown(down) => Event::BfdDown {
                    node,
                    reason: down.cause.name().into(),
                    remote: down.remote_diagnostic.to_string(),
                },
            };
            self.events.push(event, now);
            if let PathChange::Failed(_) = change {
                self.speaker.handle_path_down(peer_of(node), now);
                self.pump(now);
            }
        }
    }

    /// Asks whether nodes that failed run anew: their markers are not chosen, but still heard of.
    pub(crate) fn review_failed(&mut self, now: Instant) {
        let asn = self.config.fabric.asn;
        for node in self.path_watch.failed() {
            let Some(overlay) = self.config.fabric.nodes.get(&node).map(|node| node.overlay) else {
                continue;
            };
            let paths = self.speaker.paths(Ipv4Net::from(overlay));
            let told = paths.iter().filter(|view| !view.path.stale);
            let epoch = told.into_iter().find_map(|view| {
                let tags = RouteTags::parse(asn, &view.path.attributes.large_communities).ok()?;
                let RouteKind::Marker { epoch } = tags.kind else {
                    return None;
                };
                (tags.node == node).then_some(epoch)
            });
            if epoch.is_some_and(|epoch| self.path_watch.on_epoch(node, epoch)) {
                self.follow_next_hops(now);
            }
        }
    }

    /// Hands the BFD sessions out, as far as they changed: one with every node that can be called, or has called.
    pub(crate) fn tell_bfd(&mut self) {
        let nodes = other_nodes(&self.config)
            .filter(|node| self.host.current_endpoint(&self.config, node.id).is_some());
        let timing = self.config.fabric.bfd;
        let peers = nodes
            .filter_map(|node| Some((node.overlay, timing?)))
            .collect();
        if self.bfd_peers != peers {
            self.bfd_peers = peers;
            let peers = self.bfd_peers.clone();
            self.outputs.push_back(Output::BfdPeers(peers));
        }
    }
}
