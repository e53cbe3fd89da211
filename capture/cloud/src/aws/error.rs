//! EC2's refusals by code and, where one code stands for four things, by message.

use sam_capture::provider::{ErrorClass, MESSAGE_MAX, ProviderError};
use serde::Deserialize;

use crate::http::{Answer, shortened};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    errors: Errors,
    #[serde(rename = "RequestID")]
    request_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Errors {
    error: Item,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    code: String,
    #[serde(default)]
    message: String,
}

/// The good answer to a request that was only tried.
pub(super) const DRY_RUN: &str = "DryRunOperation";

/// Reads an answer that is no success.
pub(super) fn refused(answer: &Answer, changes: bool) -> ProviderError {
    let text = String::from_utf8_lossy(&answer.body);
    let Ok(document) = quick_xml::de::from_str::<Document>(&text) else {
        let code = format!("HTTP {}", answer.status);
        return answer.refusal(None, changes, &code, "the answer is no error of EC2");
    };
    let Item { code, message } = document.errors.error;
    let known = classify(&code, &message);
    ProviderError {
        request_id: document.request_id.map(|id| shortened(&id, 100)),
        ..answer.refusal(known, changes, &code, &shortened(&message, MESSAGE_MAX))
    }
}

/// What a code means, if it is one that is known.
fn classify(code: &str, message: &str) -> Option<ErrorClass> {
    Some(match code {
        "InvalidParameterValue" => return invalid_value(message),
        "InvalidIPAddress.InUse" => ErrorClass::Held,
        "PrivateIpAddressLimitExceeded"
        | "InsufficientFreeAddressesInSubnet"
        | "InsufficientCidrBlocks" => ErrorClass::Capacity,
        "InvalidNetworkInterfaceID.NotFound" => ErrorClass::PreconditionLost,
        "IncorrectState" => ErrorClass::Busy,
        "RequestLimitExceeded" | "RequestThrottled" | "RequestThrottledException" | "SlowDown" => {
            ErrorClass::Throttled(None)
        }
        code if code.starts_with("Throttling") => ErrorClass::Throttled(None),
        "UnauthorizedOperation" | "OptInRequired" | "Blocked" | "PendingVerification" => {
            ErrorClass::Denied
        }
        code if is_about_credentials(code) => ErrorClass::Denied,
        _ => return None,
    })
}

/// One code, several situations, told apart by the message alone.
fn invalid_value(message: &str) -> Option<ErrorClass> {
    let known = [
        ("move is not allowed", ErrorClass::Held),
        ("secondary-addresses", ErrorClass::LocalOwner),
        ("not assigned to interface", ErrorClass::AlreadyGone),
        ("does not fall within", ErrorClass::Permanent),
        ("reserved address range", ErrorClass::Permanent),
    ];
    let mut known = known.into_iter();
    known
        .find(|(part, _)| message.contains(part))
        .map(|(_, class)| class)
}

/// Tells whether the request was refused for who or when it was signed, before it was looked at: it had no effect, and
/// new credentials or the right time may mend it.
pub(super) fn is_about_credentials(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken"
            | "ExpiredTokenException"
            | "RequestExpired"
            | "AuthFailure"
            | "InvalidClientTokenId"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_of_the_table_has_its_class() {
        use ErrorClass::{
            AlreadyGone, Busy, Capacity, Denied, Held, LocalOwner, Permanent, PreconditionLost,
            Throttled,
        };
        let invalid = "InvalidParameterValue";
        let rows = [
            (
                invalid,
                "[10.0.0.9] assigned, but move is not allowed.",
                Held,
            ),
            (
                invalid,
                "[10.0.0.9] assigned, but is not among the secondary-addresses of eni-1",
                LocalOwner,
            ),
            (
                invalid,
                "Some of the specified addresses are not assigned to interface eni-1",
                AlreadyGone,
            ),
            (
                invalid,
                "Address 10.1.0.9 does not fall within the subnet's address range",
                Permanent,
            ),
            (
                invalid,
                "Address 10.0.0.1 is in subnet's reserved address range",
                Permanent,
            ),
            ("PrivateIpAddressLimitExceeded", "", Capacity),
            ("InsufficientFreeAddressesInSubnet", "", Capacity),
            ("InsufficientCidrBlocks", "", Capacity),
            ("InvalidNetworkInterfaceID.NotFound", "", PreconditionLost),
            ("IncorrectState", "", Busy),
            ("RequestLimitExceeded", "", Throttled(None)),
            ("Throttling", "", Throttled(None)),
            ("ThrottlingException", "", Throttled(None)),
            ("UnauthorizedOperation", "You are not", Denied),
            ("AuthFailure", "", Denied),
            ("ExpiredToken", "", Denied),
            ("RequestExpired", "", Denied),
        ];
        for (code, message, class) in rows {
            assert_eq!(classify(code, message), Some(class), "{code}: {message}");
        }
        assert_eq!(classify(invalid, "a new text"), None);
        assert_eq!(classify("MissingParameter", ""), None);
        assert_eq!(classify("InternalError", ""), None);
    }

    #[test]
    fn a_refusal_that_nobody_knows_is_permanent_and_says_so() {
        let text = |code: &str, message: &str| {
            format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
                 <RequestID>r</RequestID></Response>"
            )
        };
        let rows = [
            (400, text("InvalidParameterValue", "a new text"), true),
            (400, text("SomethingNew", ""), true),
            (302, "<html/>".to_owned(), true),
            (
                400,
                text(
                    "InvalidParameterValue",
                    "is in subnet's reserved address range",
                ),
                false,
            ),
        ];
        for (status, body, unclassified) in rows {
            let refused = refused(&Answer::of(status, &[], &body), true);
            assert_eq!(refused.class, ErrorClass::Permanent, "{body}");
            assert_eq!(refused.unclassified, unclassified, "{body}");
        }
        let broken = refused(&Answer::of(500, &[], &text("InternalError", "")), true);
        assert!(!broken.unclassified, "what a server error means is known");
    }

    #[test]
    fn after_a_server_error_nobody_knows_what_became_of_a_change() {
        let other = |status, changes| refused(&Answer::of(status, &[], ""), changes).class;
        assert_eq!(other(500, true), ErrorClass::Unknown);
        assert_eq!(other(503, false), ErrorClass::Unavailable);
        assert_eq!(other(400, true), ErrorClass::Permanent);
    }
}
