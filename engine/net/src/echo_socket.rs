//! A raw ICMP socket for echo requests of exact length to one address, through one device.
//!
//! Packets have DF set, and the kernel's own idea of the path's MTU does not count: only the device's MTU does. So a
//! packet that is too long for the path is refused by the path, not here.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::NetError;
use crate::socket_option::set;

/// Opens a socket at the address `near` of `device` that exchanges ICMP with `far` only; it does not block.
///
/// The type is that of any connected datagram socket: what is sent are ICMP messages, to which the kernel adds the IP
/// header; what is received begins with the IP header. A message longer than the device takes is refused (EMSGSIZE,
/// [`is_too_long`]).
///
/// # Errors
/// EPERM without CAP_NET_RAW; ENODEV or EADDRNOTAVAIL when device or address are not there.
pub fn open(near: Ipv4Addr, device: &str, far: Ipv4Addr) -> Result<UdpSocket, NetError> {
    let open = || {
        let kind = Type::from(libc::SOCK_RAW);
        let socket = Socket::new(Domain::IPV4, kind, Some(Protocol::ICMPV4))?;
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(device.as_bytes()))?;
        set(
            socket.as_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE,
        )?;
        socket.bind(&SocketAddrV4::new(near, 0).into())?;
        socket.connect(&SocketAddrV4::new(far, 0).into())?;
        Ok(UdpSocket::from(OwnedFd::from(socket)))
    };
    open().map_err(|error: io::Error| {
        let denied = error.raw_os_error() == Some(libc::EPERM);
        NetError::new("open ICMP socket to", far.to_string(), error)
            .with_remedy(denied.then_some("grant CAP_NET_RAW"))
    })
}

/// Tells whether a message was refused because it is longer than the device takes.
#[must_use]
pub fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}
