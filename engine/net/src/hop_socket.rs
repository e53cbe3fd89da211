//! UDP sockets of one hop: datagrams leave with TTL 255 and the TOS of control messages, and each that arrives tells its
//! TTL, so that what crossed a router is known (RFC 5082).

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use sam_dataplane::dscp::CONTROL_TOS;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use crate::control_message::{self, Control};
use crate::error::NetError;
use crate::socket_option::set;

/// A bound, nonblocking UDP socket at one address, of one device or any.
#[derive(Debug)]
pub struct HopSocket {
    socket: Socket,
}

/// What came with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Sender.
    pub from: SocketAddrV4,
    /// TTL on arrival; zero if the kernel did not tell.
    pub ttl: u8,
    /// Length, cut to that of the buffer.
    pub length: usize,
}

impl HopSocket {
    /// Binds to `port` of the address `near`, through `device` only if there is one.
    ///
    /// # Errors
    /// ENODEV, EADDRNOTAVAIL or EADDRINUSE.
    pub fn bind(near: Ipv4Addr, device: Option<&str>, port: u16) -> Result<Self, NetError> {
        let bind = || {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_nonblocking(true)?;
            socket.bind_device(device.map(str::as_bytes))?;
            for (option, value) in [
                (libc::IP_TTL, TTL),
                (libc::IP_TOS, CONTROL_TOS.into()),
                (libc::IP_RECVTTL, 1),
            ] {
                set(socket.as_fd(), libc::IPPROTO_IP, option, value)?;
            }
            socket.bind(&SocketAddrV4::new(near, port).into())?;
            Ok(socket)
        };
        let socket = bind().map_err(|error: io::Error| {
            let place = format!("{near}:{port} of {}", device.unwrap_or("any device"));
            NetError::new("bind UDP socket to", place, error)
        })?;
        Ok(Self { socket })
    }

    /// Binds to the first port of a range that nobody has, beginning `skip` ports behind its start.
    ///
    /// # Errors
    /// As [`HopSocket::bind`]; EADDRINUSE when all ports are taken.
    pub fn bind_within(
        near: Ipv4Addr,
        device: Option<&str>,
        ports: RangeInclusive<u16>,
        skip: usize,
    ) -> Result<Self, NetError> {
        let count = ports.len();
        let mut refusal = NetError::invalid("bind UDP socket to", near.to_string(), "no ports");
        for port in ports.cycle().skip(skip).take(count) {
            match Self::bind(near, device, port) {
                Err(error) if error.errno() == Some(libc::EADDRINUSE) => refusal = error,
                outcome => return outcome,
            }
        }
        Err(refusal)
    }

    /// Takes the next datagram; `None` when none waits.
    ///
    /// # Errors
    /// What the kernel says, such as ENETDOWN.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Arrival>> {
        let mut address = SockAddrStorage::zeroed();
        let mut control = Control::new();
        let mut part = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        // SAFETY: all-zero is a valid msghdr: no pointers, no lengths.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_name = (&raw mut address).cast();
        header.msg_namelen = address.size_of();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.bytes.as_mut_ptr().cast();
        header.msg_controllen = control.bytes.len() as _;
        // SAFETY: every pointer of the header leads to a local or to `buffer`, with its true length, until the call ends.
        let length = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, 0) };
        let Ok(length) = usize::try_from(length) else {
            return match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                error => Err(error),
            };
        };
        // SAFETY: the kernel wrote `msg_namelen` bytes of an address of the socket's family; the rest was zero.
        let from = unsafe { SockAddr::new(address, header.msg_namelen) };
        let from = from
            .as_socket_ipv4()
            .unwrap_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        // Zeros behind what the kernel wrote end the walk.
        let mut messages = control_message::iterate(&control.bytes);
        let ttl = messages.find_map(|(level, kind, value)| {
            let is_ttl = (level, kind) == (libc::SOL_IP, libc::IP_TTL);
            is_ttl.then(|| control_message::integer(value)).flatten()
        });
        Ok(Some(Arrival {
            from,
            ttl: ttl.and_then(|ttl| u8::try_from(ttl).ok()).unwrap_or(0),
            length: length.min(buffer.len()),
        }))
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// What the kernel says: EAGAIN when its queue is full.
    pub fn send(&self, to: Ipv4Addr, port: u16, payload: &[u8]) -> io::Result<()> {
        let to = SocketAddr::from((to, port));
        self.socket.send_to(payload, &to.into()).map(drop)
    }

    /// Tells whether an error of [`HopSocket::send`] means that the interface is gone to which the socket was bound. It stays
    /// so when one of the same name is made.
    #[must_use]
    pub fn has_lost_device(error: &io::Error) -> bool {
        matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO))
    }
}

impl AsFd for HopSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// TTL of what is sent.
const TTL: i32 = 255;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_datagram_leaves_with_ttl_255_and_an_arrival_tells_its_ttl() {
        let lo = Ipv4Addr::LOCALHOST;
        let receiver = HopSocket::bind(lo, Some("lo"), 0).expect("receiver");
        let port = port_of(&receiver);
        let sender = HopSocket::bind_within(lo, Some("lo"), 49_152..=65_535, 77).expect("sender");
        sender.send(lo, port, b"hop").expect("sent");
        let plain = UdpSocket::bind((lo, 0)).expect("plain socket");
        plain.send_to(b"far away", (lo, port)).expect("sent");

        let mut buffer = [0; 5];
        let near = receiver
            .receive(&mut buffer)
            .expect("received")
            .expect("one");
        assert_eq!((near.ttl, near.length, &buffer[..3]), (255, 3, &b"hop"[..]));
        assert_eq!(near.from.port(), port_of(&sender));
        assert!(near.from.port() >= 49_152);
        let far = receiver
            .receive(&mut buffer)
            .expect("received")
            .expect("one");
        assert_ne!(far.ttl, 255);
        assert_eq!(far.length, 5, "cut");
        assert_eq!(receiver.receive(&mut buffer).expect("no error"), None);
    }

    fn port_of(socket: &HopSocket) -> u16 {
        let address = socket.socket.local_addr().expect("bound");
        address.as_socket_ipv4().expect("IPv4").port()
    }
}
