//! Names for the places of a capture, and each packet's comment: what became of it, and which node is at the other end.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sam_dataplane::decision::Way;
use sam_dataplane::trace::{TapPoint, TapRecord};
use sam_dataplane::{PortId, TunnelId, Verdict};

/// Names of interfaces and nodes, as of the start of a capture.
#[derive(Debug)]
pub(crate) struct Names {
    /// LAN ports.
    pub(crate) lans: BTreeMap<PortId, String>,
    /// The TUN device.
    pub(crate) tun: String,
    /// The node at the end of each tunnel.
    pub(crate) nodes: BTreeMap<TunnelId, String>,
    /// The tunnel to each outer address; what is not attributed otherwise, such as a handshake, belongs to it.
    pub(crate) endpoints: BTreeMap<IpAddr, TunnelId>,
}

impl Names {
    /// Lists all places that have a name.
    pub(super) fn points(&self) -> Vec<TapPoint> {
        let lans = self.lans.keys().map(|port| TapPoint::Lan(*port));
        let inner = self.nodes.keys().map(|tunnel| TapPoint::Inner(*tunnel));
        lans.chain([TapPoint::Tun])
            .chain(inner)
            .chain([TapPoint::Outer, TapPoint::Dropped])
            .collect()
    }

    /// Returns name and description of a place.
    pub(super) fn interface(&self, point: TapPoint) -> (String, String) {
        match point {
            TapPoint::Lan(port) => (self.lan(port), "frames on the LAN".into()),
            TapPoint::Tun => (self.tun.clone(), "packets of this host".into()),
            TapPoint::Inner(tunnel) => {
                let node = self.node(tunnel);
                let description = format!("inside of the tunnel to {node}");
                (format!("inner:{node}"), description)
            }
            TapPoint::Outer => (
                "outer".into(),
                "tunnels as the underlay sees them; IP and UDP headers are written anew".into(),
            ),
            TapPoint::Dropped => (
                "dropped".into(),
                "packets that were dropped after they had waited".into(),
            ),
        }
    }

    /// Says what became of a packet.
    pub(super) fn comment(&self, record: &TapRecord) -> String {
        let node = self.tunnel(record).map(|tunnel| self.node(tunnel));
        if record.outbound {
            return match node {
                Some(node) => format!("sent to {node}"),
                None => "sent".into(),
            };
        }
        let verdict = record
            .verdict
            .map_or_else(|| "received".into(), |verdict| self.verdict(verdict));
        match node {
            Some(node) => format!("from {node}: {verdict}"),
            None => verdict,
        }
    }

    fn verdict(&self, verdict: Verdict) -> String {
        match verdict {
            Verdict::Forwarded(Way::Host) => format!("delivered to this host by {}", self.tun),
            Verdict::Forwarded(Way::Lan { port, .. }) => format!("forwarded to {}", self.lan(port)),
            Verdict::Forwarded(Way::Tunnel { tunnel, .. }) => {
                format!("forwarded to {}", self.node(tunnel))
            }
            Verdict::Waits(reason) => format!("waits, else dropped: {}", reason.name()),
            Verdict::Dropped(reason) => format!("dropped: {} ({})", reason.name(), reason.text()),
            Verdict::Opened(_) => "opened".into(),
            Verdict::Keepalive => "keepalive".into(),
            Verdict::ProbeAnswer => "answer to a probe of the path".into(),
            Verdict::Question => "asks whether an address lives here".into(),
            Verdict::EchoAnswered => "a ping to the virtual address, answered".into(),
            Verdict::Handshake => "handshake".into(),
            Verdict::Arp { answered: true } => "answered".into(),
            Verdict::Arp { answered: false } => "not answered".into(),
        }
    }

    fn tunnel(&self, record: &TapRecord) -> Option<TunnelId> {
        let by_address = || {
            let remote = record.remote?.address.ip().to_canonical();
            self.endpoints.get(&remote).copied()
        };
        record.tunnel.or_else(by_address)
    }

    fn node(&self, tunnel: TunnelId) -> String {
        let known = self.nodes.get(&tunnel).cloned();
        known.unwrap_or_else(|| format!("tunnel {}", tunnel.0))
    }

    fn lan(&self, port: PortId) -> String {
        let known = self.lans.get(&port).cloned();
        known.unwrap_or_else(|| format!("LAN port {}", port.0))
    }
}

#[cfg(test)]
impl Names {
    /// A LAN and a tunnel to aws, at 192.0.2.2.
    pub(super) fn sample() -> Self {
        Self {
            lans: BTreeMap::from([(PortId(1), "lan0".into())]),
            tun: "sam0".into(),
            nodes: BTreeMap::from([(TunnelId(0), "aws".into())]),
            endpoints: BTreeMap::from([(IpAddr::from([192, 0, 2, 2]), TunnelId(0))]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use sam_dataplane::trace::Remote;
    use sam_dataplane::{DropReason, Gso};

    use super::*;

    const TUNNEL: TunnelId = TunnelId(0);

    fn comment(point: TapPoint, outbound: bool, verdict: Option<Verdict>) -> String {
        let (tunnel, remote) = match point {
            TapPoint::Inner(tunnel) => (Some(tunnel), None),
            TapPoint::Outer => {
                let address = "192.0.2.2:40000".parse().expect("address");
                let carrier = None;
                (None, Some(Remote { address, carrier }))
            }
            TapPoint::Lan(_) | TapPoint::Tun | TapPoint::Dropped => (None, None),
        };
        Names::sample().comment(&TapRecord {
            point,
            outbound,
            at: Instant::now(),
            length: 0,
            data: [].into(),
            remote,
            gso: Gso::None,
            tunnel,
            verdict,
        })
    }

    #[test]
    fn a_comment_names_verdict_and_peer() {
        let (lan, inner) = (TapPoint::Lan(PortId(1)), TapPoint::Inner(TUNNEL));
        let tunnel = Way::Tunnel {
            tunnel: TUNNEL,
            mtu: 1440,
        };
        let to_lan = Way::Lan {
            port: PortId(1),
            mtu: 1500,
        };
        for (point, verdict, expected) in [
            (lan, Verdict::Forwarded(tunnel), "forwarded to aws"),
            (
                inner,
                Verdict::Forwarded(to_lan),
                "from aws: forwarded to lan0",
            ),
            (
                inner,
                Verdict::Forwarded(Way::Host),
                "from aws: delivered to this host by sam0",
            ),
            (
                lan,
                Verdict::Dropped(DropReason::NoRoute),
                "dropped: no-route (No route to the destination)",
            ),
            (
                lan,
                Verdict::Waits(DropReason::TunnelNoSession),
                "waits, else dropped: tunnel-no-session",
            ),
            (lan, Verdict::Arp { answered: true }, "answered"),
            (lan, Verdict::Arp { answered: false }, "not answered"),
            (TapPoint::Outer, Verdict::Opened(TUNNEL), "from aws: opened"),
            (TapPoint::Outer, Verdict::Handshake, "from aws: handshake"),
            (TapPoint::Outer, Verdict::Keepalive, "from aws: keepalive"),
        ] {
            assert_eq!(comment(point, false, Some(verdict)), expected);
        }
        assert_eq!(comment(inner, true, None), "sent to aws");
        assert_eq!(comment(TapPoint::Outer, true, None), "sent to aws");
        assert_eq!(comment(lan, true, None), "sent");
        assert_eq!(comment(lan, false, None), "received");
    }
}
