//! The four messages on the wire (WireGuard paper section 5.4): kinds, lengths, offsets.

use std::ops::Range;

/// What a datagram says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Handshake initiation.
    Initiation,
    /// Handshake response.
    Response,
    /// Cookie reply.
    CookieReply,
    /// Data.
    Data,
}

impl Kind {
    /// Reads type and reserved bytes and compares the length; `None` is no WireGuard message.
    pub(crate) fn of(datagram: &[u8]) -> Option<Self> {
        match (datagram.first_chunk()?, datagram.len()) {
            ([1, 0, 0, 0], INITIATION_LEN) => Some(Self::Initiation),
            ([2, 0, 0, 0], RESPONSE_LEN) => Some(Self::Response),
            ([3, 0, 0, 0], COOKIE_REPLY_LEN) => Some(Self::CookieReply),
            ([4, 0, 0, 0], DATA_MIN..) => Some(Self::Data),
            _ => None,
        }
    }

    /// Returns the first four bytes of such a message.
    pub(crate) fn bytes(self) -> [u8; 4] {
        let number = match self {
            Self::Initiation => 1,
            Self::Response => 2,
            Self::CookieReply => 3,
            Self::Data => 4,
        };
        [number, 0, 0, 0]
    }
}

/// Reads the index at `place`, which the kind of the message has inside it.
pub(crate) fn index(message: &[u8], place: Range<usize>) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&message[place]);
    u32::from_le_bytes(bytes)
}

/// Length of an initiation.
pub(crate) const INITIATION_LEN: usize = 148;
/// Bytes of the longest message but data: the handshake initiation (WireGuard paper section 5.4.2).
pub const HANDSHAKE_MAX: usize = INITIATION_LEN;
/// Length of a response.
pub(crate) const RESPONSE_LEN: usize = 92;
/// Length of a cookie reply.
pub(crate) const COOKIE_REPLY_LEN: usize = 64;
/// Length of a data message with nothing in it.
pub(crate) const DATA_MIN: usize = DATA_HEADER + 16;
/// Bytes before the ciphertext of a data message.
pub(crate) const DATA_HEADER: usize = 16;

/// Sender index of an initiation or response.
pub(crate) const SENDER: Range<usize> = 4..8;
/// Receiver index of a cookie reply or data message.
pub(crate) const RECEIVER: Range<usize> = 4..8;
/// Receiver index of a response.
pub(crate) const RESPONSE_RECEIVER: Range<usize> = 8..12;
/// Counter of a data message.
pub(crate) const COUNTER: Range<usize> = 8..16;
/// Noise message in an initiation.
pub(crate) const INITIATION_NOISE: Range<usize> = 8..8 + INITIATION_NOISE_LEN;
/// Its length: ephemeral key, static key and timestamp, the last two with tags.
pub(crate) const INITIATION_NOISE_LEN: usize = 32 + (32 + 16) + (12 + 16);
/// Noise message in a response.
pub(crate) const RESPONSE_NOISE: Range<usize> = 12..12 + RESPONSE_NOISE_LEN;
/// Its length: ephemeral key and the tag of nothing.
pub(crate) const RESPONSE_NOISE_LEN: usize = 32 + 16;
/// Length of mac1, and of mac2 after it, which end initiation and response.
pub(crate) const MAC_LEN: usize = 16;
/// Nonce of a cookie reply.
pub(crate) const REPLY_NONCE: Range<usize> = 8..32;
/// Encrypted cookie in a cookie reply.
pub(crate) const REPLY_COOKIE: Range<usize> = 32..48;
/// Tag of a cookie reply.
pub(crate) const REPLY_TAG: Range<usize> = 48..64;
