//! What must end a session: the NOTIFICATION to send and, for the operator, the reason.
//!
//! RFC 4271 section 6 says which code, subcode and data belong to which error. Faults that RFC 7606
//! lets a session survive are no errors; they are listed in the decoded UPDATE.

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

impl DecodeError {
    /// Makes an error whose NOTIFICATION has no data.
    pub(super) fn new(code: u8, subcode: u8, reason: &'static str) -> Self {
        Self {
            notification: Notification::new(code, subcode),
            reason,
        }
    }

    /// Adds the data that RFC 4271 section 6 asks for.
    pub(super) fn with_data(mut self, data: &[u8]) -> Self {
        self.notification.data = data.to_vec();
        self
    }
}
