//! Message header and framing (RFC 4271 section 4.1, errors of section 6.1).
//!
//! Messages longer than 4096 bytes are refused unless we offered to read them (RFC 8654 section 4), OPEN and KEEPALIVE
//! always. The length of a ROUTE-REFRESH is not judged here, because RFC 7313 gives it an error of its own.

use super::DecodeContext;
use super::error::DecodeError;
use super::notification::{code, subcode};
use super::reader::Reader;

/// Bytes of the message header.
pub const HEADER_LEN: usize = 19;
/// Largest message without RFC 8654, and largest OPEN ever.
pub const MAX_MESSAGE_LEN: usize = 4096;
/// Largest message with RFC 8654.
pub const MAX_EXTENDED_MESSAGE_LEN: usize = 65_535;

/// Returns how long a message may be, in bytes; `extended` as in [`super::DecodeContext`].
pub(super) const fn max_len(extended: bool) -> usize {
    if extended {
        MAX_EXTENDED_MESSAGE_LEN
    } else {
        MAX_MESSAGE_LEN
    }
}

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

impl MessageType {
    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Open),
            2 => Some(Self::Update),
            3 => Some(Self::Notification),
            4 => Some(Self::Keepalive),
            5 => Some(Self::RouteRefresh),
            _ => None,
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Update => 2,
            Self::Notification => 3,
            Self::Keepalive => 4,
            Self::RouteRefresh => 5,
        }
    }

    /// Tells whether a message of this type may have `len` bytes (RFC 4271 section 6.1, RFC 8654 section 4).
    const fn may_have_len(self, len: usize) -> bool {
        match self {
            Self::Open => len >= 29 && len <= MAX_MESSAGE_LEN,
            Self::Update => len >= 23,
            Self::Notification => len >= 21,
            Self::Keepalive => len == HEADER_LEN,
            Self::RouteRefresh => true,
        }
    }
}

/// Finds the first whole message at the start of `stream`: its length, or `None` when more bytes are
/// needed. How long a message may be is said by the context.
///
/// # Errors
/// Marker, length or type are wrong (RFC 4271 section 6.1).
pub fn frame(stream: &[u8], context: DecodeContext) -> Result<Option<usize>, DecodeError> {
    let header = read_header(stream, context.extended)?;
    Ok(header
        .map(|(_, len)| len)
        .filter(|len| *len <= stream.len()))
}

/// Splits one whole message into its type and its body.
pub(super) fn split(message: &[u8], extended: bool) -> Result<(MessageType, &[u8]), DecodeError> {
    match (read_header(message, extended)?, message.get(HEADER_LEN..)) {
        (Some((kind, len)), Some(body)) if len == message.len() => Ok((kind, body)),
        _ => Err(bad_length(message.len())),
    }
}

/// Puts the header before the body that `write` appends.
pub(super) fn encode_message(kind: MessageType, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = MARKER.to_vec();
    message.extend([0, 0, kind.code()]);
    write(&mut message);
    let len = u16::try_from(message.len()).expect("every encoder keeps to a limit");
    message[16..18].copy_from_slice(&len.to_be_bytes());
    message
}

fn read_header(stream: &[u8], extended: bool) -> Result<Option<(MessageType, usize)>, DecodeError> {
    let mut reader = Reader::new(stream);
    let (Some(marker), Some(len), Some(kind)) = (
        reader.array::<16>(),
        reader.u16().map(usize::from),
        reader.u8(),
    ) else {
        return Ok(None);
    };
    if marker != MARKER {
        let subcode = subcode::CONNECTION_NOT_SYNCHRONIZED;
        return Err(DecodeError::new(
            code::HEADER,
            subcode,
            "marker is not all ones",
        ));
    }
    if !(HEADER_LEN..=max_len(extended)).contains(&len) {
        return Err(bad_length(len));
    }
    let Some(message_type) = MessageType::from_code(kind) else {
        let subcode = subcode::BAD_MESSAGE_TYPE;
        return Err(
            DecodeError::new(code::HEADER, subcode, "unknown message type").with_data(&[kind]),
        );
    };
    if !message_type.may_have_len(len) {
        return Err(bad_length(len));
    }
    Ok(Some((message_type, len)))
}

fn bad_length(len: usize) -> DecodeError {
    let field = u16::try_from(len).unwrap_or(u16::MAX);
    DecodeError::new(
        code::HEADER,
        subcode::BAD_MESSAGE_LENGTH,
        "bad message length",
    )
    .with_data(&field.to_be_bytes())
}

const MARKER: [u8; 16] = [0xff; 16];
