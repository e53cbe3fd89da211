//! Resource Manager's refusals by code. Neither 403 nor 404 ever means that an address is absent.

use sam_capture::provider::{ErrorClass, MESSAGE_MAX, ProviderError};
use serde_json::Value;

use crate::http::{Answer, error, shortened};

/// The subscription has no moveIpConfigurations.
pub(super) const NOT_REGISTERED: &str = "SubscriptionNotRegisteredForFeature";
/// A request is refused for good, by the state of a machine, a quota or a policy, with the status of what is only busy; at
/// 429 it came too often. Of an operation that has ended it says nothing of the kind.
const NOT_ALLOWED: &str = "OperationNotAllowed";
/// Codes of operations that have ended, known to leave open what happened.
const OPEN: [&str; 3] = ["InternalServerError", "InternalOperationError", NOT_ALLOWED];

/// Reads an answer that is no success.
pub(super) fn refused(answer: &Answer, changes: bool) -> ProviderError {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let (code, message) = parts(&body["error"]);
    let code = code.unwrap_or_else(|| format!("HTTP {}", answer.status));
    let for_good = code == NOT_ALLOWED && answer.status != 429;
    let class = classify(&code).or_else(|| for_good.then_some(ErrorClass::Permanent));
    let known = class.or_else(|| by_status(answer.status));
    ProviderError {
        request_id: request_id(answer),
        ..answer.refusal(known, changes, &code, &message)
    }
}

/// Reads why an operation ended otherwise than well. A reason that nobody knows leaves open what happened.
pub(super) fn failed(body: &Value, status: &str) -> ProviderError {
    let (code, message) = parts(&body["error"]);
    let is_new = code.as_deref().is_some_and(|code| !OPEN.contains(&code));
    let code = code.unwrap_or_else(|| status.to_owned());
    let class = classify(&code).or_else(|| classify(status));
    ProviderError {
        unclassified: is_new && class.is_none(),
        ..error(class.unwrap_or(ErrorClass::Unknown), &code, &message)
    }
}

/// Tells whether a refusal says that something is not there, or is not known at all: by its status, for its code is
/// nobody's. The request must have had no etag, which could be old.
pub(super) fn is_missing(refused: &ProviderError) -> bool {
    refused.class == ErrorClass::PreconditionLost && classify(&refused.code).is_none()
}

/// Returns the provider's number of a request.
pub(super) fn request_id(answer: &Answer) -> Option<String> {
    let id = answer.header("x-ms-request-id")?;
    Some(shortened(id, 100))
}

/// Returns code and message, with those of the first detail behind.
fn parts(body: &Value) -> (Option<String>, String) {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let code = body["code"].as_str().map(str::to_owned);
    let mut message = text(body, "message");
    if let Some(detail) = body["details"].get(0) {
        message = format!(
            "{message} {}: {}",
            text(detail, "code"),
            text(detail, "message")
        );
    }
    if message.len() > MESSAGE_MAX
        && let Some(start) = message.rfind("/subscriptions/")
    {
        // The last id is that of the holder, and must not be cut off.
        message = format!("already allocated to {}", &message[start..]);
    }
    (code, shortened(&message, MESSAGE_MAX))
}

fn classify(code: &str) -> Option<ErrorClass> {
    Some(match code {
        "PrivateIPAddressIsAllocated" | "PrivateIPAddressInUse" => ErrorClass::Held,
        "PrivateIPAddressNotInSubnet" | "PrivateIPAddressInReservedRange" => ErrorClass::Permanent,
        "SubnetIsFull" | "IpConfigurationLimitExceeded" | "QuotaExceeded" => ErrorClass::Capacity,
        code if code.ends_with("LimitExceeded") || code.ends_with("LimitReached") => {
            ErrorClass::Capacity
        }
        "ReferencedResourceNotProvisioned"
        | "RetryableError"
        | "AnotherOperationInProgress"
        | "InUseByAnotherOperation" => ErrorClass::Busy,
        "PreconditionFailed"
        | "Canceled"
        | "CanceledAndSupersededDueToAnotherOperation"
        | "OperationPreempted"
        | "IpConfigurationAlreadyExists"
        | NOT_REGISTERED => ErrorClass::PreconditionLost,
        "AuthorizationFailed"
        | "LinkedAuthorizationFailed"
        | "AuthenticationFailed"
        | "InvalidAuthenticationToken"
        | "ExpiredAuthenticationToken" => ErrorClass::Denied,
        "TooManyRequests" | "SubscriptionRequestsThrottled" => ErrorClass::Throttled(None),
        _ => return None,
    })
}

