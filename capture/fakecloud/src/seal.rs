//! Tokens that need no memory: what they say is in them, and a keyed hash shows that we said it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::{digest, hmac};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The secret of one world; everything secret or random in it follows from its seed.
#[derive(Clone)]
pub(crate) struct Seal {
    key: hmac::Key,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Seal(..)")
    }
}

impl Seal {
    pub(crate) fn new(seed: &[u8]) -> Self {
        let hash = digest::digest(&digest::SHA256, seed);
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, hash.as_ref()),
        }
    }

    /// Makes a token of a kind. Tokens of one kind are nothing to another.
    pub(crate) fn close<T: Serialize>(&self, kind: &str, content: &T) -> String {
        let content = serde_json::to_vec(content).unwrap_or_default();
        let mut text = URL_SAFE_NO_PAD.encode(&content);
        let tag = self.tag(kind, &content);
        text.push('.');
        text.push_str(&URL_SAFE_NO_PAD.encode(tag));
        text
    }

    /// Reads a token, if it is one of ours of this kind.
    pub(crate) fn open<T: DeserializeOwned>(&self, kind: &str, text: &str) -> Option<T> {
        let (content, tag) = text.split_once('.')?;
        let content = URL_SAFE_NO_PAD.decode(content).ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        let message = [kind.as_bytes(), b"\0", &content].concat();
        hmac::verify(&self.key, &message, &tag).ok()?;
        serde_json::from_slice(&content).ok()
    }

    /// Derives a secret from a name.
    pub(crate) fn secret(&self, name: &str) -> String {
        STANDARD.encode(self.tag("secret", name.as_bytes()))
    }

    /// Derives capital letters and digits from a name.
    pub(crate) fn code(&self, name: &str, length: usize) -> String {
        const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let tag = self.tag("code", name.as_bytes());
        tag.iter()
            .take(length)
            .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
            .collect()
    }

    /// Derives a UUID from a name.
    pub(crate) fn uuid(&self, name: &str) -> String {
        let text = hex::encode(self.tag("uuid", name.as_bytes()));
        let parts = [&text[..8], &text[8..12], &text[12..16], &text[16..20]];
        format!("{}-{}", parts.join("-"), &text[20..32])
    }

    fn tag(&self, kind: &str, content: &[u8]) -> Vec<u8> {
        let message = [kind.as_bytes(), b"\0", content].concat();
        hmac::sign(&self.key, &message).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_with_its_kind_and_world_only() {
        let seal = Seal::new(b"one");
        let token = seal.close("session", &("router", 7));
        assert_eq!(seal.open("session", &token), Some(("router".to_owned(), 7)));
        assert_eq!(seal.open::<(String, u32)>("page", &token), None);
        let other = Seal::new(b"two");
        assert_eq!(other.open::<(String, u32)>("session", &token), None);
        let forged = format!("A{token}");
        assert_eq!(seal.open::<(String, u32)>("session", &forged), None);
        assert_eq!(seal.uuid("a").len(), 36);
    }
}
