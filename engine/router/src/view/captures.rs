//! `samctl captures` and `samctl actions`: addresses on our network interface in the cloud, and what is done about them.

use std::net::Ipv4Addr;
use std::time::Instant;

use sam_capture::desired::KeepReason;
use sam_capture::executor::{ActionReport, AddressReport, Done, State, StatusReport};
use sam_capture::provider::NicId;
use sam_capture::{Executor, Inability, Want};
use serde::{Deserialize, Serialize};

use super::{NodeRef, seconds_ago};
use crate::Router;
use crate::config::CapturePlacement;

/// `samctl captures`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapturesView {
    /// Which cloud; `None` where nothing is captured in one.
    pub provider: Option<String>,
    /// How far the router goes on its own: off, observe, plan, approve, auto.
    pub mode: Option<String>,
    /// Why the provider cannot be called, if so.
    pub failure: Option<String>,
    /// Our network interface, once it was seen.
    pub nic: Option<CaptureNic>,
    /// Why the newest look at it was no good.
    pub invalid: Option<String>,
    /// Looks that fail, until they succeed.
    #[serde(default)]
    pub failing: Vec<FailingLookRow>,
    /// Whether the journal cannot be written; then nothing is released.
    pub journal_failed: bool,
    /// Addresses that are wanted, unwanted or held, in order.
    pub captures: Vec<CaptureRow>,
    /// The routers of the site among which addresses are placed; `None` where nothing is captured in a cloud.
    #[serde(default)]
    pub group: Option<CaptureGroup>,
    /// Calls by operation, and failures by class; `unclassified` are those among them that nobody knows.
    pub counters: Vec<CaptureCounter>,
    /// The newest refusal that nobody knows.
    #[serde(default)]
    pub unclassified: Option<UnclassifiedRow>,
    /// What the provider's answers told besides what was asked for; `None` while there was none.
    #[serde(default)]
    pub standing: Option<StandingRow>,
    /// What the instance may do.
    pub permissions: Vec<PermissionRow>,
    /// Whether an address moves from one network interface to another in one change, in two it is on none for a while; `None`
    /// while nobody has looked.
    #[serde(default)]
    pub moves: Option<bool>,
}

/// The routers of a site that capture for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureGroup {
    /// `active-active`: they share what is captured; `active-standby`: one captures while it has room.
    pub placement: String,
    /// All of them that have a `nic`, by id, this router among them.
    pub members: Vec<CaptureMember>,
}

/// A router that captures for the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureMember {
    /// Which.
    pub node: NodeRef,
    /// captures; why it does not: only-plans, blind (looks at the provider fail), denied (it refused a change), no-journal,
    /// no-provider (it cannot be called at all), captures-nothing (it does not say why); or not-there: not heard of, or drained.
    pub state: String,
    /// How it is told to share captures with the others, as far as it tells: active-active, active-standby.
    #[serde(default)]
    pub placement: Option<String>,
    /// Addresses of pools on its network interface, as far as it told.
    pub held: usize,
    /// Most that may be on it; `None`: nobody knows of a limit.
    pub capacity: Option<usize>,
}

/// Where an address is to be captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturePlace {
    /// By which router.
    pub node: NodeRef,
    /// incumbent, elected, rendezvous, overflow.
    pub rule: String,
    /// What the rule says, in words.
    pub why: String,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptureNic {
    /// The provider's name of it.
    pub id: NicId,
    /// Whether it carries packets that are not its own.
    pub forwarding: bool,
    /// Addresses on it.
    pub used: usize,
    /// Addresses that it may have.
    pub limit: Option<usize>,
    /// Seconds since the look.
    pub seen_s: f64,
}

/// A look at the provider that fails again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailingLookRow {
    /// observe, find-holders, inventory, preflight.
    pub look: String,
    /// Class of the newest failure.
    pub class: String,
    /// The provider's code and message.
    pub detail: String,
    /// How many have failed in a row.
    pub times: u32,
    /// Seconds since the first of them.
    pub since_s: f64,
}

/// A refusal that nobody knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnclassifiedRow {
    /// The provider's code and message.
    pub words: String,
    /// Seconds since it came.
    pub told_s: f64,
}

