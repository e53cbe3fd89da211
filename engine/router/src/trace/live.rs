//! `samctl trace --live`: a packet that really came, what the packet path said about it, and the stages behind that.
//!
//! The verdict is the packet path's own. The values at each stage are those of the forwarding state at the moment of
//! the answer; when that would decide otherwise by now, a note says so.

use std::net::Ipv4Addr;
use std::time::Instant;

use sam_dataplane::decision::{Refusal, Way, decide};
use sam_dataplane::ingress::Ingress;
use sam_dataplane::packet::ethernet::ETHERNET_HEADER;
use sam_dataplane::packet::icmp::IcmpError;
use sam_dataplane::packet::ipv4::IPV4_HEADER;
use sam_dataplane::packet::{Classified, L4, classify};
use sam_dataplane::segment::segment_size;
use sam_dataplane::trace::{TapPoint, TapRecord};
use sam_dataplane::{Checksum, DropReason, Offload, TunnelId, Verdict};

use super::stage::Stage;
use super::{Subject, Walk, verdict};
use crate::Router;
use crate::facts::Facts;
use crate::view::{LiveTraceView, TraceOutcome, TraceVerdict};

impl Router {
    /// `samctl trace --live`: explains one packet, which was seen at `time` seconds since the Unix epoch. `None` for
    /// what is no received inner packet.
    #[must_use]
    pub fn trace_live(
        &self,
        record: &TapRecord,
        time: f64,
        facts: &Facts,
        now: Instant,
    ) -> Option<LiveTraceView> {
        let said = record.verdict?;
        let (ingress, bytes) = packet_of(record)?;
        let header: &[u8; IPV4_HEADER] = bytes.first_chunk()?;
        let [from, to] = [12, 16]
            .map(|at| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]));
        let classified = classify(&bytes);
        let offload = Offload {
            gso: record.gso,
            checksum: Checksum::Complete,
        };
        let length = bytes.len();
        let (what, size) = match &classified {
            Ok(classified) => (words(classified, &bytes), segment_size(classified, offload)),
            Err(_) => (format!("protocol {}", header[9]), length),
        };
        let snapshot = self.fib.snapshot();
        let mut walk = Walk {
            router: self,
            snapshot,
            facts,
            now,
            subject: Subject {
                from,
                to,
                what: what.clone(),
                size,
            },
            tunnels: self.tunnels(facts, now).tunnels,
            stages: Vec::new(),
        };
        let verdict = walk.relive(ingress, classified, said)?;
        Some(LiveTraceView {
            time,
            from,
            to,
            what,
            length,
            generation: snapshot.generation,
            stages: walk.stages,
            verdict,
        })
    }
}

/// Returns where a packet came in, where that is known, and its bytes from the IP header on; what was not copied of its
/// payload is zero, and nothing looks at it.
fn packet_of(record: &TapRecord) -> Option<(Option<Ingress>, Vec<u8>)> {
    let (ingress, link) = match record.point {
        TapPoint::Lan(port) => (Some(Ingress::Lan(port)), ETHERNET_HEADER),
        TapPoint::Tun => (Some(Ingress::Host), 0),
        TapPoint::Inner(tunnel) => (Some(Ingress::Tunnel(tunnel)), 0),
        TapPoint::Dropped => (None, 0),
        TapPoint::Outer => return None,
    };
    let mut bytes = record.data.get(link..)?.to_vec();
    bytes.resize(record.length.saturating_sub(link), 0);
    Some((ingress, bytes))
}

/// Says what a packet carries.
fn words(classified: &Classified, bytes: &[u8]) -> String {
    let ports = |name: &str| {
        let port = |at: usize| {
            let at = classified.ip_header + at;
            u16::from_be_bytes([bytes[at], bytes[at + 1]])
        };
        format!("{name} port {} to {}", port(0), port(2))
    };
    match classified.l4 {
        L4::Tcp { .. } => ports("tcp"),
        L4::Udp => ports("udp"),
        L4::Icmp { kind } => format!("icmp type {kind}"),
        L4::Other if classified.later_fragment => {
            format!("a later fragment of protocol {}", classified.protocol)
        }
        L4::Other => format!("protocol {}", classified.protocol),
    }
}

