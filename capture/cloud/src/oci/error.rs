//! OCI's refusals by code, and by status where the code is not known.

use sam_capture::provider::{ErrorClass, ProviderError};
use serde::Deserialize;

use crate::http::{Answer, shortened};

#[derive(Deserialize)]
struct Document {
    code: String,
    #[serde(default)]
    message: String,
}

/// A request that was refused for who or when it was signed, before it was looked at.
pub(super) const NOT_AUTHENTICATED: &str = "NotAuthenticated";

/// Reads an answer that is no success.
pub(super) fn refused(answer: &Answer, changes: bool) -> ProviderError {
    let document: Document = serde_json::from_slice(&answer.body).unwrap_or_else(|_| Document {
        code: format!("HTTP {}", answer.status),
        message: "the answer is no error of OCI".to_owned(),
    });
    let known = classify(&document.code, answer.status);
    ProviderError {
        request_id: request_id(answer),
        ..answer.refusal(known, changes, &document.code, &document.message)
    }
}

/// Returns the provider's number of a request.
pub(super) fn request_id(answer: &Answer) -> Option<String> {
    let id = answer.header("opc-request-id")?;
    Some(shortened(id, 200))
}

/// What a code means, or a status, where either says it. That something is not there and that one may not see it have one
/// code; so it is never taken for a proof of absence.
fn classify(code: &str, status: u16) -> Option<ErrorClass> {
    Some(match code {
        "InvalidParameter" => ErrorClass::Permanent,
        NOT_AUTHENTICATED
        | "NotAuthorizedOrNotFound"
        | "NotAuthorized"
        | "RelatedResourceNotAuthorizedOrNotFound" => ErrorClass::Denied,
        "LimitExceeded" | "QuotaExceeded" => ErrorClass::Capacity,
        "IncorrectState" => ErrorClass::Busy,
        "Conflict" | "NoEtagMatch" => ErrorClass::PreconditionLost,
        "TooManyRequests" => ErrorClass::Throttled(None),
        _ => match status {
            401 | 403 | 404 => ErrorClass::Denied,
            409 | 412 => ErrorClass::PreconditionLost,
            429 => ErrorClass::Throttled(None),
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_class() {
        let table = [
            (400, "InvalidParameter", ErrorClass::Permanent),
            (400, "LimitExceeded", ErrorClass::Capacity),
            (400, "QuotaExceeded", ErrorClass::Capacity),
            (
                400,
                "RelatedResourceNotAuthorizedOrNotFound",
                ErrorClass::Denied,
            ),
            (401, "NotAuthenticated", ErrorClass::Denied),
            (404, "NotAuthorizedOrNotFound", ErrorClass::Denied),
            (409, "IncorrectState", ErrorClass::Busy),
            (409, "Conflict", ErrorClass::PreconditionLost),
            (409, "InvalidatedRetryToken", ErrorClass::PreconditionLost),
            (412, "NoEtagMatch", ErrorClass::PreconditionLost),
            (429, "TooManyRequests", ErrorClass::Throttled(None)),
            (500, "InternalServerError", ErrorClass::Unknown),
            (503, "ServiceUnavailable", ErrorClass::Unknown),
            (302, "HTTP 302", ErrorClass::Permanent),
        ];
        for (status, code, class) in table {
            let body = format!(r#"{{"code": "{code}"}}"#);
            let refused = refused(&Answer::of(status, &[], &body), true);
            assert_eq!(refused.class, class, "{status} {code}");
            let unknown = code == "HTTP 302";
            assert_eq!(refused.unclassified, unknown, "{status} {code}");
        }
        let look = refused(&Answer::of(500, &[], "x"), false);
        assert_eq!(look.class, ErrorClass::Unavailable);
    }
}
