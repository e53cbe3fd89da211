//! NOTIFICATION (RFC 4271 section 4.5, codes of section 6, RFC 4486, RFC 9003).

use std::fmt;

/// Error codes.
pub mod code {
    /// Message header error.
    pub const HEADER: u8 = 1;
    /// OPEN message error.
    pub const OPEN: u8 = 2;
    /// UPDATE message error.
    pub const UPDATE: u8 = 3;
    /// Hold timer expired.
    pub const HOLD_TIMER: u8 = 4;
    /// Finite state machine error.
    pub const FSM: u8 = 5;
    /// Cease.
    pub const CEASE: u8 = 6;
    /// ROUTE-REFRESH message error (RFC 7313).
    pub const ROUTE_REFRESH: u8 = 7;
}

/// Subcodes used by this speaker.
pub mod subcode {
    /// OPEN: bad peer AS.
    pub const BAD_PEER_AS: u8 = 2;
    /// OPEN: bad BGP identifier.
    pub const BAD_BGP_IDENTIFIER: u8 = 3;
    /// OPEN: unacceptable hold time.
    pub const UNACCEPTABLE_HOLD_TIME: u8 = 6;
    /// OPEN: unsupported capability.
    pub const UNSUPPORTED_CAPABILITY: u8 = 7;
    /// Cease: maximum number of prefixes reached.
    pub const MAX_PREFIXES: u8 = 1;
    /// Cease: administrative shutdown.
    pub const ADMIN_SHUTDOWN: u8 = 2;
    /// Cease: peer de-configured.
    pub const PEER_DECONFIGURED: u8 = 3;
    /// Cease: administrative reset.
    pub const ADMIN_RESET: u8 = 4;
    /// Cease: connection rejected.
    pub const CONNECTION_REJECTED: u8 = 5;
    /// Cease: other configuration change.
    pub const CONFIG_CHANGE: u8 = 6;
    /// Cease: connection collision resolution.
    pub const COLLISION: u8 = 7;
    /// Cease: out of resources.
    pub const OUT_OF_RESOURCES: u8 = 8;
}

/// A NOTIFICATION message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// Diagnostic data.
    pub data: Vec<u8>,
}

impl Notification {
    /// Makes a NOTIFICATION without data.
    #[must_use]
    pub fn new(code: u8, subcode: u8) -> Self {
        Self { code, subcode, data: Vec::new() }
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.code, self.subcode)
    }
}
