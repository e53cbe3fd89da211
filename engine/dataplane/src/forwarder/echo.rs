//! Pings to the virtual address of a LAN (RFC 792): whichever router has it answers them like a host. To nothing else that
//! is sent there: it is an address to route by, and no host's.

use std::time::Instant;

use super::Forwarder;
use crate::decision::pinged_lan;
use crate::ip_packet::IpPacket;
use crate::outlet::Io;
use crate::packet::checksum::{Sum, update};
use crate::packet::icmp::ECHO_REPLY;
use crate::packet::ipv4::IPV4_HEADER;
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
        let offload = packet.unit.offload;
        let is_whole = (offload.gso, offload.checksum) == (Gso::None, Checksum::Complete);
        let pinged = pinged_lan(&self.snapshot, packet.ingress, &packet.classified);
        let Some(port) = pinged.filter(|_| is_whole) else {
            return Err(packet);
        };
        turn_round(packet.unit.buffer.bytes_mut());
        self.stats.add(&self.stats.virtual_echoes_answered, 1);
        self.judge(Verdict::EchoAnswered);
        self.send_frame(port, self.sender, packet, io, now);
        Ok(())
    }
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
