//! NOTIFICATION (RFC 4271 section 4.5, codes of section 6, RFC 4486, RFC 6608, RFC 9003).
//!
//! Any code and subcode is decoded and kept; [`Notification`] displays them in the words of the IANA
//! registry, and the operator's text of a shutdown (RFC 9003) with everything unprintable escaped.

use std::fmt;

use super::header::{self, HEADER_LEN, MAX_MESSAGE_LEN, MessageType};
use super::reader::Reader;

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
    /// Any code: nothing more specific.
    pub const UNSPECIFIC: u8 = 0;
    /// Header: connection not synchronized.
    pub const CONNECTION_NOT_SYNCHRONIZED: u8 = 1;
    /// Header: bad message length.
    pub const BAD_MESSAGE_LENGTH: u8 = 2;
    /// Header: bad message type.
    pub const BAD_MESSAGE_TYPE: u8 = 3;
    /// OPEN: unsupported version number.
    pub const UNSUPPORTED_VERSION: u8 = 1;
    /// OPEN: bad peer AS.
    pub const BAD_PEER_AS: u8 = 2;
    /// OPEN: bad BGP identifier.
    pub const BAD_BGP_IDENTIFIER: u8 = 3;
    /// OPEN: unsupported optional parameter.
    pub const UNSUPPORTED_PARAMETER: u8 = 4;
    /// OPEN: unacceptable hold time.
    pub const UNACCEPTABLE_HOLD_TIME: u8 = 6;
    /// OPEN: unsupported capability.
    pub const UNSUPPORTED_CAPABILITY: u8 = 7;
    /// UPDATE: malformed attribute list.
    pub const MALFORMED_ATTRIBUTE_LIST: u8 = 1;
    /// UPDATE: optional attribute error.
    pub const OPTIONAL_ATTRIBUTE: u8 = 9;
    /// UPDATE: invalid network field.
    pub const INVALID_NETWORK: u8 = 10;
    /// ROUTE-REFRESH: invalid message length.
    pub const INVALID_REFRESH_LENGTH: u8 = 1;
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
    /// Cease: hard reset (RFC 8538), with another NOTIFICATION as data.
    pub const HARD_RESET: u8 = 9;
    /// Cease: BFD down (RFC 9384).
    pub const BFD_DOWN: u8 = 10;
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
        Self {
            code,
            subcode,
            data: Vec::new(),
        }
    }

    /// Makes an administrative shutdown or reset that tells the far operator why (RFC 9003). Text
    /// beyond 255 bytes is cut at a character boundary.
    #[must_use]
    pub fn cease_with_text(subcode: u8, text: &str) -> Self {
        let mut len = u8::try_from(text.len()).unwrap_or(MAX_TEXT_LEN);
        while !text.is_char_boundary(usize::from(len)) {
            len -= 1;
        }
        let mut data = vec![len];
        data.extend(text.bytes().take(usize::from(len)));
        Self {
            code: code::CEASE,
            subcode,
            data,
        }
    }

    /// Wraps the NOTIFICATION so that the peer forgets our routes at once, graceful restart or not (RFC 8538 section 3.1).
    #[must_use]
    pub fn hard_reset(self) -> Self {
        Self {
            code: code::CEASE,
            subcode: subcode::HARD_RESET,
            data: [&[self.code, self.subcode], self.data.as_slice()].concat(),
        }
    }

    /// Tells whether this is a hard reset.
    #[must_use]
    pub fn is_hard_reset(&self) -> bool {
        (self.code, self.subcode) == (code::CEASE, subcode::HARD_RESET)
    }

    /// Returns what a hard reset wraps.
    #[must_use]
    pub fn reset_cause(&self) -> Option<Self> {
        (self.is_hard_reset() && self.data.len() >= 2).then(|| Self::decode(&self.data))
    }

    /// Returns the operator's text of an administrative shutdown or reset (RFC 9003); `None` when
    /// there is none, or it is no valid UTF-8 or cut short.
    #[must_use]
    pub fn shutdown_text(&self) -> Option<&str> {
        if self.code != code::CEASE
            || !matches!(self.subcode, subcode::ADMIN_SHUTDOWN | subcode::ADMIN_RESET)
        {
            return None;
        }
        let mut reader = Reader::new(&self.data);
        let len = reader.u8().filter(|len| *len > 0)?;
        std::str::from_utf8(reader.take(usize::from(len))?).ok()
    }

    /// Decodes a body; one shorter than two bytes is refused by the header's length check, and the
    /// missing octets count as 0 here.
    pub(super) fn decode(body: &[u8]) -> Self {
        let mut reader = Reader::new(body);
        let (code, subcode) = (reader.u8().unwrap_or(0), reader.u8().unwrap_or(0));
        Self {
            code,
            subcode,
            data: reader.remainder().to_vec(),
        }
    }

    /// Encodes the message; data that does not fit is cut.
    pub(super) fn encode(&self) -> Vec<u8> {
        header::encode_message(MessageType::Notification, |body| {
            body.extend([self.code, self.subcode]);
            body.extend(self.data.iter().take(MAX_MESSAGE_LEN - HEADER_LEN - 2));
        })
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match code_name(self.code) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "error {}", self.code)?,
        }
        match subcode_name(self.code, self.subcode) {
            Some(name) => write!(f, "/{name}")?,
            None if self.subcode == subcode::UNSPECIFIC => {}
            None => write!(f, "/{}", self.subcode)?,
        }
        // Only one level: a hard reset within a hard reset makes no sense, and could be nested a thousand times.
        if let Some(cause) = self.reset_cause().filter(|cause| !cause.is_hard_reset()) {
            return write!(f, " ({cause})");
        }
        match self.shutdown_text() {
            Some(text) => write!(f, " {text:?}"),
            None => Ok(()),
        }
    }
}

