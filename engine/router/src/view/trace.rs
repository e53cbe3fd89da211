//! `samctl trace`: the stages that a packet passes or would pass at this router, and the verdict.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// The way of a packet that was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceView {
    /// The packet.
    pub query: TraceQuery,
    /// Generation of the forwarding state that was asked.
    pub generation: u64,
    /// What happens to it, in order; the last one decides.
    pub stages: Vec<TraceStage>,
    /// What becomes of it.
    pub verdict: TraceVerdict,
}

/// The way of a packet that came, as one line of `GET /v1/trace/live`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveTraceView {
    /// When it was seen, in seconds since the Unix epoch.
    pub time: f64,
    /// Source address.
    pub from: Ipv4Addr,
    /// Destination address.
    pub to: Ipv4Addr,
    /// Protocol and ports in words.
    pub what: String,
    /// Length in bytes, IP header included; of a superpacket all of it.
    pub length: usize,
    /// Generation of the forwarding state that the stages show.
    pub generation: u64,
    /// What happened to it, in order; the last one that is no note decided.
    pub stages: Vec<TraceStage>,
    /// What became of it.
    pub verdict: TraceVerdict,
}

/// The end of a live trace, its last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveTraceEnd {
    /// Packets that were shown.
    pub seen: u64,
    /// Packets that were not, because they came faster than they could be shown.
    pub missed: u64,
    /// Whether the time ended before enough packets had come.
    pub timed_out: bool,
}

/// The packet to trace. The names of the fields are those of the parameters of `GET /v1/trace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceQuery {
    /// Source address.
    pub from: Ipv4Addr,
    /// Destination address.
    pub to: Ipv4Addr,
    /// Transport protocol.
    #[serde(default)]
    pub protocol: TraceProtocol,
    /// Destination port (`tcp`, `udp`).
    #[serde(default)]
    pub port: Option<u16>,
    /// Length in bytes, IP header included.
    #[serde(default = "TraceQuery::default_size")]
    pub size: u16,
    /// Don't Fragment.
    #[serde(default)]
    pub df: bool,
}

/// Transport protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceProtocol {
    /// An echo request.
    #[default]
    Icmp,
    /// A segment without options.
    Tcp,
    /// A datagram.
    Udp,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStage {
    /// Its name.
    pub name: String,
    /// What it does to the packet.
    pub result: StageResult,
    /// Why, with the values that it looked at.
    pub text: String,
}

/// What a stage does to the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageResult {
    /// It goes on.
    Pass,
    /// It ends here.
    Drop,
    /// Nothing: good to know.
    Note,
}

/// What becomes of the packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceVerdict {
    /// In one word.
    pub outcome: TraceOutcome,
    /// Name of the reason under which a drop is counted; for a packet that waits, if it waits in vain.
    pub reason: Option<String>,
    /// In one sentence.
    pub text: String,
}

/// What becomes of the packet, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceOutcome {
    /// It leaves through a tunnel or the LAN.
    Forwarded,
    /// This host receives it.
    Delivered,
    /// It is kept for a while until a session or a neighbor is there.
    Waits,
    /// It goes nowhere.
    Dropped,
    /// This router never sees it: the kernel of its host handles it.
    LeftToKernel,
}

impl TraceQuery {
    /// Length in bytes of what `ping` sends by itself.
    pub const DEFAULT_SIZE: u16 = 84;

    const fn default_size() -> u16 {
        Self::DEFAULT_SIZE
    }
}

impl TraceProtocol {
    /// Returns the name as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl TraceOutcome {
    /// Returns the name as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Delivered => "delivered",
            Self::Waits => "waits",
            Self::Dropped => "dropped",
            Self::LeftToKernel => "left-to-kernel",
        }
    }

    /// Tells whether the packet arrives where this router can bring it.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, Self::Forwarded | Self::Delivered)
    }
}

impl StageResult {
    /// Returns the name as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Note => "note",
        }
    }
}
