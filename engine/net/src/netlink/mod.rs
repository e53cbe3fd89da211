//! Asks and configures the kernel by rtnetlink, synchronously: links, addresses, routes.
//!
//! One [`Netlink`] belongs to the network namespace of the thread that opened it. It is for the control path: every
//! call is one request and waits for its answer. Changes tolerate what is there already: they return whether they
//! changed anything, so that a restarted router finds its own leftovers harmless.

mod address;
mod link;
mod route;

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::error::{Context, NetError};

pub use address::Address;
pub use link::{Link, OperState};
pub use route::{Route, RouteAnswer};

/// A connection to the kernel's routing tables.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a connection in the network namespace of the calling thread.
    ///
    /// # Errors
    /// EPROTONOSUPPORT in a sandbox without netlink.
    pub fn open() -> Result<Self, NetError> {
        let connect = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket = connect().context("open", "netlink socket")?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: vec![0; RECEIVE_BYTES],
        })
    }

    /// Sends a request that changes something and waits for the verdict.
    fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.exchange(message, flags | NLM_F_ACK, &mut Vec::new())
    }

    /// Sends a request with one answer.
    fn ask(&mut self, message: RouteNetlinkMessage) -> io::Result<RouteNetlinkMessage> {
        let mut answers = Vec::new();
        self.exchange(message, NLM_F_ACK, &mut answers)?;
        answers
            .pop()
            .ok_or_else(|| malformed("netlink: no answer that can be read"))
    }

    /// Reads a whole table, again when it changed meanwhile. Entries that cannot be decoded are left out: one exotic
    /// link must not hide the others.
    fn dump(&mut self, message: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut entries = Vec::new();
            match self.exchange(message.clone(), NLM_F_DUMP, &mut entries) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(|()| entries),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::Interrupted,
            "netlink: table keeps changing",
        ))
    }

    /// Sends one request and collects the answers up to its end mark.
    /// `Interrupted` says that a dump is not consistent.
    fn exchange(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        answers: &mut Vec<RouteNetlinkMessage>,
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        self.send(message, flags | NLM_F_REQUEST)?;
        let mut torn = false;
        loop {
            let mut room = &mut self.buffer[..];
            let length = self.socket.recv(&mut room, libc::MSG_TRUNC)?;
            let mut rest = self
                .buffer
                .get(..length)
                .ok_or_else(|| malformed("netlink: answer too long"))?;
            while !rest.is_empty() {
                let (header, one) = split_first(rest)?;
                rest = rest
                    .get(one.len().next_multiple_of(4)..)
                    .unwrap_or_default();
                if header.sequence != self.sequence {
                    continue;
                }
                torn |= header.flags & NLM_F_DUMP_INTR != 0;
                match collect(header, one, answers)? {
                    Progress::More => {}
                    Progress::End if torn => return Err(io::ErrorKind::Interrupted.into()),
                    Progress::End => return Ok(()),
                }
            }
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        let sent = self.socket.send(&bytes, 0)?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(malformed("netlink: request cut short"))
        }
    }
}

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Netlink")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// Turns "it is there already" or "it is gone already" into `Ok(false)`.
fn tolerate(result: io::Result<()>, errno: &[i32]) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error)
            if error
                .raw_os_error()
                .is_some_and(|number| errno.contains(&number)) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

enum Progress {
    More,
    End,
}

/// The fields of nlmsghdr that steer the exchange.
#[derive(Clone, Copy)]
struct Header {
    kind: u16,
    flags: u16,
    sequence: u32,
}

/// Splits the first message, header included, off a datagram.
fn split_first(data: &[u8]) -> io::Result<(Header, &[u8])> {
    let header: &[u8; HEADER_BYTES] = data
        .first_chunk()
        .ok_or_else(|| malformed("netlink: header cut short"))?;
    let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
    let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
    let message = data
        .get(..length)
        .filter(|message| message.len() >= HEADER_BYTES)
        .ok_or_else(|| malformed("netlink: message cut short"))?;
    let header = Header {
        kind: u16::from_ne_bytes([k0, k1]),
        flags: u16::from_ne_bytes([f0, f1]),
        sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
    };
    Ok((header, message))
}

/// Files one message of an answer, and tells whether it was the last.
fn collect(
    header: Header,
    message: &[u8],
    answers: &mut Vec<RouteNetlinkMessage>,
) -> io::Result<Progress> {
    match header.kind {
        NLMSG_ERROR | NLMSG_DONE => {
            // Both begin with the verdict: 0 or a negative error number. A bare end mark has none.
            let code = message.get(HEADER_BYTES..).and_then(<[u8]>::first_chunk);
            match code.copied().map_or(0, i32::from_ne_bytes) {
                0 => Ok(Progress::End),
                code => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
            }
        }
        _ => {
            if let Ok(decoded) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(message)
                && let NetlinkPayload::InnerMessage(inner) = decoded.payload
            {
                answers.push(inner);
            }
            Ok(Progress::More)
        }
    }
}

fn malformed(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

const HEADER_BYTES: usize = 16;
/// The kernel fills at most 32 KiB per datagram of a dump.
const RECEIVE_BYTES: usize = 64 * 1024;
const DUMP_ATTEMPTS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_ends_the_exchange_and_a_negative_one_is_the_error_number() {
        let done = Header {
            kind: NLMSG_DONE,
            flags: 0,
            sequence: 1,
        };
        let error = Header {
            kind: NLMSG_ERROR,
            ..done
        };
        let mut message = [0; HEADER_BYTES + 4];
        assert!(matches!(
            collect(error, &message, &mut Vec::new()),
            Ok(Progress::End)
        ));
        assert!(matches!(
            collect(done, &message[..HEADER_BYTES], &mut Vec::new()),
            Ok(Progress::End)
        ));
        message[HEADER_BYTES..].copy_from_slice(&(-libc::EEXIST).to_ne_bytes());
        let refused = collect(error, &message, &mut Vec::new())
            .err()
            .and_then(|e| e.raw_os_error());
        assert_eq!(refused, Some(libc::EEXIST));
    }

    #[test]
    fn tolerated_errors_become_unchanged() {
        let error = || Err(io::Error::from_raw_os_error(libc::EEXIST));
        assert!(!tolerate(error(), &[libc::EEXIST]).unwrap());
        assert!(tolerate(Ok(()), &[libc::EEXIST]).unwrap());
        assert!(tolerate(error(), &[libc::ESRCH]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_datagram_is_split_without_panic(data in proptest::collection::vec(0u8.., 0..200)) {
            if let Ok((header, message)) = split_first(&data) {
                collect(header, message, &mut Vec::new()).ok();
            }
        }
    }
}
