//! Message header and framing (RFC 4271 section 4.1).

use super::error::DecodeError;

/// Bytes of the message header.
pub const HEADER_LEN: usize = 19;
/// Largest message without RFC 8654.
pub const MAX_MESSAGE_LEN: usize = 4096;

/// Message type codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// 1
    Open,
    /// 2
    Update,
    /// 3
    Notification,
    /// 4
    Keepalive,
    /// 5
    RouteRefresh,
}

/// Finds the first whole message at the start of `stream`: its length, or `None` when more bytes are needed.
///
/// # Errors
/// Marker, length or type are wrong (RFC 4271 section 6.1).
pub fn frame(_stream: &[u8]) -> Result<Option<usize>, DecodeError> {
    todo!()
}
