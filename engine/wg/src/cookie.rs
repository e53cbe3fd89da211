//! Cookies, which prove that the sender of a handshake message receives what is sent to his address
//! (WireGuard paper section 5.4.7): those that we bake, and those that a peer gave us.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};

use crate::error::OpenError;
use crate::key::PublicKey;
use crate::mac::{Mac, cookie_key, mac, mac1_key, split};
use crate::message::{
    COOKIE_REPLY_LEN, Kind, MAC_LEN, RECEIVER, REPLY_COOKIE, REPLY_NONCE, REPLY_TAG, SENDER, index,
};
use crate::random::Random;

/// Bakes the cookies of a device. Its secret lasts 120 s, and the cookies with it.
#[derive(Default)]
pub(crate) struct Oven {
    secret: Option<([u8; 32], Instant)>,
}

impl Oven {
    /// Returns the cookie of `from`, address and port: who shares an address with a peer has other cookies.
    pub(crate) fn bake(&mut self, from: SocketAddr, random: &mut Random, now: Instant) -> Mac {
        let fresh = |(_, born): &([u8; 32], Instant)| now < *born + COOKIE_LIFE;
        let secret = match self.secret.filter(fresh) {
            Some((secret, _)) => secret,
            None => self.secret.insert((random.bytes(), now)).0,
        };
        let port = from.port().to_be_bytes();
        match from.ip().to_canonical() {
            IpAddr::V4(v4) => mac(&secret, &[&v4.octets(), &port]),
            IpAddr::V6(v6) => mac(&secret, &[&v6.octets(), &port]),
        }
    }
}

/// Writes the reply that gives `cookie` to the sender of `message`; `key` is that of our own replies.
pub(crate) fn reply(
    key: &[u8; 32],
    cookie: &Mac,
    message: &[u8],
    random: &mut Random,
) -> [u8; COOKIE_REPLY_LEN] {
    let mut reply = [0; COOKIE_REPLY_LEN];
    let nonce: [u8; 24] = random.bytes();
    reply[..4].copy_from_slice(&Kind::CookieReply.bytes());
    reply[RECEIVER].copy_from_slice(&message[SENDER]);
    reply[REPLY_NONCE].copy_from_slice(&nonce);
    reply[REPLY_COOKIE].copy_from_slice(cookie);
    let (_, mac1, _) = split(message);
    let tag = XChaCha20Poly1305::new(key.into())
        .encrypt_inout_detached(
            &XNonce::from(nonce),
            mac1,
            (&mut reply[REPLY_COOKIE]).into(),
        )
        .expect("a cookie is short");
    reply[REPLY_TAG].copy_from_slice(&tag);
    reply
}

/// Signs the handshake messages to one peer, with the cookie that he gave us while it is fresh.
pub(crate) struct Signer {
    mac1_key: [u8; 32],
    cookie_key: [u8; 32],
    cookie: Option<(Mac, Instant)>,
    initiation: Option<Signed>,
    response: Option<Signed>,
}

/// What a cookie reply refers to.
#[derive(Debug, Clone, Copy)]
struct Signed {
    index: u32,
    mac1: Mac,
}

impl Signer {
    /// Makes the signer of messages to the owner of `public`.
    pub(crate) fn new(public: &PublicKey) -> Self {
        Self {
            mac1_key: mac1_key(public),
            cookie_key: cookie_key(public),
            cookie: None,
            initiation: None,
            response: None,
        }
    }

    /// Writes mac1, and mac2 if there is a fresh cookie, at the end of an initiation or response.
    pub(crate) fn sign(&mut self, message: &mut [u8], now: Instant) {
        let covered = message.len() - 2 * MAC_LEN;
        let mac1 = mac(&self.mac1_key, &[&message[..covered]]);
        message[covered..covered + MAC_LEN].copy_from_slice(&mac1);
        let fresh = |(_, received): &(Mac, Instant)| now < *received + COOKIE_LIFE;
        self.cookie = self.cookie.filter(fresh);
        if let Some((cookie, _)) = self.cookie {
            let mac2 = mac(&cookie, &[&message[..covered + MAC_LEN]]);
            message[covered + MAC_LEN..].copy_from_slice(&mac2);
        }
        let index = index(message, SENDER);
        let signed = Some(Signed { index, mac1 });
        if Kind::of(message) == Some(Kind::Initiation) {
            self.initiation = signed;
        } else {
            self.response = signed;
        }
    }

