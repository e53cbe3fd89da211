//! Hosts of the LAN as the control plane learns of them: who is heard, and who is asked for.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use super::Forwarder;
use crate::drop_reason::DropReason;
use crate::fabric_question::{FabricQuestion, QUESTION, asked};
use crate::fib::NextHop;
use crate::ids::{PortId, TunnelId};
use crate::ingress::Ingress;
use crate::ip_packet::IpPacket;
use crate::neighbor::NeighborKey;
use crate::notice::{Heard, Mac, Notice};
use crate::observer::Observation;
use crate::outlet::Io;
use crate::packet::arp::{ArpOperation, ArpPacket};
use crate::packet::{Classified, classify};
use crate::snapshot::LanPort;
use crate::unit::Unit;

/// A question to a LAN: who has an address?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanQuestion {
    /// The LAN port.
    pub port: PortId,
    /// The address.
    pub address: Ipv4Addr,
    /// Whom to ask; everybody without.
    pub to: Option<Mac>,
}

impl Forwarder {
    /// Asks a LAN who has an address, if this router may act on it; the answers become notices.
    pub fn ask_lan(&mut self, question: &LanQuestion, io: &mut Io<'_>, now: Instant) {
        let LanQuestion { port, address, to } = *question;
        let open = self.snapshot.lan(port).is_some_and(|lan| lan.gate_open);
        if open {
            if !self.observer.ask(port, address, to, now) {
                self.stats.add(&self.stats.questions_unawaited, 1);
            }
            self.responder.doubt(port, address, now);
            self.ask(NeighborKey { port, address }, to, io, now);
        }
    }

    /// Tells the control plane that a host was heard, unless it knows.
    pub(super) fn host_seen(
        &mut self,
        lan: &LanPort,
        (address, mac): (Ipv4Addr, Mac),
        heard: Heard,
        now: Instant,
    ) {
        let is_wanted = lan.discovers || self.observer.awaits(lan.id, address, now);
        let is_host = is_wanted
            && lan.gate_open
            && mac != lan.mac
            && lan.address != Some(address)
            && lan.pools.iter().any(|pool| pool.contains(&address));
        if !is_host {
            return;
        }
        let port = lan.id;
        let resident = self.snapshot.fib.lookup(address) == Some(NextHop::Lan(port));
        let host = (address, mac);
        match self.observer.observe(port, host, heard, resident, now) {
            Observation::News(heard) => self.notify(Notice::HostSeen {
                port,
                address,
                mac,
                heard,
            }),
            Observation::Known => {}
            Observation::Lost => self.stats.add(&self.stats.hosts_untold, 1),
        }
    }

    /// Tells the control plane that somebody wants an address that nobody owns, or has it.
    pub(super) fn address_wanted(&mut self, address: Ipv4Addr, now: Instant) {
        let may_ask = |lan: &LanPort| lan.asks && lan.gate_open;
        let is_unknown = self.snapshot.fib.lookup(address) == Some(NextHop::Withhold);
        if is_unknown && self.snapshot.lans.iter().any(may_ask) && self.observer.want(address, now)
        {
            self.notify(Notice::AddressWanted { address });
        }
    }

    /// Looks at an ARP request that is not answered: somebody may want a host of another site.
    pub(super) fn unanswered(&mut self, lan: &LanPort, packet: &ArpPacket, now: Instant) {
        let wants = packet.operation == ArpOperation::Request
            && !packet.is_probe()
            && !packet.is_gratuitous()
            && lan.is_on_link(packet.sender)
            && packet.sender_mac == self.sender;
        if wants {
            self.address_wanted(packet.target, now);
        }
    }

    /// Asks another router whether an address lives there.
    pub fn ask_fabric(&mut self, question: &FabricQuestion, io: &mut Io<'_>, now: Instant) {
        self.refresh_sessions(io, now);
        // The question would be old when the session is there.
        if !self.has_session(question.tunnel) {
            return self.count_drop(DropReason::TunnelNoSession);
        }
        let Some(overlay) = self.snapshot.tun.as_ref().map(|tun| tun.address) else {
            return self.count_drop(DropReason::PortUnknown);
        };
        let Some(mut buffer) = io.pool.take() else {
            return self.count_drop(DropReason::BufferPoolEmpty);
        };
        question.write(overlay, &mut buffer);
        match classify(buffer.bytes()) {
            Ok(classified) => {
                self.stats.add(&self.stats.fabric_questions_sent, 1);
                let packet = IpPacket {
                    unit: Unit::plain(buffer),
                    classified,
                    ingress: Ingress::Host,
                };
                self.encapsulate(packet, question.tunnel, QUESTION, io, now);
            }
            Err(reason) => self.discard(buffer, reason, io, now),
        }
    }

    /// Takes a question of another router out of what came by a tunnel; returns whether it was one.
    pub(super) fn take_question(
        &mut self,
        tunnel: TunnelId,
        packet: &[u8],
        classified: &Classified,
    ) -> bool {
        let Some(address) = asked(packet, classified) else {
            return false;
        };
        let own = self.snapshot.tun.as_ref().map(|tun| tun.address);
        // Only the router at the far end asks by its tunnel. Who asks nobody answers like any host.
        let is_far = self.snapshot.fib.lookup(classified.source) == Some(NextHop::Tunnel(tunnel));
        let listens = self.snapshot.lans.iter().any(|lan| lan.asks);
        let is_ours = own == Some(classified.destination) && is_far && listens;
        if is_ours {
            self.stats.add(&self.stats.fabric_questions_received, 1);
            self.notify(Notice::AddressAsked { tunnel, address });
        }
        is_ours
    }

    /// Looks at the source of a packet that was refused for it: a host that is not known yet, or that has moved here.
    pub(super) fn strange_source(
        &mut self,
        ingress: Ingress,
        reason: DropReason,
        source: Ipv4Addr,
        now: Instant,
    ) {
        let (Ingress::Lan(port), DropReason::SourceNotAllowed) = (ingress, reason) else {
            return;
        };
        let lives = self.snapshot.fib.lookup(source);
        if !matches!(lives, Some(NextHop::Withhold | NextHop::Tunnel(_))) {
            return;
        }
        let snapshot = Arc::clone(&self.snapshot);
        if let Some(lan) = snapshot.lan(port) {
            if !lan.discovers && lives == Some(NextHop::Withhold) {
                return self.address_wanted(source, now);
            }
            self.host_seen(lan, (source, self.sender), Heard::Addressed, now);
        }
    }
}
