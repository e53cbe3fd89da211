//! What this router wants of its cloud, from the RIB: whose addresses, whether it is the one that captures for its site,
//! and whether enough is known to decide. `sam_capture::Executor` does the rest.
//!
//! Permission comes first and goes first: [`Output::Authority`] leaves before anything that follows from the same input,
//! orders for the provider after everything else. A provider that fails or hangs holds up neither routes nor packets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_bgp::session::SessionState;
use sam_bgp::speaker::PeerView;
use sam_capture::desired::{Claimed, Holds, RibView};
use sam_capture::executor::{Rhythm, Settings};
use sam_capture::placement::Placement;
use sam_capture::provider::{Capabilities, Outcome, ProviderError, Standing};
use sam_capture::{
    Authority, Candidate, Desires, Election, Executor, Landscape, Load, NodeId, Prior,
};

use crate::Router;
use crate::cloud_readiness::Readiness;
use crate::cloud_site::Site;
use crate::config::{CloudCapture, Config, DEFAULT_RELEASE_HOLD};
use crate::events::Event;
use crate::output::Output;
use crate::peers::{is_node, node_of};
use crate::release::Releases;

/// What comes from the provider's thread and the capture journal.
#[derive(Debug)]
pub enum CloudInput {
    /// The provider can be called, and the journal was read.
    Ready {
        /// What the provider can do.
        capabilities: Capabilities,
        /// What the journal says.
        prior: Prior,
    },
    /// What the provider can do is something else than was said: a look found out.
    Capabilities(Capabilities),
    /// What the provider's answers told of clocks, credentials and limits.
    Standing(Standing),
    /// The answer to an order.
    Answer {
        /// Number of the order.
        order: u64,
        /// What the provider said.
        answer: Result<Outcome, ProviderError>,
    },
    /// The provider cannot be called.
    Unavailable {
        /// Why, for people.
        reason: String,
    },
    /// Whether the journal can be written.
    Journal {
        /// It cannot.
        failed: bool,
    },
}

/// For how long the first routes may stay away before those that are there have to do.
const FIRST_ROUTES: Duration = Duration::from_secs(60);
/// How long another router of the site is gone before anything is taken from it.
const SEIZE_HOLD: Duration = Duration::from_secs(1);
/// The same where BFD says that it answers: its BGP session alone may have ended, or a reflector's.
const SILENCE_HOLD: Duration = Duration::from_secs(3);
/// For how long nothing may be done yet, in a cloud where what has no owner is given back after `release`.
#[must_use]
pub const fn capture_holds(release: Duration) -> Holds {
    Holds {
        release,
        seize: SEIZE_HOLD,
        silence: SILENCE_HOLD,
    }
}

/// Looks at the provider while this router is drained and another one is about to take what it holds: an operator waits for that.
const LEAVING_POLL: Rhythm = Rhythm::steady(Duration::from_secs(1));
/// For so long it looks as often as that.
const LEAVING: Duration = Duration::from_secs(30);
/// Time between looks afterwards, until it holds nothing.
const STAYING_POLL: Rhythm = Rhythm::steady(Duration::from_secs(5));
/// The provider is not thought about more often than this without news.
const BREATH: Duration = Duration::from_millis(10);

/// The cloud side of the router.
#[derive(Debug)]
pub(crate) struct CloudControl {
    seed: u64,
    generation: u64,
    desires: Desires,
    /// Looks at the provider while others are to take what is on our network interface.
    leaving: Option<Rhythm>,
    /// Since when others are to take what is on our network interface.
    leaving_since: Option<Instant>,
    /// Absent until the provider can be called.
    pub(crate) executor: Option<Executor>,
    /// Why the provider cannot be called.
    pub(crate) failure: Option<String>,
    /// What the provider's last answer told.
    pub(crate) standing: Standing,
    /// Who captures for the site, and how this router stands there.
    pub(crate) election: Election,
    /// What this router has captured, and can, as its marker tells.
    pub(crate) load: Load,
    /// Whether the routers of the site share captures.
    shared: bool,
    /// Whether what comes our way gets where it belongs.
    pub(crate) readiness: Readiness,
    /// What is left alone by order.
    pub(crate) releases: Releases,
    /// What was derived last, and from what.
    authority: Authority,
    known: Option<Known>,
    /// Something else changed from which it follows.
    stale: bool,
    completeness: Completeness,
    /// When something has lasted long enough to count.
    lasts_until: Option<Instant>,
    due: Option<Instant>,
    /// Orders and lines of the journal; they leave after routes.
    outputs: VecDeque<Output>,
}

