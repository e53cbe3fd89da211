//! RSA keys: that of the instance's certificate, and the one of our own that tokens are for.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::EncodePublicKey;
use rsa::rand_core::{TryCryptoRng, TryRng};
use sam_capture::provider::{ErrorClass, ProviderError};
use zeroize::Zeroizing;

use crate::http::error;

/// A private key that signs.
pub(super) struct SigningKey(RsaKeyPair);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl SigningKey {
    /// Reads PEM with a key as PKCS #1 or PKCS #8; without a passphrase.
    pub(super) fn from_pem(text: &str) -> Result<Self, ProviderError> {
        let unusable = || {
            let message = "the private key of the instance is no RSA key that can be read";
            error(ErrorClass::Unavailable, "KeyUnreadable", message)
        };
        let der = Zeroizing::new(decode_pem(text).ok_or_else(unusable)?);
        let pair = RsaKeyPair::from_der(&der).or_else(|_| RsaKeyPair::from_pkcs8(&der));
        pair.map(Self).map_err(|_| unusable())
    }

    /// Signs: PKCS #1 v1.5 with SHA-256, as base64.
    pub(super) fn sign(&self, message: &[u8]) -> Result<String, ProviderError> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        let random = SystemRandom::new();
        let signed = self
            .0
            .sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
        signed.map_err(|_| {
            let message = "a request cannot be signed";
            error(ErrorClass::Unavailable, "KeyUnusable", message)
        })?;
        Ok(STANDARD.encode(signature))
    }
}

/// Bits of a session key, as the vendor's SDKs make them.
const BITS: usize = 2048;

/// The system's randomness.
struct SystemRng(SystemRandom);

/// The system has no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the system has no randomness")]
struct NoRandomness;

impl TryRng for SystemRng {
    type Error = NoRandomness;

    fn try_next_u32(&mut self) -> Result<u32, NoRandomness> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, NoRandomness> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        self.0.fill(bytes).map_err(|_| NoRandomness)
    }
}

impl TryCryptoRng for SystemRng {}

/// A key pair that tokens are made out to. It is made once, and leaves the process never.
#[derive(Debug)]
pub(super) struct SessionKey {
    pub(super) private: SigningKey,
    /// SubjectPublicKeyInfo as base64.
    pub(super) public: String,
}

impl SessionKey {
    /// Makes a pair; takes up to a second or two. ring signs with it, but cannot make one.
    pub(super) fn generate() -> Result<Self, ProviderError> {
        let failed = || {
            let message = "no session key could be made";
            error(ErrorClass::Unavailable, "NoSessionKey", message)
        };
        let mut random = SystemRng(SystemRandom::new());
        let pair = rsa::PrivateKey::new(&mut random, BITS).map_err(|_| failed())?;
        let private = pair.to_pkcs1_der().map_err(|_| failed())?;
        let private = RsaKeyPair::from_der(private.as_bytes()).map_err(|_| failed())?;
        let public = pair.to_public_key().to_public_key_der();
        let public = public.map_err(|_| failed())?;
        Ok(Self {
            private: SigningKey(private),
            public: STANDARD.encode(public.as_bytes()),
        })
    }
}

/// Decodes the first block of PEM in a text.
pub(super) fn decode_pem(text: &str) -> Option<Vec<u8>> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with("-----BEGIN "))?;
    let block = lines.take_while(|line| !line.starts_with("-----END "));
    let block: Zeroizing<String> = Zeroizing::new(block.collect());
    STANDARD.decode(block.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_to_nobody_and_what_is_none_is_said_to_be_so() {
        let session = SessionKey::generate().expect("a key");
        let shown = format!("{session:?}");
        assert!(shown.contains("[secret]"), "{shown}");
        assert_eq!(session.private.sign(b"x").expect("signed").len(), 344);
        for text in ["", "-----BEGIN X-----\nhunter2\n-----END X-----", "aGk="] {
            let failed = SigningKey::from_pem(text).expect_err("no key");
            assert_eq!(failed.code, "KeyUnreadable");
            assert!(!failed.message.contains("hunter2"));
        }
    }
}
