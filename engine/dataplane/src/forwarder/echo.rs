//! Pings to the virtual address of a LAN (RFC 792): whichever router has it answers them like a host. To nothing else that
//! is sent there: it is an address to route by, and no host's.

use std::time::Instant;

use super::Forwarder;
use crate::ingress::Ingress;
use crate::ip_packet::IpPacket;
use crate::outlet::Io;
use crate::packet::checksum::{Sum, update};
use crate::packet::icmp::{ECHO_REPLY, ECHO_REQUEST, ICMP_HEADER};
use crate::packet::ipv4::IPV4_HEADER;
use crate::packet::{Classified, L4};
use crate::snapshot::{LanPort, Snapshot};
use crate::unit::{Checksum, Gso};
use crate::verdict::Verdict;

/// TTL of answers (RFC 1700).
const TTL: u8 = 64;

impl Forwarder {
    /// Answers a ping to the virtual address, to whoever sent the frame; gives back what is none.
    pub(super) fn answer_echo(
        &mut self,
        mut packet: IpPacket,
        io: &mut Io<'_>,
        now: Instant,
    ) -> Result<(), IpPacket> {
        let Some(port) = asked_lan(&self.snapshot, &packet).map(|lan| lan.id) else {
            return Err(packet);
        };
        turn_round(packet.unit.buffer.bytes_mut());
        self.stats.add(&self.stats.virtual_echoes_answered, 1);
        self.judge(Verdict::EchoAnswered);
        self.send_frame(port, self.sender, packet, io, now);
        Ok(())
    }
}

/// Returns the LAN whose virtual address a packet pings, where this router has that address.
fn asked_lan<'a>(snapshot: &'a Snapshot, packet: &IpPacket) -> Option<&'a LanPort> {
    let Ingress::Lan(port) = packet.ingress else {
        return None;
    };
    let Classified {
        source,
        destination,
        ip_header,
        l4,
        fragment,
        total,
        ..
    } = packet.classified;
    let lan = snapshot.lan(port)?;
    let offload = packet.unit.offload;
    let is_ping = l4 == L4::Icmp { kind: ECHO_REQUEST }
        && !fragment
        && ip_header == IPV4_HEADER
        && total >= IPV4_HEADER + ICMP_HEADER
        && (offload.gso, offload.checksum) == (Gso::None, Checksum::Complete);
    let has_address = lan.gate_open && lan.virtual_address == Some(destination);
    let is_host =
        lan.is_on_link(source) && source != destination && !snapshot.is_directed_broadcast(source);
    (is_ping && has_address && is_host).then_some(lan)
}

/// Makes the answer of a request: header without options, then ICMP.
fn turn_round(packet: &mut [u8]) {
    let (header, icmp) = packet.split_at_mut(IPV4_HEADER);
    let (source, destination) = header[12..].split_at_mut(4);
    source.swap_with_slice(destination);
    header[8] = TTL;
    header[10..12].fill(0);
    let sum = Sum::of(header).checksum();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let sum = u16::from_be_bytes([icmp[2], icmp[3]]);
    let code = u16::from(icmp[1]);
    let word = |kind: u8| u16::from(kind) << 8 | code;
    let sum = update(sum, word(icmp[0]), word(ECHO_REPLY));
    icmp[0] = ECHO_REPLY;
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
}