/// What tells cheaply whether anything has changed.
#[derive(Debug, PartialEq)]
struct Known {
    view: RibView,
    candidate: Candidate,
    siblings: BTreeMap<NodeId, Option<Candidate>>,
    loads: BTreeMap<NodeId, Load>,
    unheard: BTreeSet<NodeId>,
    /// Nodes of which it is not known yet whether packets reach them.
    unproven: BTreeSet<NodeId>,
    drained: bool,
    held: BTreeSet<Ipv4Addr>,
    owners: u64,
}

/// Whether the routes are all there.
#[derive(Debug)]
struct Completeness {
    /// Since when they have not been.
    missing_since: Option<Instant>,
    /// They were once: a peer that is gone is not waited for again.
    was_complete: bool,
}

impl CloudControl {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            generation: 1,
            desires: Desires::new(capture_holds(DEFAULT_RELEASE_HOLD)),
            leaving: None,
            leaving_since: None,
            executor: None,
            failure: None,
            standing: Standing::default(),
            election: Election::default(),
            load: Load::default(),
            shared: false,
            readiness: Readiness::default(),
            releases: Releases::default(),
            authority: Authority::default(),
            known: None,
            stale: true,
            completeness: Completeness {
                missing_since: None,
                was_complete: false,
            },
            lasts_until: None,
            due: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes the next order or line of the journal.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when there may be something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The routers of our site, as of the last derivation.
    pub(crate) fn site(&self) -> Option<Site> {
        let known = self.known.as_ref()?;
        let member = |(node, load): (&NodeId, &Load)| {
            let sibling = known.siblings.get(node).copied();
            let candidate = sibling.unwrap_or_else(|| (!known.drained).then_some(known.candidate));
            (*node, candidate, load.clone())
        };
        Some(Site {
            shared: self.shared,
            members: known.loads.iter().map(member).collect(),
        })
    }

    /// Where the addresses go that live elsewhere.
    pub(crate) fn placement(&self) -> &Placement {
        self.desires.placement()
    }

    /// Has everything derived anew.
    pub(crate) fn touch(&mut self) {
        self.stale = true;
    }
}

impl Completeness {
    /// Takes in whether anybody tells routes, and whether they are all there; tells whether they count as such.
    fn follow(&mut self, isolated: bool, complete: bool, now: Instant) -> bool {
        if isolated {
            // The wait begins with the first session.
            self.missing_since = None;
            return false;
        }
        if complete {
            (self.missing_since, self.was_complete) = (None, true);
            return true;
        }
        let since = *self.missing_since.get_or_insert(now);
        now >= since + FIRST_ROUTES
    }
}

impl Config {
    /// How this router captures in a cloud, if it does.
    #[must_use]
    pub fn cloud(&self) -> Option<&CloudCapture> {
        match &self.local.capture {
            crate::config::Capture::Cloud(cloud) => Some(cloud),
            crate::config::Capture::None | crate::config::Capture::ProxyArp { .. } => None,
        }
    }

    /// What the reconciler is told by this configuration, where it captures in a cloud.
    #[must_use]
    pub fn capture_settings(&self) -> Option<Settings> {
        self.cloud()
            .map(|cloud| self.cloud_settings(cloud, None, true))
    }

    /// `claims`: whether this router claims for its site what the provider lists.
    fn cloud_settings(
        &self,
        cloud: &CloudCapture,
        leaving: Option<Rhythm>,
        claims: bool,
    ) -> Settings {
        let lists = cloud.discovery.map(|discovery| discovery.interval);
        let at_rest = match lists {
            Some(_) => Rhythm::LOOKS_BESIDE_LISTS,
            None => Rhythm::LOOKS,
        };
        Settings {
            mode: cloud.mode,
            pools: self.fabric.pools.clone(),
            nic: self.own_node().nic.clone(),
            members: self
                .siblings()
                .map(|(node, nic)| (nic.clone(), node.id))
                .collect(),
            max_captures: cloud.max_captures,
            budget: cloud.changes_per_minute,
            patience: cloud.provider.patience(),
            poll: leaving.unwrap_or(at_rest),
            inventory: lists.map(|interval| Rhythm::lists(interval, claims)),
        }
    }
}

impl Router {
    /// Takes in what the provider says.
    pub(crate) fn on_cloud(&mut self, input: CloudInput, now: Instant) {
        let Some(cloud) = self.config.cloud() else {
            return;
        };
        match input {
            CloudInput::Ready {
                capabilities,
                prior,
            } => {
                let (leaving, claims) = (self.cloud.leaving, self.claims_machines());
                let settings = self.config.cloud_settings(cloud, leaving, claims);
                let seed = self.cloud.seed;
                let mut executor = Executor::new(settings, capabilities, prior, seed, now);
                // Routes may have been there before the provider.
                executor.set_authority(self.cloud.authority.clone(), now);
                self.cloud.executor = Some(executor);
                self.cloud.touch();
            }
            CloudInput::Capabilities(capabilities) => {
                if let Some(executor) = &mut self.cloud.executor {
                    executor.set_capabilities(capabilities, now);
                }
            }
            CloudInput::Standing(standing) => self.cloud.standing = standing,
            CloudInput::Answer { order, answer } => {
                if let Some(executor) = &mut self.cloud.executor {
                    executor.handle_answer(order, answer, now);
                }
            }
            CloudInput::Unavailable { reason } => {
                self.cloud.executor = None;
                self.cloud.failure.get_or_insert(reason);
            }
            CloudInput::Journal { failed } => {
                if let Some(executor) = &mut self.cloud.executor {
                    executor.set_journal_failed(failed);
                }
            }
        }
    }

