//! ARP for IPv4 over Ethernet (RFC 826), with the terms of RFC 5227.
//!
//! Refuses other hardware, other protocols, other operations, and a group address as sender (RFC 1812 section 3.3.2).
//! Whether an answer is due is not decided here.

use std::net::Ipv4Addr;

use super::ethernet::{BROADCAST, ETHERNET_HEADER, EtherType, EthernetHeader, is_group};
use crate::drop_reason::DropReason;
use crate::notice::Mac;

/// Length of an ARP packet in bytes.
pub const ARP_PACKET: usize = 28;
/// Length of an ARP packet in its Ethernet frame, without padding, in bytes.
pub const ARP_FRAME: usize = ETHERNET_HEADER + ARP_PACKET;

/// What an ARP packet wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArpOperation {
    /// Asks who has the target address.
    Request,
    /// Says that the sender has the sender address.
    Reply,
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArpPacket {
    /// Request or reply.
    pub operation: ArpOperation,
    /// Sender hardware address.
    pub sender_mac: Mac,
    /// Sender protocol address.
    pub sender: Ipv4Addr,
    /// Target hardware address; meaningless in requests.
    pub target_mac: Mac,
    /// Target protocol address.
    pub target: Ipv4Addr,
}

impl ArpPacket {
    /// Asks who has `target`.
    #[must_use]
    pub fn request(sender_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self {
            operation: ArpOperation::Request,
            sender_mac,
            sender,
            target_mac: [0; 6],
            target,
        }
    }

    /// Announces that `mac` has `address` (RFC 5227 section 2.3).
    #[must_use]
    pub fn announcement(mac: Mac, address: Ipv4Addr) -> Self {
        Self::request(mac, address, address)
    }

    /// Answers this request: the asked address is at `mac`.
    #[must_use]
    pub fn reply(&self, mac: Mac) -> Self {
        Self {
            operation: ArpOperation::Reply,
            sender_mac: mac,
            sender: self.target,
            target_mac: self.sender_mac,
            target: self.sender,
        }
    }

    /// Reads an ARP packet; bytes behind it are padding.
    ///
    /// # Errors
    /// `ArpMalformed`.
    pub fn parse(payload: &[u8]) -> Result<Self, DropReason> {
        let packet: &[u8; ARP_PACKET] = payload.first_chunk().ok_or(DropReason::ArpMalformed)?;
        let (formats, _) = packet.split_at(FORMATS.len());
        if formats != FORMATS {
            return Err(DropReason::ArpMalformed);
        }
        let operation = match [packet[6], packet[7]] {
            [0, 1] => ArpOperation::Request,
            [0, 2] => ArpOperation::Reply,
            _ => return Err(DropReason::ArpMalformed),
        };
        let sender_mac = mac_at(packet, 8);
        if is_group(sender_mac) {
            return Err(DropReason::ArpMalformed);
        }
        Ok(Self {
            operation,
            sender_mac,
            sender: address_at(packet, 14),
            target_mac: mac_at(packet, 18),
            target: address_at(packet, 24),
        })
    }

    /// Returns the packet as bytes.
    #[must_use]
    pub fn emit(&self) -> [u8; ARP_PACKET] {
        let mut packet = [0; ARP_PACKET];
        packet[..6].copy_from_slice(&FORMATS);
        packet[7] = match self.operation {
            ArpOperation::Request => 1,
            ArpOperation::Reply => 2,
        };
        packet[8..14].copy_from_slice(&self.sender_mac);
        packet[14..18].copy_from_slice(&self.sender.octets());
        packet[18..24].copy_from_slice(&self.target_mac);
        packet[24..].copy_from_slice(&self.target.octets());
        packet
    }

    /// Returns the packet in an Ethernet frame from the sender: requests to everybody, replies to the target.
    #[must_use]
    pub fn emit_frame(&self) -> [u8; ARP_FRAME] {
        match self.operation {
            ArpOperation::Request => self.emit_frame_to(BROADCAST),
            ArpOperation::Reply => self.emit_frame_to(self.target_mac),
        }
    }

