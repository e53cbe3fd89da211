//! The control core as one value: hands each input to the part that it belongs to, and asks the parts in a fixed
//! order what follows ([`Router::settle`]). No protocol decision is taken here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Instant;

use sam_bgp::{BestPathChange, LOOP_REASONS, Speaker};
use sam_capture::{NodeId, RouteKind, RouteTags};
use sam_dataplane::Notice;
use sam_dataplane::notice::Mac;

use crate::claims::Duplicates;
use crate::cloud_control::CloudControl;
use crate::cloud_homes::CloudHomes;
pub use crate::commands::CommandRefusal;
use crate::config::{BfdTiming, Config};
use crate::contests::Contests;
use crate::diff::restart_only;
use crate::discovery::Discovery;
use crate::event_queue::Events;
use crate::events::Event;
use crate::fib_sync::FibSync;
use crate::foreign::Foreign;
use crate::holdings::Holdings;
use crate::host::{Gate, Host};
use crate::identity::IdentityWatch;
use crate::input::Input;
use crate::journal::RuntimeState;
use crate::lan_orders::LanOrders;
use crate::lan_role::LanRole;
use crate::numbering::Numbering;
use crate::origination::Origination;
use crate::output::{BgpOrder, Output};
use crate::owner_table::OwnerTable;
use crate::path_mtu::PathMtus;
use crate::path_watch::{PathChange, PathWatch};
use crate::peers::{node_of, other_nodes, own_restart, peer_configs, speaker_config};
use crate::policy::FabricPolicy;
use crate::sightings::Sightings;
use crate::stale_hops::StaleHops;
use crate::startup_fence::StartupFence;
use crate::tunnel_fault::TunnelFault;
use crate::tunnels::{TunnelPlan, plan};
use crate::undelivered::Complaints;

/// What a router starts from.
#[derive(Debug)]
pub struct Start {
    /// Validated configuration.
    pub config: Config,
    /// Restored state; the default when there is none.
    pub state: RuntimeState,
    /// Random number, different at each start: feeds the jitter of timers and the epoch of the marker.
    pub seed: u64,
}

/// Says which deadline is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerName {
    /// One of BGP.
    Bgp(sam_bgp::TimerName),
    /// Look for addresses with several claimants.
    ClaimScan,
    /// Probe the size of a path, or forget what was said about it.
    Paths,
    /// Ask whether the next hops of stale routes are there.
    StaleHops,
    /// A next hop that came back is as good as any.
    HoldUp,
    /// Look at the provider of the cloud, or decide about it.
    Cloud,
    /// Ask hosts of the LAN whether they are there.
    Discovery,
    /// Ask hosts that two routers of the LAN claim whether they are on our side of it.
    Contest,
    /// The election: a router is new no more, announcements that were put off are due, or what the LAN gave up is forgotten.
    Vrrp,
    /// What was held at the last run is left to a better claim.
    Holdings,
}