    /// Takes in another configuration: what was decided by the former one is void.
    pub(crate) fn reconfigure_cloud(&mut self, now: Instant) {
        self.cloud.generation += 1;
        self.cloud.touch();
        self.tell_settings(now);
    }

    /// Tells the reconciler how it is to work from now on.
    fn tell_settings(&mut self, now: Instant) {
        let claims = self.claims_machines();
        if let (Some(executor), Some(cloud)) = (&mut self.cloud.executor, self.config.cloud()) {
            let leaving = self.cloud.leaving;
            executor.set_settings(self.config.cloud_settings(cloud, leaving, claims), now);
        }
    }

    /// Looks more often while others are to take what is on our network interface.
    pub(crate) fn watch_captures(&mut self, leaving: bool, now: Instant) {
        let since = self.cloud.leaving_since.unwrap_or(now);
        self.cloud.leaving_since = leaving.then_some(since);
        self.cloud.leaving = self.cloud.leaving_since.map(|since| {
            if now < since + LEAVING {
                LEAVING_POLL
            } else {
                STAYING_POLL
            }
        });
        self.tell_settings(now);
    }

    /// Lets an action be done that waits for it.
    pub(crate) fn approve_action(&mut self, id: u64) {
        if let Some(executor) = &mut self.cloud.executor {
            executor.approve(id);
        }
    }

    /// Tells whether an action waits for approval.
    pub(crate) fn awaits_approval(&self, id: u64) -> bool {
        let mut actions = self.cloud.executor.iter().flat_map(Executor::actions);
        actions.any(|action| action.id == id && action.awaits_approval)
    }

    /// Derives what may be done at the provider, and says so, if it has changed; tells whether our marker or claims have.
    pub(crate) fn tell_authority(&mut self, now: Instant) -> bool {
        let Some(cloud) = self.config.cloud() else {
            return false;
        };
        let release = cloud.release_hold;
        let known = self.cloud_known(now);
        let is_other = self.follow_readiness(known.view);
        let expired = self.cloud.releases.expire(now);
        let lasted = expired || self.cloud.lasts_until.is_some_and(|due| due <= now);
        if !self.cloud.stale && !lasted && self.cloud.known.as_ref() == Some(&known) {
            return is_other;
        }
        let landscape = self.landscape(&known);
        let is_news = self.run_for_office(&landscape) | self.tell_load(&landscape) | is_other;
        self.cloud.shared = landscape.is_shared();
        // Who claims the machines of the site lists them more often.
        self.tell_settings(now);
        let control = &mut self.cloud;
        control.stale = false;
        control.desires.set_holds(capture_holds(release));
        let authority = if self.stopping {
            // What is captured stays: whoever takes over for us takes it.
            Authority::default()
        } else {
            control.desires.update(&landscape, &known.held, now)
        };
        control.lasts_until = control.desires.poll_timeout(now);
        control.known = Some(known);
        if control.authority != authority {
            control.authority = authority.clone();
            if let Some(executor) = &mut control.executor {
                executor.set_authority(authority.clone(), now);
            }
            self.outputs.push_back(Output::Authority(authority));
        }
        is_news
    }

    /// Follows the election. Tells whether our marker, or what we claim, says something else.
    fn run_for_office(&mut self, landscape: &Landscape) -> bool {
        let is_news = self.cloud.election.follow(landscape);
        let claimed = self.cloud_homes.claims;
        if landscape.view == RibView::Complete {
            // The same one claims the machines of the site; who has done so goes on until it is heard to.
            self.cloud_homes.claims = self.cloud.election.elected() == Some(landscape.own);
        }
        is_news || claimed != self.cloud_homes.claims
    }

    /// Takes in what our own network interface has and may have; tells whether our marker says something else.
    fn tell_load(&mut self, landscape: &Landscape) -> bool {
        let own = landscape.loads.get(&landscape.own);
        // Nobody is there to hear it.
        let own = own.filter(|_| !landscape.siblings.is_empty());
        let load = Load {
            // Nobody else is concerned by what we were refused.
            refused: BTreeSet::new(),
            ..own.cloned().unwrap_or_default()
        };
        let former = std::mem::replace(&mut self.cloud.load, load);
        former != self.cloud.load
    }