fn by_status(status: u16) -> Option<ErrorClass> {
    Some(match status {
        401 | 403 => ErrorClass::Denied,
        404 | 412 => ErrorClass::PreconditionLost,
        409 => ErrorClass::Busy,
        429 => ErrorClass::Throttled(None),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_row_of_the_table_has_its_class() {
        use ErrorClass::{Busy, Capacity, Denied, Held, Permanent, PreconditionLost, Throttled};
        let rows = [
            ("PrivateIPAddressIsAllocated", Held),
            ("PrivateIPAddressInUse", Held),
            ("PrivateIPAddressNotInSubnet", Permanent),
            ("PrivateIPAddressInReservedRange", Permanent),
            ("SubnetIsFull", Capacity),
            ("IpConfigurationLimitExceeded", Capacity),
            ("ReferencedResourceNotProvisioned", Busy),
            ("RetryableError", Busy),
            ("AnotherOperationInProgress", Busy),
            ("Canceled", PreconditionLost),
            (
                "CanceledAndSupersededDueToAnotherOperation",
                PreconditionLost,
            ),
            ("PreconditionFailed", PreconditionLost),
            ("AuthorizationFailed", Denied),
            ("LinkedAuthorizationFailed", Denied),
            ("ExpiredAuthenticationToken", Denied),
            ("TooManyRequests", Throttled(None)),
        ];
        for (code, class) in rows {
            assert_eq!(classify(code), Some(class), "{code}");
        }
        assert_eq!(classify("ResourceNotFound"), None);
        assert_eq!(by_status(404), Some(PreconditionLost), "never: absent");
        assert_eq!(by_status(403), Some(Denied));
    }

    #[test]
    fn what_is_not_allowed_is_for_good_unless_it_came_too_often_or_has_begun() {
        let body = json!({"error": {"code": NOT_ALLOWED, "message": "x"}});
        let answered = |status| {
            let after = [("retry-after", "17")];
            refused(&Answer::of(status, &after, &body.to_string()), true).class
        };
        assert_eq!(answered(409), ErrorClass::Permanent);
        assert_eq!(answered(403), ErrorClass::Permanent);
        let after = std::time::Duration::from_secs(17);
        assert_eq!(answered(429), ErrorClass::Throttled(Some(after)));
        assert_eq!(failed(&body, "Failed").class, ErrorClass::Unknown);
    }

    #[test]
    fn a_failed_operation_is_judged_by_its_code_and_a_new_code_by_nobody() {
        let body = json!({"status": "Failed", "error": {"code": "SubnetIsFull", "message": "x"}});
        assert_eq!(failed(&body, "Failed").class, ErrorClass::Capacity);
        let body = json!({"status": "Failed", "error": {"code": "InternalServerError"}});
        assert_eq!(failed(&body, "Failed").class, ErrorClass::Unknown);
        assert_eq!(
            failed(&json!({}), "Canceled").class,
            ErrorClass::PreconditionLost
        );
    }

    #[test]
    fn only_a_code_that_is_new_makes_a_failed_operation_unclassified() {
        let rows = [
            (json!({"error": {"code": "SomethingNew"}}), true),
            (json!({"error": {"code": "InternalServerError"}}), false),
            (json!({"error": {"code": "InternalOperationError"}}), false),
            (json!({"error": {"code": NOT_ALLOWED}}), false),
            (json!({}), false),
        ];
        for (body, unclassified) in rows {
            let failed = failed(&body, "Failed");
            assert_eq!(failed.class, ErrorClass::Unknown, "{body}");
            assert_eq!(failed.unclassified, unclassified, "{body}");
        }
    }
}