/// The control core.
#[derive(Debug)]
pub struct Router {
    pub(crate) config: Config,
    pub(crate) state: RuntimeState,
    pub(crate) epoch: u32,
    pub(crate) stopping: bool,
    pub(crate) speaker: Speaker<FabricPolicy>,
    pub(crate) owners: OwnerTable,
    pub(crate) duplicates: Duplicates,
    pub(crate) cloud: CloudControl,
    /// Machines that the provider of our cloud lists.
    pub(crate) cloud_homes: CloudHomes,
    pub(crate) origination: Origination,
    /// What it held when it ran last, as long as it says so.
    pub(crate) holdings: Holdings,
    pub(crate) host: Host,
    pub(crate) lan_role: LanRole,
    pub(crate) fence: StartupFence,
    pub(crate) discovery: Discovery,
    /// Addresses that another router of our LAN claims too.
    pub(crate) contests: Contests,
    /// MACs that other nodes have on their LANs, by what they last told.
    pub(crate) router_macs: BTreeMap<NodeId, Mac>,
    pub(crate) numbering: Numbering,
    pub(crate) path_mtus: PathMtus,
    pub(crate) complaints: Complaints,
    pub(crate) stale_hops: StaleHops,
    /// Next hops on which no stale path relies, as the speaker was told.
    pub(crate) silent_hops: BTreeSet<Ipv4Addr>,
    pub(crate) path_watch: PathWatch,
    /// Whether the choice of paths has to follow the state of tunnels and of BFD.
    pub(crate) next_hops_stale: bool,
    /// What BFD said, until sessions and operators hear of it.
    pub(crate) path_changes: Vec<(NodeId, PathChange)>,
    /// When something was handled of which all but the dead next hops is still to be followed.
    unsettled: Option<Instant>,
    pub(crate) fib: FibSync,
    pub(crate) identity: IdentityWatch,
    pub(crate) foreign_answers: Sightings,
    pub(crate) probes: Sightings,
    pub(crate) rejections: BTreeMap<(NodeId, &'static str), u64>,
    /// Tunnels that are refused, as last told.
    pub(crate) faults: BTreeMap<NodeId, TunnelFault>,
    pub(crate) events: Events,
    /// Whether something changed from which the forwarding state follows.
    pub(crate) forwarding_stale: bool,
    /// The gate as last told.
    pub(crate) gate: Option<Gate>,
    /// Orders of which this router has to learn from the claims of others.
    pub(crate) lan_orders: LanOrders,
    /// Whether it was told that this router is drained and does nothing any more.
    pub(crate) told_empty: bool,
    /// State as last handed to the journal.
    journaled: RuntimeState,
    /// WireGuard peers as last handed out.
    pub(crate) wireguard: Option<Vec<sam_wg::PeerConfig>>,
    /// BFD sessions as last handed out.
    pub(crate) bfd_peers: BTreeMap<Ipv4Addr, BfdTiming>,
    /// Foreign neighbors as last handed out.
    foreign: Foreign,
    /// BGP orders of this mutation, held back until the snapshot is out.
    orders: VecDeque<BgpOrder>,
    pub(crate) outputs: VecDeque<Output>,
}

impl Router {
    /// Makes a router and applies its first configuration; outputs wait.
    #[must_use]
    pub fn new(start: Start, now: Instant) -> Self {
        let Start {
            config,
            mut state,
            seed,
        } = start;
        let policy = FabricPolicy::new(&config, state.is_leaving(&config));
        // The low half of the seed: random per start, so that two routers of one identity differ.
        let epoch = u32::try_from(seed & u64::from(u32::MAX)).expect("masked to 32 bits");
        let journaled = state.clone();
        // The file may have been edited while no router ran.
        state.follow(&config);
        let holdings = Holdings::new(&config, &state);
        let mut router = Self {
            speaker: Speaker::new(speaker_config(&config), policy, seed, now),
            journaled,
            // Of nobody else's, for who is on another LAN cannot be taken for a host of ours.
            router_macs: state.router_macs.clone(),
            state,
            epoch,
            path_mtus: PathMtus::new(epoch),
            complaints: Complaints::default(),
            stale_hops: StaleHops::new(epoch.rotate_left(16)),
            silent_hops: BTreeSet::new(),
            path_watch: PathWatch::default(),
            next_hops_stale: false,
            path_changes: Vec::new(),
            unsettled: None,
            stopping: false,
            owners: OwnerTable::default(),
            duplicates: Duplicates::default(),
            cloud: CloudControl::new(seed.rotate_left(32)),
            cloud_homes: CloudHomes::default(),
            origination: Origination::default(),
            holdings,
            host: Host::default(),
            lan_role: LanRole::default(),
            fence: StartupFence::new(now),
            discovery: Discovery::default(),
            contests: Contests::default(),
            numbering: Numbering::default(),
            fib: FibSync::default(),
            identity: IdentityWatch::default(),
            foreign_answers: Sightings::default(),
            probes: Sightings::default(),
            rejections: BTreeMap::new(),
            faults: BTreeMap::new(),
            events: Events::default(),
            forwarding_stale: true,
            gate: None,
            lan_orders: LanOrders::default(),
            told_empty: false,
            wireguard: None,
            bfd_peers: BTreeMap::new(),
            foreign: Foreign::default(),
            orders: VecDeque::new(),
            outputs: VecDeque::new(),
            config,
        };
        router
            .numbering
            .apply(&other_nodes(&router.config).map(|node| node.id).collect());
        router.follow_next_hops(now);
        let restart = own_restart(&router.config, &router.state, router.speaker.policy());
        router.speaker.begin_restart(restart, now);
        router.set_peers(now);
        router.config_applied(now);
        router.settle(now);
        router
    }