    /// Lets the executor decide about its next call.
    pub(crate) fn drive_cloud(&mut self, now: Instant) {
        if self.stopping {
            self.cloud.due = None;
            return;
        }
        let control = &mut self.cloud;
        let mut executor_due = None;
        if let Some(executor) = &mut control.executor {
            let order = executor.poll(now);
            while let Some(record) = executor.poll_record() {
                control.outputs.push_back(Output::CaptureRecord(record));
            }
            control.outputs.extend(order.map(Output::Cloud));
            while let Some(news) = executor.poll_news() {
                self.events.push(Event::from(news), now);
            }
            executor_due = executor.poll_timeout(now).map(|due| due.max(now + BREATH));
        }
        let desires = control.lasts_until;
        let complete = control
            .completeness
            .missing_since
            .map(|since| since + FIRST_ROUTES);
        let released = control.releases.poll_timeout();
        let due = [executor_due, desires, complete, released]
            .into_iter()
            .flatten();
        control.due = due.filter(|due| *due > now).min();
    }

    fn cloud_known(&mut self, now: Instant) -> Known {
        let begins = !self.cloud.completeness.was_complete;
        let (isolated, complete) = self.route_sources(|_| begins);
        let complete = self.cloud.completeness.follow(isolated, complete, now);
        let view = match (isolated, complete) {
            (true, _) => RibView::Isolated,
            (false, true) => RibView::Complete,
            (false, false) => RibView::Incomplete,
        };
        let siblings = self.config.siblings();
        let siblings = siblings.map(|(node, _)| (node.id, self.candidate(node)));
        let unheard = self.config.siblings().map(|(node, _)| node.id);
        let unheard = unheard.filter(|node| self.marker(*node).is_none());
        let unheard = unheard.filter(|node| self.path_watch.is_up(*node));
        let executor = self.cloud.executor.as_ref();
        let captures = executor.is_some_and(|executor| executor.is_able(now));
        // Others are told the priority of a router that captures only, and must come to the same.
        let priority = self.config.cloud().filter(|_| captures);
        let priority = priority.map_or(0, |cloud| cloud.priority);
        Known {
            view,
            candidate: Candidate {
                captures,
                priority,
                ..self.cloud.election.candidate()
            },
            siblings: siblings.collect(),
            loads: self.loads(now),
            unheard: unheard.collect(),
            unproven: self.unproven(),
            drained: self.state.drained,
            held: executor.map(Executor::held).unwrap_or_default(),
            owners: self.owners.feed().generation(),
        }
    }

    /// Whether nobody tells routes, and whether those who do have told all: one reflector, else all nodes of the mesh with which
    /// there is a session, or that are `awaited`.
    pub(crate) fn route_sources(&self, awaited: impl Fn(NodeId) -> bool) -> (bool, bool) {
        let peers = self.speaker.peers();
        let peers: Vec<_> = peers
            .iter()
            .filter(|peer| is_node(&self.config, peer.id))
            .collect();
        if peers.is_empty() {
            return (false, true);
        }
        let up = |state| state == SessionState::Established;
        let told = |peer: &PeerView| up(peer.state) && peer.ipv4.end_of_rib;
        let isolated = !peers.iter().any(|peer| up(peer.state));
        let reflectors = &self.config.fabric.bgp.route_reflectors;
        let is_reflector = |peer: &&PeerView| reflectors.contains(&node_of(peer.id));
        let mut reflected = peers.iter().copied().filter(is_reflector).peekable();
        let complete = if reflected.peek().is_some() {
            reflected.any(told)
        } else {
            let is_awaited = |peer: &&PeerView| up(peer.state) || awaited(node_of(peer.id));
            !isolated && peers.iter().copied().filter(is_awaited).all(told)
        };
        (isolated, complete)
    }

    fn landscape(&self, known: &Known) -> Landscape {
        let told = self.told_to_own();
        let claims = self.owners.owners();
        let claims = claims.filter(|owner| self.config.pool_of(owner.address).is_some());
        let claims =
            claims.map(|owner| (owner.address, self.claimed(owner, &told, &known.unproven)));
        let mine = told.iter().map(|address| (*address, Claimed::ByUs));
        Landscape {
            generation: self.cloud.generation,
            view: known.view,
            own: self.config.local.node,
            yields: self.state.drained,
            candidate: known.candidate,
            siblings: known.siblings.clone(),
            loads: known.loads.clone(),
            unheard: known.unheard.clone(),
            claims: claims.chain(mine).collect(),
            released: self.cloud.releases.addresses(),
            all_released: self.cloud.releases.all(),
        }
    }
}
