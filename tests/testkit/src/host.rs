//! A host on a LAN: an ARP cache as hosts have it, answers for its own address, sends and receives packets.
//!
//! The cache never expires, so that a wrong entry stays wrong until the network corrects it.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use crate::packet::{Arp, BROADCAST, IPV4, Mac, addresses, frame, ipv4_of};

/// Packets that wait for a MAC at most; the oldest gives way.
const WAITING: usize = 64;

/// A host on a site's LAN.
#[derive(Debug)]
pub struct Host {
    /// Its address; moves with it.
    pub address: Ipv4Addr,
    /// Its MAC; moves with it too.
    pub mac: Mac,
    /// It is plugged into the switch that is cut off while its LAN is partitioned.
    pub island: bool,
    cache: BTreeMap<Ipv4Addr, Mac>,
    waiting: VecDeque<(Ipv4Addr, Vec<u8>)>,
}

impl Host {
    /// Makes a host with an empty ARP cache.
    #[must_use]
    pub fn new(address: Ipv4Addr) -> Self {
        let mut mac = [2, 0, 0, 0, 0, 0];
        mac[2..].copy_from_slice(&address.octets());
        Self {
            address,
            mac,
            island: false,
            cache: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Forgets the ARP cache, as hosts do when their link goes down.
    pub fn forget(&mut self) {
        self.cache.clear();
        self.waiting.clear();
    }

    /// Returns the frame that announces the host on its LAN, as hosts may do when their link comes up.
    #[must_use]
    pub fn announcement(&self) -> Vec<u8> {
        Arp::request((self.mac, self.address), self.address).frame()
    }

    /// Returns the frame that asks whether somebody uses the host's address (RFC 5227 section 2.1.1).
    #[must_use]
    pub fn conflict_probe(&self) -> Vec<u8> {
        Arp::request((self.mac, Ipv4Addr::UNSPECIFIED), self.address).frame()
    }

    /// Returns the frame to send for a packet: the packet itself, or an ARP request first.
    pub fn send(&mut self, packet: Vec<u8>) -> Vec<u8> {
        let (_, destination) = addresses(&packet);
        if let Some(mac) = self.cache.get(&destination) {
            return frame(*mac, self.mac, IPV4, &packet);
        }
        if self.waiting.len() >= WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back((destination, packet));
        Arp::request((self.mac, self.address), destination).frame()
    }

    /// Handles a frame: returns frames to send, and an IP packet if one was for us.
    pub fn handle_frame(&mut self, bytes: &[u8]) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
        if bytes[..6] != self.mac && bytes[..6] != BROADCAST {
            return (Vec::new(), None);
        }
        if let Some(arp) = Arp::parse(bytes) {
            return (self.handle_arp(&arp), None);
        }
        let packet = ipv4_of(bytes).filter(|packet| addresses(packet).1 == self.address);
        (Vec::new(), packet.map(<[u8]>::to_vec))
    }

    /// RFC 826: update an existing entry from any packet; create one only when the packet is for us.
    fn handle_arp(&mut self, arp: &Arp) -> Vec<Vec<u8>> {
        let (sender_mac, sender) = arp.sender;
        let for_us = arp.target.1 == self.address;
        let waited_for = self
            .waiting
            .iter()
            .any(|(destination, _)| *destination == sender);
        let known = self.cache.contains_key(&sender) || waited_for;
        if sender == self.address {
            return Vec::new();
        }
        if !sender.is_unspecified() && (for_us || known) {
            self.cache.insert(sender, sender_mac);
        }
        let mut frames = Vec::new();
        if arp.operation == 1 && for_us {
            let reply = Arp {
                to: sender_mac,
                operation: 2,
                sender: (self.mac, self.address),
                target: arp.sender,
            };
            frames.push(reply.frame());
        }
        frames.extend(self.release());
        frames
    }

    fn release(&mut self) -> Vec<Vec<u8>> {
        let (ready, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|(destination, _)| self.cache.contains_key(destination));
        self.waiting = waiting;
        let frames = ready
            .iter()
            .map(|(destination, packet)| frame(self.cache[destination], self.mac, IPV4, packet));
        frames.collect()
    }
}
