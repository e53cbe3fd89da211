//! HTTP signatures (draft-cavage-http-signatures, as OCI has them): who signed a request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use ring::digest;

use super::identity;
use super::resource::Resource;
use crate::Time;
use crate::cloud::Cloud;
use crate::http::Request;
use crate::seal::Seal;
use crate::wire::{Denial, MAX_SKEW, Principal};

/// The pseudo header for method, path and query.
const TARGET: &str = "(request-target)";

/// The Authorization header.
#[derive(Debug)]
struct Authorization<'a> {
    key_id: &'a str,
    headers: Vec<&'a str>,
    signature: Vec<u8>,
}

/// Checks a signature.
///
/// 1. The header names a key, version 1, rsa-sha256, headers and a signature.
/// 2. The date of the request is now, give or take five minutes.
/// 3. Date, target and host are signed; of a request with a body also its length, type and hash, which fits it.
/// 4. The key is that of an instance's certificate for the token service, else a user's or that of a token.
/// 5. The signature over these headers is that key's.
pub(super) fn authenticate(
    cloud: &Cloud,
    seal: &Seal,
    request: &Request,
    now: Time,
) -> Result<Principal, Denial> {
    let header = request.header("authorization").ok_or(Denial::Anonymous)?;
    let authorization = Authorization::parse(header)?;
    check_date(request, now)?;
    let federates = Resource::of(request) == Resource::Federation;
    authorization.check_headers(request, federates)?;
    check_body(request)?;
    let (principal, key) = if federates {
        identity::by_certificate(cloud, authorization.key_id)
    } else {
        identity::by_key(cloud, seal, authorization.key_id, now)
    }?;
    let text = text(request, &authorization.headers)?;
    if key.verifies(text.as_bytes(), &authorization.signature) {
        Ok(principal)
    } else {
        Err(Denial::Unknown)
    }
}

impl<'a> Authorization<'a> {
    fn parse(header: &'a str) -> Result<Self, Denial> {
        let malformed = Denial::Malformed("the Authorization header cannot be read");
        let fields = header.strip_prefix("Signature ");
        let fields = fields.ok_or_else(|| malformed.clone())?;
        let field = |name: &str| {
            let start = format!("{name}=\"");
            let mut parts = fields.split("\",").map(str::trim);
            let value = parts.find_map(|part| part.strip_prefix(&start))?;
            Some(value.trim_end_matches('"'))
        };
        let signature = field("signature").and_then(|text| STANDARD.decode(text).ok());
        let (Some(key_id), Some(headers), Some(signature)) =
            (field("keyId"), field("headers"), signature)
        else {
            return Err(malformed);
        };
        if field("version") != Some("1") || field("algorithm") != Some("rsa-sha256") {
            return Err(malformed);
        }
        Ok(Self {
            key_id,
            headers: headers.split(' ').collect(),
            signature,
        })
    }

    fn check_headers(&self, request: &Request, federates: bool) -> Result<(), Denial> {
        let mut wanted = vec!["date", TARGET];
        if !federates {
            wanted.push("host");
        }
        if has_body(request) {
            wanted.extend(["content-length", "content-type", "x-content-sha256"]);
        }
        if wanted.iter().all(|name| self.headers.contains(name)) {
            Ok(())
        } else {
            Err(Denial::Malformed("a header that must be signed is not"))
        }
    }
}

fn has_body(request: &Request) -> bool {
    ["POST", "PUT", "PATCH"].contains(&request.method.as_str())
}

fn check_date(request: &Request, now: Time) -> Result<(), Denial> {
    let date = request.header("date");
    let date = date.ok_or(Denial::Malformed("date is missing"))?;
    let date = DateTime::parse_from_rfc2822(date);
    let date = date.map_err(|_| Denial::Malformed("date cannot be read"))?;
    if (now - date.to_utc()).abs() > MAX_SKEW {
        return Err(Denial::Skewed);
    }
    Ok(())
}

fn check_body(request: &Request) -> Result<(), Denial> {
    if !has_body(request) {
        return Ok(());
    }
    let length = request.header("content-length").unwrap_or_default();
    let hash = STANDARD.encode(digest::digest(&digest::SHA256, &request.body));
    if request.header("x-content-sha256") == Some(&hash) && length == request.body.len().to_string()
    {
        Ok(())
    } else {
        Err(Denial::Malformed("the body is not the one that was signed"))
    }
}

/// Builds the text that is signed: a line for each header, in the order of the signature.
fn text(request: &Request, headers: &[&str]) -> Result<String, Denial> {
    let line = |name: &&str| {
        if *name == TARGET {
            let method = request.method.to_lowercase();
            let query = if request.query.is_empty() { "" } else { "?" };
            let (path, arguments) = (&request.path, &request.query);
            return Some(format!("{TARGET}: {method} {path}{query}{arguments}"));
        }
        Some(format!("{name}: {}", request.header(name)?))
    };
    let lines: Option<Vec<String>> = headers.iter().map(line).collect();
    let lines = lines.ok_or(Denial::Malformed("a signed header is missing"))?;
    Ok(lines.join("\n"))
}

/// Signs a request as a client would, with the lab's key and whatever name it is said to have.
#[cfg(test)]
pub(super) fn sign(request: &mut Request, key_id: &str, at: Time) {
    let mut names = vec!["date", TARGET, "host"];
    let date = at.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let mut add = |name: &str, value: String| request.headers.push((name.to_owned(), value));
    add("date", date);
    add("host", "fake".to_owned());
    if has_body(request) {
        let hash = STANDARD.encode(digest::digest(&digest::SHA256, &request.body));
        let length = request.body.len().to_string();
        for (name, value) in [
            ("content-length", length),
            ("content-type", "application/json".to_owned()),
            ("x-content-sha256", hash),
        ] {
            names.push(name);
            request.headers.push((name.to_owned(), value));
        }
    }
    let text = text(request, &names).expect("all headers are there");
    let signature = super::key::lab_sign(text.as_bytes()).expect("the lab's key");
    let header = format!(
        "Signature algorithm=\"rsa-sha256\",headers=\"{}\",keyId=\"{key_id}\",signature=\"{}\",version=\"1\"",
        names.join(" "),
        STANDARD.encode(signature)
    );
    request.headers.push(("authorization".to_owned(), header));
}
