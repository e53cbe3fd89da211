//! The whole BGP speaker: peers, RIB and export, driven by inputs and `now`. Only wiring; knows no rule.
//!
//! Contract: one mutation (`handle_input`, `handle_timeout`, `set_*`, `originate`, `withdraw`), then drain
//! [`Speaker::poll_output`] to `None`. Within one drain every [`Output::BestPath`] precedes every `Send` that it
//! caused, so that the caller publishes its FIB before the news leaves. Several mutations before a drain are
//! allowed; what is sent is then packed together. `now` is when bytes were read from the socket, and what was read is
//! handed in before [`Speaker::handle_timeout`]: hold timers are judged by it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::feed::Feed;
use crate::mrt::{self, DumpHead, DumpPeer};
use crate::peer::Peer;
use crate::policy::Policies;
use crate::reflector::Reflector;
use crate::restart::Restart;
use crate::rib::{Export, NeighborIdentity, Tables};
use crate::session::{ConnectionIds, Jitter, OpenRestart, PeerSession, SessionOutput};
use crate::strangers::Strangers;
use crate::template::PeerTemplate;
use crate::wire::{Family, Ipv6Context, Message, PathAttributes, Prefix, Update, subcode};

pub use crate::config::{
    ExternalPeer, GracefulRestartConfig, OwnRestart, PeerConfig, PeerId, PeerRole, SpeakerConfig,
};
pub use crate::input::{ConnectionId, Input};
pub use crate::output::{Event, Output, TimerName};
pub use crate::view::{
    ErrorView, FamilyView, PathView, PeerView, ReceivedView, RejectedView, WithheldView,
};

/// A BGP speaker.
#[derive(Debug)]
pub struct Speaker<P> {
    pub(crate) config: SpeakerConfig,
    pub(crate) peers: BTreeMap<PeerId, Peer>,
    /// Which peer a living connection belongs to.
    owners: BTreeMap<ConnectionId, PeerId>,
    pub(crate) strangers: Strangers,
    /// Routes of IPv4 unicast.
    pub(crate) tables: Tables<P>,
    /// Routes of IPv6 unicast.
    pub(crate) ipv6: Tables<P, Ipv6Net>,
    /// Which family was told last: they take turns.
    told_last: Family,
    /// Our own restart, until it is over.
    pub(crate) restart: Option<Restart>,
    /// Ranges of addresses from which peers may come.
    pub(crate) templates: Vec<PeerTemplate>,
    /// Peers without sessions by order.
    pub(crate) disabled: BTreeSet<PeerId>,
    /// Peers that came, went or changed their state.
    pub(crate) peer_feed: Feed<PeerId>,
    pub(crate) outputs: VecDeque<Output>,
    connection_ids: ConnectionIds,
    pub(crate) jitter: Jitter,
    pub(crate) now: Instant,
}

impl<P: Policies> Speaker<P> {
    /// Makes a speaker without peers. `seed` is secret; it feeds the jitter of timers and the hash of
    /// prefixes.
    pub fn new(config: SpeakerConfig, policy: P, seed: u64, now: Instant) -> Self {
        let reflector = Reflector {
            router_id: config.router_id,
            cluster_id: config.cluster_id,
        };
        let policy = Arc::new(policy);
        let mut ipv6 = Tables::new(reflector, Arc::clone(&policy), seed, now);
        // Nothing is forwarded by them here, so nobody looks after their next hops.
        ipv6.trust_next_hops();
        Self {
            config,
            peers: BTreeMap::new(),
            owners: BTreeMap::new(),
            strangers: Strangers::default(),
            tables: Tables::new(reflector, policy, seed, now),
            ipv6,
            told_last: Family::Ipv6Unicast,
            restart: None,
            templates: Vec::new(),
            disabled: BTreeSet::new(),
            peer_feed: Feed::default(),
            outputs: VecDeque::new(),
            connection_ids: ConnectionIds::new(),
            jitter: Jitter::new(seed),
            now,
        }
    }

