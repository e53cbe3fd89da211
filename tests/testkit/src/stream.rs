//! Reliable byte streams between routers, in place of the host's TCP.
//!
//! Go-back-N over IP packets that travel through the engines: they are lost, reordered and cut like any other. Not
//! TCP, but with what BGP relies on: order, retransmission, refusal, and an end when the far side is gone.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_bgp::ConnectionId;

use crate::packet::{STREAM_PROTOCOL, ipv4_packet};

const SEGMENT: usize = 1200;
const WINDOW: usize = 32;
const RETRANSMIT: Duration = Duration::from_millis(200);
const GIVE_UP: Duration = Duration::from_secs(8);

const SYN: u8 = 1;
const ACK: u8 = 2;
const FIN: u8 = 4;
const RST: u8 = 8;
/// Set on packets of the accepting side.
const ACCEPTOR: u8 = 16;

/// What happened to a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// The ordered connection is up.
    Connected(ConnectionId),
    /// A peer connected; the id is even.
    Accepted(ConnectionId, Ipv4Addr),
    /// Bytes in order.
    Received(ConnectionId, Vec<u8>),
    /// The end.
    Closed(ConnectionId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    peer: Ipv4Addr,
    wire_id: u32,
    acceptor: bool,
}

#[derive(Debug)]
struct Stream {
    local: ConnectionId,
    connected: bool,
    unacked: VecDeque<Vec<u8>>,
    /// Sequence number of the first unacknowledged chunk.
    base: u32,
    sent: usize,
    expected: u32,
    closing: bool,
    retransmit_at: Option<Instant>,
    progress_at: Instant,
}

/// All streams of one router.
#[derive(Debug)]
pub struct Streams {
    local: Ipv4Addr,
    streams: BTreeMap<Key, Stream>,
    packets: VecDeque<Vec<u8>>,
    events: VecDeque<StreamEvent>,
    next_wire: u32,
    next_accepted: u64,
}

impl Streams {
    /// Makes the streams of the router with this overlay address. Streams are numbered from `start`, which differs at
    /// each start of a router, so that none is taken for one of the past.
    #[must_use]
    pub fn new(local: Ipv4Addr, start: u64) -> Self {
        Self {
            local,
            streams: BTreeMap::new(),
            packets: VecDeque::new(),
            events: VecDeque::new(),
            next_wire: u32::try_from(start & 0x7FFF_FFFF).expect("masked to 31 bits"),
            next_accepted: 2,
        }
    }

    /// Starts to connect.
    pub fn connect(&mut self, connection: ConnectionId, peer: Ipv4Addr, now: Instant) {
        let key = Key {
            peer,
            wire_id: self.next_wire,
            acceptor: false,
        };
        self.next_wire += 1;
        self.streams
            .insert(key, Stream::new(connection, false, now));
        self.transmit(key, now);
    }

    /// Queues bytes.
    pub fn send(&mut self, connection: ConnectionId, bytes: &[u8], now: Instant) {
        let Some(key) = self.key_of(connection) else {
            return;
        };
        let stream = self.streams.get_mut(&key).expect("key was just found");
        stream
            .unacked
            .extend(bytes.chunks(SEGMENT).map(<[u8]>::to_vec));
        self.transmit(key, now);
    }

    /// Closes after what was queued.
    pub fn close(&mut self, connection: ConnectionId, now: Instant) {
        let Some(key) = self.key_of(connection) else {
            return;
        };
        let stream = self.streams.get_mut(&key).expect("key was just found");
        stream.closing = true;
        if stream.unacked.is_empty() {
            self.emit(key, FIN, &[]);
            self.streams.remove(&key);
        } else {
            self.transmit(key, now);
        }
    }