const fn code_name(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "Message Header Error",
        2 => "OPEN Message Error",
        3 => "UPDATE Message Error",
        4 => "Hold Timer Expired",
        5 => "Finite State Machine Error",
        6 => "Cease",
        7 => "ROUTE-REFRESH Message Error",
        8 => "Send Hold Timer Expired",
        _ => return None,
    })
}

const fn subcode_name(code: u8, subcode: u8) -> Option<&'static str> {
    Some(match (code, subcode) {
        (1, 1) => "Connection Not Synchronized",
        (1, 2) => "Bad Message Length",
        (1, 3) => "Bad Message Type",
        (2, 1) => "Unsupported Version Number",
        (2, 2) => "Bad Peer AS",
        (2, 3) => "Bad BGP Identifier",
        (2, 4) => "Unsupported Optional Parameter",
        (2, 6) => "Unacceptable Hold Time",
        (2, 7) => "Unsupported Capability",
        (2, 11) => "Role Mismatch",
        (3, 1) => "Malformed Attribute List",
        (3, 2) => "Unrecognized Well-known Attribute",
        (3, 3) => "Missing Well-known Attribute",
        (3, 4) => "Attribute Flags Error",
        (3, 5) => "Attribute Length Error",
        (3, 6) => "Invalid ORIGIN Attribute",
        (3, 8) => "Invalid NEXT_HOP Attribute",
        (3, 9) => "Optional Attribute Error",
        (3, 10) => "Invalid Network Field",
        (3, 11) => "Malformed AS_PATH",
        (5, 1) => "Receive Unexpected Message in OpenSent State",
        (5, 2) => "Receive Unexpected Message in OpenConfirm State",
        (5, 3) => "Receive Unexpected Message in Established State",
        (6, 1) => "Maximum Number of Prefixes Reached",
        (6, 2) => "Administrative Shutdown",
        (6, 3) => "Peer De-configured",
        (6, 4) => "Administrative Reset",
        (6, 5) => "Connection Rejected",
        (6, 6) => "Other Configuration Change",
        (6, 7) => "Connection Collision Resolution",
        (6, 8) => "Out of Resources",
        (6, 9) => "Hard Reset",
        (6, 10) => "BFD Down",
        (7, 1) => "Invalid Message Length",
        _ => return None,
    })
}

/// Longest text of RFC 9003.
const MAX_TEXT_LEN: u8 = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_subcode_are_shown_in_words() {
        for (code, subcode, words) in [
            (6, 7, "Cease/Connection Collision Resolution"),
            (6, 0, "Cease"),
            (6, 99, "Cease/99"),
            (4, 0, "Hold Timer Expired"),
            (3, 10, "UPDATE Message Error/Invalid Network Field"),
            (200, 3, "error 200/3"),
            (0, 0, "error 0"),
        ] {
            assert_eq!(Notification::new(code, subcode).to_string(), words);
        }
    }

    #[test]
    fn a_hard_reset_carries_and_shows_its_cause() {
        let removed = Notification::new(code::CEASE, subcode::PEER_DECONFIGURED);

        let reset = removed.clone().hard_reset();

        assert_eq!(
            (reset.code, reset.subcode, &*reset.data),
            (6, 9, &[6, 3][..])
        );
        assert_eq!(reset.reset_cause(), Some(removed));
        assert_eq!(
            reset.to_string(),
            "Cease/Hard Reset (Cease/Peer De-configured)"
        );
        let nested = reset.hard_reset();
        assert_eq!(nested.to_string(), "Cease/Hard Reset");
        assert_eq!(Notification::new(6, 9).reset_cause(), None);
    }

    #[test]
    fn the_shutdown_text_is_shown_without_control_characters() {
        let notification = Notification::cease_with_text(subcode::ADMIN_SHUTDOWN, "bye\n\u{1b}[2J");

        assert_eq!(notification.shutdown_text(), Some("bye\n\u{1b}[2J"));
        let shown = notification.to_string();
        assert_eq!(shown, r#"Cease/Administrative Shutdown "bye\n\u{1b}[2J""#);
    }

    #[test]
    fn shutdown_text_is_read_only_where_rfc_9003_puts_it() {
        for (subcode, data, text) in [
            (subcode::ADMIN_RESET, &[2, b'o', b'k'][..], Some("ok")),
            (subcode::ADMIN_RESET, &[2, b'o', b'k', 0], Some("ok")),
            (subcode::ADMIN_RESET, &[], None),
            (subcode::ADMIN_RESET, &[0], None),
            (subcode::ADMIN_RESET, &[3, b'o', b'k'], None),
            (subcode::ADMIN_RESET, &[2, 0xc3, 0x28], None),
            (subcode::MAX_PREFIXES, &[2, b'o', b'k'], None),
        ] {
            let notification = Notification {
                code: code::CEASE,
                subcode,
                data: data.to_vec(),
            };
            assert_eq!(notification.shutdown_text(), text, "{notification:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let notification = Notification::cease_with_text(subcode::ADMIN_SHUTDOWN, &"é".repeat(200));

        assert_eq!(notification.shutdown_text().map(str::len), Some(254));
    }

    #[test]
    fn data_that_does_not_fit_is_cut() {
        let data = vec![1; MAX_MESSAGE_LEN];

        let message = Notification {
            code: 7,
            subcode: 1,
            data,
        }
        .encode();

        assert_eq!(message.len(), MAX_MESSAGE_LEN);
    }
}
