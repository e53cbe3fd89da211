//! An event of a connection with what belongs to it: the NOTIFICATION and the reason that operators read.
//!
//! Also tells which NOTIFICATIONs are reason for an idle hold and which are but the end of a race.

use std::borrow::Cow;

use super::fsm::ConnectionEvent;
use super::restart::PeerRestart;
use crate::wire::{DecodeError, Notification, code, subcode};

/// An event with what belongs to it.
#[derive(Debug)]
pub(crate) struct Occasion {
    /// What the table is asked about.
    pub(crate) event: ConnectionEvent,
    /// The NOTIFICATION received, or to be sent if the table says so.
    pub(crate) notification: Option<Notification>,
    /// Why, in a few words.
    pub(crate) reason: Cow<'static, str>,
}

impl Occasion {
    /// An event that speaks for itself; the reason is used if it ends the connection.
    pub(crate) fn plain(event: ConnectionEvent, reason: &'static str) -> Self {
        Self {
            event,
            notification: None,
            reason: reason.into(),
        }
    }

    /// Bytes that must be answered with a NOTIFICATION.
    pub(crate) fn malformed(error: DecodeError) -> Self {
        Self {
            event: ConnectionEvent::Malformed,
            notification: Some(error.notification),
            reason: error.reason.into(),
        }
    }

    /// A NOTIFICATION from the peer.
    pub(crate) fn received(notification: Notification) -> Self {
        Self {
            event: ConnectionEvent::Notification,
            reason: format!("received {notification}").into(),
            notification: Some(notification),
        }
    }

    /// A lost race.
    pub(crate) fn collision(reason: &'static str) -> Self {
        Self {
            event: ConnectionEvent::CollisionLost,
            notification: Some(Notification::new(code::CEASE, subcode::COLLISION)),
            reason: reason.into(),
        }
    }

    /// The end of the hold time.
    pub(crate) fn hold_expired() -> Self {
        Self {
            event: ConnectionEvent::HoldExpired,
            notification: Some(Notification::new(code::HOLD_TIMER, 0)),
            reason: "hold timer expired".into(),
        }
    }

    /// An end that we want; `subcode` is one of Cease (RFC 4486). The far operator is told the reason where that has a place
    /// (RFC 9003).
    pub(crate) fn stopped(subcode: u8, reason: &str) -> Self {
        let notification = match subcode {
            subcode::ADMIN_SHUTDOWN => Notification::cease_with_text(subcode, reason),
            _ => Notification::new(code::CEASE, subcode),
        };
        Self {
            event: ConnectionEvent::Stop,
            notification: Some(notification),
            reason: reason.to_owned().into(),
        }
    }
}

/// Tells whether a NOTIFICATION means that one side does not understand the other: reason for an idle hold.
pub(crate) fn is_protocol_error(notification: &Notification) -> bool {
    !matches!(notification.code, code::HOLD_TIMER | code::CEASE)
}

/// Tells whether a NOTIFICATION of ours says that we do not want the peer any more.
pub(crate) fn is_farewell(notification: &Notification) -> bool {
    notification.code == code::CEASE
        && matches!(
            notification.subcode,
            subcode::ADMIN_SHUTDOWN | subcode::PEER_DECONFIGURED
        )
}

/// Returns the NOTIFICATION to send to a peer. One that is removed is to forget our routes, which takes a hard reset where
/// a Cease is graceful. A shutdown is left graceful: what we originated is withdrawn before, and what we reflected lives on.
pub(crate) fn hardened(notification: Notification, restart: Option<PeerRestart>) -> Notification {
    let removed =
        (notification.code, notification.subcode) == (code::CEASE, subcode::PEER_DECONFIGURED);
    if removed && restart.is_some_and(PeerRestart::survives_notification) {
        return notification.hard_reset();
    }
    notification
}

/// Tells whether a NOTIFICATION only ends the loser of a race.
pub(crate) fn is_collision(notification: &Notification) -> bool {
    (notification.code, notification.subcode) == (code::CEASE, subcode::COLLISION)
}
