//! ChaCha20-Poly1305 keys (RFC 8439) with WireGuard's nonces: four zero bytes and the counter, little endian.

use std::hint::black_box;
use std::ops::RangeFrom;

use ::ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// One key, for one direction. Any number of threads may use it at once.
pub(crate) struct Key(LessSafeKey);

impl Key {
    /// Makes a key of its bytes.
    pub(crate) fn new(bytes: &[u8; 32]) -> Self {
        Self(inner(bytes))
    }

    /// Encrypts `in_out` and returns the tag. Each `counter` may be used once.
    pub(crate) fn seal(&self, counter: u64, aad: &[u8], in_out: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(counter), Aad::from(aad), in_out)
            .expect("a packet is shorter than 256 GiB");
        let mut bytes = [0; TAG_LEN];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// Decrypts what is in `in_out` from `sealed` on, which ends in its tag. The text is at the start of `in_out` then;
    /// returns its length, or `None` if the tag is wrong.
    pub(crate) fn open(
        &self,
        counter: u64,
        aad: &[u8],
        in_out: &mut [u8],
        sealed: RangeFrom<usize>,
    ) -> Option<usize> {
        let opened = self
            .0
            .open_within(nonce(counter), Aad::from(aad), in_out, sealed);
        opened.ok().map(|text| text.len())
    }
}

impl Drop for Key {
    /// ring keeps the bytes inline and does not wipe them, so another key is written over them. That somebody seems to
    /// look at it keeps the compiler from leaving the writing out.
    fn drop(&mut self) {
        self.0 = inner(&[0; 32]);
        black_box(&self.0);
    }
}

fn inner(bytes: &[u8; 32]) -> LessSafeKey {
    let key = UnboundKey::new(&CHACHA20_POLY1305, bytes).expect("a key has 32 bytes");
    LessSafeKey::new(key)
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Length of a tag.
pub(crate) const TAG_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_opened_with_its_own_key_counter_and_aad_only() {
        let key = Key::new(&[1; 32]);
        let mut sealed = [7; 20 + TAG_LEN];
        let tag = key.seal(5, b"aad", &mut sealed[..20]);
        sealed[20..].copy_from_slice(&tag);
        for (opener, counter, aad) in [
            (&Key::new(&[2; 32]), 5, &b"aad"[..]),
            (&key, 6, b"aad"),
            (&key, 5, b"other"),
        ] {
            assert_eq!(opener.open(counter, aad, &mut sealed.clone(), 0..), None);
        }
        let mut headed = [&[9; 16][..], &sealed].concat();
        assert_eq!(key.open(5, b"aad", &mut headed, 16..), Some(20));
        assert_eq!(headed[..20], [7; 20]);
        assert_eq!(key.open(5, b"aad", &mut sealed, 0..), Some(20));
        assert_eq!(sealed[..20], [7; 20]);
    }

    #[test]
    fn less_than_a_tag_does_not_open() {
        assert_eq!(Key::new(&[1; 32]).open(0, &[], &mut [0; 15], 0..), None);
        assert_eq!(Key::new(&[1; 32]).open(0, &[], &mut [0; 31], 16..), None);
    }
}
