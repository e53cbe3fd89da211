//! The handshake itself: Noise IKpsk2 (WireGuard paper section 5.4), by `snow`, on primitives and randomness of ours.
//!
//! Keys made here are wiped on drop, with one exception: `snow` keeps copies of the preshared key and of the chaining key
//! inside its state, which it does not wipe. They live no longer than the handshake.

use snow::params::{CipherChoice, DHChoice, HashChoice, NoiseParams};
use snow::resolvers::CryptoResolver;
use snow::{Builder, HandshakeState};
use zeroize::Zeroizing;

use crate::error::OpenError;
use crate::key::{PresharedKey, PrivateKey, PublicKey};
use crate::message::{INITIATION_NOISE_LEN, RESPONSE_NOISE_LEN};
use crate::primitives::{ChaChaPoly, Ephemeral, Hash, KeyPair};
use crate::random::Random;
use crate::tai64n::Stamp;

/// Our own static keys.
pub(crate) struct Identity {
    private: PrivateKey,
    public: PublicKey,
    params: NoiseParams,
}

impl Identity {
    /// Makes the identity of `private`.
    pub(crate) fn new(private: &PrivateKey) -> Self {
        Self {
            public: private.public(),
            private: private.clone(),
            params: PATTERN.parse().expect("the name of a Noise protocol"),
        }
    }

    /// Returns the public key.
    pub(crate) fn public(&self) -> PublicKey {
        self.public
    }

    fn builder(&self, random: &mut Random) -> Result<Builder<'_>, snow::Error> {
        let primitives = Box::new(Primitives(Zeroizing::new(random.bytes())));
        Builder::with_resolver(self.params.clone(), primitives)
            .local_private_key(&self.private.0)?
            .prologue(PROLOGUE)
    }
}

/// The keys of a session.
pub(crate) struct Keys {
    /// For what we send.
    pub(crate) seal: Zeroizing<[u8; 32]>,
    /// For what we receive.
    pub(crate) open: Zeroizing<[u8; 32]>,
}

/// A handshake that we started.
pub(crate) struct Initiator(HandshakeState);

impl Initiator {
    /// Starts a handshake with `peer`; returns it with the Noise message to send. `None` if the key of the peer is of
    /// low order, with which no secret can be agreed on.
    pub(crate) fn start(
        identity: &Identity,
        (peer, preshared): (&PublicKey, Option<&PresharedKey>),
        stamp: Stamp,
        random: &mut Random,
    ) -> Option<(Self, [u8; INITIATION_NOISE_LEN])> {
        let preshared = Zeroizing::new(bytes_of(preshared));
        let mut message = [0; INITIATION_NOISE_LEN];
        let mut state = identity
            .builder(random)
            .and_then(|builder| builder.remote_public_key(&peer.0))
            .and_then(|builder| builder.psk(PSK_PLACE, &preshared))
            .and_then(Builder::build_initiator)
            .expect("every key is there");
        state.write_message(&stamp, &mut message).ok()?;
        Some((Self(state), message))
    }

    /// Reads the Noise message of a response. After an error a genuine response is still welcome.
    pub(crate) fn finish(&mut self, response: &[u8]) -> Result<Keys, OpenError> {
        self.0
            .read_message(response, &mut [])
            .map_err(|_| OpenError::HandshakeRejected)?;
        let (seal, open) = self.0.dangerously_get_raw_split();
        Ok(Keys {
            seal: Zeroizing::new(seal),
            open: Zeroizing::new(open),
        })
    }
}

/// An initiation that was read: who sent it is authenticated, that it is fresh is for the caller to find out.
pub(crate) struct Received {
    state: HandshakeState,
    /// Who sent it.
    pub(crate) initiator: PublicKey,
    /// When, by his own clock.
    pub(crate) stamp: Stamp,
}

impl Received {
    /// Reads the Noise message of an initiation.
    pub(crate) fn read(
        identity: &Identity,
        initiation: &[u8],
        random: &mut Random,
    ) -> Result<Self, OpenError> {
        let refused = |_| OpenError::HandshakeRejected;
        let state = identity.builder(random).and_then(Builder::build_responder);
        let (mut state, mut stamp) = (state.map_err(refused)?, [0; 12]);
        state
            .read_message(initiation, &mut stamp)
            .map_err(refused)?;
        let initiator = state
            .get_remote_static()
            .and_then(|key| key.try_into().ok());
        Ok(Self {
            initiator: PublicKey(initiator.ok_or(OpenError::HandshakeRejected)?),
            state,
            stamp,
        })
    }

    /// Answers; returns the keys with the Noise message to send.
    pub(crate) fn answer(
        mut self,
        preshared: Option<&PresharedKey>,
    ) -> Result<(Keys, [u8; RESPONSE_NOISE_LEN]), OpenError> {
        let preshared = Zeroizing::new(bytes_of(preshared));
        let mut message = [0; RESPONSE_NOISE_LEN];
        self.state
            .set_psk(usize::from(PSK_PLACE), &preshared[..])
            .and_then(|()| self.state.write_message(&[], &mut message))
            .map_err(|_| OpenError::HandshakeRejected)?;
        let (open, seal) = self.state.dangerously_get_raw_split();
        let keys = Keys {
            seal: Zeroizing::new(seal),
            open: Zeroizing::new(open),
        };
        Ok((keys, message))
    }
}

/// What `snow` computes with; holds the ephemeral key of the handshake that is about to be built.
struct Primitives(Zeroizing<[u8; 32]>);

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn snow::types::Random>> {
        Some(Box::new(Ephemeral::new(self.0.clone())))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn snow::types::Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| Box::<KeyPair>::default() as _)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn snow::types::Hash>> {
        matches!(choice, HashChoice::Blake2s).then(|| Box::<Hash>::default() as _)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn snow::types::Cipher>> {
        matches!(choice, CipherChoice::ChaChaPoly).then(|| Box::<ChaChaPoly>::default() as _)
    }
}

/// No preshared key is one of zeros.
fn bytes_of(preshared: Option<&PresharedKey>) -> [u8; 32] {
    preshared.map_or([0; 32], |key| key.0)
}

const PATTERN: &str = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";
/// Where the pattern mixes the preshared key in.
const PSK_PLACE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_get_the_same_keys_and_the_responder_learns_who_and_when() {
        for preshared in [None, Some(PresharedKey([9; 32]))] {
            let [a, b] = [1, 2].map(|byte| Identity::new(&PrivateKey::generate([byte; 32])));
            let mut random = Random::new([3; 32]);
            let to_b = (&b.public(), preshared.as_ref());
            let (mut initiator, message) =
                Initiator::start(&a, to_b, [7; 12], &mut random).unwrap();
            let received = Received::read(&b, &message, &mut random).unwrap();
            assert_eq!((received.initiator, received.stamp), (a.public(), [7; 12]));
            let (theirs, message) = received.answer(preshared.as_ref()).unwrap();
            let mut forged = message;
            forged[3] ^= 1;
            assert!(initiator.finish(&forged).is_err());
            let ours = initiator.finish(&message).unwrap();
            assert_eq!((&ours.seal, &ours.open), (&theirs.open, &theirs.seal));
            assert_ne!(ours.seal, ours.open);
        }
    }

    #[test]
    fn a_key_of_low_order_gives_no_handshake() {
        let identity = Identity::new(&PrivateKey::generate([1; 32]));
        let mut random = Random::new([3; 32]);
        for key in [[0; 32], std::array::from_fn(|place| u8::from(place == 0))] {
            let started =
                Initiator::start(&identity, (&PublicKey(key), None), [0; 12], &mut random);
            assert!(started.is_none());
        }
    }
}
