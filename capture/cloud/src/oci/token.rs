//! Tokens of the instance: its certificate and a session key go to the token service, a token for that key comes back.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use ring::digest;
use sam_capture::provider::{ErrorClass, ProviderError};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

use super::error::refused;
use super::key::{SessionKey, SigningKey, decode_pem};
use super::metadata::InstanceMetadata;
use super::signer::Signer;
use crate::Secret;
use crate::http::{Call, Client, Method, error};
use crate::metadata::unreadable;

/// A token for a while.
#[derive(Debug)]
struct Token {
    /// `ST$` and the token: the name of the session key.
    key_id: Secret,
    issued: DateTime<Utc>,
    expires: DateTime<Utc>,
}

/// The token in use and its key.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    key: Option<SessionKey>,
    current: Option<Token>,
}

/// Where tokens come from.
#[derive(Debug)]
pub(super) struct Federation<'a> {
    pub(super) client: &'a mut Client,
    pub(super) metadata: &'a mut InstanceMetadata,
    /// The token service, without a slash at the end.
    pub(super) endpoint: &'a str,
    pub(super) timeout: Duration,
}

/// What the token service answers.
#[derive(Deserialize)]
struct Document {
    token: String,
}

/// What a token says of its time, in seconds since 1970.
#[derive(Deserialize)]
struct Claims {
    iat: i64,
    exp: i64,
}

impl Tokens {
    /// Returns who signs: with the known token, or with a new one after half its time. While a new one cannot be had,
    /// the known one is used to its end.
    pub(super) fn signer(
        &mut self,
        federation: &mut Federation<'_>,
    ) -> Result<Signer<'_>, ProviderError> {
        let now = federation.client.now();
        let stale = |token: &Token| now - token.issued >= (token.expires - token.issued) / 2;
        if self.current.as_ref().is_none_or(stale) {
            let public = self.session_key()?.public.clone();
            match federation.token(&public) {
                Ok(token) => self.current = Some(token),
                Err(_) if self.expires().is_some_and(|expires| now < expires) => {}
                Err(failed) => return Err(failed),
            }
        }
        match (&self.current, &self.key) {
            (Some(token), Some(key)) => Ok(Signer {
                key_id: token.key_id.expose(),
                key: &key.private,
                with_host: true,
            }),
            _ => Err(unreadable("the token")),
        }
    }

    fn session_key(&mut self) -> Result<&SessionKey, ProviderError> {
        let key = match self.key.take() {
            Some(key) => key,
            None => SessionKey::generate()?,
        };
        Ok(self.key.insert(key))
    }

    /// Forgets a token that is not accepted.
    pub(super) fn forget(&mut self) {
        self.current = None;
    }

    /// Returns until when the token is good.
    pub(super) fn expires(&self) -> Option<DateTime<Utc>> {
        self.current.as_ref().map(|token| token.expires)
    }
}

impl Federation<'_> {
    /// Asks for a token. What is refused for its time is asked for once more, with the time that came with the refusal.
    fn token(&mut self, public: &str) -> Result<Token, ProviderError> {
        match self.attempt(public) {
            Err(failed) if failed.code == super::error::NOT_AUTHENTICATED => self.attempt(public),
            answered => answered,
        }
    }

    /// The certificate is read anew each time, for it is replaced several times a day.
    fn attempt(&mut self, public: &str) -> Result<Token, ProviderError> {
        let certificate = self.certificate("identity/cert.pem")?;
        let issuer = self.certificate("identity/intermediate.pem")?;
        let key = Secret::new(self.metadata.read("identity/key.pem")?);
        let key = SigningKey::from_pem(key.expose())?;
        let tenancy = tenancy(&certificate).ok_or_else(|| unreadable("identity/cert.pem"))?;
        let key_id = format!("{tenancy}/fed-x509/{}", fingerprint(&certificate));
        let url = format!("{}/v1/x509", self.endpoint);
        let mut call = Call::new(Method::Post, url, self.timeout);
        let body = json!({
            "certificate": STANDARD.encode(&certificate),
            "intermediateCertificates": [STANDARD.encode(issuer)],
            "publicKey": public,
        });
        call.body = body.to_string().into_bytes();
        let signer = Signer {
            key_id: &key_id,
            key: &key,
            with_host: false,
        };
        let call = signer.sign(call, self.client.now())?;
        let sent = self.client.send(&call);
        let answer = sent.map_err(|failure| failure.into_error(false))?;
        if !answer.is_success() {
            return Err(refused(&answer, false));
        }
        read(&answer.body).ok_or_else(|| {
            let message = "what the token service answered cannot be read";
            error(ErrorClass::Unavailable, "Illegible", message)
        })
    }

    fn certificate(&mut self, path: &str) -> Result<Vec<u8>, ProviderError> {
        let text = self.metadata.read(path)?;
        decode_pem(&text).ok_or_else(|| unreadable(path))
    }
}

