//! Keyed BLAKE2s: mac1 and mac2 of handshake messages, and the keys they are made with (WireGuard paper section 5.4.4).

use blake2::digest::consts::U16;
use blake2::digest::{KeyInit, Mac as _};
use blake2::{Blake2s256, Blake2sMac, Digest as _};

use crate::key::PublicKey;
use crate::message::MAC_LEN;

/// A keyed hash of 16 bytes.
pub(crate) type Mac = [u8; MAC_LEN];

/// Computes the keyed hash of `parts`, one after the other.
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> Mac {
    keyed(key, parts).finalize().into_bytes().into()
}

/// Compares `expected` with the keyed hash of `message` in constant time.
pub(crate) fn verifies(key: &[u8], message: &[u8], expected: &[u8]) -> bool {
    keyed(key, &[message]).verify_slice(expected).is_ok()
}

/// Whether the mac1 of an initiation or response shows that its sender knows our public key, from which `key` was made.
pub(crate) fn has_mac1(key: &[u8; 32], message: &[u8]) -> bool {
    let (covered, mac1, _) = split(message);
    verifies(key, covered, mac1)
}

/// Splits a handshake message into what mac1 covers, mac1, and mac2.
pub(crate) fn split(message: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (covered, macs) = message.split_at(message.len() - 2 * MAC_LEN);
    let (mac1, mac2) = macs.split_at(MAC_LEN);
    (covered, mac1, mac2)
}

/// Returns the key of mac1 in messages to the owner of `public`.
pub(crate) fn mac1_key(public: &PublicKey) -> [u8; 32] {
    labeled(b"mac1----", public)
}

/// Returns the key of cookie replies from the owner of `public`.
pub(crate) fn cookie_key(public: &PublicKey) -> [u8; 32] {
    labeled(b"cookie--", public)
}

fn labeled(label: &[u8], public: &PublicKey) -> [u8; 32] {
    let hash = Blake2s256::new().chain_update(label).chain_update(public.0);
    hash.finalize().into()
}

fn keyed(key: &[u8], parts: &[&[u8]]) -> Blake2sMac<U16> {
    let mut mac = Blake2sMac::new_from_slice(key).expect("keys have 16 or 32 bytes");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_covers_key_and_message() {
        let (key, message) = ([1; 32], b"a message");
        let expected = mac(&key, &[b"a mess", b"age"]);
        assert!(verifies(&key, message, &expected));
        assert!(!verifies(&[2; 32], message, &expected));
        assert!(!verifies(&key, b"another one", &expected));
        assert!(!verifies(&key, message, &expected[..15]));
    }

    #[test]
    fn keys_depend_on_purpose_and_owner() {
        let [a, b] = [PublicKey([1; 32]), PublicKey([2; 32])];
        assert_ne!(mac1_key(&a), mac1_key(&b));
        assert_ne!(mac1_key(&a), cookie_key(&a));
    }
}