    /// Handles one thing that happened.
    pub fn handle_input(&mut self, input: Input<'_>, now: Instant) {
        self.catch_up();
        match input {
            Input::Config(config) => self.apply(*config, now),
            Input::Bgp(input) => {
                self.speaker.handle_input(input, now);
                self.review_failed(now);
            }
            Input::Notice(Notice::HostSeen {
                address,
                mac,
                heard,
                ..
            }) => {
                // Hosts are heard all the time; most frames change nothing.
                if !self.on_host_seen(address, mac, heard, now) {
                    return self.ask_lan(now);
                }
            }
            Input::Notice(notice) => self.on_notice(&notice, now),
            Input::Host(event) => {
                self.host.on_event(event, &self.config);
                self.forwarding_stale = true;
            }
            Input::Bfd(sessions) => self.on_bfd(sessions, now),
            Input::Vrrp(report) => self.on_vrrp(report, now),
            Input::Cloud(input) => self.on_cloud(input, now),
            Input::Command(command) => self.on_command(&command, now),
        }
        self.proceed(now);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.catch_up();
        if self
            .speaker
            .poll_timeout()
            .is_some_and(|(due, _)| due <= now)
        {
            self.speaker.handle_timeout(now);
        }
        self.time_paths(now);
        self.ask_stale_hops(now);
        self.time_discovery(now);
        self.time_contests(now);
        self.time_disputes(now);
        if self.path_watch.handle_timeout(now) {
            self.follow_next_hops(now);
        }
        if self.duplicates.due().is_some_and(|due| due <= now) {
            self.cloud.touch();
            let (speaker, owners) = (&self.speaker, &mut self.owners);
            for event in self.duplicates.scan(speaker, owners, &self.config) {
                self.events.push(event, now);
            }
        }
        self.proceed(now);
    }

    /// Takes the next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        // What follows from a dead next hop takes its time: it waits until the packet path has turned to the backups.
        if self.outputs.is_empty() {
            self.catch_up();
        }
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        // Routes are written out piece by piece, when all else is carried out: whoever reads slowly is known by then.
        if let Some((connection, bytes)) = self.speaker.poll_export() {
            return Some(Output::Bgp(BgpOrder::Send(connection, bytes)));
        }
        // A provider is slow, and what it does follows from routes that others have heard by then.
        if let Some(output) = self.cloud.poll_output() {
            return Some(output);
        }
        // People last.
        self.events.pop().map(Output::Event)
    }

    /// Writes all routes out at once, for the sessions are about to end.
    pub(crate) fn write_out(&mut self) {
        while let Some((connection, bytes)) = self.speaker.poll_export() {
            self.orders.push_back(BgpOrder::Send(connection, bytes));
        }
    }

    /// Returns when [`Self::handle_timeout`] wants to be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, TimerName)> {
        let bgp = self
            .speaker
            .poll_timeout()
            .map(|(due, name)| (due, TimerName::Bgp(name)));
        let scan = self.duplicates.due().map(|due| (due, TimerName::ClaimScan));
        let path = self.paths_due().map(|due| (due, TimerName::Paths));
        let steady = self.path_watch.poll_timeout();
        let steady = steady.map(|due| (due, TimerName::HoldUp));
        let hops = self.stale_hops.poll_timeout();
        let hops = hops.map(|due| (due, TimerName::StaleHops));
        let cloud = self.cloud.poll_timeout();
        let cloud = cloud.map(|due| (due, TimerName::Cloud));
        let lan = self.discovery.poll_timeout();
        let lan = lan.map(|due| (due, TimerName::Discovery));
        let contest = self.contests.poll_timeout();
        let contest = contest.map(|due| (due, TimerName::Contest));
        let vrrp = self.election_due().map(|due| (due, TimerName::Vrrp));
        let holdings = self.holdings.poll_timeout();
        let holdings = holdings.map(|due| (due, TimerName::Holdings));
        let due = [
            bgp, scan, path, steady, hops, cloud, lan, contest, vrrp, holdings,
        ];
        let due = due.into_iter().flatten();
        due.min_by_key(|(due, _)| *due)
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Addresses that this router is told to own, by configuration and orders.
    pub(crate) fn told_to_own(&self) -> BTreeSet<Ipv4Addr> {
        self.state
            .owned(&self.config, self.speaker.policy().enrollment())
    }

