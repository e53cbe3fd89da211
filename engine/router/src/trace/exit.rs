//! How a packet leaves: to the host, to a neighbor on the LAN, through a tunnel.

use sam_dataplane::ingress::Ingress;
use sam_dataplane::packet::Classified;
use sam_dataplane::packet::icmp::IcmpError;
use sam_dataplane::staging::PATIENCE;
use sam_dataplane::{DropReason, PortId, TunnelId};

use super::stage::Stage;
use super::{Walk, verdict};
use crate::view::{TraceOutcome, TraceVerdict, TunnelRow};

impl Walk<'_> {
    pub(super) fn leave_to_host(&mut self) -> TraceVerdict {
        let name = match &self.snapshot.tun {
            Some(tun) => tun.name.clone(),
            None => {
                let reason = DropReason::PortUnknown;
                return self.drop(Stage::Host, reason.text().into(), reason);
            }
        };
        self.pass(Stage::Host, format!("by {name}"));
        verdict(
            TraceOutcome::Delivered,
            None,
            format!("this host receives it by {name}"),
        )
    }

    /// Sends to a neighbor. One that was not asked for yet is asked for the packet's sake.
    pub(super) fn leave_by_lan(
        &mut self,
        port: PortId,
        ingress: Ingress,
        classified: &Classified,
    ) -> TraceVerdict {
        let address = classified.destination;
        let lan = self
            .snapshot
            .lan(port)
            .map_or_else(String::new, |lan| lan.name.clone());
        let mut neighbors = self.facts.neighbors.iter();
        let known = neighbors.find(|row| row.port == port.0 && row.address == address);
        let Some(known) = known else {
            let text = format!("{address} is not known yet: it is asked for by ARP first");
            self.note(Stage::Neighbor, text);
            let text = format!("to {address} on {lan}, once it answers ARP");
            return verdict(TraceOutcome::Forwarded, None, text);
        };
        let seen = format!("{address} is {} for {:.0} s", known.state, known.since_s);
        match &known.mac {
            Some(mac) => {
                let text = format!("to {address} at {mac} on {lan}");
                self.pass(Stage::Neighbor, format!("{seen}, at {mac}"));
                verdict(TraceOutcome::Forwarded, None, text)
            }
            None if known.state == FAILED => {
                let verdict = self.drop(Stage::Neighbor, seen, DropReason::NeighborFailed);
                self.report(ingress, classified, IcmpError::HostUnreachable);
                verdict
            }
            None => {
                self.note(Stage::Neighbor, seen);
                let text = format!("it waits until {address} answers ARP, or is dropped");
                verdict(TraceOutcome::Waits, Some(DropReason::NeighborFailed), text)
            }
        }
    }

    /// Seals for a tunnel, or waits for its session.
    pub(super) fn leave_by_tunnel(&mut self, tunnel: TunnelId) -> TraceVerdict {
        let Some(row) = self.tunnels.iter().find(|row| row.tunnel == tunnel.0) else {
            let text = format!("tunnel {} leads to no node", tunnel.0);
            return self.drop(Stage::Encapsulation, text, DropReason::TunnelDown);
        };
        let name = row.node.name.clone();
        let endpoint = row.endpoint;
        let (up, text) = (row.up, session_text(row));
        if !up {
            self.note(Stage::Encapsulation, text);
            let seconds = PATIENCE.as_secs();
            let text =
                format!("it waits at most {seconds} s for a handshake with {name}, or is dropped");
            return verdict(TraceOutcome::Waits, Some(DropReason::TunnelNoSession), text);
        }
        let Some(endpoint) = endpoint else {
            return self.drop(Stage::Encapsulation, text, DropReason::TunnelNoEndpoint);
        };
        self.pass(Stage::Encapsulation, text);
        verdict(
            TraceOutcome::Forwarded,
            None,
            format!("through the tunnel to {name}, at {endpoint}"),
        )
    }
}

fn session_text(row: &TunnelRow) -> String {
    let endpoint = row
        .endpoint
        .map_or_else(|| "an unknown endpoint".into(), |to| to.to_string());
    let session = match (row.up, row.last_handshake_s) {
        (true, Some(age)) => format!("session up, handshake {age:.0} s ago"),
        (true, None) => "session up".into(),
        (false, _) => format!("no session, {} attempts since the last", row.attempts),
    };
    format!(
        "{} to {} at {endpoint}, {session}",
        row.encap, row.node.name
    )
}

/// State of a neighbor that did not answer, as facts name it.
const FAILED: &str = "failed";