impl Walk<'_> {
    /// Goes from the entrance to the verdict that was said; `None` when none was.
    fn relive(
        &mut self,
        ingress: Option<Ingress>,
        classified: Result<Classified, DropReason>,
        said: Verdict,
    ) -> Option<TraceVerdict> {
        let ingress = match ingress {
            Some(ingress) => {
                let door = self.door(ingress);
                self.pass(Stage::Entrance, door);
                ingress
            }
            None => self.enter(),
        };
        let classified = match (classified, said) {
            (Ok(classified), _) => classified,
            (Err(_), Verdict::Dropped(reason)) => {
                return Some(self.drop(Stage::of_drop(reason, None), reason.text().into(), reason));
            }
            (Err(_), _) => return None,
        };
        let now = decide(self.snapshot, ingress, &classified, self.subject.size);
        let verdict = match said {
            Verdict::Forwarded(way) => {
                self.pass_all(ingress, &classified);
                self.left_by(way, ingress, &classified)
            }
            Verdict::Waits(reason) => {
                self.pass_all(ingress, &classified);
                self.kept(reason, now.ok())
            }
            Verdict::Dropped(reason) => self.dropped(reason, ingress, &classified, now),
            Verdict::EchoAnswered => {
                self.pass(Stage::Packet, self.describe(&classified));
                return Some(self.answer());
            }
            Verdict::ProbeAnswer
            | Verdict::Question
            | Verdict::Opened(_)
            | Verdict::Keepalive
            | Verdict::Handshake
            | Verdict::Arp { .. } => {
                return None;
            }
        };
        if !agrees(said, now) {
            let text = "the forwarding state has changed since: it would decide otherwise now";
            self.note(Stage::Route, text.into());
        }
        Some(verdict)
    }

    fn pass_all(&mut self, ingress: Ingress, classified: &Classified) {
        self.pass(Stage::Packet, self.describe(classified));
        self.pass_until(None, ingress, classified);
    }

    fn left_by(&mut self, way: Way, ingress: Ingress, classified: &Classified) -> TraceVerdict {
        let (size, mtu) = (self.subject.size, usize::from(way.mtu()));
        if size > mtu {
            self.pass(
                Stage::Fragments,
                format!("{size} bytes, in fragments of at most {mtu}"),
            );
        }
        if matches!(classified.l4, L4::Tcp { .. }) {
            self.note_mss(ingress, way);
        }
        match way {
            Way::Host => self.leave_to_host(),
            Way::Lan { port, .. } => {
                let lan = self.snapshot.lan(port).map(|lan| lan.name.as_str());
                let text = format!(
                    "to {} on {}",
                    classified.destination,
                    lan.unwrap_or("a LAN")
                );
                self.pass(Stage::Neighbor, text.clone());
                verdict(TraceOutcome::Forwarded, None, text)
            }
            Way::Tunnel { tunnel, .. } => {
                let text = self.tunnel_text(tunnel);
                self.pass(Stage::Encapsulation, text.clone());
                verdict(
                    TraceOutcome::Forwarded,
                    None,
                    format!("through the tunnel: {text}"),
                )
            }
        }
    }

    fn kept(&mut self, reason: DropReason, way: Option<Way>) -> TraceVerdict {
        let text = match (reason, way) {
            (DropReason::TunnelNoSession, Some(Way::Tunnel { tunnel, .. })) => {
                format!("{}: no session yet", self.tunnel_text(tunnel))
            }
            _ => format!("{} is asked for by ARP", self.subject.to),
        };
        self.note(Stage::of_drop(reason, way), text);
        let text = format!("it waits; if in vain, it is dropped ({})", reason.text());
        verdict(TraceOutcome::Waits, Some(reason), text)
    }

    fn dropped(
        &mut self,
        reason: DropReason,
        ingress: Ingress,
        classified: &Classified,
        now: Result<Way, Refusal>,
    ) -> TraceVerdict {
        let stop = Stage::of_drop(reason, now.ok());
        if !matches!(stop, Stage::Filter | Stage::Packet) {
            self.pass(Stage::Packet, self.describe(classified));
            self.pass_until(Some(stop), ingress, classified);
        }
        let seen = self.seen_by(stop, ingress, classified);
        let text = if seen.is_empty() {
            reason.text().into()
        } else {
            seen
        };
        let verdict = self.drop(stop, text, reason);
        let told = match now {
            Err(refusal) if refusal.reason == reason => refusal.error,
            Ok(_) | Err(_) => {
                (reason == DropReason::NeighborFailed).then_some(IcmpError::HostUnreachable)
            }
        };
        if let Some(error) = told {
            self.report(ingress, classified, error);
        }
        verdict
    }

    fn tunnel_text(&self, tunnel: TunnelId) -> String {
        let Some(row) = self.tunnels.iter().find(|row| row.tunnel == tunnel.0) else {
            return format!("tunnel {}", tunnel.0);
        };
        let endpoint = row
            .endpoint
            .map_or_else(|| "an unknown endpoint".into(), |to| to.to_string());
        format!("{} to {} at {endpoint}", row.encap, row.node.name)
    }
}

/// Tells whether the forwarding state of now decides as the packet path did; what came after the decision does not
/// speak against it.
fn agrees(said: Verdict, now: Result<Way, Refusal>) -> bool {
    match (said, now) {
        (Verdict::Forwarded(way), Ok(now)) => way == now,
        (Verdict::Forwarded(_) | Verdict::Waits(_), Err(_)) => false,
        (Verdict::Dropped(reason), Err(refusal)) => refusal.reason == reason,
        (Verdict::Dropped(reason), Ok(_)) => !Stage::of_drop(reason, None).is_of_decision(),
        _ => true,
    }
}
