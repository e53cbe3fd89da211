//! ARP as it concerns the forwarder: observe, learn, answer, announce, ask.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use super::Forwarder;
use crate::arp_responder::{Inquiry, Withheld};
use crate::drop_reason::DropReason;
use crate::fib::NextHop;
use crate::ids::PortId;
use crate::neighbor::{Evidence, NeighborKey, NeighborOutput};
use crate::notice::{Heard, Mac, Notice};
use crate::outlet::Io;
use crate::packet::arp::{ARP_FRAME, ArpOperation, ArpPacket};
use crate::packet::ethernet::{BROADCAST, ETHERNET_HEADER, EtherType, EthernetHeader};
use crate::role::Role;
use crate::snapshot::{LanPort, Snapshot};
use crate::unit::Unit;
use crate::verdict::Verdict;

impl Forwarder {
    /// Handles an ARP frame; `unicast` tells whether it was sent to this router only.
    pub(super) fn receive_arp(
        &mut self,
        lan: &LanPort,
        unicast: bool,
        unit: Unit,
        io: &mut Io<'_>,
        now: Instant,
    ) {
        let packet = match ArpPacket::parse(&unit.buffer.bytes()[ETHERNET_HEADER..]) {
            Ok(packet) => packet,
            Err(reason) => return self.discard(unit.buffer, reason, io, now),
        };
        io.pool.give(unit.buffer);
        self.stats.add(
            match packet.operation {
                ArpOperation::Request => &self.stats.arp_requests_received,
                ArpOperation::Reply => &self.stats.arp_replies_received,
            },
            1,
        );
        // 1. Who claims an address that we answer for? Who answers us was asked.
        let upheld = packet.operation == ArpOperation::Reply && unicast;
        if upheld {
            self.watch
                .note_answer(lan.id, packet.sender, packet.sender_mac);
        }
        if self
            .responder
            .observe(packet.sender, packet.sender_mac, upheld, lan, now)
        {
            let (address, mac) = (packet.sender, packet.sender_mac);
            self.notify(Notice::ForeignAnswer {
                port: lan.id,
                address,
                mac,
            });
        }
        if lan.is_answered(packet.sender) && self.responder.is_alive(lan.id, packet.sender, now) {
            self.announce(lan, packet.sender, now);
        }
        if packet.sender_mac == self.sender {
            let heard = if upheld {
                Heard::Answered
            } else {
                Heard::Overheard
            };
            self.host_seen(lan, (packet.sender, packet.sender_mac), heard, now);
        }
        // 2. May we answer?
        let answer = self.responder.answer(&packet, lan, &self.snapshot.fib, now);
        // 3. What does it tell about the sender?
        let addressed = answer.is_ok() || lan.address == Some(packet.target);
        self.learn(lan, &packet, unicast, addressed, now);
        // 4. Answer, or say why not.
        self.judge(Verdict::Arp {
            answered: answer.is_ok(),
        });
        match answer {
            Ok(reply) => {
                if self.send_arp(lan.id, reply.emit_frame(), io, now) {
                    self.stats.add(&self.stats.arp_replies_sent, 1);
                }
            }
            Err(withheld) => {
                if withheld == Withheld::NotAnswered {
                    self.unanswered(lan, &packet, now);
                }
                self.withhold(lan.id, &packet, withheld, now);
            }
        }
    }

    /// Tells whether a frame reaches every worker and this one is not the speaker, who counts and answers it.
    pub(super) fn is_heard_elsewhere(&self, frame: &[u8]) -> bool {
        self.role == Role::Learner
            && EthernetHeader::parse(frame).is_ok_and(|header| header.ether_type == EtherType::Arp)
    }

    /// Learns from this worker's copy of an ARP frame; what is wrong with it, the speaker counts.
    pub(super) fn receive_copy(&mut self, port: PortId, unit: Unit, io: &mut Io<'_>, now: Instant) {
        let snapshot = Arc::clone(&self.snapshot);
        let bytes = unit.buffer.bytes();
        let header = EthernetHeader::parse(bytes);
        let packet = bytes.get(ETHERNET_HEADER..).map(ArpPacket::parse);
        if let (Some(lan), Ok(header), Some(Ok(packet))) = (snapshot.lan(port), header, packet)
            && header.source != lan.mac
        {
            let unicast = header.destination == lan.mac;
            let addressed = lan.is_answered(packet.target) || lan.address == Some(packet.target);
            if unicast || header.destination == BROADCAST {
                self.learn(lan, &packet, unicast, addressed, now);
            }
        }
        io.pool.give(unit.buffer);
    }

