//! What the underlay says about packets that it did not carry: the error queue of a socket (IP_RECVERR, ip(7)).
//!
//! The kernel puts an ICMP error there only when the packet that it quotes is of this very socket: protocol, address
//! and port are ours. Whether its destination is one that we send to is for the reader to judge.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};

use sam_dataplane::{PathError, PathErrorKind, Undelivered};
use socket2::{SockAddr, SockAddrStorage, SockRef};

use crate::control_message::{self, CAPACITY, Control};
use crate::udp::UdpSocket;

impl UdpSocket {
    /// Empties the error queue, up to a bound, and appends what it says to `errors`.
    pub fn take_path_errors(&self, errors: &mut Vec<PathError>) {
        for _ in 0..ERRORS_MAX {
            match self.take_error() {
                Ok(error) => errors.extend(error),
                Err(_) => break,
            }
        }
        // The kernel marks the socket after it has queued the error, and also where the error found no room: what is left
        // behind would wake a socket that only sends again and again.
        SockRef::from(self).take_error().ok();
    }

    /// Takes one error; `None` for one that says nothing about the way.
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
        let read = control_message::iterate(&control.bytes[..length])
            .filter(|(level, kind, _)| {
                matches!(
                    (*level, *kind),
                    (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR)
                )
            })
            .find_map(|(.., value)| Some((kind_of(value)?, offender(value))));
        Ok(to
            .zip(read)
            .map(|(to, (kind, by))| PathError { to, by, kind }))
    }
}

/// Reads a `sock_extended_err`, from a router or from our own kernel.
fn kind_of(error: &[u8]) -> Option<PathErrorKind> {
    let errno = i32::from_ne_bytes(*error.first_chunk()?);
    let [origin, kind, code] = *error.get(ORIGIN..)?.first_chunk()?;
    let info = u32::from_ne_bytes(*error.get(INFO..)?.first_chunk()?);
    let is_too_long = errno == libc::EMSGSIZE;
    let undelivered = match origin {
        libc::SO_EE_ORIGIN_LOCAL => None,
        libc::SO_EE_ORIGIN_ICMP => Undelivered::from_icmp(kind, code),
        libc::SO_EE_ORIGIN_ICMP6 => Undelivered::from_icmpv6(kind, code),
        _ => return None,
    };
    if is_too_long {
        let mtu = u16::try_from(info).unwrap_or(u16::MAX);
        return Some(PathErrorKind::TooLong { mtu });
    }
    undelivered.map(PathErrorKind::Undelivered)
}

/// Reads who sent the error: a socket address behind the `sock_extended_err` (SO_EE_OFFENDER).
fn offender(error: &[u8]) -> Option<IpAddr> {
    let address = error.get(OFFENDER..)?;
    let family = u16::from_ne_bytes(*address.first_chunk()?);
    match i32::from(family) {
        libc::AF_INET => {
            let octets: [u8; 4] = *address.get(4..)?.first_chunk()?;
            Some(Ipv4Addr::from(octets).into())
        }
        libc::AF_INET6 => {
            let octets: [u8; 16] = *address.get(8..)?.first_chunk()?;
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

/// Errors taken in one go; what is left wakes the reader again.
const ERRORS_MAX: usize = 64;
/// Offset of origin, type and code in a `sock_extended_err`.
const ORIGIN: usize = 4;
/// Offset of the MTU in it.
const INFO: usize = 8;
/// Its length.
const OFFENDER: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_about_size_is_read_from_routers_and_from_the_kernel() {
        for (origin, info, mtu) in [
            (libc::SO_EE_ORIGIN_ICMP, 1300, 1300),
            (libc::SO_EE_ORIGIN_ICMP6, 1280, 1280),
            (libc::SO_EE_ORIGIN_LOCAL, 1500, 1500),
            (libc::SO_EE_ORIGIN_LOCAL, 70_000, u16::MAX),
        ] {
            let bytes = error(libc::EMSGSIZE, [origin, 3, 4], info);
            let expected = PathErrorKind::TooLong { mtu };
            assert_eq!(kind_of(&bytes), Some(expected), "{bytes:?}");
        }
    }

    #[test]
    fn an_error_about_delivery_is_read_by_its_family() {
        let undelivered = |why| Some(PathErrorKind::Undelivered(why));
        for (head, expected) in [
            (
                [libc::SO_EE_ORIGIN_ICMP, 3, 1],
                undelivered(Undelivered::HostUnreachable),
            ),
            (
                [libc::SO_EE_ORIGIN_ICMP, 3, 3],
                undelivered(Undelivered::PortUnreachable),
            ),
            (
                [libc::SO_EE_ORIGIN_ICMP, 11, 0],
                undelivered(Undelivered::TimeExceeded),
            ),
            (
                [libc::SO_EE_ORIGIN_ICMP6, 1, 1],
                undelivered(Undelivered::Prohibited),
            ),
            (
                [libc::SO_EE_ORIGIN_ICMP6, 3, 0],
                undelivered(Undelivered::TimeExceeded),
            ),
            ([libc::SO_EE_ORIGIN_ICMP, 1, 1], None),
            ([libc::SO_EE_ORIGIN_LOCAL, 3, 1], None),
        ] {
            let bytes = error(libc::EHOSTUNREACH, head, 0);
            assert_eq!(kind_of(&bytes), expected, "{head:?}");
        }
    }

    #[test]
    fn what_is_no_error_of_the_way_or_too_short_is_nothing() {
        let sent = error(libc::EMSGSIZE, [libc::SO_EE_ORIGIN_TXSTATUS, 3, 4], 1500);
        assert_eq!(kind_of(&sent), None);
        let whole = error(libc::EMSGSIZE, [libc::SO_EE_ORIGIN_ICMP, 3, 4], 1300);
        for length in 0..INFO + 4 {
            assert_eq!(kind_of(&whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn who_sent_an_error_is_read_if_it_is_told() {
        let socket_address = |family: i32, rest: &[u8]| {
            let family = u16::try_from(family).unwrap().to_ne_bytes();
            [&[0; OFFENDER], &family[..], rest].concat()
        };
        let ipv4 = socket_address(libc::AF_INET, &[0, 0, 192, 0, 2, 7]);
        assert_eq!(offender(&ipv4), Some([192, 0, 2, 7].into()));
        let address: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let rest = [&[0; 6][..], &address.octets()].concat();
        let ipv6 = socket_address(libc::AF_INET6, &rest);
        assert_eq!(offender(&ipv6), Some(address.into()));
        assert_eq!(offender(&socket_address(libc::AF_UNSPEC, &[0; 14])), None);
        for length in 0..ipv4.len() {
            assert_eq!(offender(&ipv4[..length]), None, "{length}");
        }
    }

    fn error(errno: i32, head: [u8; 3], info: u32) -> Vec<u8> {
        let (errno, info) = (errno.to_ne_bytes(), info.to_ne_bytes());
        [&errno[..], &head, &[0], &info, &[0; 4]].concat()
    }
}