    /// Whether this router may act on its LAN.
    pub(crate) fn gate(&self) -> Gate {
        let role = self.lan_role.is_master();
        self.host
            .gate(&self.config.local.capture, self.stopping, role)
    }

    /// The ways to the other nodes.
    pub(crate) fn tunnel_plans(&self) -> BTreeMap<NodeId, TunnelPlan> {
        let mut plans = plan(&self.config, &self.numbering, &self.host);
        self.path_mtus.limit(&mut plans);
        plans
    }

    /// Applies a configuration with as few edits as possible; an equal one changes nothing.
    fn apply(&mut self, config: Config, now: Instant) {
        if config == self.config {
            return;
        }
        let settings = restart_only(&self.config, &config);
        if !settings.is_empty() {
            let settings = settings.into_iter().map(String::from).collect();
            self.events.push(Event::ConfigRefused { settings }, now);
            return;
        }
        let old = std::mem::replace(&mut self.config, config);
        self.host.on_config(&old, &self.config);
        self.identity
            .retain(|node| self.config.fabric.nodes.contains_key(&node));
        self.router_macs
            .retain(|node, _| self.config.fabric.nodes.contains_key(node));
        self.rejections.retain(|(node, _), _| {
            self.config.fabric.nodes.contains_key(node)
                || self.config.local.foreign.name_of(*node).is_some()
        });
        self.numbering
            .apply(&other_nodes(&self.config).map(|node| node.id).collect());
        self.follow_policy(now);
        self.path_watch.on_config(&old, &self.config);
        self.follow_next_hops(now);
        if peer_configs(&old) != peer_configs(&self.config)
            || old.local.foreign.ranges != self.config.local.foreign.ranges
        {
            self.set_peers(now);
        }
        self.state.follow(&self.config);
        self.lan_orders.reread();
        self.duplicates.on_config(now);
        self.reconfigure_cloud(now);
        self.forwarding_stale = true;
        self.config_applied(now);
        self.review_offers(now);
    }

    /// Makes the BGP peers those of the configuration.
    fn set_peers(&mut self, now: Instant) {
        self.speaker.set_peers(peer_configs(&self.config), now);
        let templates = self.config.local.foreign.templates(self.config.fabric.asn);
        self.speaker.set_templates(templates, now);
    }

    fn config_applied(&mut self, now: Instant) {
        let event = Event::ConfigApplied {
            nodes: self.config.fabric.nodes.len(),
            pools: self.config.fabric.pools.len(),
            owned: self.config.local.owned.len(),
        };
        self.events.push(event, now);
    }

    /// Has routes leave dead next hops, and does all the rest at once only if there was nothing to leave.
    fn proceed(&mut self, now: Instant) {
        if self.bury_next_hops() {
            self.unsettled = Some(now);
        } else {
            self.settle(now);
        }
    }

    /// Tells whether something waits for the packet path.
    #[cfg(test)]
    pub(crate) fn is_unsettled(&self) -> bool {
        self.unsettled.is_some()
    }

    /// Does what waited for the packet path.
    fn catch_up(&mut self) {
        if let Some(since) = self.unsettled.take() {
            self.settle(since);
        }
    }

