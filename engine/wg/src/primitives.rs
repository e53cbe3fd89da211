//! The primitives of the handshake in the shape that `snow` wants: X25519, BLAKE2s, ChaCha20-Poly1305, and a source of
//! randomness that yields one ephemeral key.

use blake2::{Blake2s256, Digest as _};
use snow::Error;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::aead::{Key, TAG_LEN};

/// Yields the 32 bytes it was made with, once.
pub(crate) struct Ephemeral(Option<Zeroizing<[u8; 32]>>);

impl Ephemeral {
    /// Holds `bytes`, which must be random.
    pub(crate) fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(Some(bytes))
    }
}

impl snow::types::Random for Ephemeral {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        let bytes = self.0.take().filter(|bytes| bytes.len() == out.len());
        out.copy_from_slice(&bytes.ok_or(Error::Rng)?[..]);
        Ok(())
    }
}

/// A key pair of Curve25519 (RFC 7748); wiped on drop.
pub(crate) struct KeyPair {
    private: StaticSecret,
    public: PublicKey,
}

impl KeyPair {
    fn of(private: [u8; 32]) -> Self {
        let private = StaticSecret::from(private);
        let public = PublicKey::from(&private);
        Self { private, public }
    }
}

impl Default for KeyPair {
    /// A place for a pair; no key agrees with it.
    fn default() -> Self {
        Self {
            private: StaticSecret::from([0; 32]),
            public: PublicKey::from([0; 32]),
        }
    }
}

impl snow::types::Dh for KeyPair {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, private: &[u8]) {
        let private = Zeroizing::new(private.try_into().expect("a private key has 32 bytes"));
        *self = Self::of(*private);
    }

    fn generate(&mut self, random: &mut dyn snow::types::Random) -> Result<(), Error> {
        let mut private = Zeroizing::new([0; 32]);
        random.try_fill_bytes(&mut private[..])?;
        *self = Self::of(*private);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn privkey(&self) -> &[u8] {
        self.private.as_bytes()
    }

    /// Refuses keys of low order, with which everybody would agree on the same secret (RFC 7748 section 6.1).
    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let public = public.first_chunk::<32>().ok_or(Error::Dh)?;
        let shared = self.private.diffie_hellman(&PublicKey::from(*public));
        if !shared.was_contributory() {
            return Err(Error::Dh);
        }
        out.get_mut(..32)
            .ok_or(Error::Dh)?
            .copy_from_slice(shared.as_bytes());
        Ok(())
    }
}

/// BLAKE2s with 32 bytes of output (RFC 7693).
#[derive(Default)]
pub(crate) struct Hash(Blake2s256);

impl snow::types::Hash for Hash {
    fn name(&self) -> &'static str {
        "BLAKE2s"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = Blake2s256::new();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let hash = std::mem::take(&mut self.0).finalize();
        out[..hash.len()].copy_from_slice(&hash);
    }
}

/// ChaCha20-Poly1305, by ring as for data.
pub(crate) struct ChaChaPoly(Key);

impl Default for ChaChaPoly {
    fn default() -> Self {
        Self(Key::new(&[0; 32]))
    }
}

impl snow::types::Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = Key::new(key);
    }

    fn encrypt(&self, nonce: u64, aad: &[u8], text: &[u8], out: &mut [u8]) -> usize {
        let (sealed, rest) = out.split_at_mut(text.len());
        sealed.copy_from_slice(text);
        let tag = self.0.seal(nonce, aad, sealed);
        rest[..TAG_LEN].copy_from_slice(&tag);
        text.len() + TAG_LEN
    }

    fn decrypt(
        &self,
        nonce: u64,
        aad: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        // Longest in a handshake: a static key with its tag.
        let mut buffer = Zeroizing::new([0; 32 + TAG_LEN]);
        let buffer = buffer.get_mut(..sealed.len()).ok_or(Error::Input)?;
        buffer.copy_from_slice(sealed);
        let len = self.0.open(nonce, aad, buffer, 0..);
        let len = len.ok_or(Error::Decrypt)?;
        out.get_mut(..len)
            .ok_or(Error::Input)?
            .copy_from_slice(&buffer[..len]);
        Ok(len)
    }
}
