//! Echo requests of exact length to one node, each answer compared byte by byte.

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_dataplane::packet::checksum::Sum;
use sam_dataplane::packet::icmp::ICMP_HEADER;
use sam_dataplane::packet::ipv4::IPV4_HEADER;
use sam_net::{NetError, echo_socket};
use tokio::net::UdpSocket;

use super::pattern::Pattern;

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
/// Longest IP packet.
const PACKET_MAX: usize = 65_535;

/// Exchanges echoes with one node.
pub(super) struct Echo {
    /// Raw, for ICMP.
    socket: UdpSocket,
    id: u16,
    sequence: u16,
    buffer: Vec<u8>,
}

impl Echo {
    /// Opens a socket at our address `near` of `device`; `id` tells its echoes from those of others.
    ///
    /// # Errors
    /// What [`echo_socket::open`] says.
    pub(super) fn open(
        near: Ipv4Addr,
        device: &str,
        far: Ipv4Addr,
        id: u16,
    ) -> Result<Self, NetError> {
        let socket = echo_socket::open(near, device, far)?;
        let socket = UdpSocket::from_std(socket)
            .map_err(|error| NetError::new("watch ICMP socket to", far.to_string(), error))?;
        Ok(Self {
            socket,
            id,
            sequence: 0,
            buffer: vec![0; PACKET_MAX],
        })
    }

    /// Sends a request whose packet is `size` bytes long, IP header included, and waits for its answer; `None` when
    /// there is none in time, or the packet could not even leave.
    ///
    /// # Errors
    /// When the socket fails.
    pub(super) async fn ask(
        &mut self,
        size: u16,
        patience: Duration,
    ) -> io::Result<Option<Duration>> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(self.id, self.sequence, usize::from(size));
        let sent = Instant::now();
        match self.socket.send(&request).await {
            Ok(_) => {}
            Err(error) if says_unreachable(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        match tokio::time::timeout(patience, self.is_answered(&request)).await {
            Ok(answered) => Ok(answered?.then(|| sent.elapsed())),
            Err(_) => Ok(None),
        }
    }

    /// Waits for the answer, or for an error message instead.
    async fn is_answered(&mut self, request: &[u8]) -> io::Result<bool> {
        loop {
            match self.socket.recv(&mut self.buffer).await {
                Ok(length) if answers(request, &self.buffer[..length]) => return Ok(true),
                // Somebody else's, or a late one: the wait goes on.
                Ok(_) => {}
                Err(error) if says_unreachable(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Tells whether an error is what an ICMP error message said, perhaps about an earlier request, or that the packet is
/// longer than the device takes.
fn says_unreachable(error: &io::Error) -> bool {
    let kind = error.kind();
    echo_socket::is_too_long(error)
        || matches!(
            kind,
            io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::ConnectionRefused
        )
}

/// Writes an echo request (RFC 792) whose packet is `size` bytes long, at least headers.
fn request(id: u16, sequence: u16, size: usize) -> Vec<u8> {
    let mut message = vec![0; size.saturating_sub(IPV4_HEADER).max(ICMP_HEADER)];
    let (header, payload) = message.split_at_mut(ICMP_HEADER);
    header[0] = ECHO_REQUEST;
    header[4..6].copy_from_slice(&id.to_be_bytes());
    header[6..8].copy_from_slice(&sequence.to_be_bytes());
    Pattern::new(u32::from(sequence)).fill(payload);
    let checksum = Sum::of(&message).checksum();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// Tells whether a packet is the answer to a request: the same bytes but for type and checksum.
fn answers(request: &[u8], packet: &[u8]) -> bool {
    let header = packet
        .first()
        .map_or(0, |first| usize::from(first & 0x0f) * 4);
    let Some(message) = packet.get(header..) else {
        return false;
    };
    message.len() == request.len()
        && message[0] == ECHO_REPLY
        && message[4..] == request[4..]
        && Sum::of(message).is_intact()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_as_long_as_asked_and_intact() {
        for size in [28, 29, 84, 1440, 65_535] {
            let message = request(7, 9, size);
            assert_eq!(message.len() + IPV4_HEADER, size);
            assert!(Sum::of(&message).is_intact());
            assert_eq!(message[..2], [ECHO_REQUEST, 0]);
            assert_eq!(message[4..8], [0, 7, 0, 9]);
        }
        assert_eq!(request(7, 9, 0).len(), ICMP_HEADER);
    }

    #[test]
    fn only_the_very_answer_counts() {
        let request = request(7, 9, 84);
        let answer = |change: fn(&mut [u8])| {
            let mut packet = vec![0x45; IPV4_HEADER];
            packet.extend(&request);
            packet[IPV4_HEADER] = ECHO_REPLY;
            change(&mut packet[IPV4_HEADER..]);
            packet[IPV4_HEADER + 2..IPV4_HEADER + 4].fill(0);
            let checksum = Sum::of(&packet[IPV4_HEADER..]).checksum();
            packet[IPV4_HEADER + 2..IPV4_HEADER + 4].copy_from_slice(&checksum.to_be_bytes());
            packet
        };
        assert!(answers(&request, &answer(|_| ())));
        let changes: [fn(&mut [u8]); 4] = [
            |message| message[0] = ECHO_REQUEST,
            |message| message[5] ^= 1,
            |message| message[7] ^= 1,
            |message| message[40] ^= 1,
        ];
        for change in changes {
            assert!(!answers(&request, &answer(change)));
        }
        let mut broken = answer(|_| ());
        broken[IPV4_HEADER + 2] ^= 1;
        assert!(!answers(&request, &broken), "the checksum is wrong");
        assert!(!answers(&request, &answer(|_| ())[..83]));
        assert!(!answers(&request, &[]));
        assert!(!answers(&request, &[0x4f; 30]));
    }
}
