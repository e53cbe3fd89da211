//! Echo requests (RFC 792), and whether they are answered.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sam_dataplane::packet::checksum::Sum;
use sam_net::Namespace;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Answers that are wanted.
const COUNT: u16 = 3;
/// How often each is asked for: the one of an address that is being moved may be lost.
const TRIES: usize = 2;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
const REQUEST: u8 = 8;
const ANSWER: u8 = 0;

/// Lets a client ping an address until three requests are answered.
///
/// # Errors
/// When one is not, or there is no route.
pub(super) fn thrice(client: &Namespace, to: Ipv4Addr) -> Result<()> {
    let socket = client.enter(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)))?;
    let socket = socket.context("cannot ping")?;
    // Nobody else is heard.
    socket.connect(&SockAddr::from(SocketAddrV4::new(to, 0)))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    for sequence in 1..=COUNT {
        let mut tries = (0..TRIES).map(|_| is_answered(&socket, sequence));
        if !tries.any(|answered| answered.is_ok_and(|answered| answered)) {
            bail!("ping {sequence} of {COUNT} to {to} is not answered");
        }
    }
    Ok(())
}

fn is_answered(mut socket: &Socket, sequence: u16) -> std::io::Result<bool> {
    let request = request(sequence);
    socket.write_all(&request)?;
    let asked = Instant::now();
    let mut bytes = [0; 128];
    while asked.elapsed() < PATIENCE {
        match socket.read(&mut bytes) {
            Ok(count) if is_answer(&bytes[..count], &request) => return Ok(true),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn request(sequence: u16) -> [u8; 16] {
    let [high, low] = sequence.to_be_bytes();
    // Identifier and data are ours to choose.
    let mut message = [
        REQUEST, 0, 0, 0, b's', b'a', high, low, 0, 1, 2, 3, 4, 5, 6, 7,
    ];
    let checksum = Sum::of(&message).checksum().to_be_bytes();
    message[2..4].copy_from_slice(&checksum);
    message
}

/// Tells whether a packet, as raw sockets show them, answers a request.
fn is_answer(packet: &[u8], request: &[u8; 16]) -> bool {
    let header = packet
        .first()
        .map_or(0, |first| usize::from(first & 15) * 4);
    let message = packet.get(header..).unwrap_or_default();
    message.first() == Some(&ANSWER) && message.get(4..) == Some(&request[4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_repeats_the_request() {
        let request = request(2);
        assert!(Sum::of(&request).is_intact());
        let packet = |sequence: u8, kind: u8| {
            let mut packet = [[0; 20].as_slice(), request.as_slice()].concat();
            packet[0] = 0x45;
            (packet[20], packet[27]) = (kind, sequence);
            packet
        };

        assert!(is_answer(&packet(2, ANSWER), &request));
        assert!(!is_answer(&packet(1, ANSWER), &request), "a late one");
        assert!(
            !is_answer(&packet(2, REQUEST), &request),
            "the request itself"
        );
        assert!(!is_answer(&[], &request));
    }
}