    fn notify_as_speaker(&mut self, notice: Notice) {
        if self.role == Role::Speaker {
            self.notify(notice);
        }
    }

    fn withhold(&mut self, port: PortId, packet: &ArpPacket, withheld: Withheld, now: Instant) {
        if withheld.is_deliberate() {
            self.stats.add(&self.stats.arp_withheld, 1);
        }
        if withheld == Withheld::Probe && self.responder.note_probe(port, packet.target, now) {
            let (address, mac) = (packet.target, packet.sender_mac);
            self.notify(Notice::AddressProbed { port, address, mac });
        }
    }

    /// Feeds the neighbor table, if the sender is a neighbor at all.
    fn learn(
        &mut self,
        lan: &LanPort,
        packet: &ArpPacket,
        unicast: bool,
        addressed: bool,
        now: Instant,
    ) {
        let is_neighbor = lan.is_on_link(packet.sender)
            && packet.sender_mac != lan.mac
            && lan.address != Some(packet.sender)
            && !self.snapshot.is_directed_broadcast(packet.sender)
            && self.snapshot.fib.lookup(packet.sender) == Some(NextHop::Lan(lan.id));
        if !is_neighbor {
            return;
        }
        let evidence = match packet.operation {
            ArpOperation::Reply if unicast => Evidence::Reply,
            ArpOperation::Request if addressed && !packet.is_gratuitous() => Evidence::Request,
            ArpOperation::Reply | ArpOperation::Request => Evidence::Overheard,
        };
        let key = NeighborKey {
            port: lan.id,
            address: packet.sender,
        };
        self.neighbors.learn(key, packet.sender_mac, evidence, now);
    }

    /// Does what the neighbor table wants.
    pub(super) fn drain_neighbors(&mut self, io: &mut Io<'_>, now: Instant) {
        self.settle_tap();
        while let Some(output) = self.neighbors.poll_output() {
            match output {
                NeighborOutput::Ask { key, to } => self.ask(key, to, io, now),
                NeighborOutput::Release { key, mac, packet } => {
                    self.send_frame(key.port, mac, packet, io, now);
                }
                NeighborOutput::GiveUp { packet, reason } => {
                    self.refuse_neighbor(packet, reason, io, now);
                }
                NeighborOutput::Up {
                    key: NeighborKey { port, address },
                    mac,
                } => self.notify_as_speaker(Notice::NeighborUp { port, address, mac }),
                NeighborOutput::Down {
                    key: NeighborKey { port, address },
                } => self.notify_as_speaker(Notice::NeighborDown { port, address }),
            }
        }
    }

    /// Asks for a neighbor's MAC, by unicast `to` its last known one or by broadcast.
    pub(super) fn ask(&mut self, key: NeighborKey, to: Option<Mac>, io: &mut Io<'_>, now: Instant) {
        let Some(lan) = self.snapshot.lan(key.port) else {
            return;
        };
        let request = ArpPacket::request(lan.mac, asker(&self.snapshot, lan), key.address);
        let frame = match to {
            Some(mac) => request.emit_frame_to(mac),
            None => request.emit_frame(),
        };
        let port = key.port;
        if self.send_arp(port, frame, io, now) {
            self.stats.add(&self.stats.arp_requests_sent, 1);
            self.watch.note_question(port, key.address);
        }
    }

    /// Starts to announce what this router answers for since this snapshot, and stops what it no longer does.
    pub(super) fn update_announcements(&mut self, former: &Snapshot, now: Instant) {
        if self.role == Role::Learner {
            return;
        }
        let snapshot = Arc::clone(&self.snapshot);
        let is_announced = |port, address| {
            snapshot.lan(port).is_some_and(|lan| {
                lan.gratuitous_arp && (lan.is_answered(address) || lan.address == Some(address))
            })
        };
        self.announcer.retain(is_announced);
        for lan in snapshot.lans.iter().filter(|lan| lan.gate_open) {
            let former_lan = former.lan(lan.id).filter(|former| former.mac == lan.mac);
            // Behind a gate that just opened everything is new, and nobody moved.
            let was_open = former_lan.is_some_and(|former| former.gate_open);
            // Its host may come from another site, with the MAC of that site's router in its ARP cache for everything
            // behind the router, the gateway included: all of it is announced again.
            let arrived = was_open && snapshot.fib.has_new(NextHop::Lan(lan.id), &former.fib);
            let new = newly_answered(lan, former_lan);
            for address in &new {
                // What another router said of it while it took itself for the one that answers proves nothing.
                self.responder.forget(lan.id, *address);
            }
            for address in self.responder.observed(lan.id) {
                let moved = former.fib.lookup(address) != snapshot.fib.lookup(address);
                if moved && lan.is_listed(address) {
                    self.responder.doubt(lan.id, address, now);
                }
            }
            let announced = if arrived { lan.listed().collect() } else { new };
            for address in announced {
                self.announce(lan, address, now);
            }
            if let Some(own) = lan.address.filter(|_| arrived) {
                self.announce(lan, own, now);
            }
        }
    }