/// Reads a token. Its signature is for those who take it, not for us.
fn read(body: &[u8]) -> Option<Token> {
    let document: Document = serde_json::from_slice(body).ok()?;
    let token = Secret::new(document.token);
    let text = token.expose();
    // It becomes part of a header's value within quotation marks.
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.=".contains(letter);
    let claims = text.split('.').nth(1).filter(|_| text.chars().all(plain))?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    let issued = DateTime::from_timestamp(claims.iat, 0)?;
    let expires = DateTime::from_timestamp(claims.exp, 0)?;
    (issued < expires).then(|| Token {
        key_id: Secret::new(format!("ST${text}")),
        issued,
        expires,
    })
}

/// Finds the tenancy in the subject of the instance's certificate: a text that says `opc-tenant:OCID`, in DER after its
/// length.
fn tenancy(certificate: &[u8]) -> Option<String> {
    ["opc-tenant:", "opc-identity:"].iter().find_map(|mark| {
        let mut places = certificate.windows(mark.len());
        let at = places.position(|part| part == mark.as_bytes())?;
        let length = usize::from(*certificate.get(at.checked_sub(1)?)?);
        let text = certificate.get(at + mark.len()..at.checked_add(length)?)?;
        let text = String::from_utf8(text.to_vec()).ok()?;
        super::shapes::is_ocid(&text).then_some(text)
    })
}

fn fingerprint(certificate: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate);
    let bytes: Vec<String> = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    bytes.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(claims: &str) -> Vec<u8> {
        let claims = URL_SAFE_NO_PAD.encode(claims);
        json!({ "token": format!("e30.{claims}.hunter2") })
            .to_string()
            .into_bytes()
    }

    #[test]
    fn a_token_is_read_and_not_shown() {
        let token = read(&body(r#"{"iat": 1000, "exp": 2200}"#)).expect("a token");
        assert_eq!((token.expires - token.issued).num_minutes(), 20);
        assert!(token.key_id.expose().starts_with("ST$e30."));
        assert!(!format!("{token:?}").contains("hunter2"));
        for wrong in [r#"{"iat": 1000}"#, r#"{"iat": 2, "exp": 1}"#, "[]", ""] {
            assert!(read(&body(wrong)).is_none(), "{wrong}");
        }
        let quoted = json!({ "token": "e30.e30\".x" }).to_string();
        assert!(read(quoted.as_bytes()).is_none());
    }

    #[test]
    fn the_tenancy_ends_where_its_length_says() {
        let mut certificate = b"\x0c\x16opc-tenant:ocid1.x.lab10".to_vec();
        assert_eq!(tenancy(&certificate).as_deref(), Some("ocid1.x.lab"));
        certificate.truncate(20);
        assert_eq!(tenancy(&certificate), None);
        assert_eq!(tenancy(b"opc-tenant:x"), None);
        assert_eq!(tenancy(b"\x02opc-tenant:x"), None);
    }
}