/// How we stand with the provider, as its last answer told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StandingRow {
    /// Seconds by which its clock was ahead of ours, to about a second.
    pub clock_ahead_s: Option<i64>,
    /// Seconds for which the credentials were good then.
    pub credentials_s: Option<f64>,
    /// Calls that only read which the account had left, where the provider says so.
    pub reads_left: Option<u32>,
    /// The same of calls that change.
    pub writes_left: Option<u32>,
    /// Seconds since that answer.
    pub told_s: f64,
}

/// A count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureCounter {
    /// Of what.
    pub name: String,
    /// How many.
    pub value: u64,
}

/// A permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermissionRow {
    /// The provider's name of it.
    pub action: String,
    /// Whether the instance has it; `None` when there is no way to know.
    pub granted: Option<bool>,
    /// What the provider said.
    pub detail: String,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptureRow {
    /// The address.
    pub address: Ipv4Addr,
    /// What is wanted of it: capture, absent, keep; `unknown` of one about which nothing is known.
    pub want: String,
    /// The interface that has it, as far as known.
    pub holder: Option<NicId>,
    /// The node behind it, if it is one of the fabric.
    pub node: Option<NodeRef>,
    /// held, changing, due, awaits-approval, planned, waiting, no-room, absent.
    pub state: String,
    /// Which router of the site is to capture it; `None`: it does not live elsewhere, or none has room for it.
    #[serde(default)]
    pub place: Option<CapturePlace>,
    /// Why, in words.
    pub why: String,
    /// Seconds in this state.
    pub since_s: Option<f64>,
}

/// `samctl actions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionsView {
    /// How far the router goes on its own; `None` where nothing is captured in a cloud.
    pub mode: Option<String>,
    /// Looks that fail, until they succeed: what waits for them is not done.
    #[serde(default)]
    pub failing: Vec<FailingLookRow>,
    /// What did not end yet, in the order in which it is done.
    pub open: Vec<ActionRow>,
    /// What ended, the newest first.
    pub ended: Vec<EndedRow>,
}

/// `samctl actions show ID`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionView {
    /// Its number.
    pub id: u64,
    /// The action, if it did not end yet.
    pub open: Option<ActionRow>,
    /// What was done in its course, the newest first.
    pub ended: Vec<EndedRow>,
}

/// An action that did not end yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionRow {
    /// Its number.
    pub id: u64,
    /// forward, capture, release.
    pub kind: String,
    /// With which addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// The next change at the provider, as far as known.
    pub step: Option<String>,
    /// awaits-approval, under-way, planned, due.
    pub state: String,
    /// Why, in words; each reason once.
    pub why: Vec<String>,
    /// Failures in a row.
    pub failures: u32,
    /// Seconds since it is needed.
    pub since_s: f64,
}

/// A change that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndedRow {
    /// Number of its action.
    pub id: u64,
    /// The change at the provider.
    pub operation: String,
    /// With which addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// `done`, or the class of the error.
    pub result: String,
    /// The provider's code and message.
    pub detail: String,
    /// Seconds ago.
    pub ago_s: f64,
}

/// What to do about addresses for which no router of the site has room.
pub const ROOM_REMEDY: &str = "raise `maxCaptures`, take an instance type that may have more addresses, add a router to \
                               the site, or exclude some from the pool";

impl CapturesView {
    /// Lists the addresses for which no router of the site has room.
    pub fn without_room(&self) -> impl Iterator<Item = Ipv4Addr> {
        let rows = self.captures.iter();
        let without = rows.filter(|row| row.state == State::NoRoom.name() && row.place.is_none());
        without.map(|row| row.address)
    }
}

impl StandingRow {
    /// Returns for how many seconds the credentials are good now; negative where they have ended since.
    #[must_use]
    pub fn credentials_left_s(&self) -> Option<f64> {
        self.credentials_s.map(|left| left - self.told_s)
    }
}

impl CaptureRow {
    /// Tells whether the address belongs to another site, and is drawn in here or is to be.
    #[must_use]
    pub fn is_for_others(&self) -> bool {
        let held = matches!(self.state.as_str(), "held" | "changing");
        self.want == "capture" || (held && self.want != "absent")
    }
}

