//! What must end a session.

use super::notification::Notification;

/// A message that cannot be survived; carries the NOTIFICATION to send (RFC 4271 section 6).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {notification}")]
pub struct DecodeError {
    /// What to send.
    pub notification: Notification,
    /// What was wrong, in a few words.
    pub reason: &'static str,
}
