//! Signature Version 4 of a form that is posted to the root of an endpoint: all that EC2's Query wire needs.

use chrono::{DateTime, Utc};
use ring::{digest, hmac};

use super::credentials::Credentials;
use crate::http::Call;

/// What a signature is good for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// Signs a call: adds its time, its token and its signature.
///
/// 1. The canonical request: method, path, query (empty), headers by name, their names, hash of the body.
/// 2. The text to sign: its hash, with time and scope.
/// 3. The key: the secret, through day, region and service.
pub(super) fn sign(
    mut call: Call,
    host: &str,
    credentials: &Credentials,
    scope: Scope<'_>,
    at: DateTime<Utc>,
) -> Call {
    let date = at.format("%Y%m%dT%H%M%SZ").to_string();
    let day = at.format("%Y%m%d").to_string();
    call = call.with("x-amz-date", date.clone());
    if let Some(token) = &credentials.token {
        call = call.with("x-amz-security-token", token.expose());
    }
    let mut headers: Vec<(&str, &str)> = vec![("host", host)];
    let others = call.headers.iter();
    headers.extend(others.map(|(name, value)| (*name, value.as_str())));
    headers.sort_unstable();
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let method = call.method.name();
    let canonical = format!("{method}\n/\n\n{lines}\n{names}\n{}", sha256(&call.body));
    let path = [day.as_str(), scope.region, scope.service, "aws4_request"];
    let scope = path.join("/");
    let text = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        sha256(canonical.as_bytes())
    );
    let start = format!("AWS4{}", credentials.secret.expose());
    let key = path.iter().fold(key(start.as_bytes()), |known, part| {
        key(hmac::sign(&known, part.as_bytes()).as_ref())
    });
    let signature = hex::encode(hmac::sign(&key, text.as_bytes()));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        credentials.key_id
    );
    call.with("authorization", authorization)
}

fn key(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Secret;
    use crate::http::Method;

    /// Signs as in AWS's test suite of Signature Version 4, and returns names of headers and signature.
    fn signed(headers: &[(&'static str, &str)], body: &str, token: Option<&str>) -> String {
        let mut call = Call::new(
            Method::Post,
            "https://example.amazonaws.com/",
            Duration::ZERO,
        );
        for (name, value) in headers {
            call = call.with(name, *value);
        }
        call.body = body.as_bytes().to_vec();
        let credentials = Credentials {
            key_id: "AKIDEXAMPLE".into(),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            token: token.map(Secret::new),
            expires: DateTime::<Utc>::MAX_UTC,
        };
        let scope = Scope {
            region: "us-east-1",
            service: "service",
        };
        let at = DateTime::parse_from_rfc3339("2015-08-30T12:36:00Z").expect("a time");
        let call = sign(
            call,
            "example.amazonaws.com",
            &credentials,
            scope,
            at.to_utc(),
        );
        let (_, value) = call.headers.last().expect("a signature");
        let start =
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, ";
        value.strip_prefix(start).expect("the scope").to_owned()
    }

    #[test]
    fn the_published_vectors_come_out() {
        assert_eq!(
            signed(&[], "", None),
            "SignedHeaders=host;x-amz-date, \
             Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            "post-vanilla"
        );
        let form = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("content-length", "13"),
            (
                "x-amz-content-sha256",
                "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
            ),
        ];
        assert_eq!(
            signed(&form, "Param1=value1", None),
            "SignedHeaders=content-length;content-type;host;x-amz-content-sha256;x-amz-date, \
             Signature=d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
            "post-x-www-form-urlencoded"
        );
        let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        assert_eq!(
            signed(&[], "", Some(token)),
            "SignedHeaders=host;x-amz-date;x-amz-security-token, \
             Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            "post-sts-header-before"
        );
    }
}
