//! The sessions, endpoints and peers of a device as its workers see them: immutable, replaced as a whole.
//!
//! ```text
//!   Device --publish--> ArcSwap<Table> --load when the generation has changed--> DataPath, one per worker
//! ```
//!
//! A table is built anew for each change, in time proportional to the number of peers, because changes (a handshake, a
//! move) are rare next to packets. The handshakes under way are in it so that workers refuse what answers none of them. A worker that never looks keeps one old table, with the keys in it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use arc_swap::ArcSwap;

use crate::config::PeerIndex;
use crate::key::PublicKey;
use crate::mac::{has_mac1, mac1_key};
use crate::session::Session;
use crate::traffic::Traffic;

/// One peer.
#[derive(Debug)]
pub(crate) struct PeerView {
    /// Where sealed packets go.
    pub(crate) endpoint: Option<SocketAddr>,
    /// Whether authenticated packets from another address move the endpoint.
    pub(crate) roaming: bool,
    /// The session that seals.
    pub(crate) current: Option<Arc<Session>>,
    /// Sessions that only open.
    pub(crate) others: [Option<OpenSession>; 2],
    /// Local index of the initiation that awaits its response.
    pub(crate) handshake: Option<u32>,
    /// What workers note.
    pub(crate) traffic: Arc<Traffic>,
}

/// A session that does not seal.
#[derive(Debug, Clone)]
pub(crate) struct OpenSession {
    pub(crate) session: Arc<Session>,
    /// Whether the device wants to know when it is used.
    pub(crate) watched: bool,
}

impl PeerView {
    /// Whether workers would see no difference.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let same_other = |a: &Option<OpenSession>, b: &Option<OpenSession>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(&a.session, &b.session) && a.watched == b.watched,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let same_current = match (&self.current, &other.current) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_current
            && (self.endpoint, self.roaming) == (other.endpoint, other.roaming)
            && self.handshake == other.handshake
            && (self.others.iter().zip(&other.others)).all(|(a, b)| same_other(a, b))
            && Arc::ptr_eq(&self.traffic, &other.traffic)
    }

    /// Returns the session with this local index, and whether the device wants to know that it is used.
    pub(crate) fn session(&self, local_index: u32) -> Option<(&Session, bool)> {
        let current = self.current.iter().map(|session| (&**session, false));
        let others = self.others.iter().flatten();
        current
            .chain(others.map(|other| (&*other.session, other.watched)))
            .find(|(session, _)| session.local_index() == local_index)
    }

    fn indices(&self) -> impl Iterator<Item = u32> {
        let others = self.others.iter().flatten().map(|other| &other.session);
        let sessions = self.current.iter().chain(others);
        sessions.map(|session| session.local_index())
    }
}

/// All peers.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// By peer index.
    peers: Vec<Option<Arc<PeerView>>>,
    /// Which peer a session index belongs to, in order.
    owners: Vec<(u32, PeerIndex)>,
    /// Indices of handshakes under way, in order.
    handshakes: Vec<u32>,
}

impl Table {
    /// Makes the table of `peers`, which come in order.
    pub(crate) fn new<'a>(peers: impl Iterator<Item = (PeerIndex, &'a Arc<PeerView>)>) -> Self {
        let mut table = Self::default();
        for (index, peer) in peers {
            table.peers.resize(usize::from(index.0), None);
            table.peers.push(Some(Arc::clone(peer)));
            table
                .owners
                .extend(peer.indices().map(|session| (session, index)));
            table.handshakes.extend(peer.handshake);
        }
        table.owners.sort_unstable_by_key(|(session, _)| *session);
        table.handshakes.sort_unstable();
        table
    }

    /// Returns a peer.
    pub(crate) fn peer(&self, index: PeerIndex) -> Option<&PeerView> {
        self.peers.get(usize::from(index.0))?.as_deref()
    }

    /// Returns the peer with the session `local_index`.
    pub(crate) fn owner(&self, local_index: u32) -> Option<PeerIndex> {
        let place = self
            .owners
            .binary_search_by_key(&local_index, |(session, _)| *session);
        Some(self.owners[place.ok()?].1)
    }

    /// Whether a handshake message of ours may have named `local_index` as its sender.
    pub(crate) fn may_be_answered(&self, local_index: u32) -> bool {
        self.handshakes.binary_search(&local_index).is_ok() || self.owner(local_index).is_some()
    }
}

/// The newest table, for all who want it.
pub(crate) struct Published {
    /// Key of mac1 in messages to us.
    mac1_key: [u8; 32],
    generation: AtomicU64,
    table: ArcSwap<Table>,
}

impl Published {
    /// Makes the empty table of the device with this public key.
    pub(crate) fn new(public: &PublicKey) -> Self {
        Self {
            mac1_key: mac1_key(public),
            generation: AtomicU64::new(0),
            table: ArcSwap::default(),
        }
    }

    /// Replaces the table.
    pub(crate) fn publish(&self, table: Table) {
        self.table.store(Arc::new(table));
        self.generation.fetch_add(1, Release);
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published")
            .field("generation", &self.generation)
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

/// A reader of the newest table that looks for a newer one only when it is told to.
#[derive(Debug)]
pub(crate) struct Reader {
    published: Arc<Published>,
    generation: u64,
    table: Arc<Table>,
}

impl Reader {
    /// Makes a reader that has the newest table.
    pub(crate) fn new(published: &Arc<Published>) -> Self {
        Self {
            generation: published.generation.load(Acquire),
            table: published.table.load_full(),
            published: Arc::clone(published),
        }
    }

    /// Takes the newest table; false if there is none newer.
    pub(crate) fn refresh(&mut self) -> bool {
        let generation = self.published.generation.load(Acquire);
        if generation == self.generation {
            return false;
        }
        self.generation = generation;
        self.table = self.published.table.load_full();
        true
    }

    /// Whether the sender of an initiation or response knows our public key.
    pub(crate) fn has_mac1(&self, message: &[u8]) -> bool {
        has_mac1(&self.published.mac1_key, message)
    }

    /// Returns the table taken last.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }
}