impl Router {
    /// `samctl captures`
    #[must_use]
    pub fn captures(&self, now: Instant) -> CapturesView {
        let cloud = self.config.cloud();
        let executor = self.cloud.executor.as_ref();
        let status = executor.map(Executor::status);
        let rows = executor.map(|executor| executor.addresses(now));
        let rows = rows.into_iter().flatten();
        let counters = status.iter().flat_map(|status| &status.counters);
        let permissions = status.iter().flat_map(|status| &status.permissions);
        let moves = status.as_ref().and_then(|status| status.moves);
        CapturesView {
            moves,
            unclassified: status.as_ref().and_then(|status| unclassified(status, now)),
            standing: self.standing(now),
            provider: cloud.map(|cloud| cloud.provider.name().into()),
            mode: cloud.map(|cloud| cloud.mode.name().into()),
            failure: self.cloud.failure.clone(),
            nic: status.as_ref().and_then(|status| nic(status, now)),
            invalid: status.as_ref().and_then(|status| status.invalid.clone()),
            failing: status
                .as_ref()
                .map_or_else(Vec::new, |status| failing(status, now)),
            journal_failed: status.as_ref().is_some_and(|status| status.journal_failed),
            captures: rows.map(|row| self.capture_row(row, now)).collect(),
            group: cloud.and_then(|_| self.capture_group()),
            counters: counters
                .map(|(name, value)| CaptureCounter {
                    name: (*name).into(),
                    value: *value,
                })
                .collect(),
            permissions: permissions
                .map(|permission| PermissionRow {
                    action: permission.action.clone(),
                    granted: permission.granted,
                    detail: permission.detail.clone(),
                })
                .collect(),
        }
    }

    /// `samctl actions`
    #[must_use]
    pub fn actions(&self, now: Instant) -> ActionsView {
        let executor = self.cloud.executor.as_ref();
        let mode = self.config.cloud().map(|cloud| cloud.mode);
        let open = executor.map(Executor::actions).into_iter().flatten();
        let ended: Vec<&Done> = executor
            .iter()
            .flat_map(|executor| executor.history())
            .collect();
        ActionsView {
            mode: mode.map(|mode| mode.name().into()),
            failing: executor.map_or_else(Vec::new, |executor| failing(&executor.status(), now)),
            open: open.map(|action| self.action_row(&action, now)).collect(),
            ended: ended
                .into_iter()
                .rev()
                .map(|done| ended_row(done, now))
                .collect(),
        }
    }

    /// `samctl actions show ID`; `None` when nothing is known of it.
    #[must_use]
    pub fn action(&self, id: u64, now: Instant) -> Option<ActionView> {
        let all = self.actions(now);
        let open = all.open.into_iter().find(|row| row.id == id);
        let ended = all.ended.into_iter().filter(|row| row.id == id);
        let ended: Vec<EndedRow> = ended.collect();
        (open.is_some() || !ended.is_empty()).then_some(ActionView { id, open, ended })
    }

    fn capture_row(&self, row: AddressReport, now: Instant) -> CaptureRow {
        let nodes = self.config.fabric.nodes.values();
        let node = row.holder.as_ref().and_then(|nic| {
            let mut nodes = nodes.filter(|node| node.nic.as_ref() == Some(nic));
            nodes.next().map(|node| node.id)
        });
        // Where our own interface is not named in the fabric, it is known by what was seen.
        let ours = (row.state == State::Held).then_some(self.config.local.node);
        let place = self.cloud.placement().get(&row.address).copied().flatten();
        let place = place.map(|place| CapturePlace {
            node: NodeRef::new(&self.config, place.node),
            rule: place.rule.name().into(),
            why: self.with_names(&place.to_string()),
        });
        // Why it is left to others says more than that it is.
        let is_left = matches!(row.want, Some(Want::Keep(KeepReason::Sibling(_))));
        let why = place
            .as_ref()
            .filter(|_| is_left && row.state == State::Absent);
        let why = why.map(|place| place.why.clone());
        CaptureRow {
            address: row.address,
            want: row.want.as_ref().map_or("unknown", Want::name).into(),
            holder: row.holder,
            node: node.or(ours).map(|node| NodeRef::new(&self.config, node)),
            state: row.state.name().into(),
            place,
            why: why.unwrap_or_else(|| self.with_names(&row.why)),
            since_s: row.since.map(|since| seconds_ago(since, now)),
        }
    }

