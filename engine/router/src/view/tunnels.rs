//! `samctl tunnels`: the ways to the other nodes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use sam_capture::NodeId;
use sam_dataplane::snapshot::Encap;
use serde::{Deserialize, Serialize};

use super::{NodeRef, seconds_ago};
use crate::Router;
use crate::config::{Endpoint, Host, Node};
use crate::facts::Facts;
use crate::identity::Conflict;
use crate::tunnels::TunnelPlan;

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
    /// Its WireGuard public key, in base64.
    pub public_key: String,
    /// Encapsulation: `wireguard`, `gue`, `fou`, `gre`, `ipip`, `vxlan`, `gre over wireguard` or `gue over wireguard`.
    pub encap: String,
    /// Whether WireGuard is all that the underlay sees.
    pub encrypted: bool,
    /// Whether packets can be sent now: WireGuard has a session; without encryption there are none, and a known
    /// endpoint is enough.
    pub up: bool,
    /// Why the tunnel is refused, if so: `routed-into-itself`. Nothing is forwarded into it or taken from it.
    pub fault: Option<String>,
    /// Current outer address.
    pub endpoint: Option<SocketAddr>,
    /// Configured endpoint, `host:port`.
    pub configured_endpoint: Option<String>,
    /// Seconds since the newest handshake.
    pub last_handshake_s: Option<f64>,
    /// Seconds since the last packet; with WireGuard the last authenticated one, keepalives too.
    pub last_received_s: Option<f64>,
    /// Inner packets received.
    pub rx_packets: u64,
    /// Inner bytes received.
    pub rx_bytes: u64,
    /// Inner packets sent.
    pub tx_packets: u64,
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
    /// What the path carries, outer header included, where less than the underlay promises was learnt.
    pub path_mtu: Option<u16>,
    /// How that is known: `error` (an ICMP error, or a refusal of the kernel) or `probe`.
    pub path_mtu_by: Option<String>,
    /// What the underlay said in the last half minute about packets that it did not deliver.
    pub undelivered: Option<UndeliveredRow>,
    /// Bytes that encapsulation adds.
    pub overhead: u16,
    /// Largest inner packet.
    pub mtu: u16,
    /// Whether a preshared key is configured.
    pub preshared_key: bool,
    /// Interval of persistent keepalives in seconds.
    pub keepalive_s: Option<f64>,
}

/// What the underlay says about packets that it did not deliver. Nobody vouches for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UndeliveredRow {
    /// The latest reason: `net-unreachable`, `host-unreachable`, `protocol-unreachable`, `port-unreachable`, `prohibited`,
    /// `time-exceeded`, `source-route-failed` or `parameter-problem`.
    pub reason: String,
    /// Who gave it.
    pub by: Option<IpAddr>,
    /// How often, counted ten times a second at most.
    pub count: u32,
    /// Seconds since the last time.
    pub last_s: f64,
    /// Whether hosts that send into the tunnel are told that nothing arrives.
    pub senders_told: bool,
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

impl Router {
    /// `samctl tunnels`
    #[must_use]
    pub fn tunnels(&self, facts: &Facts, now: Instant) -> TunnelsView {
        let row = |(id, plan)| {
            self.config
                .fabric
                .nodes
                .get(&id)
                .map(|node| self.tunnel_row(node, &plan, facts, now))
        };
        let conflict = |conflict: Conflict| IdentityConflictRow {
            node: NodeRef::new(&self.config, conflict.node),
            evidence: conflict.evidence.name().into(),
            count: conflict.count,
            last_s: seconds_ago(conflict.last, now),
        };
        TunnelsView {
            listen_port: self.config.local.listen_port,
            tunnels: self.tunnel_plans().into_iter().filter_map(row).collect(),
            identity_conflicts: self
                .identity
                .conflicts(now)
                .into_iter()
                .map(conflict)
                .collect(),
        }
    }

