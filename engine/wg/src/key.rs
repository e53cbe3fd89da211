//! Keys: base64 in files, 32 bytes here; secrets are wiped on drop and never printed.
//!
//! The text form is that of `wg(8)`: 44 characters of padded standard base64. White space around it is accepted,
//! because key files end in a line break. Errors never quote the text, it may be a secret.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A Curve25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// A Curve25519 private key.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PrivateKey(pub [u8; 32]);

/// A preshared key, mixed into the handshake.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PresharedKey(pub [u8; 32]);

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not as long as a key.
    #[error("a key has 44 characters, this text has {found}")]
    Length {
        /// Characters found.
        found: usize,
    },
    /// The right length, but no base64 of 32 bytes.
    #[error("not the base64 form of a key")]
    Encoding,
}

impl PrivateKey {
    /// Makes a key of 32 random bytes; clears and sets the bits that Curve25519 wants (RFC 7748 section 5).
    #[must_use]
    pub fn generate(random: [u8; 32]) -> Self {
        let mut key = Self(random);
        key.0[0] &= 0b1111_1000;
        key.0[31] &= 0b0111_1111;
        key.0[31] |= 0b0100_0000;
        key
    }

    /// Computes the public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let secret = StaticSecret::from(self.0);
        PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
    }

    /// Returns the text form; wiped on drop.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0))
    }
}

impl PresharedKey {
    /// Returns the text form; wiped on drop.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(…)")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(|bytes| Self(*bytes))
    }
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(|bytes| Self(*bytes))
    }
}

impl FromStr for PresharedKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(|bytes| Self(*bytes))
    }
}

/// Decodes the text form without leaving copies of a secret behind.
fn decode(text: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let text = text.trim();
    let found = text.chars().count();
    if found != TEXT_LEN {
        return Err(KeyError::Length { found });
    }
    // The decoder estimates 33 bytes for 44 characters before it looks at the padding.
    let mut buffer = Zeroizing::new([0u8; 33]);
    let len = STANDARD
        .decode_slice(text, &mut buffer[..])
        .map_err(|_| KeyError::Encoding)?;
    let mut key = Zeroizing::new([0u8; 32]);
    if len != key.len() {
        return Err(KeyError::Encoding);
    }
    key.copy_from_slice(&buffer[..len]);
    Ok(key)
}

/// Characters of the base64 form of 32 bytes.
const TEXT_LEN: usize = 44;

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7748 section 6.1, Alice.
    const PRIVATE: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
    const PUBLIC: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";

    #[test]
    fn public_key_is_that_of_rfc_7748() {
        let private: PrivateKey = PRIVATE.parse().unwrap();
        assert_eq!(private.public().to_string(), PUBLIC);
        assert_eq!(*private.to_base64(), PRIVATE);
    }

    #[test]
    fn text_forms_survive_a_round_trip() {
        let public = PublicKey([0xa5; 32]);
        assert_eq!(public.to_string().parse(), Ok(public));
        let preshared = PresharedKey([0x5a; 32]);
        assert_eq!(preshared.to_base64().parse(), Ok(preshared));
    }

    #[test]
    fn white_space_around_a_key_is_ignored() {
        assert_eq!(format!(" {PUBLIC}\n").parse(), PUBLIC.parse::<PublicKey>());
    }

    #[test]
    fn generated_keys_are_clamped() {
        assert_eq!(PrivateKey::generate([0xff; 32]).0[0], 0xf8);
        assert_eq!(PrivateKey::generate([0xff; 32]).0[31], 0x7f);
        assert_eq!(PrivateKey::generate([0; 32]).0[31], 0x40);
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_reason() {
        let table: &[(&str, KeyError)] = &[
            ("", KeyError::Length { found: 0 }),
            ("abc", KeyError::Length { found: 3 }),
            (&PUBLIC[..43], KeyError::Length { found: 43 }),
            (&PUBLIC.replace('=', "A"), KeyError::Encoding), // 33 bytes
            (&PUBLIC.replace("o=", "=="), KeyError::Encoding), // 31 bytes
            (&PUBLIC.replace('h', "!"), KeyError::Encoding),
            (&PUBLIC.replace('h', "ä"), KeyError::Encoding),
        ];
        for (text, error) in table {
            assert_eq!(text.parse::<PublicKey>(), Err(*error), "{text}");
            assert_eq!(text.parse::<PrivateKey>(), Err(*error), "{text}");
            assert_eq!(text.parse::<PresharedKey>(), Err(*error), "{text}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", PrivateKey([1; 32])), "PrivateKey(…)");
        assert_eq!(format!("{:?}", PresharedKey([1; 32])), "PresharedKey(…)");
    }
}