    fn standing(&self, now: Instant) -> Option<StandingRow> {
        let standing = self.cloud.standing;
        let answered = standing.answered?;
        Some(StandingRow {
            clock_ahead_s: standing.clock_ahead,
            credentials_s: standing.credentials.map(|left| left.as_secs_f64()),
            reads_left: standing.reads_left,
            writes_left: standing.writes_left,
            told_s: seconds_ago(answered, now),
        })
    }

    fn capture_group(&self) -> Option<CaptureGroup> {
        let site = self.cloud.site()?;
        let members = site.members.into_iter().map(|(node, candidate, load)| {
            let state = match candidate {
                Some(candidate) if candidate.captures => "captures",
                Some(_) => load.inability.map_or("captures-nothing", Inability::name),
                None => "not-there",
            };
            CaptureMember {
                node: NodeRef::new(&self.config, node),
                state: state.into(),
                placement: load.tells.then(|| placement(load.shares)),
                held: load.held.len(),
                capacity: load.capacity,
            }
        });
        Some(CaptureGroup {
            placement: placement(site.shared),
            members: members.collect(),
        })
    }

    fn action_row(&self, action: &ActionReport, now: Instant) -> ActionRow {
        let mode = self.config.cloud().map(|cloud| cloud.mode);
        let state = match (action.under_way, action.awaits_approval, mode) {
            (true, _, _) => "under-way",
            (false, true, _) => "awaits-approval",
            (false, false, Some(mode)) if mode < sam_capture::Mode::Approve => "planned",
            (false, false, _) => "due",
        };
        let mut why: Vec<String> = Vec::new();
        for want in action.wants.values() {
            let want = self.with_names(&want.to_string());
            if !why.contains(&want) {
                why.push(want);
            }
        }
        ActionRow {
            id: action.id,
            kind: action.kind.to_string(),
            addresses: action.wants.keys().copied().collect(),
            step: action.step.as_ref().map(|step| step.name().into()),
            state: state.into(),
            why,
            failures: action.failures,
            since_s: seconds_ago(action.since, now),
        }
    }

    /// Writes `node NAME` for `node ID`: the core knows no names.
    fn with_names(&self, text: &str) -> String {
        let mut words: Vec<&str> = text.split(' ').collect();
        for at in 1..words.len() {
            let id = words[at].parse().ok().map(sam_capture::NodeId);
            let node = id.and_then(|id| self.config.fabric.nodes.get(&id));
            if let Some(node) = node.filter(|_| words[at - 1] == "node") {
                words[at] = &node.name;
            }
        }
        words.join(" ")
    }
}

fn placement(shared: bool) -> String {
    let placement = match shared {
        true => CapturePlacement::ActiveActive,
        false => CapturePlacement::ActiveStandby,
    };
    placement.name().into()
}

fn unclassified(status: &StatusReport, now: Instant) -> Option<UnclassifiedRow> {
    let (came, words) = status.unclassified.as_ref()?;
    Some(UnclassifiedRow {
        words: words.clone(),
        told_s: seconds_ago(*came, now),
    })
}

fn nic(status: &StatusReport, now: Instant) -> Option<CaptureNic> {
    let nic = status.nic.as_ref()?;
    Some(CaptureNic {
        id: nic.observation.nic.clone(),
        forwarding: nic.observation.forwarding,
        used: nic.observation.entries.len(),
        limit: nic.observation.limit,
        seen_s: seconds_ago(nic.at, now),
    })
}

fn failing(status: &StatusReport, now: Instant) -> Vec<FailingLookRow> {
    let looks = status.failing.iter();
    looks
        .map(|(name, look)| FailingLookRow {
            look: (*name).into(),
            class: look.class.into(),
            detail: look.detail.clone(),
            times: look.times,
            since_s: seconds_ago(look.since, now),
        })
        .collect()
}

fn ended_row(done: &Done, now: Instant) -> EndedRow {
    EndedRow {
        id: done.id,
        operation: done.operation.into(),
        addresses: done.addresses.iter().copied().collect(),
        result: done.result.into(),
        detail: done.detail.clone(),
        ago_s: seconds_ago(done.at, now),
    }
}
