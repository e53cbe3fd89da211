//! RSA keys: the one pair of the lab, and public keys of callers.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};

use super::der::{self, BIT_STRING, INTEGER, NULL, OBJECT, SEQUENCE};

/// The private key of all instances in all labs. It protects nothing, and is made beforehand because that takes long.
const LAB_KEY: &str = include_str!("lab-key.pem");

/// Object identifier 1.2.840.113549.1.1.1, rsaEncryption (RFC 8017).
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKey {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl PublicKey {
    /// Reads SubjectPublicKeyInfo (RFC 5280 section 4.1).
    pub(super) fn from_der(bytes: &[u8]) -> Option<Self> {
        let (info, _) = der::read(bytes, SEQUENCE)?;
        let (algorithm, info) = der::read(info, SEQUENCE)?;
        let (object, _) = der::read(algorithm, OBJECT)?;
        let (bits, _) = der::read(info, BIT_STRING)?;
        let (key, _) = der::read(bits.strip_prefix(&[0])?, SEQUENCE)?;
        let (modulus, key) = der::read(key, INTEGER)?;
        let (exponent, _) = der::read(key, INTEGER)?;
        (object == RSA_ENCRYPTION).then(|| Self {
            modulus: modulus.strip_prefix(&[0]).unwrap_or(modulus).to_vec(),
            exponent: exponent.to_vec(),
        })
    }

    /// Reads a PEM file, with or without its first and last line.
    pub(super) fn from_pem(text: &str) -> Option<Self> {
        Self::from_der(&bare(text)?)
    }

    /// Reads a JSON web key.
    pub(super) fn from_jwk(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let number = |name: &str| URL_SAFE_NO_PAD.decode(value.get(name)?.as_str()?).ok();
        Some(Self {
            modulus: number("n")?,
            exponent: number("e")?,
        })
    }

    /// Writes a JSON web key.
    pub(super) fn jwk(&self) -> String {
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (n, e) = (number(&self.modulus), number(&self.exponent));
        json!({ "kid": "lab", "kty": "RSA", "alg": "RS256", "use": "sig", "n": n, "e": e })
            .to_string()
    }

    /// Tells whether this key's owner signed a message: PKCS #1 v1.5 with SHA-256.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let components = RsaPublicKeyComponents {
            n: &self.modulus,
            e: &self.exponent,
        };
        components
            .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            .is_ok()
    }
}

/// Decodes what stands between the first and the last line of a PEM file.
pub(super) fn bare(text: &str) -> Option<Vec<u8>> {
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    let text: String = lines.flat_map(str::split_whitespace).collect();
    STANDARD.decode(text).ok()
}

/// Returns the private key that instances are given, as PEM.
pub(super) const fn lab_key_pem() -> &'static str {
    LAB_KEY
}

fn lab_key() -> Option<RsaKeyPair> {
    RsaKeyPair::from_der(&bare(LAB_KEY)?).ok()
}

/// Returns its public key.
pub(super) fn lab_public_key() -> Option<PublicKey> {
    PublicKey::from_der(&lab_public_key_der()?)
}

/// Returns its public key as SubjectPublicKeyInfo.
pub(super) fn lab_public_key_der() -> Option<Vec<u8>> {
    let pair = lab_key()?;
    let object = der::write(OBJECT, RSA_ENCRYPTION);
    let algorithm = der::wrap(SEQUENCE, &[&object, &der::write(NULL, &[])]);
    let bits = der::wrap(BIT_STRING, &[&[0], pair.public().as_ref()]);
    Some(der::wrap(SEQUENCE, &[&algorithm, &bits]))
}

/// Signs with the lab's key.
pub(super) fn lab_sign(message: &[u8]) -> Option<Vec<u8>> {
    let pair = lab_key()?;
    let mut signature = vec![0; pair.public().modulus_len()];
    // PKCS #1 v1.5 pads by rule: nothing is drawn from this.
    let unused = SystemRandom::new();
    pair.sign(&RSA_PKCS1_SHA256, &unused, message, &mut signature)
        .ok()?;
    Some(signature)
}
