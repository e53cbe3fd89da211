//! `samctl explain ADDRESS`: seven questions about one address, answered from live state.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// Everything about one address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplainView {
    /// The address.
    pub address: Ipv4Addr,
    /// What happens to a packet for it, in one sentence.
    pub verdict: String,
    /// The seven questions, in order.
    pub questions: Vec<QuestionRow>,
    /// The sum of the MTU on the way; `None` when no tunnel is involved.
    pub mtu: Option<PathMtu>,
    /// Whether this router answers ARP for it, and why.
    pub arp: ArpVerdict,
    /// Reasons for which packets to or from it would be dropped here now.
    pub drops: Vec<DropRisk>,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionRow {
    /// Number from 1.
    pub number: u8,
    /// The question.
    pub question: String,
    /// The answer in one sentence.
    pub answer: String,
    /// Lines that show it.
    pub evidence: Vec<String>,
}

/// The MTU on the way through a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathMtu {
    /// MTU of the underlay to the endpoint.
    pub underlay: u16,
    /// What the path carries, where less was learnt.
    pub path: Option<u16>,
    /// Bytes that encapsulation adds.
    pub overhead: u16,
    /// Largest inner packet.
    pub tunnel: u16,
    /// MTU of the LAN, once it is present.
    pub lan: Option<u16>,
    /// MSS that passing SYNs are lowered to; `None` when clamping is off.
    pub tcp_mss: Option<u16>,
}

/// Whether this router answers ARP for an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArpVerdict {
    /// Whether it does.
    pub answered: bool,
    /// The conditions in the order in which they are checked; all must hold.
    pub conditions: Vec<ArpCondition>,
}

/// One condition for an ARP answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArpCondition {
    /// The condition.
    pub condition: String,
    /// Whether it holds; `None` when it depends on the sender.
    pub holds: Option<bool>,
    /// What shows it.
    pub evidence: String,
}

/// A reason for which packets would be dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropRisk {
    /// Name of the drop reason.
    pub reason: String,
    /// Which packets.
    pub applies_to: String,
}
