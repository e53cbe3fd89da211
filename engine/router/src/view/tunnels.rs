//! `samctl tunnels`: the ways to the other nodes.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::NodeRef;

/// The ways to the other nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TunnelsView {
    /// UDP port on which we listen.
    pub listen_port: u16,
    /// Tunnels, by node id.
    pub tunnels: Vec<TunnelRow>,
    /// Nodes as which two routers seem to run.
    pub identity_conflicts: Vec<IdentityConflictRow>,
}

/// One tunnel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TunnelRow {
    /// Far node.
    pub node: NodeRef,
    /// Its overlay address.
    pub overlay: Ipv4Addr,
    /// Tunnel number; equals the WireGuard peer index.
    pub tunnel: u16,
    /// Encapsulation: `wireguard`.
    pub encap: String,
    /// Whether packets can be sent now.
    pub up: bool,
    /// Current outer address.
    pub endpoint: Option<SocketAddr>,
    /// Configured endpoint, `host:port`.
    pub configured_endpoint: Option<String>,
    /// Seconds since the newest handshake.
    pub last_handshake_s: Option<f64>,
    /// Seconds since the last authenticated packet.
    pub last_received_s: Option<f64>,
    /// Inner bytes received.
    pub rx_bytes: u64,
    /// Inner bytes sent.
    pub tx_bytes: u64,
    /// Handshakes completed.
    pub handshakes: u64,
    /// Handshake initiations sent since the last success.
    pub attempts: u32,
    /// How often the endpoint moved by roaming.
    pub roams: u64,
    /// Underlay MTU to the endpoint.
    pub underlay_mtu: u16,
    /// Bytes that encapsulation adds.
    pub overhead: u16,
    /// Largest inner packet.
    pub mtu: u16,
    /// Whether a preshared key is configured.
    pub preshared_key: bool,
    /// Interval of persistent keepalives in seconds.
    pub keepalive_s: Option<f64>,
}

/// A node as which two routers seem to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdentityConflictRow {
    /// The node.
    pub node: NodeRef,
    /// What alternates: `marker-epoch` or `endpoint`.
    pub evidence: String,
    /// How often it alternated.
    pub count: u32,
    /// Seconds since the last time.
    pub last_s: f64,
}