    /// Takes the cookie out of a reply to the latest initiation or response.
    pub(crate) fn take(&mut self, reply: &[u8], now: Instant) -> Result<(), OpenError> {
        let index = index(reply, RECEIVER);
        let signed = [self.initiation, self.response].into_iter().flatten();
        let answered = signed.into_iter().find(|signed| signed.index == index);
        let mac1 = answered.ok_or(OpenError::UnknownIndex)?.mac1;
        let mut nonce = [0; 24];
        nonce.copy_from_slice(&reply[REPLY_NONCE]);
        let mut tag = [0; 16];
        tag.copy_from_slice(&reply[REPLY_TAG]);
        let mut cookie = [0; MAC_LEN];
        cookie.copy_from_slice(&reply[REPLY_COOKIE]);
        XChaCha20Poly1305::new((&self.cookie_key).into())
            .decrypt_inout_detached(
                &XNonce::from(nonce),
                &mac1,
                (&mut cookie[..]).into(),
                &Tag::from(tag),
            )
            .map_err(|_| OpenError::DecryptFailed)?;
        self.cookie = Some((cookie, now));
        Ok(())
    }
}

/// How long a secret bakes cookies, and how long a cookie is used.
const COOKIE_LIFE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PrivateKey;
    use crate::mac::verifies;
    use crate::message::{INITIATION_LEN, RESPONSE_LEN};

    #[test]
    fn a_cookie_is_that_of_one_address_and_port_for_two_minutes() {
        let (mut oven, mut random, t0) = (Oven::default(), Random::new([1; 32]), start());
        let mut bake = |from: &str, seconds| {
            let now = t0 + Duration::from_secs(seconds);
            oven.bake(from.parse().unwrap(), &mut random, now)
        };
        let cookie = bake("192.0.2.1:1000", 0);
        assert_eq!(bake("192.0.2.1:1000", 119), cookie);
        assert_eq!(bake("[::ffff:192.0.2.1]:1000", 119), cookie);
        for other in ["192.0.2.1:1001", "192.0.2.2:1000", "[2001:db8::1]:1000"] {
            assert_ne!(bake(other, 119), cookie, "{other}");
        }
        let next = bake("192.0.2.1:1000", 120);
        assert_ne!(next, cookie);
        assert_eq!(bake("192.0.2.1:1000", 239), next);
    }

    #[test]
    fn a_cookie_taken_from_a_reply_signs_messages_for_two_minutes() {
        let (public, mut random, t0) = (public(), Random::new([1; 32]), start());
        for kind in [Kind::Initiation, Kind::Response] {
            let (mut signer, cookie) = (Signer::new(&public), [7; 16]);
            let first = signed(&mut signer, kind, t0);
            assert_eq!(split(&first).2, [0; 16], "no cookie, no mac2");
            let reply = reply(&cookie_key(&public), &cookie, &first, &mut random);
            assert_eq!(signer.take(&reply, t0), Ok(()));
            for (seconds, has_mac2) in [(0, true), (119, true), (120, false), (0, false)] {
                let message = signed(&mut signer, kind, t0 + Duration::from_secs(seconds));
                let (covered, mac2) = message.split_at(message.len() - 16);
                assert_eq!(verifies(&cookie, covered, mac2), has_mac2, "{seconds} s");
                assert_eq!(mac2 != [0; 16], has_mac2, "{seconds} s");
            }
        }
    }

    #[test]
    fn a_reply_that_is_not_to_the_latest_message_is_refused() {
        let (public, mut random, now) = (public(), Random::new([1; 32]), start());
        let mut signer = Signer::new(&public);
        let first = signed(&mut signer, Kind::Initiation, now);
        let genuine = reply(&cookie_key(&public), &[7; 16], &first, &mut random);
        for place in RECEIVER {
            let mut forged = genuine;
            forged[place] ^= 1;
            assert_eq!(signer.take(&forged, now), Err(OpenError::UnknownIndex));
        }
        for place in REPLY_NONCE.start..COOKIE_REPLY_LEN {
            let mut forged = genuine;
            forged[place] ^= 1;
            assert_eq!(signer.take(&forged, now), Err(OpenError::DecryptFailed));
        }
        // Another message under the same index has another mac1.
        let mut second = first;
        second[100] ^= 1;
        signer.sign(&mut second, now);
        assert_eq!(signer.take(&genuine, now), Err(OpenError::DecryptFailed));
        assert!(signer.cookie.is_none());
    }

    fn signed(signer: &mut Signer, kind: Kind, now: Instant) -> Vec<u8> {
        let initiation = kind == Kind::Initiation;
        let mut message = vec![
            0;
            if initiation {
                INITIATION_LEN
            } else {
                RESPONSE_LEN
            }
        ];
        message[..4].copy_from_slice(&kind.bytes());
        message[SENDER].copy_from_slice(&[1, 2, 3, 4]);
        signer.sign(&mut message, now);
        message
    }

    fn public() -> PublicKey {
        PrivateKey::generate([5; 32]).public()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant serves as the origin of virtual time"
    )]
    fn start() -> Instant {
        Instant::now()
    }
}
