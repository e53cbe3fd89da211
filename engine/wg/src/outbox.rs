//! What waits to be taken by the driver: datagrams and events, both bounded.
//!
//! The bound grows with the number of peers, because one deadline (or one address change of ours) can concern all of
//! them at once. What does not fit is dropped and counted: handshakes repeat themselves.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::device::Event;
use crate::message::HANDSHAKE_MAX;

/// A handshake message, cookie reply or keepalive; none is longer than the initiation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    bytes: [u8; HANDSHAKE_MAX],
    len: usize,
}

impl Message {
    /// Copies `bytes`, at most [`HANDSHAKE_MAX`] of them.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut message = Self {
            bytes: [0; HANDSHAKE_MAX],
            len: bytes.len(),
        };
        message.bytes[..bytes.len()].copy_from_slice(bytes);
        message
    }

    /// Returns the bytes to send.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// How much was lost because the driver did not drain the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Datagrams (handshake, cookie reply, keepalive).
    pub transmits: u64,
    /// Events.
    pub events: u64,
}

/// The two queues.
#[derive(Debug)]
pub(crate) struct Outbox {
    transmits: VecDeque<(SocketAddr, Message)>,
    events: VecDeque<Event>,
    bound: usize,
    dropped: Dropped,
}

impl Outbox {
    /// Makes empty queues with the bound for no peers.
    pub(crate) fn new() -> Self {
        let (transmits, events) = (VecDeque::new(), VecDeque::new());
        Self {
            transmits,
            events,
            bound: BOUND_BASE,
            dropped: Dropped::default(),
        }
    }

    /// Sets the bound for `peers` peers.
    pub(crate) fn fit(&mut self, peers: usize) {
        self.bound = BOUND_BASE + BOUND_PER_PEER * peers;
    }

    /// Queues a datagram.
    pub(crate) fn send(&mut self, to: SocketAddr, message: Message) {
        if self.transmits.len() < self.bound {
            self.transmits.push_back((to, message));
        } else {
            self.dropped.transmits += 1;
        }
    }

    /// Queues an event.
    pub(crate) fn report(&mut self, event: Event) {
        if self.events.len() < self.bound {
            self.events.push_back(event);
        } else {
            self.dropped.events += 1;
        }
    }

    /// Writes the next datagram to `out`; leaves it queued if `out` is too short.
    pub(crate) fn poll_transmit(&mut self, out: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let (to, message) = self.transmits.front()?;
        let (to, len) = (*to, message.len);
        out.get_mut(..len)?.copy_from_slice(message.bytes());
        self.transmits.pop_front();
        Some((to, len))
    }

    /// Takes the next event.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns what was lost so far.
    pub(crate) fn dropped(&self) -> Dropped {
        self.dropped
    }
}

/// Bound of each queue without peers.
const BOUND_BASE: usize = 64;

/// What each peer adds to the bound.
const BOUND_PER_PEER: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PeerIndex;

    #[test]
    fn queues_are_bounded_and_count_what_they_lose() {
        let mut outbox = Outbox::new();
        outbox.fit(1);
        let message = Message::new(&[1; 32]);
        for _ in 0..100 {
            outbox.send("192.0.2.1:1".parse().unwrap(), message);
            outbox.report(Event::SessionDown { peer: PeerIndex(0) });
        }
        assert_eq!(
            outbox.dropped(),
            Dropped {
                transmits: 32,
                events: 32
            }
        );
        let mut out = [0; HANDSHAKE_MAX];
        assert_eq!(
            std::iter::from_fn(|| outbox.poll_transmit(&mut out)).count(),
            68
        );
        assert_eq!(std::iter::from_fn(|| outbox.poll_event()).count(), 68);
    }

    #[test]
    fn a_short_buffer_takes_nothing() {
        let mut outbox = Outbox::new();
        let to = "[2001:db8::1]:51820".parse().unwrap();
        outbox.send(to, Message::new(&[9; 92]));
        assert_eq!(outbox.poll_transmit(&mut [0; 91]), None);
        assert_eq!(outbox.poll_transmit(&mut [0; 92]), Some((to, 92)));
    }
}
