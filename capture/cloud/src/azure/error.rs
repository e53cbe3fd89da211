//! Resource Manager's refusals by code. Neither 403 nor 404 ever means that an address is absent.

use sam_capture::provider::{ErrorClass, MESSAGE_MAX, ProviderError};
use serde_json::Value;

use crate::http::{Answer, error, shortened};

/// The subscription has no moveIpConfigurations.
pub(super) const NOT_REGISTERED: &str = "SubscriptionNotRegisteredForFeature";

/// Reads an answer that is no success.
pub(super) fn refused(answer: &Answer, changes: bool) -> ProviderError {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let (code, message) = parts(&body["error"]);
    let code = code.unwrap_or_else(|| format!("HTTP {}", answer.status));
    let class = match classify(&code).or_else(|| by_status(answer.status)) {
        Some(ErrorClass::Throttled(_)) => ErrorClass::Throttled(answer.retry_after()),
        Some(class) => class,
        None if answer.status < 500 => ErrorClass::Permanent,
        None if changes => ErrorClass::Unknown,
        None => ErrorClass::Unavailable,
    };
    ProviderError {
        request_id: request_id(answer),
        ..error(class, &code, &message)
    }
}

/// Reads why an operation ended otherwise than well. A reason that nobody knows leaves open what happened.
pub(super) fn failed(body: &Value, status: &str) -> ProviderError {
    let (code, message) = parts(&body["error"]);
    let code = code.unwrap_or_else(|| status.to_owned());
    let class = classify(&code).or_else(|| classify(status));
    error(class.unwrap_or(ErrorClass::Unknown), &code, &message)
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
        // The last one says that a policy, a lock or a quota forbids it, with the status of what is only busy.
        "PrivateIPAddressNotInSubnet"
        | "PrivateIPAddressInReservedRange"
        | "OperationNotAllowed" => ErrorClass::Permanent,
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
            ("OperationNotAllowed", Permanent),
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
}
