//! A host on a LAN: a real ARP cache, answers for its own address, sends and receives probe packets.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::world::ipv4_packet;

/// IP protocol number of probe packets (RFC 3692 experimental).
pub const PROBE_PROTOCOL: u8 = 254;

/// A host on a site's LAN.
#[derive(Debug)]
pub struct Host {
    /// Its address; moves with it.
    pub address: Ipv4Addr,
    /// Its MAC.
    pub mac: [u8; 6],
    cache: BTreeMap<Ipv4Addr, [u8; 6]>,
    waiting: Vec<(Ipv4Addr, Vec<u8>)>,
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
            cache: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }

    /// Forgets the ARP cache, as hosts do when their link goes down.
    pub fn forget(&mut self) {
        self.cache.clear();
        self.waiting.clear();
    }

    /// Returns the frames that send a probe with `id` to `destination`: the packet itself, or an ARP request first.
    pub fn probe(&mut self, destination: Ipv4Addr, id: u32) -> Vec<Vec<u8>> {
        let packet = ipv4_packet(
            self.address,
            destination,
            PROBE_PROTOCOL,
            64,
            &id.to_be_bytes(),
        );
        match self.cache.get(&destination) {
            Some(mac) => vec![frame(*mac, self.mac, 0x0800, &packet)],
            None => {
                self.waiting.push((destination, packet));
                vec![arp_frame(
                    [0xFF; 6],
                    self.mac,
                    1,
                    (self.mac, self.address),
                    ([0; 6], destination),
                )]
            }
        }
    }

    /// Handles a frame: returns frames to send, and an IP packet if one was for us.
    pub fn handle_frame(&mut self, bytes: &[u8]) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
        if bytes.len() < 34 || (bytes[..6] != self.mac && bytes[0] & 1 == 0) {
            return (Vec::new(), None);
        }
        match u16::from_be_bytes([bytes[12], bytes[13]]) {
            0x0806 => (self.handle_arp(&bytes[14..]), None),
            0x0800 if bytes[30..34] == self.address.octets() => {
                let total = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
                (Vec::new(), bytes.get(14..14 + total).map(<[u8]>::to_vec))
            }
            _ => (Vec::new(), None),
        }
    }

    /// RFC 826: update an existing entry from any packet; create one only when the packet is for us.
    fn handle_arp(&mut self, arp: &[u8]) -> Vec<Vec<u8>> {
        let Some(body) = arp.get(..28) else {
            return Vec::new();
        };
        let sender_mac: [u8; 6] = body[8..14].try_into().expect("6 bytes");
        let sender = Ipv4Addr::new(body[14], body[15], body[16], body[17]);
        let target = Ipv4Addr::new(body[24], body[25], body[26], body[27]);
        let for_us = target == self.address;
        if sender != Ipv4Addr::UNSPECIFIED && (for_us || self.cache.contains_key(&sender)) {
            self.cache.insert(sender, sender_mac);
        }
        let mut out = Vec::new();
        if body[7] == 1 && for_us && sender != self.address {
            out.push(arp_frame(
                sender_mac,
                self.mac,
                2,
                (self.mac, self.address),
                (sender_mac, sender),
            ));
        }
        let (ready, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(destination, _)| self.cache.contains_key(destination));
        self.waiting = waiting;
        let ready: Vec<(Ipv4Addr, Vec<u8>)> = ready;
        out.extend(
            ready.iter().map(|(destination, packet)| {
                frame(self.cache[destination], self.mac, 0x0800, packet)
            }),
        );
        out
    }
}

/// Builds an Ethernet frame.
#[must_use]
pub fn frame(to: [u8; 6], from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(14 + payload.len());
    out.extend(to);
    out.extend(from);
    out.extend(kind.to_be_bytes());
    out.extend(payload);
    out
}

/// Builds an ARP frame (RFC 826).
#[must_use]
pub fn arp_frame(
    to: [u8; 6],
    from: [u8; 6],
    operation: u8,
    sender: ([u8; 6], Ipv4Addr),
    target: ([u8; 6], Ipv4Addr),
) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, operation];
    body.extend(sender.0);
    body.extend(sender.1.octets());
    body.extend(target.0);
    body.extend(target.1.octets());
    frame(to, from, 0x0806, &body)
}