    /// Handles a packet addressed to us.
    pub fn handle_packet(&mut self, packet: &[u8], now: Instant) {
        if packet.len() < 33 || packet[9] != STREAM_PROTOCOL {
            return;
        }
        let peer = Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]);
        let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().expect("4 bytes"));
        let (wire_id, flags, sequence, acked) = (word(20), packet[24], word(25), word(29));
        let key = Key {
            peer,
            wire_id,
            acceptor: flags & ACCEPTOR == 0,
        };
        if flags & (FIN | RST) != 0 {
            if let Some(stream) = self.streams.remove(&key) {
                self.events.push_back(StreamEvent::Closed(stream.local));
            }
            return;
        }
        if !self.streams.contains_key(&key) && !self.accept(key, flags, now) {
            return;
        }
        let stream = self.streams.get_mut(&key).expect("present or accepted");
        if !stream.connected && flags & ACK != 0 {
            stream.connected = true;
            stream.retransmit_at = None;
            self.events.push_back(StreamEvent::Connected(stream.local));
        }
        stream.acknowledge(acked, now);
        let data = &packet[33..];
        let local = stream.local;
        if !data.is_empty() {
            if sequence == stream.expected {
                stream.expected += 1;
                self.events
                    .push_back(StreamEvent::Received(local, data.to_vec()));
            }
            self.emit(key, ACK, &[]);
        } else if flags & SYN != 0 && key.acceptor {
            self.emit(key, SYN | ACK, &[]);
        }
        self.transmit(key, now);
    }

    /// Retransmits and gives up what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<Key> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.retransmit_at.is_some_and(|at| at <= now))
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            let stream = self.streams.get_mut(&key).expect("key is from this map");
            if now.duration_since(stream.progress_at) >= GIVE_UP {
                let local = stream.local;
                self.streams.remove(&key);
                self.events.push_back(StreamEvent::Closed(local));
                continue;
            }
            stream.sent = 0;
            stream.retransmit_at = None;
            self.transmit(key, now);
        }
    }

    /// Returns the next deadline.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.streams
            .values()
            .filter_map(|stream| stream.retransmit_at)
            .min()
    }

    /// Takes the next IP packet to send.
    pub fn poll_packet(&mut self) -> Option<Vec<u8>> {
        self.packets.pop_front()
    }

    /// Takes the next event.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }

    fn accept(&mut self, key: Key, flags: u8, now: Instant) -> bool {
        if !key.acceptor || flags & SYN == 0 {
            self.emit(key, RST, &[]);
            return false;
        }
        let id = ConnectionId(self.next_accepted);
        self.next_accepted += 2;
        self.streams.insert(key, Stream::new(id, true, now));
        self.events.push_back(StreamEvent::Accepted(id, key.peer));
        true
    }

    fn key_of(&self, connection: ConnectionId) -> Option<Key> {
        self.streams
            .iter()
            .find(|(_, stream)| stream.local == connection)
            .map(|(key, _)| *key)
    }

    fn transmit(&mut self, key: Key, now: Instant) {
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        if !stream.connected {
            stream.retransmit_at.get_or_insert(now + RETRANSMIT);
            self.emit(key, SYN, &[]);
            return;
        }
        let window: Vec<(u32, Vec<u8>)> = stream
            .unacked
            .iter()
            .enumerate()
            .take(WINDOW)
            .skip(stream.sent)
            .map(|(at, data)| {
                (
                    stream.base + u32::try_from(at).expect("small"),
                    data.clone(),
                )
            })
            .collect();
        stream.sent += window.len();
        stream.retransmit_at =
            (!stream.unacked.is_empty()).then(|| stream.retransmit_at.unwrap_or(now + RETRANSMIT));
        let finished = stream.closing && stream.unacked.is_empty();
        for (sequence, data) in window {
            self.emit_at(key, ACK, sequence, &data);
        }
        if finished {
            self.emit(key, FIN, &[]);
            self.streams.remove(&key);
        }
    }

    fn emit(&mut self, key: Key, flags: u8, data: &[u8]) {
        self.emit_at(key, flags, 0, data);
    }

    fn emit_at(&mut self, key: Key, flags: u8, sequence: u32, data: &[u8]) {
        let acked = self.streams.get(&key).map_or(0, |stream| stream.expected);
        let side = if key.acceptor { ACCEPTOR } else { 0 };
        let mut body = key.wire_id.to_be_bytes().to_vec();
        body.push(flags | side);
        body.extend(sequence.to_be_bytes());
        body.extend(acked.to_be_bytes());
        body.extend(data);
        self.packets
            .push_back(ipv4_packet(self.local, key.peer, STREAM_PROTOCOL, &body));
    }
}

impl Stream {
    fn new(local: ConnectionId, connected: bool, now: Instant) -> Self {
        Self {
            local,
            connected,
            unacked: VecDeque::new(),
            base: 0,
            sent: 0,
            expected: 0,
            closing: false,
            retransmit_at: None,
            progress_at: now,
        }
    }

    fn acknowledge(&mut self, acked: u32, now: Instant) {
        let count = acked.wrapping_sub(self.base) as usize;
        if count == 0 || count > self.unacked.len() {
            if self.unacked.is_empty() {
                self.progress_at = now;
            }
            return;
        }
        self.unacked.drain(..count);
        self.base = acked;
        self.sent = self.sent.saturating_sub(count);
        self.progress_at = now;
        self.retransmit_at = None;
    }
}
