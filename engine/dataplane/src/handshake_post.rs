//! What a worker passes on to the owner of the handshakes: messages, and signals from the data path.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;

use sam_wg::{HANDSHAKE_MAX, Signal, Source};

/// Messages and signals that may wait in a worker until its batch ends.
pub const POSTS_MAX: usize = 64;

/// One source of messages may fill one part in so many of the room for messages.
const SOURCE_SHARE: usize = 8;

/// Something for [`crate::Handshakes`].
#[derive(Debug, Clone, Copy)]
pub enum HandshakePost {
    /// A received message, unchecked.
    Message(HandshakeMessage),
    /// What the data path noticed.
    Signal(Signal),
}

/// A received handshake message with its sender.
#[derive(Clone, Copy)]
pub struct HandshakeMessage {
    from: SocketAddr,
    bytes: [u8; HANDSHAKE_MAX],
    len: usize,
}

impl HandshakeMessage {
    /// Copies a datagram; `None` when it is longer than any handshake message.
    #[must_use]
    pub fn new(from: SocketAddr, datagram: &[u8]) -> Option<Self> {
        let mut bytes = [0; HANDSHAKE_MAX];
        bytes.get_mut(..datagram.len())?.copy_from_slice(datagram);
        let len = datagram.len();
        Some(Self { from, bytes, len })
    }

    /// Returns the sender.
    #[must_use]
    pub fn from(&self) -> SocketAddr {
        self.from
    }

    /// Returns the datagram.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl fmt::Debug for HandshakeMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandshakeMessage({} bytes from {})", self.len, self.from)
    }
}

/// A bounded queue of posts; never grows beyond its first allocation.
#[derive(Debug)]
pub struct Posts {
    posts: VecDeque<HandshakePost>,
    limit: usize,
}

impl Posts {
    /// Makes a queue for `limit` posts.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let posts = VecDeque::with_capacity(limit);
        Self { posts, limit }
    }

    /// Tells whether a signal finds room.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.posts.len() < self.limit
    }

    /// Tells whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }

    /// Queues; returns `false` when there is no room. Messages leave half of the room to signals, because anybody can send
    /// messages; and those of one source leave most of theirs to other sources.
    #[must_use]
    pub fn push(&mut self, post: HandshakePost) -> bool {
        let has_room = match &post {
            HandshakePost::Message(message) => {
                self.posts.len() < self.limit / 2 && self.has_room_for(message.from.ip().into())
            }
            HandshakePost::Signal(_) => self.has_room(),
        };
        if has_room {
            self.posts.push_back(post);
        }
        has_room
    }

    /// Tells whether fewer messages of this source wait than one source may fill. The queue is short, so it is counted.
    fn has_room_for(&self, source: Source) -> bool {
        let share = self.limit / 2 / SOURCE_SHARE;
        let of_source = |post: &&HandshakePost| match post {
            HandshakePost::Message(message) => Source::from(message.from.ip()) == source,
            HandshakePost::Signal(_) => false,
        };
        self.posts.len() < share || self.posts.iter().filter(of_source).count() < share
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<HandshakePost> {
        self.posts.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn a_flood_of_messages_is_bounded() {
        let mut queue = Posts::new(POSTS_MAX);
        let taken = (0..1000).filter(|n| queue.push(message(Ipv4Addr::from(*n).into())));
        assert_eq!(taken.count(), POSTS_MAX / 2);
        let drained = std::iter::from_fn(|| queue.pop()).count();
        assert_eq!(drained, POSTS_MAX / 2);
        assert!(queue.push(message(Ipv4Addr::LOCALHOST.into())));
    }

    #[test]
    fn a_flood_from_one_source_leaves_room_to_others() {
        let of_one_prefix = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 1, n, 0, 0, n).into();
        let floods: [&dyn Fn(u16) -> IpAddr; 2] = [&|_| Ipv4Addr::LOCALHOST.into(), &of_one_prefix];
        for source in floods {
            let mut queue = Posts::new(POSTS_MAX);
            let taken = (0..1000).filter(|n| queue.push(message(source(*n))));
            assert_eq!(taken.count(), POSTS_MAX / 2 / SOURCE_SHARE);
            assert!(queue.push(message(Ipv4Addr::new(192, 0, 2, 1).into())));
            let other_prefix = Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 1);
            assert!(queue.push(message(other_prefix.into())));
        }
    }

    fn message(from: IpAddr) -> HandshakePost {
        let from = SocketAddr::from((from, 7));
        HandshakePost::Message(HandshakeMessage::new(from, &[1; HANDSHAKE_MAX]).expect("fits"))
    }

    #[test]
    fn longer_than_an_initiation_is_no_handshake_message() {
        let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 7));
        assert!(HandshakeMessage::new(from, &[1; HANDSHAKE_MAX + 1]).is_none());
        let message = HandshakeMessage::new(from, &[4; 92]).expect("fits");
        assert_eq!((message.bytes(), message.from()), (&[4; 92][..], from));
    }
}
