//! Raw IPv4 of one protocol on one interface, headers included: what is sent leaves with TTL 255 and the TOS of control
//! messages, and each packet that arrives tells from where, to where and with which TTL it came.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};

use sam_dataplane::dscp::CONTROL_TOS;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use crate::error::NetError;
use crate::netlink::Netlink;
use crate::socket_option::set;

/// A nonblocking raw socket at one interface.
#[derive(Debug)]
pub struct LinkSocket {
    socket: Socket,
    source: Ipv4Addr,
    protocol: u8,
}

/// A packet that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkPacket<'a> {
    /// Sender.
    pub source: Ipv4Addr,
    /// Where it was sent to.
    pub destination: Ipv4Addr,
    /// TTL.
    pub ttl: u8,
    /// What follows the IP header.
    pub payload: &'a [u8],
}

impl LinkSocket {
    /// Opens a socket for the packets of an IP protocol that come in by `interface`, to the host or to the multicast group;
    /// what is sent leaves there with this source.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW; ENODEV.
    pub fn open(
        interface: &str,
        source: Ipv4Addr,
        protocol: u8,
        group: Option<Ipv4Addr>,
    ) -> Result<Self, NetError> {
        let index = Netlink::open()?.link(interface)?.index;
        let open = || {
            let kind = Type::from(libc::SOCK_RAW);
            let socket = Socket::new(
                Domain::IPV4,
                kind,
                Some(Protocol::from(i32::from(protocol))),
            )?;
            socket.set_nonblocking(true)?;
            socket.bind_device(Some(interface.as_bytes()))?;
            set(socket.as_fd(), libc::IPPROTO_IP, libc::IP_HDRINCL, 1)?;
            // What this host sends to the group is no news to it, and only what is joined here is wanted.
            socket.set_multicast_loop_v4(false)?;
            set(socket.as_fd(), libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, 0)?;
            if let Some(group) = group {
                let interface = InterfaceIndexOrAddress::Index(index);
                socket.join_multicast_v4_n(&group, &interface)?;
            }
            Ok(socket)
        };
        let socket = open().map_err(|error: io::Error| {
            let denied = error.raw_os_error() == Some(libc::EPERM);
            let target = format!("IP protocol {protocol} on {interface}");
            NetError::new("open raw socket of", target, error)
                .with_remedy(denied.then_some("grant CAP_NET_RAW"))
        })?;
        Ok(Self {
            socket,
            source,
            protocol,
        })
    }

    /// Takes the next packet, as far as it fits into `buffer`; `None` when none waits.
    ///
    /// # Errors
    /// What the kernel says, such as ENETDOWN; `InvalidData` for what is no IPv4 packet.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<LinkPacket<'a>>> {
        match (&self.socket).read(buffer) {
            Ok(length) => parse(&buffer[..length])
                .map(Some)
                .ok_or_else(|| io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a packet with this payload.
    ///
    /// # Errors
    /// What the kernel says: ENETDOWN, ENOBUFS.
    pub fn send(&self, destination: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        let packet = emit(self.source, destination, self.protocol, payload);
        let to = SocketAddrV4::new(destination, 0);
        self.socket.send_to(&packet, &to.into()).map(drop)
    }
}

impl AsFd for LinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Reads the header of a packet; `None` if it is none of IPv4.
fn parse(bytes: &[u8]) -> Option<LinkPacket<'_>> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    let length = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || length < HEADER {
        return None;
    }
    let address =
        |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    Some(LinkPacket {
        source: address(12),
        destination: address(16),
        ttl: header[8],
        payload: bytes.get(length..)?,
    })
}

/// Puts the header before a payload; identification, length and checksum are the kernel's (raw(7)).
fn emit(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; HEADER];
    packet[0] = 0x45;
    packet[1] = CONTROL_TOS;
    packet[8] = TTL;
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&source.octets());
    packet[16..20].copy_from_slice(&destination.octets());
    packet.extend_from_slice(payload);
    packet
}

/// TTL of what is sent.
const TTL: u8 = 255;
/// Length of a header without options.
const HEADER: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_payload_are_told_apart_with_options_too() {
        let (from, to) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let mut packet = emit(from, to, 112, b"hello");
        let parsed = LinkPacket {
            source: from,
            destination: to,
            ttl: 255,
            payload: b"hello",
        };
        assert_eq!(parse(&packet), Some(parsed));
        packet[0] = 0x46;
        assert_eq!(parse(&packet).map(|packet| packet.payload), Some(&b"o"[..]));
        packet[0] = 0x47;
        assert_eq!(parse(&packet), None, "longer than the packet");
        for first in [0x65, 0x44] {
            packet[0] = first;
            assert_eq!(parse(&packet), None);
        }
        assert_eq!(parse(&packet[..19]), None);
    }
}
