//! Who answers ARP: one question on the LAN, and everybody who answers it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sam_dataplane::{Buffer, BufferPool, Unit};
use sam_net::{Namespace, PacketSocket};

/// An Ethernet address.
pub(super) type Mac = [u8; 6];

/// What was heard after a question.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Who answered it.
    pub answers: BTreeSet<Mac>,
    /// Frames to everybody.
    pub broadcasts: usize,
}

/// Lets a host ask who has an address, and listens for a while.
///
/// # Errors
/// When the interface cannot be used.
pub(super) fn ask(
    host: &Namespace,
    own: Ipv4Addr,
    target: Ipv4Addr,
    window: Duration,
) -> Result<Heard> {
    let mut socket = host.enter(|| PacketSocket::open("eth0", None))??;
    let mut buffer = Buffer::new();
    if !buffer.append(&question(socket.mac(), own, target)) {
        bail!("an ARP request does not fit into a buffer");
    }
    let mut failures = Vec::new();
    socket.send_batch(&[Unit::plain(buffer)], &mut failures);
    let mut heard = Heard::default();
    let mut pool = BufferPool::new(40);
    let mut frames = Vec::new();
    let end = Instant::now() + window;
    while Instant::now() < end {
        let count = socket.recv_batch(&mut pool, &mut frames, 32).unwrap_or(0);
        for unit in frames.drain(..).flatten() {
            let frame = unit.buffer.bytes();
            heard.answers.extend(answer(frame, target));
            heard.broadcasts += usize::from(frame.starts_with(&EVERYBODY));
            pool.give(unit.buffer);
        }
        if count == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(heard)
}

/// The Ethernet address that a router has on the LAN, as it says itself.
///
/// # Errors
/// When it says none.
pub(super) fn parse_mac(text: &str) -> Result<Mac> {
    let octets = text.split(':').map(|octet| u8::from_str_radix(octet, 16));
    let octets: Vec<u8> = octets.collect::<Result<_, _>>()?;
    octets.try_into().ok().context("no Ethernet address")
}

/// An ARP request (RFC 826).
fn question(mac: Mac, own: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = EVERYBODY.to_vec();
    frame.extend(mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(own.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// Who says in an ARP reply to have an address.
fn answer(frame: &[u8], target: Ipv4Addr) -> Option<Mac> {
    let is_reply = frame.get(12..22)? == [8, 6, 0, 1, 8, 0, 6, 4, 0, 2];
    let is_meant = frame.get(28..32)? == target.octets();
    let mac = frame.get(22..28)?.try_into().ok()?;
    (is_reply && is_meant).then_some(mac)
}

const EVERYBODY: Mac = [0xff; 6];
