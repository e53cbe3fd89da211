//! `samctl trace SRC DST`: what would happen to a packet here, without sending one.
//!
//! Nothing is decided here: the packet is written as bytes and goes through the functions of the packet path
//! ([`classify`], [`decide`], [`ArpResponder::answer`](sam_dataplane::arp_responder::ArpResponder::answer),
//! [`mss::limit`], [`fragment`]) over the snapshot that the workers were given last. This module puts their answers
//! into words. What only workers know, sessions and neighbors, comes from [`Facts`].

mod arp;
mod entrance;
mod exit;
mod live;
#[cfg(test)]
mod live_tests;
mod packet;
mod report;
mod route;
mod stage;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::time::Instant;

use sam_dataplane::decision::{Refusal, Way, decide, pinged_lan};
use sam_dataplane::force_fragment::force;
use sam_dataplane::fragment::fragment;
use sam_dataplane::ingress::Ingress;
use sam_dataplane::packet::{Classified, L4, classify};
use sam_dataplane::{DropReason, Offload, Snapshot, mss};

pub use packet::TraceRefusal;

use crate::Router;
use crate::facts::Facts;
use crate::view::{
    StageResult, TraceOutcome, TraceQuery, TraceStage, TraceVerdict, TraceView, TunnelRow,
};
use stage::Stage;

/// What is traced.
#[derive(Debug)]
struct Subject {
    /// Source address.
    from: Ipv4Addr,
    /// Destination address.
    to: Ipv4Addr,
    /// Protocol and ports in words.
    what: String,
    /// Length in bytes of the longest wire packet, which is what an MTU limits.
    size: usize,
}

/// A packet on its way.
#[derive(Debug)]
struct Walk<'a> {
    router: &'a Router,
    snapshot: &'a Snapshot,
    facts: &'a Facts,
    now: Instant,
    subject: Subject,
    /// The tunnels, as `samctl tunnels` shows them.
    tunnels: Vec<TunnelRow>,
    stages: Vec<TraceStage>,
}

impl Router {
    /// `samctl trace SRC DST`
    ///
    /// # Errors
    /// When there is no such packet.
    pub fn trace(
        &self,
        query: &TraceQuery,
        facts: &Facts,
        now: Instant,
    ) -> Result<TraceView, TraceRefusal> {
        let bytes = packet::write(query)?;
        let mut walk = Walk {
            router: self,
            snapshot: self.fib.snapshot(),
            facts,
            now,
            subject: Subject {
                from: query.from,
                to: query.to,
                what: packet::words(query),
                size: usize::from(query.size),
            },
            tunnels: self.tunnels(facts, now).tunnels,
            stages: Vec::new(),
        };
        let verdict = walk.go(&bytes);
        Ok(TraceView {
            query: *query,
            generation: walk.snapshot.generation,
            stages: walk.stages,
            verdict,
        })
    }
}

