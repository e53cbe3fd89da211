//! Signature Version 4: who signed a request, checked by computing it again.

use std::collections::BTreeSet;

use chrono::NaiveDateTime;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::cloud::Cloud;
use crate::http::Request;
use crate::seal::Seal;
use crate::wire::{Denial, MAX_SKEW, Principal};

/// What a session token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) key: String,
    pub(super) instance: String,
    pub(super) role: String,
    pub(super) expires: Time,
}

/// The Authorization header.
#[derive(Debug)]
struct Authorization<'a> {
    key: &'a str,
    /// `date/region/service/aws4_request`
    scope: &'a str,
    signed: Vec<&'a str>,
    signature: Vec<u8>,
}

/// Checks a signature.
///
/// 1. The header names a key, a scope, signed headers and a signature.
/// 2. The time of the request is now, give or take five minutes; the scope is of that day and of this region's EC2.
/// 3. The key is a session's, if a token comes with it, else one of the scenario.
/// 4. The signature is that of the canonical request with the key's secret.
pub(super) fn authenticate(
    cloud: &Cloud,
    seal: &Seal,
    request: &Request,
    now: Time,
) -> Result<Principal, Denial> {
    let header = request.header("authorization").ok_or(Denial::Anonymous)?;
    let authorization = Authorization::parse(header)?;
    let date = request.header("x-amz-date");
    let date = date.ok_or(Denial::Malformed("x-amz-date is missing"))?;
    let at = NaiveDateTime::parse_from_str(date, "%Y%m%dT%H%M%SZ");
    let at = at.map_err(|_| Denial::Malformed("x-amz-date cannot be read"))?;
    if (now - at.and_utc()).abs() > MAX_SKEW {
        return Err(Denial::Skewed);
    }
    let day = date.get(..8).unwrap_or_default();
    let scope = format!("{day}/{}/ec2/aws4_request", cloud.settings.region);
    if authorization.scope != scope {
        return Err(Denial::Unknown);
    }
    if !authorization.signed.contains(&"host") {
        return Err(Denial::Malformed("the host is not signed"));
    }
    let (principal, secret) = credentials(cloud, seal, request, authorization.key, now)?;
    let text = string_to_sign(request, date, &scope, &authorization.signed);
    let key = signing_key(&secret, &scope);
    hmac::verify(&key, text.as_bytes(), &authorization.signature).map_err(|_| Denial::Unknown)?;
    Ok(principal)
}

impl<'a> Authorization<'a> {
    fn parse(header: &'a str) -> Result<Self, Denial> {
        let malformed = Denial::Malformed("the Authorization header cannot be read");
        let fields = header.strip_prefix("AWS4-HMAC-SHA256 ");
        let fields = fields.ok_or_else(|| malformed.clone())?;
        let field = |name: &str| {
            let mut parts = fields.split(',').map(str::trim);
            parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        let credential = field("Credential").and_then(|text| text.split_once('/'));
        let signature = field("Signature").and_then(|text| hex::decode(text).ok());
        let (Some((key, scope)), Some(signed), Some(signature)) =
            (credential, field("SignedHeaders"), signature)
        else {
            return Err(malformed);
        };
        Ok(Self {
            key,
            scope,
            signed: signed.split(';').collect(),
            signature,
        })
    }
}

/// Finds who has a key, and its secret.
fn credentials(
    cloud: &Cloud,
    seal: &Seal,
    request: &Request,
    key: &str,
    now: Time,
) -> Result<(Principal, String), Denial> {
    if let Some(token) = request.header("x-amz-security-token") {
        let session: Session = seal.open("session", token).ok_or(Denial::Unknown)?;
        if session.key != key {
            return Err(Denial::Unknown);
        }
        if session.expires < now {
            return Err(Denial::Expired);
        }
        let principal = Principal {
            name: session.instance,
            role: session.role,
        };
        return Ok((principal, seal.secret(key)));
    }
    let known = cloud.settings.keys.get(key).ok_or(Denial::Unknown)?;
    let principal = Principal {
        name: known.id.clone(),
        role: known.role.clone(),
    };
    Ok((principal, known.secret.clone()))
}

/// Builds the text that is signed.
fn string_to_sign(request: &Request, date: &str, scope: &str, signed: &[&str]) -> String {
    let canonical = canonical_request(request, signed);
    let hash = hex_sha256(canonical.as_bytes());
    format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}")
}

