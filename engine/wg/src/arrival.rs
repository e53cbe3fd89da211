//! Authenticated messages as a worker notes them: once for all of one session that came together.

use std::net::SocketAddr;
use std::time::Instant;

use crate::config::PeerIndex;
use crate::data_path::Opened;
use crate::error::OpenError;
use crate::replay::Place;
use crate::session::{Inner, Session, Unsealed};
use crate::signal::{Signal, Signals};
use crate::table::PeerView;
use crate::traffic::Tick;

/// What authenticated messages of one session say that came together.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) messages: usize,
    /// Those that are no keepalive.
    data: usize,
    /// Bytes of inner packets.
    bytes: usize,
    /// Whether nothing has arrived that was sent after one of them.
    newest: bool,
}

impl Heard {
    /// Notes a message from `peer`, and tells what it is.
    pub(crate) fn note(
        &mut self,
        unsealed: Unsealed,
        peer: PeerIndex,
    ) -> Result<Opened, OpenError> {
        self.messages += 1;
        self.newest |= unsealed.place == Place::Highest;
        match unsealed.inner {
            Inner::Keepalive => Ok(Opened::Keepalive),
            Inner::NotIp => {
                self.data += 1;
                Err(OpenError::NotIp)
            }
            Inner::Packet(len) => {
                self.data += 1;
                self.bytes += len;
                Ok(Opened::Packet { peer, len })
            }
        }
    }
}

/// Authenticated messages of one session that came together.
pub(crate) struct Arrival<'a> {
    pub(crate) peer: PeerIndex,
    pub(crate) view: &'a PeerView,
    pub(crate) session: &'a Session,
    pub(crate) watched: bool,
    pub(crate) heard: Heard,
    pub(crate) from: SocketAddr,
}

impl Arrival<'_> {
    /// Notes them in the traffic, and what the device has to know of them.
    pub(crate) fn note(&self, signals: &mut Signals, (now, tick): (Instant, Tick)) {
        let (peer, traffic, from) = (self.peer, &self.view.traffic, self.from);
        let session = self.session.local_index();
        if self.heard.data > 0 {
            traffic.on_data_received(self.heard.bytes, tick);
        } else {
            traffic.on_received(tick);
        }
        if self.has_moved() {
            let moved = Signal::PeerMoved {
                peer,
                session,
                from,
            };
            signals.raise(moved, traffic, tick);
        }
        if self.watched {
            signals.raise(Signal::SessionUsed { peer, session }, traffic, tick);
        }
        if self.session.old_for_receiving(now) && self.is_current() {
            signals.raise(Signal::SessionOld { peer }, traffic, tick);
        }
        if self.heard.data > 0 {
            signals.raise(Signal::DataFlows { peer }, traffic, tick);
        }
    }

    /// Whether they show that the peer is elsewhere. What comes late does not: it may have been sent before the peer moved,
    /// and have waited in the queue of this worker.
    fn has_moved(&self) -> bool {
        let known = self.view.endpoint;
        known != Some(self.from) && (self.view.roaming || known.is_none()) && self.heard.newest
    }

    /// Whether packets are sealed with their session.
    fn is_current(&self) -> bool {
        let current = self.view.current.as_deref();
        current.is_some_and(|current| std::ptr::eq(current, self.session))
    }
}