    /// Asks about claims that nobody upholds, and goes on with the addresses of those that nobody did.
    pub(super) fn inquire(&mut self, io: &mut Io<'_>, now: Instant) {
        while let Some(inquiry) = self.responder.poll_inquiry(now) {
            match inquiry {
                // Behind a gate that has closed meanwhile another router asks.
                Inquiry::Ask(port, address) => {
                    if self.snapshot.lan(port).is_some_and(|lan| lan.gate_open) {
                        self.ask(NeighborKey { port, address }, None, io, now);
                    }
                }
                Inquiry::Dispelled(port, address) => {
                    let snapshot = Arc::clone(&self.snapshot);
                    if let Some(lan) = snapshot.lan(port).filter(|lan| lan.is_answered(address)) {
                        self.announce(lan, address, now);
                    }
                }
            }
        }
    }

    /// Announces an address now, or once nobody else on the LAN has used it for long enough.
    fn announce(&mut self, lan: &LanPort, address: Ipv4Addr, now: Instant) {
        let silent_until = self.responder.silent_until(lan.id, address);
        let at = silent_until.map_or(now, |until| until.max(now));
        if lan.gratuitous_arp && !self.announcer.start(lan.id, address, at) {
            self.stats.add(&self.stats.arp_announcements_skipped, 1);
        }
    }

    /// Sends the announcements that are due.
    pub(super) fn send_announcements(&mut self, io: &mut Io<'_>, now: Instant) {
        while let Some(announcement) = self.announcer.poll_announcement(now) {
            let Some(lan) = self.snapshot.lan(announcement.port) else {
                continue;
            };
            let fib = &self.snapshot.fib;
            if lan.address != Some(announcement.address)
                && !self
                    .responder
                    .may_announce(announcement.address, lan, fib, now)
            {
                self.announcer.stop(announcement.port, announcement.address);
                continue;
            }
            let frame = announcement.emit_frame(lan.mac);
            if self.send_arp(announcement.port, frame, io, now) {
                self.stats.add(&self.stats.arp_announcements_sent, 1);
            }
        }
    }

    /// Queues an ARP frame; returns whether it will be sent.
    fn send_arp(
        &mut self,
        port: PortId,
        frame: [u8; ARP_FRAME],
        io: &mut Io<'_>,
        now: Instant,
    ) -> bool {
        let Some(mut buffer) = io.pool.take() else {
            self.count_drop(DropReason::BufferPoolEmpty);
            return false;
        };
        let fits = buffer.append(&frame);
        debug_assert!(fits, "an empty buffer holds a frame");
        self.push_lan(port, Unit::plain(buffer), io, now)
    }
}

/// Returns the sender address of our ARP requests.
///
/// That is our address on the LAN. A port without one (a NIC that the engine owns) asks with the overlay address: it
/// is ours alone, and a host that answers learns a mapping that is true. A router without either sends a probe
/// (RFC 5227 section 2.1.1), which an owner must answer too. Never an address that we only answer for: the asked host
/// would take it for ours.
fn asker(snapshot: &Snapshot, lan: &LanPort) -> Ipv4Addr {
    let overlay = snapshot.tun.as_ref().map(|tun| tun.address);
    lan.address.or(overlay).unwrap_or(Ipv4Addr::UNSPECIFIED)
}

/// Lists the addresses that are answered for now and were not before, or by another router too: what changed, and no more,
/// is looked at.
fn newly_answered(lan: &LanPort, former: Option<&LanPort>) -> Vec<Ipv4Addr> {
    let known = former.filter(|former| former.gate_open && former.conflicts == lan.conflicts);
    let Some(former) = known else {
        return lan.listed().collect();
    };
    let new = lan.answers.new_since(&former.answers).into_iter();
    let new = new.filter(|address| former.virtual_address != Some(*address));
    let acts = lan.virtual_address;
    new.chain(acts.filter(|address| !former.is_listed(*address)))
        .collect()
}
