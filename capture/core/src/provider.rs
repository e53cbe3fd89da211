//! What a cloud provider can be asked, and what it answers: one list of operations for all clouds.
//!
//! Names of the wires (ENI, ipConfiguration, VNIC) stay in the crate that speaks them; here are only addresses, network
//! interfaces and versions. Each [`Operation`] is at most one change at the provider, so that whoever orders it can
//! decide anew before the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// A provider as this router's instance reaches it. Calls block; whoever makes them has a thread for it.
///
/// An implementation never repeats a change by itself: it answers what became of one attempt.
pub trait Provider: Send {
    /// What it can do, as far as is known; [`Operation::Preflight`] may find out more.
    fn capabilities(&self) -> Capabilities;

    /// What its answers have told so far besides what was asked for.
    fn standing(&self) -> Standing {
        Standing::default()
    }

    /// Carries out one operation. Asks `fence` directly before every request that changes something, and while it
    /// waits for a change that the provider carries out later.
    ///
    /// # Errors
    /// What went wrong, by class. After [`ErrorClass::Unknown`] the change may have happened.
    fn perform(
        &mut self,
        operation: &Operation,
        fence: &dyn Fence,
    ) -> Result<Outcome, ProviderError>;
}

/// Says whether the reason for a change still holds.
pub trait Fence {
    /// Tells whether the change may still be sent.
    fn is_current(&self) -> bool;
}

/// Differences between providers on which a plan depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// An address moves from one NIC to another in one change ([`Operation::Seize`]). Otherwise it is taken off the one
    /// ([`Operation::Strip`]), then put on the other.
    pub moves: bool,
    /// Addresses in one change.
    pub batch: usize,
    /// Entries carry a mark by which we know our own; otherwise only our journal knows.
    pub marks: bool,
}

/// What a provider's answers tell besides what was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// When the last answer came; `None` while there was none.
    pub answered: Option<Instant>,
    /// Seconds by which its clock was ahead of ours then, to about a second.
    pub clock_ahead: Option<i64>,
    /// For how long the credentials in use were good then; nothing where they had ended.
    pub credentials: Option<Duration>,
    /// Calls that only read which the account has left, where the provider says so.
    pub reads_left: Option<u32>,
    /// The same of calls that change.
    pub writes_left: Option<u32>,
}

/// One thing to ask of a provider. Addresses are never empty, and at most [`Capabilities::batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// How our own NIC is. Answered by [`Outcome::Observed`].
    Observe,
    /// On which NICs addresses of our subnet are. Answered by [`Outcome::Holders`].
    FindHolders(BTreeSet<Ipv4Addr>),
    /// All private addresses in use in our subnet. Answered by [`Outcome::Inventory`].
    Inventory,
    /// What the instance may do, without doing it. Answered by [`Outcome::Permissions`] or
    /// [`Outcome::PermissionsInPart`].
    Preflight,
    /// Put addresses that nobody holds on our NIC.
    Assign {
        /// Which.
        addresses: BTreeSet<Ipv4Addr>,
        /// The NIC's version that the decision rests on, where the provider has one.
        version: Option<Version>,
    },
    /// Move addresses from the NICs of other routers to ours.
    Seize {
        /// Which, and how each is held.
        addresses: BTreeMap<Ipv4Addr, Holder>,
    },
    /// Take addresses off another router's NIC, to put them on ours next.
    Strip {
        /// All on this NIC.
        nic: NicId,
        /// Which.
        addresses: BTreeSet<Ipv4Addr>,
        /// The NIC's version that the decision rests on.
        version: Option<Version>,
    },
    /// Take addresses off our own NIC.
    Unassign {
        /// Which, and how each is held.
        addresses: BTreeMap<Ipv4Addr, Entry>,
        /// The NIC's version that the decision rests on, where the provider has one.
        version: Option<Version>,
    },
    /// Let our NIC carry packets that are not its own, or not.
    SetForwarding {
        /// Whether it does.
        enabled: bool,
        /// The NIC's version that the decision rests on, where the provider has one.
        version: Option<Version>,
    },
}

impl Operation {
    /// Tells whether it changes anything at the provider.
    #[must_use]
    pub const fn is_change(&self) -> bool {
        match self {
            Self::Observe | Self::FindHolders(_) | Self::Inventory | Self::Preflight => false,
            Self::Assign { .. }
            | Self::Seize { .. }
            | Self::Strip { .. }
            | Self::Unassign { .. }
            | Self::SetForwarding { .. } => true,
        }
    }

