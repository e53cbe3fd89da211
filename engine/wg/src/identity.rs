//! Our own keys, and the `Tunn`s made with them.

use std::sync::Arc;

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{HandshakeInit, Tunn};
use boringtun::x25519;

use crate::error::OpenError;
use crate::key::{PresharedKey, PrivateKey, PublicKey};

/// The identity of a device. boringtun wipes the private key on drop; copies of preshared keys that it holds are not
/// wiped.
pub(crate) struct Identity {
    secret: x25519::StaticSecret,
    public: x25519::PublicKey,
    /// Admits everything: limits are enforced before a `Tunn` sees a message.
    limiter: Arc<RateLimiter>,
}

impl Identity {
    /// Makes the identity of `private_key`.
    pub(crate) fn new(private_key: &PrivateKey, limiter: Arc<RateLimiter>) -> Self {
        let secret = private_key.secret();
        let public = x25519::PublicKey::from(&secret);
        Self {
            secret,
            public,
            limiter,
        }
    }

    /// Returns the public key.
    pub(crate) fn public(&self) -> PublicKey {
        PublicKey(self.public.to_bytes())
    }

    /// Makes a `Tunn` towards `peer` with a 24-bit index.
    pub(crate) fn tunn(
        &self,
        peer: &PublicKey,
        preshared_key: Option<&PresharedKey>,
        index: u32,
    ) -> Box<Tunn> {
        Box::new(Tunn::new(
            self.secret.clone(),
            x25519::PublicKey::from(peer.0),
            preshared_key.map(|key| key.0),
            None,
            index,
            Some(Arc::clone(&self.limiter)),
        ))
    }

    /// Decrypts who sent a handshake initiation; whether it really was him is not proven by that.
    pub(crate) fn initiator(&self, message: &HandshakeInit<'_>) -> Result<PublicKey, OpenError> {
        parse_handshake_anon(&self.secret, &self.public, message)
            .map(|half| PublicKey(half.peer_static_public))
            .map_err(|_| OpenError::HandshakeRejected)
    }
}