    /// Returns the packet in an Ethernet frame to `destination`, such as a unicast probe of a known neighbor.
    #[must_use]
    pub fn emit_frame_to(&self, destination: Mac) -> [u8; ARP_FRAME] {
        let header = EthernetHeader {
            destination,
            source: self.sender_mac,
            ether_type: EtherType::Arp,
        };
        let mut frame = [0; ARP_FRAME];
        frame[..ETHERNET_HEADER].copy_from_slice(&header.emit());
        frame[ETHERNET_HEADER..].copy_from_slice(&self.emit());
        frame
    }

    /// Tells whether this is an ARP Probe: a request without a sender address (RFC 5227 section 1.1).
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.operation == ArpOperation::Request && self.sender.is_unspecified()
    }

    /// Tells whether the sender speaks about its own address, unasked: an announcement or gratuitous reply.
    #[must_use]
    pub fn is_gratuitous(&self) -> bool {
        self.sender == self.target && !self.sender.is_unspecified()
    }
}

/// Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
const FORMATS: [u8; 6] = [0, 1, 8, 0, 6, 4];

fn mac_at(packet: &[u8; ARP_PACKET], at: usize) -> Mac {
    std::array::from_fn(|index| packet[at + index])
}

fn address_at(packet: &[u8; ARP_PACKET], at: usize) -> Ipv4Addr {
    Ipv4Addr::from(std::array::from_fn::<u8, 4, _>(|index| packet[at + index]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Mac = [2, 0, 0, 0, 0, 1];
    const HOST: Mac = [2, 0, 0, 0, 0, 2];
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
    const ASKED: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

    #[test]
    fn an_emitted_packet_reads_back_even_with_padding() {
        let request = ArpPacket::request(HOST, ADDRESS, ASKED);
        for packet in [request, request.reply(ROUTER)] {
            let mut padded = packet.emit().to_vec();
            padded.resize(46, 0xee);
            assert_eq!(ArpPacket::parse(&padded), Ok(packet));
        }
    }

    #[test]
    fn a_reply_goes_to_the_asker_and_speaks_for_the_asked_address() {
        let frame = ArpPacket::request(HOST, ADDRESS, ASKED)
            .reply(ROUTER)
            .emit_frame();
        assert_eq!(frame[..14], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6]);
        assert_eq!(frame[14..24], [0, 1, 8, 0, 6, 4, 0, 2, 2, 0]);
        assert_eq!(
            (&frame[28..32], &frame[38..42]),
            (&ASKED.octets()[..], &ADDRESS.octets()[..])
        );
    }

    #[test]
    fn a_request_goes_to_everybody_unless_told_otherwise() {
        let request = ArpPacket::request(ROUTER, ADDRESS, ASKED);
        assert_eq!(request.emit_frame()[..6], BROADCAST);
        assert_eq!(request.emit_frame_to(HOST)[..6], HOST);
    }

    #[test]
    fn probes_announcements_and_questions_are_told_apart() {
        let question = ArpPacket::request(HOST, ADDRESS, ASKED);
        let probe = ArpPacket::request(HOST, Ipv4Addr::UNSPECIFIED, ASKED);
        let announcement = ArpPacket::announcement(HOST, ADDRESS);
        let nothing = ArpPacket::announcement(HOST, Ipv4Addr::UNSPECIFIED);
        assert!(!question.is_probe() && !question.is_gratuitous());
        assert!(probe.is_probe() && !probe.is_gratuitous());
        assert!(announcement.is_gratuitous() && !announcement.is_probe());
        assert!(!nothing.is_gratuitous());
    }

    #[test]
    fn each_broken_field_is_malformed() {
        for (at, value) in [
            (1, 6),
            (2, 0x86),
            (3, 1),
            (4, 8),
            (5, 16),
            (6, 1),
            (7, 0),
            (7, 3),
            (8, 1),
        ] {
            let mut packet = ArpPacket::request(HOST, ADDRESS, ASKED).emit();
            packet[at] = value;
            assert_eq!(
                ArpPacket::parse(&packet),
                Err(DropReason::ArpMalformed),
                "byte {at}"
            );
        }
        assert_eq!(ArpPacket::parse(&[0; 27]), Err(DropReason::ArpMalformed));
    }
}
