//! HTTP signatures, as OCI has them (draft-cavage-http-signatures, RSA with SHA-256, version 1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use ring::digest;
use sam_capture::provider::ProviderError;

use super::key::SigningKey;
use crate::http::{Call, Method};

/// Who signs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signer<'a> {
    /// Name of the key: `ST$` and a token, or `TENANCY/fed-x509/FINGERPRINT`.
    pub(super) key_id: &'a str,
    pub(super) key: &'a SigningKey,
    /// Whether the host is signed: everywhere but at the token service.
    pub(super) with_host: bool,
}

impl Signer<'_> {
    /// Adds the headers of a signature: date, and of a call with a body its type and hash.
    pub(super) fn sign(&self, call: Call, now: DateTime<Utc>) -> Result<Call, ProviderError> {
        let (host, target) = split(&call.url);
        let method = call.method.name().to_lowercase();
        let date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let mut lines = vec![
            ("date", date.clone()),
            ("(request-target)", format!("{method} {target}")),
        ];
        if self.with_host {
            lines.push(("host", host.to_owned()));
        }
        let has_body = matches!(call.method, Method::Post | Method::Put);
        let mut signed = call.with("date", date);
        if has_body {
            let hash = STANDARD.encode(digest::digest(&digest::SHA256, &signed.body));
            lines.push(("content-length", signed.body.len().to_string()));
            lines.push(("content-type", JSON.to_owned()));
            lines.push(("x-content-sha256", hash.clone()));
            signed = signed
                .with("content-type", JSON)
                .with("x-content-sha256", hash);
        }
        let names: Vec<&str> = lines.iter().map(|(name, _)| *name).collect();
        let names = names.join(" ");
        let lines: Vec<String> = lines
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        let signature = self.key.sign(lines.join("\n").as_bytes())?;
        let key_id = self.key_id;
        let header = format!(
            "Signature algorithm=\"rsa-sha256\",headers=\"{names}\",keyId=\"{key_id}\",signature=\"{signature}\",\
             version=\"1\""
        );
        Ok(signed.with("authorization", header))
    }
}

const JSON: &str = "application/json";

/// Splits a URL into its host with port, and its path with query.
fn split(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;

    /// The key that all instances of the fake cloud have.
    const KEY: &str = include_str!("../../../fakecloud/src/oci/lab-key.pem");

    #[derive(Deserialize)]
    struct Signed {
        method: String,
        url: String,
        key_id: String,
        with_host: bool,
        body: Option<String>,
        date: DateTime<Utc>,
        headers: std::collections::BTreeMap<String, String>,
    }

    #[test]
    fn the_vendors_signer_signs_alike() {
        let text = include_str!("../../tests/fixtures/oci-signatures.json");
        let cases: Vec<Signed> = serde_json::from_str(text).expect("the fixture");
        assert_eq!(cases.len(), 5);
        let key = SigningKey::from_pem(KEY).expect("a key");
        for case in cases {
            let methods = [Method::Get, Method::Put, Method::Post, Method::Delete];
            let mut methods = methods.into_iter();
            let method = methods.find(|method| method.name() == case.method);
            let mut call = Call::new(method.expect("a method"), &case.url, Duration::ZERO);
            call.body = case.body.unwrap_or_default().into_bytes();
            let signer = Signer {
                key_id: &case.key_id,
                key: &key,
                with_host: case.with_host,
            };
            let signed = signer.sign(call, case.date).expect("signed");
            for (name, wanted) in &case.headers {
                let found = signed.headers.iter().find(|(known, _)| known == name);
                let found = found.map(|(_, value)| value.as_str());
                assert_eq!(found, Some(wanted.as_str()), "{name} of {}", case.url);
            }
        }
    }

    #[test]
    fn a_url_is_split_at_its_path() {
        let both = ("127.0.0.1:80", "/a?b=/c");
        assert_eq!(split("http://127.0.0.1:80/a?b=/c"), both);
        assert_eq!(split("http://host"), ("host", "/"));
    }
}
