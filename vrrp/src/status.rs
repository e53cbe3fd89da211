//! What is known of a virtual router, for its users and for operators.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::senders::Rivals;

/// State of this router (RFC 9568 section 6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It does not take part.
    Initialize,
    /// Somebody else is the master, or it is open who is.
    Backup,
    /// This router is the master ("Active").
    Master,
}

impl State {
    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Master => "master",
        }
    }
}

/// Why a router has its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// It was made and not started yet.
    New,
    /// It began to take part, and looks who is there.
    Started,
    /// It owns the address (priority 255), so it begins as master.
    AddressOwner,
    /// No master was heard for the down interval.
    Silence,
    /// The master said that it leaves (priority 0).
    Relieved,
    /// Another master has the better priority, or the same and the higher address.
    Outranked,
    /// It did not advertise for so long that others had to take over (a stopped process, a stalled host).
    Overslept,
    /// It was told to leave.
    Stopped,
}

impl Cause {
    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Started => "started",
            Self::AddressOwner => "address-owner",
            Self::Silence => "silence",
            Self::Relieved => "relieved",
            Self::Outranked => "outranked",
            Self::Overslept => "overslept",
            Self::Stopped => "stopped",
        }
    }

    /// Returns the reason in words for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::New => "not started",
            Self::Started => "it listens who is there",
            Self::AddressOwner => "the host itself has the address",
            Self::Silence => "no master was heard",
            Self::Relieved => "the former master left",
            Self::Outranked => "another master has the better priority or address",
            Self::Overslept => "it was silent for so long that others took over",
            Self::Stopped => "it was told to leave",
        }
    }
}

/// A master as it was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its priority.
    pub priority: u8,
    /// The best priority that it told while it was the one that was heard.
    pub best_priority: u8,
    /// Its interval.
    pub interval: Duration,
    /// When it was heard last.
    pub at: Instant,
    /// Whether that was a copy ([`crate::Instance::handle_copy`]): its own packets are lost.
    pub copy_only: bool,
}

/// A virtual router as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Our state.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// Why.
    pub cause: Cause,
    /// Our priority with penalties.
    pub priority: u8,
    /// Sum of the penalties.
    pub penalty: u8,
    /// The last other master that was heard: of a backup its master, of a master a rival.
    pub heard: Option<Heard>,
    /// The last time that two others were masters at once.
    pub rivals: Option<Rivals>,
    /// Senders that count though nobody named them, and that are none of our make; with peers, those that do not count.
    pub strangers: Vec<Ipv4Addr>,
    /// How long the master may be silent.
    pub down_interval: Duration,
    /// How often this router became master.
    pub promotions: u64,
    /// How often another router took itself for the master while we were it.
    pub conflicts: u64,
    /// Advertisements sent, counted per destination.
    pub sent: u64,
    /// Advertisements that counted.
    pub received: u64,
}