    fn tunnel_row(&self, node: &Node, plan: &TunnelPlan, facts: &Facts, now: Instant) -> TunnelRow {
        let peer = facts.peers.iter().find(|peer| peer.index == plan.peer.0);
        let traffic = facts
            .tunnels
            .iter()
            .find(|traffic| traffic.tunnel == plan.tunnel.0)
            .cloned()
            .unwrap_or_default();
        // Without the device's word, the last notice tells.
        let can_send = match plan.encap {
            Encap::WireGuard(_) => {
                peer.map_or_else(|| self.host.tunnel_up(node.id), |peer| peer.session)
            }
            Encap::Plain(_) => plan.endpoint.is_some(),
        };
        let transport = self.config.transport_to(node.id);
        let shown = peer.cloned().unwrap_or_default();
        TunnelRow {
            node: NodeRef::new(&self.config, node.id),
            overlay: node.overlay,
            tunnel: plan.tunnel.0,
            public_key: node.public_key.to_string(),
            encap: transport.encapsulation.name().into(),
            encrypted: transport.encapsulation.is_encrypted(),
            up: can_send && plan.fault.is_none(),
            fault: plan.fault.map(|fault| fault.name().into()),
            endpoint: shown.endpoint.or(plan.endpoint),
            configured_endpoint: node.endpoint.as_ref().map(endpoint_text),
            last_handshake_s: shown.last_handshake_s,
            last_received_s: match plan.encap {
                Encap::WireGuard(_) => shown.last_received_s,
                Encap::Plain(_) => traffic.last_received_s,
            },
            rx_packets: traffic.rx_packets,
            rx_bytes: traffic.rx_bytes,
            tx_packets: traffic.tx_packets,
            tx_bytes: traffic.tx_bytes,
            handshakes: shown.handshakes,
            attempts: shown.attempts,
            roams: shown.roams,
            underlay_mtu: plan.underlay_mtu,
            path_mtu: plan.learnt.map(|learnt| learnt.size + plan.overhead),
            path_mtu_by: plan.learnt.map(|learnt| learnt.source.name().into()),
            undelivered: self.undelivered_row(node.id, plan, now),
            overhead: plan.overhead,
            mtu: plan.mtu,
            preshared_key: self.config.local.preshared_keys.contains_key(&node.id),
            keepalive_s: transport.keepalive.map(|every| every.as_secs_f64()),
        }
    }

    fn undelivered_row(
        &self,
        node: NodeId,
        plan: &TunnelPlan,
        now: Instant,
    ) -> Option<UndeliveredRow> {
        let said = self.complaints.about(node, now)?;
        Some(UndeliveredRow {
            reason: said.why.name().into(),
            by: said.by,
            count: said.count,
            last_s: seconds_ago(said.last, now),
            senders_told: self.tells_senders(node, plan),
        })
    }
}

impl UndeliveredRow {
    /// Writes it as a sentence about packets to a node.
    #[must_use]
    pub fn text(&self, node: &str) -> String {
        let by = self
            .by
            .map_or_else(|| "the underlay".into(), |by| by.to_string());
        let reason = &self.reason;
        format!("{by} says that packets to {node} are not delivered: {reason}")
    }
}

impl TunnelRow {
    /// Returns what the underlay says, unless it is over: it said no more for some seconds, and since then something came by
    /// the tunnel.
    #[must_use]
    pub fn complaint(&self) -> Option<&UndeliveredRow> {
        let said = self.undelivered.as_ref()?;
        let heard_since = self.last_received_s.is_some_and(|ago| ago < said.last_s);
        (!heard_since || said.last_s < REPEATED_S).then_some(said)
    }

    /// Writes the MTU as the sum that it is: `1240 = 1500 - 200 - 60`; the middle is what was learnt about the path.
    #[must_use]
    pub fn mtu_sum(&self) -> String {
        let (mtu, underlay, overhead) = (self.mtu, self.underlay_mtu, self.overhead);
        match self.path_mtu.and_then(|path| underlay.checked_sub(path)) {
            Some(missing) => format!("{mtu} = {underlay} - {missing} - {overhead}"),
            None => format!("{mtu} = {underlay} - {overhead}"),
        }
    }

    /// Says what is wrong with a refused tunnel.
    #[must_use]
    pub fn fault_text(&self) -> Option<String> {
        let fault = self.fault.as_deref()?;
        let endpoint = self.endpoint.map_or_else(
            || "its endpoint".into(),
            |endpoint| endpoint.ip().to_string(),
        );
        Some(format!(
            "refused ({fault}): the host's route to {endpoint} leads into the TUN device"
        ))
    }

    /// Says how the size of the path is known, where it was learnt.
    #[must_use]
    pub fn path_mtu_text(&self) -> Option<String> {
        let by = match self.path_mtu_by.as_deref()? {
            "error" => "said the underlay",
            _ => "found by probes",
        };
        Some(format!("its path carries {} bytes, {by}", self.path_mtu?))
    }
}

/// Seconds within which a router of the underlay repeats itself: many say one thing a second at most.
const REPEATED_S: f64 = 3.0;

fn endpoint_text(endpoint: &Endpoint) -> String {
    match &endpoint.host {
        Host::Address(address) => SocketAddr::new(*address, endpoint.port).to_string(),
        Host::Name(name) => format!("{name}:{}", endpoint.port),
    }
}