/// Builds the canonical request: method, path, query, signed headers, their names, hash of the body.
fn canonical_request(request: &Request, signed: &[&str]) -> String {
    let mut query: Vec<(String, String)> = form_urlencoded::parse(request.query.as_bytes())
        .map(|(name, value)| (encode(&name), encode(&value)))
        .collect();
    query.sort();
    let query: Vec<String> = query
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    // Each segment is encoded once more than it travels.
    let path: Vec<String> = request.path.split('/').map(encode).collect();
    let names: BTreeSet<&str> = signed.iter().copied().collect();
    let headers: String = names
        .iter()
        .map(|name| header_line(request, name))
        .collect();
    let names: Vec<&str> = names.into_iter().collect();
    format!(
        "{}\n{}\n{}\n{headers}\n{}\n{}",
        request.method,
        path.join("/"),
        query.join("&"),
        names.join(";"),
        hex_sha256(&request.body)
    )
}

fn header_line(request: &Request, name: &str) -> String {
    let values = request.headers.iter().filter(|(known, _)| known == name);
    let values: Vec<String> = values
        .map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    format!("{name}:{}\n", values.join(","))
}

fn signing_key(secret: &str, scope: &str) -> hmac::Key {
    let start = format!("AWS4{secret}");
    scope
        .split('/')
        .fold(hmac_key(start.as_bytes()), |key, part| {
            hmac_key(hmac::sign(&key, part.as_bytes()).as_ref())
        })
}

fn hmac_key(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

fn hex_sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

/// What stays as it is in RFC 3986: letters, digits and these.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

fn encode(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

/// Signs a form as a client would.
#[cfg(test)]
pub(super) fn sign(form: &str, key: &str, secret: &str, region: &str, at: Time) -> Request {
    let date = at.format("%Y%m%dT%H%M%SZ").to_string();
    let mut request = Request {
        method: "POST".into(),
        path: "/".into(),
        headers: vec![
            ("host".into(), "fake".into()),
            ("x-amz-date".into(), date.clone()),
        ],
        body: form.as_bytes().to_vec(),
        ..Request::default()
    };
    let scope = format!("{}/{region}/ec2/aws4_request", &date[..8]);
    let signed = ["host", "x-amz-date"];
    let text = string_to_sign(&request, &date, &scope, &signed);
    let signature = hex::encode(hmac::sign(&signing_key(secret, &scope), text.as_bytes()));
    let header = format!(
        "AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}"
    );
    request.headers.push(("authorization".into(), header));
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the AWS General Reference: a GET of IAM's ListUsers, signed on 30 August 2015.
    #[test]
    fn the_example_of_the_reference_is_signed_alike() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let request = Request {
            method: "GET".into(),
            path: "/".into(),
            query: "Action=ListUsers&Version=2010-05-08".into(),
            headers: vec![
                header(
                    "content-type",
                    "application/x-www-form-urlencoded; charset=utf-8",
                ),
                header("host", "iam.amazonaws.com"),
                header("x-amz-date", "20150830T123600Z"),
            ],
            ..Request::default()
        };
        let scope = "20150830/us-east-1/iam/aws4_request";
        let signed = ["content-type", "host", "x-amz-date"];
        let canonical = canonical_request(&request, &signed);
        assert_eq!(
            hex_sha256(canonical.as_bytes()),
            "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"
        );
        let text = string_to_sign(&request, "20150830T123600Z", scope, &signed);
        let key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", scope);
        assert_eq!(
            hex::encode(hmac::sign(&key, text.as_bytes())),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }
}
