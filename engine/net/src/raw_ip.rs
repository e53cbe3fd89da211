//! Raw IP: packets of one IP protocol without anything between (GRE, IPv4 in IP), for tunnels without UDP.
//!
//! The kernel writes the outer header, with DF set and the TOS of each packet, and refuses what does not fit the
//! path's first link. There is no segmentation offload for it: each packet is a message of its own. While such a
//! socket is open, the kernel does not answer the protocol by "unreachable".

use sam_dataplane::Buffer;
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::NetError;
use crate::udp::{RECEIVE_BUFFER, UdpSocket, configure, unspecified};
use crate::udp_group::{UdpGroup, keep};

impl UdpSocket {
    /// Opens a socket of an IP protocol number: it receives all packets of this protocol to any address of the host,
    /// fragments joined, and sends to addresses with port 0.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW; EAFNOSUPPORT where the host lacks the address family.
    pub fn open_raw(protocol: u8, ipv6: bool) -> Result<Self, NetError> {
        use std::os::fd::AsFd;

        let local = unspecified(ipv6);
        let open = || {
            let kind = Type::from(libc::SOCK_RAW);
            let protocol = Protocol::from(i32::from(protocol));
            let socket = Socket::new(Domain::for_address(local), kind, Some(protocol))?;
            socket.set_nonblocking(true)?;
            let receive_buffer = configure(socket.as_fd(), !ipv6, RECEIVE_BUFFER)?;
            Ok((socket, receive_buffer))
        };
        let (socket, receive_buffer) = open().map_err(|error: std::io::Error| {
            let denied = error.raw_os_error() == Some(libc::EPERM);
            NetError::new(
                "open raw socket of IP protocol",
                protocol.to_string(),
                error,
            )
            .with_remedy(denied.then_some("grant CAP_NET_RAW"))
        })?;
        Ok(Self::new(socket, local, receive_buffer).into_raw())
    }
}

impl UdpGroup {
    /// Opens two sockets of an IP protocol number: one for control messages, one member for all others.
    ///
    /// # Errors
    /// As [`UdpSocket::open_raw`].
    pub fn open_raw(protocol: u8, ipv6: bool) -> Result<Self, NetError> {
        let open = |control| {
            let socket = UdpSocket::open_raw(protocol, ipv6)?;
            socket.filter(&keep(ipv6, control))?;
            Ok(socket)
        };
        Ok(Self {
            members: vec![open(false)?],
            control: open(true)?,
        })
    }
}

/// Removes the IPv4 header in front of a received packet.
pub(crate) fn trim_header(buffer: &mut Buffer) {
    let words = buffer.bytes().first().map_or(0, |first| first & 0x0f);
    let header = (usize::from(words) * 4).min(buffer.len());
    buffer.trim_front(header);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_removed_with_its_options_and_never_more_than_there_is() {
        for (first, length, left) in [(0x45, 30, 10), (0x46, 30, 6), (0x4f, 30, 0), (0x45, 0, 0)] {
            let mut buffer = Buffer::new();
            let mut bytes = vec![7; length];
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            assert!(buffer.append(&bytes));
            trim_header(&mut buffer);
            assert_eq!(buffer.len(), left, "{first:x} {length}");
        }
    }
}