    /// Returns its name, for operators and counters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::FindHolders(_) => "find-holders",
            Self::Inventory => "inventory",
            Self::Preflight => "preflight",
            Self::Assign { .. } => "assign",
            Self::Seize { .. } => "seize",
            Self::Strip { .. } => "strip",
            Self::Unassign { .. } => "unassign",
            Self::SetForwarding { .. } => "set-forwarding",
        }
    }
}

/// What a provider answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// How our NIC is.
    Observed(Observation),
    /// Who holds each of the addresses asked for; those that are missing nobody holds.
    Holders(BTreeMap<Ipv4Addr, Holder>),
    /// Who holds each address of the subnet.
    Inventory(BTreeMap<Ipv4Addr, Holder>),
    /// What the instance may do.
    Permissions(Vec<Permission>),
    /// The same where the look as a whole has failed: it told less than was asked.
    PermissionsInPart {
        /// What it told.
        found: Vec<Permission>,
        /// Why it has to be repeated.
        failed: ProviderError,
    },
    /// The change was made; for all addresses.
    Done {
        /// The provider's number of the request.
        request_id: Option<String>,
    },
}

/// How our own NIC is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// Which.
    pub nic: NicId,
    /// Its subnet.
    pub subnet: Ipv4Net,
    /// Version of the whole, where the provider has one.
    pub version: Option<Version>,
    /// Whether it carries packets that are not its own.
    pub forwarding: bool,
    /// Addresses on it.
    pub entries: BTreeMap<Ipv4Addr, Entry>,
    /// Addresses that it may have, the primary among them, where that is known.
    pub limit: Option<usize>,
}

/// An address on our own NIC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The NIC's own address, which is never touched.
    pub primary: bool,
    /// Whether it carries our mark; `None` where entries carry none.
    pub ours: Option<bool>,
    /// Name at the provider, where it has one of its own.
    pub id: Option<String>,
    /// Its version, where it has one of its own.
    pub version: Option<Version>,
}

/// The NIC that an address is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// Which.
    pub nic: NicId,
    /// Version of the NIC, where the provider has one and shows it.
    pub nic_version: Option<Version>,
    /// How it is held.
    pub entry: Entry,
    /// Whether the instance behind it runs, where that is known.
    pub running: Option<bool>,
}

/// A permission that an operation needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Permission {
    /// The provider's name of it.
    pub action: String,
    /// Whether the instance has it; `None` when there is no way to find out without using it.
    pub granted: Option<bool>,
    /// What the provider said.
    pub detail: String,
}

/// A network interface by the provider's name: ENI id, ARM id, VNIC OCID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NicId(pub String);

impl fmt::Display for NicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A version as the provider writes it (an etag); only good for being handed back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub String);

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{class}: {code}: {message}")]
pub struct ProviderError {
    /// What to do about it.
    pub class: ErrorClass,
    /// The provider's code, or a word of ours when nothing was answered.
    pub code: String,
    /// The provider's message, without secrets; at most [`MESSAGE_MAX`] bytes.
    pub message: String,
    /// The provider's number of the request.
    pub request_id: Option<String>,
    /// Nobody knows this refusal: neither code nor message nor status says more than that it is one.
    pub unclassified: bool,
}

/// Bytes of a provider's message that are kept.
pub const MESSAGE_MAX: usize = 500;

/// What to do about a failure; the reaction to each is the same for all providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorClass {
    /// Another NIC holds one of the addresses: look who it is.
    Held,
    /// One of the addresses is the own one of an instance here: it must not be captured.
    LocalOwner,
    /// An address to give back is not there: that is what was wanted.
    AlreadyGone,
    /// No room on the NIC or in the subnet.
    Capacity,
    /// Asked too often: slower, and not before this.
    Throttled(Option<Duration>),
    /// Permission or credentials are missing.
    Denied,
    /// What the decision rested on has changed: look again.
    PreconditionLost,
    /// Another change of the NIC is under way.
    Busy,
    /// Never possible as asked.
    Permanent,
    /// The provider is not reachable or failed, and surely nothing happened.
    Unavailable,
    /// Nobody knows whether the change happened: look before anything else.
    Unknown,
    /// The reason for the change ended before it was sent.
    Fenced,
}

impl ErrorClass {
    /// Returns its name, for operators and counters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::LocalOwner => "local-owner",
            Self::AlreadyGone => "already-gone",
            Self::Capacity => "capacity",
            Self::Throttled(_) => "throttled",
            Self::Denied => "denied",
            Self::PreconditionLost => "precondition-lost",
            Self::Busy => "busy",
            Self::Permanent => "permanent",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Fenced => "fenced",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
