//! Keys: base64 in files, 32 bytes here; secrets are wiped on drop and never printed.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A Curve25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// A Curve25519 private key.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PrivateKey(pub [u8; 32]);

/// A preshared key, mixed into the handshake.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PresharedKey(pub [u8; 32]);

impl PrivateKey {
    /// Computes the public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        todo!()
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

impl std::fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PresharedKey(…)")
    }
}
