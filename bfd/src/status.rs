//! What is known of a session, for its users and for operators.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::state::{Diagnostic, DownCause, State};

/// A session as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatus {
    /// Address of the peer.
    pub peer: Ipv4Addr,
    /// Our state.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// The peer's state as it last said; Down while nothing is heard.
    pub remote_state: State,
    /// Our discriminator.
    pub local_discriminator: u32,
    /// The peer's discriminator; zero while nothing is heard.
    pub remote_discriminator: u32,
    /// Why we last went down, as we tell the peer.
    pub diagnostic: Diagnostic,
    /// Why the peer last went down, as it tells.
    pub remote_diagnostic: Diagnostic,
    /// Interval at which we send, before jitter; `None` when the peer wants no periodic packets.
    pub transmit_interval: Option<Duration>,
    /// Interval at which the peer is to send, before jitter; `None` while nothing is heard.
    pub receive_interval: Option<Duration>,
    /// How long nothing may be heard; `None` while nothing is heard.
    pub detection_time: Option<Duration>,
    /// Our multiplier.
    pub multiplier: u8,
    /// The peer's multiplier; zero while nothing is heard.
    pub remote_multiplier: u8,
    /// Whether a poll sequence is under way.
    pub polling: bool,
    /// How often the session came up.
    pub ups: u64,
    /// How often it left Up because the path failed, as far as this end knows.
    pub failures: u64,
    /// The last time that it left Up.
    pub last_down: Option<LastDown>,
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
}

/// The last time that a session left Up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastDown {
    /// When.
    pub at: Instant,
    /// Why.
    pub cause: DownCause,
    /// What the peer told as its reason.
    pub remote_diagnostic: Diagnostic,
}