    /// Brings everything in line with what is known, and queues outputs in the order of the contract.
    fn settle(&mut self, now: Instant) {
        // 0. Who acts on the LAN comes before what is done there.
        // A path that failed has ended its session by then, which may cost the role.
        self.follow_paths(now);
        self.follow_fence(now);
        self.tell_vrrp();
        // 1. The RIB follows the input, then what we announce follows RIB, gate and orders.
        self.pump(now);
        self.tell_stale_hops(now);
        self.tell_gate(now);
        self.follow_discovery(now);
        self.follow_inventory(now);
        self.originate(now);
        self.ask_lan(now);
        self.tell_drained(now);
        // What must not be done at the provider any more is forbidden before anything else takes its time.
        if self.tell_authority(now) {
            self.originate(now);
        }
        // 2. Saved before anybody hears of it.
        if self.state != self.journaled {
            self.journaled = self.state.clone();
            self.outputs.push_back(Output::Journal(self.state.clone()));
        }
        // 3. The FIB before the peers (R6).
        self.tell_paths(now);
        if std::mem::take(&mut self.forwarding_stale) || self.fib.is_behind(&self.speaker) {
            self.publish(now);
            // After the routes that its packets take.
            self.tell_bfd();
        }
        if self.foreign != self.config.local.foreign {
            self.foreign = self.config.local.foreign.clone();
            self.outputs
                .push_back(Output::Foreign(self.foreign.clone()));
        }
        self.outputs.extend(self.orders.drain(..).map(Output::Bgp));
        self.send_probes();
        let generation = self.speaker.rib_feed().generation();
        self.duplicates.follow(generation, now);
        // 4. Forwarding never waits for a provider.
        self.drive_cloud(now);
    }

    /// Takes everything that the speaker has to say: orders are held back, facts go where they belong.
    pub(crate) fn pump(&mut self, now: Instant) {
        while let Some(output) = self.speaker.poll_decided() {
            match output {
                sam_bgp::Output::Connect {
                    connection,
                    address,
                } => {
                    self.orders.push_back(BgpOrder::Connect {
                        connection,
                        address,
                    });
                }
                sam_bgp::Output::Send(connection, bytes) => {
                    self.orders.push_back(BgpOrder::Send(connection, bytes));
                }
                sam_bgp::Output::Close(connection) => {
                    self.orders.push_back(BgpOrder::Close(connection));
                }
                sam_bgp::Output::BestPath(change) => self.on_best_path(&change, now),
                sam_bgp::Output::Event(event) if self.is_foreign(&event) => {
                    self.on_foreign_event(event, now);
                }
                sam_bgp::Output::Event(event) => {
                    self.on_bgp_event(&event, now);
                    let mut news = true;
                    if let sam_bgp::speaker::Event::Rejected { peer, reason, .. } = event {
                        *self.rejections.entry((node_of(peer), reason)).or_default() += 1;
                        news = !LOOP_REASONS.contains(&reason);
                    }
                    if let sam_bgp::speaker::Event::Established { peer } = event
                        && self.path_watch.on_established(node_of(peer), now)
                    {
                        self.declare_next_hops(now);
                    }
                    if news {
                        self.events.push(Event::from(event), now);
                    }
                }
            }
        }
    }

    fn on_best_path(&mut self, change: &BestPathChange, now: Instant) {
        // Paths of other ASes are neither owned nor forwarded by; no path inside of the fabric has an AS_PATH.
        let mut paths = change.old.iter().chain(&change.new);
        if paths.all(|path| !path.attributes.as_path.is_empty()) {
            return;
        }
        self.forwarding_stale = true;
        let asn = self.config.fabric.asn;
        if let Some(event) = self.owners.on_best_path(asn, change, now) {
            self.review_refusal(&event);
            self.events.push(event, now);
        }
        let tags = change
            .new
            .as_ref()
            .map(|path| RouteTags::parse(asn, &path.attributes.large_communities));
        if let Some(Ok(tags)) = &tags
            && tags.claim().is_some()
        {
            self.on_claim(change.prefix.addr(), tags, now);
        }
        if let Some(Ok(RouteTags {
            node,
            kind: RouteKind::Marker { epoch },
            mac,
            ..
        })) = tags
            && node != self.config.local.node
        {
            self.on_router_mac(node, mac);
            self.path_watch.on_epoch(node, epoch);
            let conflict = self.identity.on_epoch(node, epoch, now);
            conflict
                .into_iter()
                .for_each(|event| self.events.push(event, now));
        }
    }
}