impl Walk<'_> {
    /// Goes from the entrance to the verdict.
    fn go(&mut self, bytes: &[u8]) -> TraceVerdict {
        let ingress = self.enter();
        if let Ingress::Lan(port) = ingress {
            self.ask_arp(port);
            if let Some(verdict) = self.filter(port) {
                return verdict;
            }
        }
        let classified = match classify(bytes) {
            Ok(classified) => classified,
            Err(reason) => return self.drop(Stage::Packet, reason.text().into(), reason),
        };
        self.pass(Stage::Packet, self.describe(&classified));
        match decide(self.snapshot, ingress, &classified, classified.total) {
            Ok(way) => self.send(ingress, way, bytes, &classified),
            Err(_) if pinged_lan(self.snapshot, ingress, &classified).is_some() => self.answer(),
            Err(refusal) => self.refuse(ingress, refusal, &classified),
        }
    }

    /// Answers a ping to the virtual address, which is nobody's in the forwarding table.
    fn answer(&mut self) -> TraceVerdict {
        let to = self.subject.to;
        let text = format!("{to} is the virtual address, and this router is its master");
        self.pass(Stage::Host, text);
        let text = "the engine of this router answers it";
        verdict(TraceOutcome::Delivered, None, text)
    }

    /// What stages of [`decide`] a refused packet passed, and the one that stopped it.
    fn refuse(
        &mut self,
        ingress: Ingress,
        refusal: Refusal,
        classified: &Classified,
    ) -> TraceVerdict {
        let stop = Stage::of(refusal.reason);
        self.pass_until(Some(stop), ingress, classified);
        let seen = self.seen_by(stop, ingress, classified);
        let verdict = self.drop(stop, seen, refusal.reason);
        if let Some(error) = refusal.error {
            self.report(ingress, classified, error);
        }
        verdict
    }

    /// What happens to a packet that may go on.
    fn send(
        &mut self,
        ingress: Ingress,
        way: Way,
        bytes: &[u8],
        classified: &Classified,
    ) -> TraceVerdict {
        self.pass_until(None, ingress, classified);
        if let Some(verdict) = self.cut(way, bytes, classified) {
            return verdict;
        }
        if matches!(classified.l4, L4::Tcp { .. }) {
            self.note_mss(ingress, way);
        }
        match way {
            Way::Host => self.leave_to_host(),
            Way::Lan { port, .. } => self.leave_by_lan(port, ingress, classified),
            Way::Tunnel { tunnel, .. } => self.leave_by_tunnel(tunnel),
        }
    }

    /// Notes what passing SYNs announce.
    fn note_mss(&mut self, ingress: Ingress, way: Way) {
        let text = match mss::limit(self.snapshot, ingress, way) {
            Some(max) => format!("a SYN that announces more than {max} bytes is lowered to it"),
            None => "SYNs pass as they are: no tunnel on the way lowers them".into(),
        };
        self.note(Stage::Mss, text);
    }

    /// Cuts a packet that is too long and may be cut; a verdict when that fails.
    fn cut(&mut self, way: Way, bytes: &[u8], classified: &Classified) -> Option<TraceVerdict> {
        let mtu = usize::from(way.mtu());
        if classified.total <= mtu {
            return None;
        }
        let (mut bytes, mut classified) = (bytes.to_vec(), *classified);
        if classified.dont_fragment {
            let text = "its sender forbids fragments, but forceFragmentIPv4 is on";
            self.note(Stage::Fragments, text.into());
            force(
                &mut bytes,
                &mut classified,
                &mut Offload::default(),
                way.mtu(),
                1,
            );
        }
        let mut lengths = Vec::new();
        match fragment(&bytes, &classified, mtu, |fragment| {
            lengths.push(fragment.len())
        }) {
            Ok(count) => {
                let lengths: Vec<String> = lengths.iter().map(ToString::to_string).collect();
                let text = format!("{count} fragments of {} bytes", lengths.join(", "));
                self.pass(Stage::Fragments, text);
                None
            }
            Err(reason) => {
                let text = format!("{} bytes do not fit into {mtu}", classified.total);
                Some(self.drop(Stage::Fragments, text, reason))
            }
        }
    }

    /// Notes the stages of [`decide`] up to the one that stopped the packet.
    fn pass_until(&mut self, stop: Option<Stage>, ingress: Ingress, classified: &Classified) {
        for stage in Stage::DECISION {
            if Some(stage) == stop {
                return;
            }
            let seen = self.seen_by(stage, ingress, classified);
            self.pass(stage, seen);
        }
    }

    fn pass(&mut self, stage: Stage, text: String) {
        self.stage(stage, StageResult::Pass, text);
    }

    fn note(&mut self, stage: Stage, text: String) {
        self.stage(stage, StageResult::Note, text);
    }

    fn drop(&mut self, stage: Stage, text: String, reason: DropReason) -> TraceVerdict {
        self.stage(stage, StageResult::Drop, text);
        verdict(TraceOutcome::Dropped, Some(reason), reason.text())
    }

    fn stage(&mut self, stage: Stage, result: StageResult, text: String) {
        self.stages.push(TraceStage {
            name: stage.name().into(),
            result,
            text,
        });
    }
}

fn verdict(
    outcome: TraceOutcome,
    reason: Option<DropReason>,
    text: impl Into<String>,
) -> TraceVerdict {
    TraceVerdict {
        outcome,
        reason: reason.map(|reason| reason.name().into()),
        text: text.into(),
    }
}
