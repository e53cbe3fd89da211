//! Hand-made ARP: questions whose every answer is seen, from a packet socket beside the host's kernel.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use sam_dataplane::packet::arp::{ArpOperation, ArpPacket};
use sam_dataplane::packet::ethernet::ETHERNET_HEADER;
use sam_dataplane::unit::Unit;
use sam_dataplane::{Buffer, BufferPool};
use sam_net::{Namespace, PacketSocket};

/// Interface of clients.
const INTERFACE: &str = "eth0";
/// Ethernet type of ARP.
const ARP: [u8; 2] = [8, 6];

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArpAnswer {
    /// Address that the reply is about.
    pub address: Ipv4Addr,
    /// MAC that it names, in the usual notation.
    pub mac: String,
}

/// Asks once who has `target` and returns every reply that comes within `window`.
///
/// # Panics
/// When the client's interface cannot be opened.
pub fn ask_who_has(
    client: &Namespace,
    sender: Ipv4Addr,
    target: Ipv4Addr,
    window: Duration,
) -> Vec<ArpAnswer> {
    let exchange = || Asker::open(sender, target).ask(window);
    client.enter(exchange).expect("the client can be entered")
}

/// Probes for an address before use (RFC 5227 section 2.1.1), once, and returns every reply within `window`.
pub fn probe_for(client: &Namespace, target: Ipv4Addr, window: Duration) -> Vec<ArpAnswer> {
    ask_who_has(client, Ipv4Addr::UNSPECIFIED, target, window)
}

/// Sends ARP packets in order, whoever they claim to come from.
///
/// # Panics
/// When the client's interface cannot be opened.
pub fn send_arp(client: &Namespace, packets: impl Iterator<Item = ArpPacket> + Send) {
    let work = || {
        let mut socket = PacketSocket::open(INTERFACE, None).expect("a packet socket opens");
        packets.for_each(|packet| send(&mut socket, &packet));
    };
    client.enter(work).expect("the client can be entered");
}

/// Somebody who asks one question again and again.
pub(super) struct Asker {
    socket: PacketSocket,
    request: ArpPacket,
    pool: BufferPool,
}

impl Asker {
    /// Opens the interface of the client whose namespace the thread is in.
    ///
    /// # Panics
    /// When that fails.
    pub(super) fn open(sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        let socket = PacketSocket::open(INTERFACE, None).expect("a packet socket opens");
        Self {
            request: ArpPacket::request(socket.mac(), sender, target),
            socket,
            pool: BufferPool::new(40),
        }
    }

    /// Asks once, and returns every reply that comes within `window`.
    pub(super) fn ask(&mut self, window: Duration) -> Vec<ArpAnswer> {
        let end = Instant::now() + window;
        send(&mut self.socket, &self.request);
        self.replies(end)
    }

    fn replies(&mut self, end: Instant) -> Vec<ArpAnswer> {
        let (mut frames, mut answers) = (Vec::new(), Vec::new());
        while Instant::now() < end {
            let received = self.socket.recv_batch(&mut self.pool, &mut frames, 32);
            for unit in frames.drain(..).flatten() {
                answers.extend(reply(unit.buffer.bytes(), &self.request));
                self.pool.give(unit.buffer);
            }
            if received.unwrap_or(0) == 0 {
                thread::sleep(Duration::from_millis(2));
            }
        }
        answers
    }
}

fn send(socket: &mut PacketSocket, packet: &ArpPacket) {
    let mut buffer = Buffer::new();
    assert!(buffer.append(&packet.emit_frame()), "a frame fits");
    let mut failures = Vec::new();
    socket.send_batch(&[Unit::plain(buffer)], &mut failures);
    assert!(failures.is_empty(), "a packet is sent: {failures:?}");
}

/// Reads a reply to our request; announcements (sender = target) are none.
fn reply(frame: &[u8], request: &ArpPacket) -> Option<ArpAnswer> {
    if frame.get(12..14)? != ARP {
        return None;
    }
    let packet = ArpPacket::parse(frame.get(ETHERNET_HEADER..)?).ok()?;
    let fits = packet.operation == ArpOperation::Reply
        && packet.sender == request.target
        && packet.target == request.sender;
    fits.then(|| ArpAnswer {
        address: packet.sender,
        mac: packet
            .sender_mac
            .map(|byte| format!("{byte:02x}"))
            .join(":"),
    })
}
