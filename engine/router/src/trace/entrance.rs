//! Where a packet from the source comes in: where the forwarding table says that the source lives.

use sam_dataplane::ingress::Ingress;
use sam_dataplane::{NextHop, PortId};

use super::stage::Stage;
use super::{Walk, verdict};
use crate::view::{TraceOutcome, TraceVerdict};

impl Walk<'_> {
    /// Takes the packet in.
    pub(super) fn enter(&mut self) -> Ingress {
        let source = self.subject.from;
        let found = match self.snapshot.fib.lookup(source) {
            Some(NextHop::Lan(port)) => Some(Ingress::Lan(port)),
            Some(NextHop::Local) => Some(Ingress::Host),
            Some(NextHop::Tunnel(tunnel)) => Some(Ingress::Tunnel(tunnel)),
            Some(NextHop::Withhold | NextHop::Blackhole | NextHop::Unreachable) | None => None,
        };
        let ingress = found.unwrap_or_else(|| {
            let lan = self.snapshot.lans.first();
            lan.map_or(Ingress::Host, |lan| Ingress::Lan(lan.id))
        });
        let mut text = self.door(ingress);
        if let Ingress::Lan(port) = ingress
            && let Some(lan) = self.snapshot.lan(port)
            && self.subject.size > usize::from(lan.mtu)
        {
            text.push_str(&format!(
                "; longer than its MTU {}: hosts send it in pieces, each judged by itself",
                lan.mtu
            ));
        }
        if found.is_some() {
            self.pass(Stage::Entrance, text);
        } else {
            let text = format!("nothing leads back to {source}; taken as sent from {text}");
            self.note(Stage::Entrance, text);
        }
        ingress
    }

    /// Lets the filter of a LAN port see the packet; a verdict when it does not reach the engine.
    pub(super) fn filter(&mut self, port: PortId) -> Option<TraceVerdict> {
        let lan = self.snapshot.lan(port)?;
        let destination = self.subject.to;
        if lan.is_taken(destination) {
            self.pass(Stage::Filter, format!("{destination} lies in a pool"));
            return None;
        }
        let (outcome, why, then) = match self.snapshot.fib.lookup(destination) {
            Some(NextHop::Local) => (
                TraceOutcome::Delivered,
                "is this host's own",
                "this host's kernel receives it",
            ),
            Some(
                NextHop::Lan(_)
                | NextHop::Tunnel(_)
                | NextHop::Withhold
                | NextHop::Blackhole
                | NextHop::Unreachable,
            )
            | None => (
                TraceOutcome::LeftToKernel,
                "lies in no pool",
                "this router takes from a LAN what goes to a pool; the rest is for this host's kernel to route or drop",
            ),
        };
        let text = format!("{destination} {why}: not taken from {}", lan.name);
        self.note(Stage::Filter, text);
        Some(verdict(outcome, None, then))
    }

    /// Names where packets come in.
    pub(super) fn door(&self, ingress: Ingress) -> String {
        match ingress {
            Ingress::Lan(port) => {
                let name = self.snapshot.lan(port).map(|lan| lan.name.as_str());
                format!("LAN {}", name.unwrap_or("unknown"))
            }
            Ingress::Tunnel(tunnel) => {
                let name = self.snapshot.tunnel(tunnel).map(|far| far.name.as_str());
                format!("tunnel from {}", name.unwrap_or("unknown"))
            }
            Ingress::Host => format!("this host, by {}", self.router.config.local.tun),
        }
    }
}