    /// Makes the configured peers exactly `peers`; sessions of unchanged ones are not touched, changed ones are
    /// reset with Cease/6, which is graceful where both sides know how, removed ones with Cease/3 as a hard reset. Of
    /// several with one id the first counts.
    pub fn set_peers(&mut self, peers: Vec<PeerConfig>, now: Instant) {
        self.now = now;
        let mut wanted: BTreeMap<PeerId, PeerConfig> = BTreeMap::new();
        for peer in peers {
            wanted.entry(peer.id).or_insert(peer);
        }
        self.disabled.retain(|id| wanted.contains_key(id));
        let outdated: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(id, peer)| peer.range.is_none() || wanted.contains_key(id))
            .filter(|(id, peer)| {
                peer.range.is_some() || wanted.get(id) != Some(peer.session.config())
            })
            .map(|(id, _)| *id)
            .collect();
        for id in outdated {
            if let Some(changed) = wanted.get(&id) {
                let former = self.peers.get(&id).map(|peer| peer.session.config().role);
                let same_role = former == Some(changed.role);
                self.stop(id, subcode::CONFIG_CHANGE, "configuration changed");
                if !same_role {
                    // Whom its routes may be told to follows from its role.
                    self.forget(id);
                }
            } else {
                self.stop(id, subcode::PEER_DECONFIGURED, "peer removed");
                self.forget(id);
            }
            let stamp = self.peers.remove(&id).and_then(|peer| peer.stamp);
            self.peer_feed.note(id, stamp, false);
        }
        for (id, config) in wanted {
            if !self.peers.contains_key(&id) {
                let jitter = Jitter::new(self.jitter.bits());
                let mut session = PeerSession::new(self.config.clone(), config, jitter, now);
                if let Some(restart) = &self.restart
                    && restart.awaited.contains(&id)
                {
                    let forwarding = restart.forwarding;
                    session.begin_restart(
                        OpenRestart {
                            restarted: true,
                            forwarding,
                        },
                        now,
                    );
                }
                if self.disabled.contains(&id) {
                    session.disable("", now);
                }
                let mut peer = Peer::new(session);
                peer.stamp = self.peer_feed.note(id, None, true);
                self.peers.insert(id, peer);
                self.with_session(id, |session, ids| session.handle_timeout(now, ids));
            }
        }
        self.conclude();
    }

    /// Replaces the policy and re-evaluates all received routes and all advertisements, without resetting sessions.
    pub fn set_policy(&mut self, policy: P, now: Instant) {
        self.now = now;
        let policy = Arc::new(policy);
        self.tables.set_policy(Arc::clone(&policy));
        self.ipv6.set_policy(policy);
        self.conclude();
    }

    /// Declares which next hops are reachable; paths with others are ineligible. Own routes are always eligible, those of other
    /// ASes, and routes of IPv6 unicast, whose next hops nobody looks after.
    pub fn set_next_hops(&mut self, reachable: BTreeSet<Ipv4Addr>, now: Instant) {
        self.now = now;
        self.tables.set_next_hops(reachable);
        self.conclude();
    }

    /// Declares which next hops do not answer; no stale path relies on them, others are not affected.
    pub fn set_silent_next_hops(&mut self, silent: BTreeSet<Ipv4Addr>, now: Instant) {
        self.now = now;
        self.tables.set_silent_next_hops(silent);
        self.conclude();
    }

    /// Returns the next hops of all accepted stale routes.
    pub fn stale_next_hops(&self) -> BTreeSet<Ipv4Addr> {
        self.tables.stale_next_hops()
    }

    /// Declares which reachable next hops came back only lately: any other path is preferred to one with such a next hop.
    pub fn set_unsteady_next_hops(&mut self, unsteady: BTreeSet<Ipv4Addr>, now: Instant) {
        self.now = now;
        self.tables.set_unsteady_next_hops(unsteady);
        self.conclude();
    }

    /// Ends the session of a peer with Cease/10 (RFC 9384), because the path to it failed; it may come up again.
    pub fn handle_path_down(&mut self, peer: PeerId, now: Instant) {
        self.now = now;
        self.with_session(peer, |session, _| session.handle_path_down(now));
        self.conclude();
    }

    /// Originates a route, or replaces its attributes; equal attributes change nothing.
    pub fn originate(&mut self, prefix: Ipv4Net, attributes: PathAttributes, now: Instant) {
        self.now = now;
        self.tables.originate(prefix, attributes, now);
        self.conclude();
    }

    /// Stops originating a route.
    pub fn withdraw(&mut self, prefix: Ipv4Net, now: Instant) {
        self.now = now;
        self.tables.withdraw(prefix);
        self.conclude();
    }

    /// Handles one event of a connection. Events of connections that are closed already are ignored.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        self.now = now;
        match input {
            Input::Accepted { connection, from } => self.accept(connection, from),
            Input::Connected(connection) => {
                self.with_owner(connection, |session| {
                    session.handle_connected(connection, now)
                });
            }
            Input::Received(connection, bytes) => {
                self.with_owner(connection, |session| {
                    session.handle_received(connection, bytes, now);
                });
            }
            Input::Stalled(connection) => {
                self.with_owner(connection, |session| {
                    session.handle_stalled(connection, now)
                });
                self.owners.remove(&connection);
            }
            Input::Congested(connection) => self.set_congested(connection, true),
            Input::Relieved(connection) => self.set_congested(connection, false),
            Input::Closed(connection) => {
                self.with_owner(connection, |session| session.handle_closed(connection, now));
                self.owners.remove(&connection);
            }
        }
        self.conclude();
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        let due: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.session.poll_timeout().is_some_and(|(at, _)| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.with_session(id, |session, ids| session.handle_timeout(now, ids));
        }
        self.tables.expire_stale(now);
        self.ipv6.expire_stale(now);
        self.conclude();
    }

    /// Takes the next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.poll_decided().or_else(|| {
            let (connection, bytes) = self.poll_export()?;
            Some(Output::Send(connection, bytes))
        })
    }

    /// Takes the next output that is no routes for a peer. With [`Self::poll_export`] in place of
    /// [`Self::poll_output`], for who wants to know between two pieces of routes whether the peer is congested.
    pub fn poll_decided(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes the next piece of routes to be written to a peer; `None` also while [`Self::poll_decided`] has something.
    pub fn poll_export(&mut self) -> Option<(ConnectionId, Vec<u8>)> {
        loop {
            match self.outputs.pop_front() {
                Some(Output::Send(connection, bytes)) => return Some((connection, bytes)),
                Some(other) => {
                    self.outputs.push_front(other);
                    return None;
                }
                None => {}
            }
            // Routes are written out only here, peer by peer: however much changed, each is told the latest state.
            self.export_next()?;
        }
    }

    /// Writes out a part of what a peer is to be told, the families in turn; `None` when there is nothing.
    fn export_next(&mut self) -> Option<()> {
        let others_turn = match self.told_last {
            Family::Ipv4Unicast => [Family::Ipv6Unicast, Family::Ipv4Unicast],
            Family::Ipv6Unicast => [Family::Ipv4Unicast, Family::Ipv6Unicast],
        };
        others_turn.into_iter().find_map(|family| {
            self.told_last = family;
            match family {
                Family::Ipv4Unicast => {
                    let export = self.tables.next_export()?;
                    self.send_export(&export);
                }
                Family::Ipv6Unicast => {
                    let export = self.ipv6.next_export()?;
                    self.send_export(&export);
                }
            }
            Some(())
        })
    }

    fn send_export<N: Prefix>(&mut self, export: &Export<N>) {
        self.with_session(export.peer, |session, _| {
            session.send_updates(&export.updates, export.marks);
        });
    }

    /// Returns when [`Self::handle_timeout`] wants to be called, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, TimerName)> {
        let restart = self.restart.as_ref().map(|restart| restart.until);
        let stale = [self.tables.stale_deadline(), self.ipv6.stale_deadline()];
        let recall = [self.tables.recall_deadline(), self.ipv6.recall_deadline()];
        let recall = recall.into_iter().flatten();
        self.peers
            .values()
            .filter_map(|peer| peer.session.poll_timeout())
            .chain(restart.map(|at| (at, TimerName::Restart)))
            .chain(stale.into_iter().flatten().map(|at| (at, TimerName::Stale)))
            .chain(recall.map(|at| (at, TimerName::Recall)))
            .min_by_key(|(at, _)| *at)
    }

    /// Closes all sessions with Cease/2 (administrative shutdown), which tells the far operators `why` (RFC 9003), and
    /// refuses new ones.
    pub fn shutdown(&mut self, why: &str, now: Instant) {
        self.now = now;
        self.templates.clear();
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.stop(id, subcode::ADMIN_SHUTDOWN, why);
        }
        self.conclude();
    }

    /// Returns the policy.
    pub fn policy(&self) -> &P {
        self.tables.policy()
    }

    /// Peers that came, went or changed the state of their session.
    pub fn peer_feed(&self) -> &Feed<PeerId> {
        &self.peer_feed
    }

    /// Shows all peers, by id.
    pub fn peers(&self) -> Vec<PeerView> {
        let (ipv4, ipv6) = (self.tables.stale(), self.ipv6.stale());
        self.peers
            .iter()
            .map(|(id, peer)| {
                let mut view = peer.view(
                    (
                        self.tables.neighbor(*id),
                        ipv4.get(id).copied().unwrap_or(0),
                    ),
                    (self.ipv6.neighbor(*id), ipv6.get(id).copied().unwrap_or(0)),
                );
                view.disabled = self.disabled.contains(id);
                view
            })
            .collect()
    }

    /// Writes all paths as a table dump in MRT (RFC 6396).
    pub fn table_dump(&self, head: DumpHead<'_>) -> Vec<u8> {
        let (asn, router_id) = (self.config.asn, self.config.router_id);
        let own = DumpPeer {
            id: None,
            router_id,
            address: router_id,
            asn,
        };
        let identities = self.peers.keys().filter_map(|id| {
            let ipv4 = self.tables.neighbor(*id).map(|neighbor| neighbor.identity);
            ipv4.or_else(|| Some(self.ipv6.neighbor(*id)?.identity))
        });
        let others = identities.map(|identity| DumpPeer {
            id: Some(identity.peer),
            router_id: identity.router_id,
            address: identity.address,
            asn: identity.role.asn(asn),
        });
        let peers: Vec<DumpPeer> = std::iter::once(own).chain(others).collect();
        let mut dump = mrt::begin(head, &peers);
        mrt::table(&mut dump, head, &peers, self.tables.loc_rib());
        mrt::table(&mut dump, head, &peers, self.ipv6.loc_rib());
        dump
    }

    fn accept(&mut self, connection: ConnectionId, from: Ipv4Addr) {
        if self.owners.contains_key(&connection) {
            return;
        }
        let peer = self
            .peers
            .iter()
            .find(|(_, peer)| peer.session.config().address == from);
        let known = peer.map(|(id, _)| *id);
        let id = match known.map_or_else(|| self.admit(from), Ok) {
            Ok(id) => id,
            Err(reason) => {
                self.reject_stranger(connection, from, reason);
                return;
            }
        };
        self.owners.insert(connection, id);
        let now = self.now;
        self.with_session(id, |session, _| session.handle_accepted(connection, now));
    }

    pub(crate) fn stop(&mut self, id: PeerId, subcode: u8, reason: &str) {
        let now = self.now;
        self.with_session(id, |session, _| session.stop(subcode, reason, now));
    }

    fn set_congested(&mut self, connection: ConnectionId, congested: bool) {
        if let Some(peer) = self.owners.get(&connection) {
            self.tables.set_congested(*peer, congested);
            self.ipv6.set_congested(*peer, congested);
        }
    }

    fn with_owner(&mut self, connection: ConnectionId, act: impl FnOnce(&mut PeerSession)) {
        if let Some(id) = self.owners.get(&connection).copied() {
            self.with_session(id, |session, _| act(session));
        }
    }

    /// Acts on a session, then does what it wants done.
    pub(crate) fn with_session(
        &mut self,
        id: PeerId,
        act: impl FnOnce(&mut PeerSession, &mut ConnectionIds),
    ) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let former = peer.session.state();
        act(&mut peer.session, &mut self.connection_ids);
        if peer.session.state() != former {
            peer.stamp = self.peer_feed.note(id, peer.stamp, true);
        }
        while let Some(output) = self
            .peers
            .get_mut(&id)
            .and_then(|p| p.session.poll_output())
        {
            self.obey(id, output);
        }
        self.dismiss(id);
    }

    fn obey(&mut self, id: PeerId, output: SessionOutput) {
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let config = peer.session.config();
        let address = config.address;
        match output {
            SessionOutput::Connect(connection) => {
                self.owners.insert(connection, id);
                self.outputs.push_back(Output::Connect {
                    connection,
                    address,
                });
            }
            SessionOutput::Send(connection, bytes) => {
                self.outputs.push_back(Output::Send(connection, bytes));
            }
            SessionOutput::Close(connection) => {
                self.owners.remove(&connection);
                self.outputs.push_back(Output::Close(connection));
            }
            SessionOutput::Established {
                router_id,
                restart,
                send,
            } => {
                let ipv4 = NeighborIdentity {
                    peer: id,
                    router_id,
                    address,
                    role: config.role,
                    max_prefixes: config.max_prefixes,
                    reflector: config.reflector,
                    all_paths: send.add_path,
                };
                let now = self.now;
                let kept = restart.map(|restart| (restart.ipv4, restart.ipv6));
                self.tables.peer_up(ipv4, kept.map(|(ipv4, _)| ipv4), now);
                match send.ipv6 {
                    Some(Ipv6Context { add_path }) => {
                        let ipv6 = NeighborIdentity {
                            all_paths: add_path,
                            ..ipv4
                        };
                        self.ipv6.peer_up(ipv6, kept.map(|(_, ipv6)| ipv6), now);
                    }
                    None => self.ipv6.forget(id),
                }
                self.outputs
                    .push_back(Output::Event(Event::Established { peer: id }));
            }
            SessionOutput::Down(reason, fates) => {
                self.tables.peer_down(id, fates.ipv4, self.now);
                self.ipv6.peer_down(id, fates.ipv6, self.now);
                self.outputs
                    .push_back(Output::Event(Event::Down { peer: id, reason }));
            }
            SessionOutput::AttemptFailed(reason) => {
                self.outputs
                    .push_back(Output::Event(Event::AttemptFailed { peer: id, reason }));
            }
            SessionOutput::Update(message) => self.receive(id, *message),
            SessionOutput::Refresh(family, step) => self.on_refresh(id, family, step),
            SessionOutput::Refused(reason) => {
                let refused = Event::ConnectionRefused {
                    from: address,
                    reason,
                    count: 1,
                };
                self.outputs.push_back(Output::Event(refused));
            }
        }
    }

    /// Takes the routes of a message in, each family into its own tables.
    fn receive(&mut self, id: PeerId, message: Message) {
        let (ipv4, ipv6): (Option<Update>, _) = match message {
            Message::Update(update) => (Some(update), None),
            Message::Ipv6Update(update) => (update.ipv4, Some(update.ipv6)),
            Message::Open(_)
            | Message::Notification(_)
            | Message::Keepalive
            | Message::RouteRefresh(_) => (None, None),
        };
        if let Some(update) = ipv4 {
            self.tables.receive(id, update, self.now);
        }
        if let Some(update) = ipv6 {
            self.ipv6.receive(id, update, self.now);
        }
    }

    /// Asks peers for routes that were forgotten.
    fn recall(&mut self) {
        let ipv4 = (self.tables.take_recalled(self.now), Family::Ipv4Unicast);
        let ipv6 = (self.ipv6.take_recalled(self.now), Family::Ipv6Unicast);
        for (peers, family) in [ipv4, ipv6] {
            for peer in peers {
                self.with_session(peer, |session, _| {
                    session.request_refresh(family);
                });
            }
        }
    }

    /// Removes all that is known from a peer.
    pub(crate) fn forget(&mut self, id: PeerId) {
        self.tables.forget(id);
        self.ipv6.forget(id);
    }

    /// Decides once for all that one input changed. UPDATEs follow in [`Self::poll_output`].
    pub(crate) fn conclude(&mut self) {
        self.advance_restart();
        self.recall();
        let events = self.tables.take_events().into_iter();
        for event in events.chain(self.ipv6.take_events()) {
            if let Event::Rejected { peer, reason, .. } | Event::Malformed { peer, reason, .. } =
                &event
                && let Some(peer) = self.peers.get_mut(peer)
            {
                peer.count_refusal(reason);
            }
            self.outputs.push_back(Output::Event(event));
        }
        self.outputs
            .extend(self.tables.decide().into_iter().map(Output::BestPath));
        self.ipv6.decide();
    }
}
