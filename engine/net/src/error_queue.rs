//! What the underlay says about packets that were too long: the error queue of a socket (IP_RECVERR, ip(7)).
//!
//! The kernel puts an ICMP error there only when the packet that it quotes is of this very socket: protocol, address
//! and port are ours. Whether its destination is one that we send to is for the reader to judge. Other errors are
//! taken out and forgotten: a host that is away for a moment is no fact about the path's size.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use socket2::{SockAddr, SockAddrStorage};

use crate::control_message::{self, CAPACITY, Control};
use crate::udp::UdpSocket;

/// A packet that did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathError {
    /// Where it was sent to; port 0 when the error does not tell.
    pub to: SocketAddr,
    /// Longest packet that fits, outer IP header included; 0 from routers that do not tell (before RFC 1191).
    pub mtu: u16,
}

impl UdpSocket {
    /// Empties the error queue, up to a bound, and appends what it says about sizes to `errors`.
    pub fn take_path_errors(&self, errors: &mut Vec<PathError>) {
        for _ in 0..ERRORS_MAX {
            match self.take_error() {
                Ok(error) => errors.extend(error),
                Err(_) => return,
            }
        }
    }

    /// Takes one error; `None` for one that is not about size.
    fn take_error(&self) -> io::Result<Option<PathError>> {
        let (mut to, mut control) = (SockAddrStorage::zeroed(), Control::new());
        // SAFETY: integers and pointers only; all-zero is an empty message.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_name = (&raw mut to).cast();
        header.msg_namelen = to.size_of();
        header.msg_control = (&raw mut control).cast();
        header.msg_controllen = CAPACITY as _;
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        // SAFETY: the header points to `to` and `control` with their true lengths, which live until the call returns.
        let result =
            unsafe { libc::recvmsg(self.as_fd().as_raw_fd(), &raw mut header, flags as _) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel wrote `msg_namelen` bytes of an address of the socket's family; the rest was zero.
        let to = unsafe { SockAddr::new(to, header.msg_namelen) }.as_socket();
        let length = (header.msg_controllen as usize).min(CAPACITY);
        let mtu = control_message::iterate(&control.bytes[..length])
            .filter(|(level, kind, _)| {
                matches!(
                    (*level, *kind),
                    (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR)
                )
            })
            .find_map(|(.., value)| too_long(value));
        Ok(to.zip(mtu).map(|(to, mtu)| PathError { to, mtu }))
    }
}

/// Reads the MTU out of a `sock_extended_err` that says EMSGSIZE, from a router or from our own kernel.
fn too_long(error: &[u8]) -> Option<u16> {
    let errno = i32::from_ne_bytes(*error.first_chunk()?);
    let origin = *error.get(ORIGIN)?;
    let is_known = [
        libc::SO_EE_ORIGIN_LOCAL,
        libc::SO_EE_ORIGIN_ICMP,
        libc::SO_EE_ORIGIN_ICMP6,
    ]
    .contains(&origin);
    let mtu = u32::from_ne_bytes(*error.get(INFO..)?.first_chunk()?);
    (errno == libc::EMSGSIZE && is_known).then(|| u16::try_from(mtu).unwrap_or(u16::MAX))
}

/// Errors taken in one go; what is left wakes the reader again.
const ERRORS_MAX: usize = 64;
/// Offset of the origin in a `sock_extended_err`.
const ORIGIN: usize = 4;
/// Offset of the MTU in it.
const INFO: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_about_size_are_read() {
        let error = |errno: i32, origin: u8, mtu: u32| {
            let errno = errno.to_ne_bytes();
            [&errno[..], &[origin, 3, 4, 0], &mtu.to_ne_bytes(), &[0; 4]].concat()
        };
        for (bytes, expected) in [
            (
                error(libc::EMSGSIZE, libc::SO_EE_ORIGIN_ICMP, 1300),
                Some(1300),
            ),
            (
                error(libc::EMSGSIZE, libc::SO_EE_ORIGIN_ICMP6, 1280),
                Some(1280),
            ),
            (
                error(libc::EMSGSIZE, libc::SO_EE_ORIGIN_LOCAL, 1500),
                Some(1500),
            ),
            (
                error(libc::EMSGSIZE, libc::SO_EE_ORIGIN_LOCAL, 70_000),
                Some(u16::MAX),
            ),
            (
                error(libc::EMSGSIZE, libc::SO_EE_ORIGIN_TXSTATUS, 1500),
                None,
            ),
            (
                error(libc::ECONNREFUSED, libc::SO_EE_ORIGIN_ICMP, 1300),
                None,
            ),
            (vec![0; 7], None),
        ] {
            assert_eq!(too_long(&bytes), expected, "{bytes:?}");
        }
    }
}
