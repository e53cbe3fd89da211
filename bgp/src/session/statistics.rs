//! What a session remembers for the operator.
//!
//! Counters of messages and the last words of both sides, over all connections. Nothing here influences anything.

use super::error_log::ErrorLog;
use crate::wire::{Message, Notification};

/// Counters and last words of a session, over all its connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statistics {
    /// Messages received: open, update, notification, keepalive, refresh.
    pub(crate) received: [u64; 5],
    /// Messages sent, likewise.
    pub(crate) sent: [u64; 5],
    /// How often the session reached Established.
    pub(crate) established: u64,
    /// Last NOTIFICATION sent.
    pub(crate) last_sent: Option<Notification>,
    /// Last NOTIFICATION received.
    pub(crate) last_received: Option<Notification>,
    /// Why the session last went down.
    pub(crate) last_down: Option<String>,
    /// What was wrong with messages of the peer.
    pub(crate) errors: ErrorLog,
}

impl Statistics {
    /// Counts a received message.
    pub(crate) fn count_received(&mut self, message: &Message) {
        self.received[index(message)] += 1;
        if let Message::Notification(notification) = message {
            self.last_received = Some(notification.clone());
        }
    }

    /// Counts a sent message.
    pub(crate) fn count_sent(&mut self, message: &Message) {
        self.sent[index(message)] += 1;
        if let Message::Notification(notification) = message {
            self.last_sent = Some(notification.clone());
        }
    }

    /// Counts an UPDATE sent.
    pub(crate) fn count_update_sent(&mut self) {
        self.sent[UPDATE] += 1;
    }
}

const UPDATE: usize = 1;

fn index(message: &Message) -> usize {
    match message {
        Message::Open(_) => 0,
        Message::Update(_) | Message::Ipv6Update(_) => UPDATE,
        Message::Notification(_) => 2,
        Message::Keepalive => 3,
        Message::RouteRefresh(_) => 4,
    }
}
