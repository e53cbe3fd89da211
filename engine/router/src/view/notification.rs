//! A NOTIFICATION as operators see it: code, subcode, both in words, and the data byte by byte.

use sam_bgp::wire::{Notification, code, subcode};
use serde::{Deserialize, Serialize};

use super::bgp_table::hex;

/// A NOTIFICATION (RFC 4271 section 4.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationView {
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// Both in words.
    pub text: String,
    /// Diagnostic data in hexadecimal.
    pub data_hex: String,
}

impl From<&Notification> for NotificationView {
    fn from(notification: &Notification) -> Self {
        Self {
            code: notification.code,
            subcode: notification.subcode,
            text: text(notification),
            data_hex: hex(&notification.data),
        }
    }
}

/// Says what a NOTIFICATION means, with the far operator's words if there are any (RFC 9003).
fn text(notification: &Notification) -> String {
    let (error, detail) = (notification.code, notification.subcode);
    let name = match (code_name(error), subcode_name(error, detail)) {
        (error, Some(detail)) => format!("{error}: {detail}"),
        (error, None) => error.to_owned(),
    };
    // One level only, whatever a peer nests.
    if let Some(cause) = notification
        .reset_cause()
        .filter(|cause| !cause.is_hard_reset())
    {
        return format!("{name} ({})", text(&cause));
    }
    match notification.shutdown_text() {
        // Quoted, because it is somebody else's text: nothing in it reaches the terminal unescaped.
        Some(text) => format!("{name}: {text:?}"),
        None => name,
    }
}

/// Names a code (IANA, BGP Error Codes).
const fn code_name(error: u8) -> &'static str {
    match error {
        code::HEADER => "message header error",
        code::OPEN => "OPEN error",
        code::UPDATE => "UPDATE error",
        code::HOLD_TIMER => "hold timer expired",
        code::FSM => "finite state machine error",
        code::CEASE => "cease",
        code::ROUTE_REFRESH => "ROUTE-REFRESH error",
        8 => "send hold timer expired",
        _ => "unknown error",
    }
}

/// Names a subcode (RFC 4271 sections 4.5 and 6, RFC 4486, RFC 5492, RFC 6608, RFC 7313, RFC 8538, RFC 9384).
const fn subcode_name(error: u8, detail: u8) -> Option<&'static str> {
    Some(match (error, detail) {
        (code::HEADER, subcode::CONNECTION_NOT_SYNCHRONIZED) => "connection not synchronized",
        (code::HEADER, subcode::BAD_MESSAGE_LENGTH) => "bad message length",
        (code::HEADER, subcode::BAD_MESSAGE_TYPE) => "bad message type",
        (code::OPEN, subcode::UNSUPPORTED_VERSION) => "unsupported version",
        (code::OPEN, subcode::BAD_PEER_AS) => "bad peer AS",
        (code::OPEN, subcode::BAD_BGP_IDENTIFIER) => "bad BGP identifier",
        (code::OPEN, subcode::UNSUPPORTED_PARAMETER) => "unsupported optional parameter",
        (code::OPEN, subcode::UNACCEPTABLE_HOLD_TIME) => "unacceptable hold time",
        (code::OPEN, subcode::UNSUPPORTED_CAPABILITY) => "unsupported capability",
        (code::OPEN, 11) => "role mismatch",
        (code::UPDATE, subcode::MALFORMED_ATTRIBUTE_LIST) => "malformed attribute list",
        (code::UPDATE, 2) => "unrecognized well-known attribute",
        (code::UPDATE, 3) => "missing well-known attribute",
        (code::UPDATE, 4) => "attribute flags error",
        (code::UPDATE, 5) => "attribute length error",
        (code::UPDATE, 6) => "invalid ORIGIN",
        (code::UPDATE, 8) => "invalid NEXT_HOP",
        (code::UPDATE, subcode::OPTIONAL_ATTRIBUTE) => "optional attribute error",
        (code::UPDATE, subcode::INVALID_NETWORK) => "invalid network field",
        (code::UPDATE, 11) => "malformed AS_PATH",
        (code::FSM, 1) => "unexpected message in OpenSent",
        (code::FSM, 2) => "unexpected message in OpenConfirm",
        (code::FSM, 3) => "unexpected message in Established",
        (code::CEASE, subcode::MAX_PREFIXES) => "too many prefixes",
        (code::CEASE, subcode::ADMIN_SHUTDOWN) => "administrative shutdown",
        (code::CEASE, subcode::PEER_DECONFIGURED) => "peer removed from the configuration",
        (code::CEASE, subcode::ADMIN_RESET) => "administrative reset",
        (code::CEASE, subcode::CONNECTION_REJECTED) => "connection rejected",
        (code::CEASE, subcode::CONFIG_CHANGE) => "configuration change",
        (code::CEASE, subcode::COLLISION) => "connection collision",
        (code::CEASE, subcode::OUT_OF_RESOURCES) => "out of resources",
        (code::CEASE, subcode::HARD_RESET) => "hard reset",
        (code::CEASE, subcode::BFD_DOWN) => "BFD down",
        (code::ROUTE_REFRESH, subcode::INVALID_REFRESH_LENGTH) => "invalid message length",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shutdown_shows_what_the_far_operator_wrote() {
        let plain = Notification::new(code::CEASE, subcode::ADMIN_SHUTDOWN);
        let told = Notification::cease_with_text(subcode::ADMIN_SHUTDOWN, "back at\nnoon\u{1b}[2J");

        assert_eq!(
            NotificationView::from(&plain).text,
            "cease: administrative shutdown"
        );
        assert_eq!(
            NotificationView::from(&told).text,
            r#"cease: administrative shutdown: "back at\nnoon\u{1b}[2J""#
        );
    }

    #[test]
    fn a_hard_reset_shows_its_cause() {
        let reset = Notification::new(code::CEASE, subcode::PEER_DECONFIGURED).hard_reset();
        assert_eq!(
            NotificationView::from(&reset).text,
            "cease: hard reset (cease: peer removed from the configuration)"
        );
    }

    #[test]
    fn an_error_is_shown_with_its_data() {
        let told = Notification {
            code: code::HEADER,
            subcode: subcode::BAD_MESSAGE_LENGTH,
            data: vec![0x10, 0x01],
        };

        let view = NotificationView::from(&told);

        assert_eq!(view.text, "message header error: bad message length");
        assert_eq!((view.code, view.subcode), (1, 2));
        assert_eq!(view.data_hex, "1001");
        let strange = NotificationView::from(&Notification::new(99, 7));
        assert_eq!(strange.text, "unknown error");
    }
}
