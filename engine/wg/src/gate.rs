//! What a handshake message has to pass before any Diffie-Hellman work is spent on it: mac1, limits, mac2.
//!
//! boringtun's `RateLimiter` computes macs and cookies, but decides by a counter in real time what is "under load".
//! Here [`Limiter`] decides, in `now`; of boringtun two instances are used, one that never is under load (it checks
//! mac1) and one that always is (it demands mac2 or writes the cookie reply).
//!
//! Known limit: boringtun's cookie is bound to the source address but not to the port, and its secret changes every
//! 128 s of real time. Whoever shares an address with a peer can use that peer's cookie (WireGuard paper section 5.3
//! wants the port included).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use boringtun::noise::TunnResult;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::x25519;

use crate::limiter::Limiter;
use crate::outbox::Message;

/// Why a handshake message was not admitted.
#[derive(Debug)]
pub(crate) enum Refused {
    /// mac1 is wrong.
    BadMac,
    /// The sender proved its address, and is over its limit.
    OverLimit,
    /// The sender has to prove its address; this is the cookie to do so.
    ProofNeeded(Box<Message>),
}

/// The checks of one device.
pub(crate) struct Gate {
    mac1: Arc<RateLimiter>,
    mac2: RateLimiter,
    limiter: Limiter,
}

impl Gate {
    /// Makes the gate of the device with this public key.
    pub(crate) fn new(public: &x25519::PublicKey) -> Self {
        Self {
            mac1: Arc::new(RateLimiter::new(public, u64::MAX)),
            mac2: RateLimiter::new(public, 0),
            limiter: Limiter::default(),
        }
    }

    /// Returns a rate limiter that admits everything with a valid mac1, for the `Tunn`s behind this gate.
    pub(crate) fn open_limiter(&self) -> Arc<RateLimiter> {
        Arc::clone(&self.mac1)
    }

    /// Decides on a handshake initiation.
    pub(crate) fn admit_initiation(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(), Refused> {
        self.check_mac1(datagram)?;
        if self.limiter.admit_claimed(from.ip(), now) {
            return Ok(());
        }
        self.check_mac2(from, datagram)?;
        if self.limiter.admit_proven(from.ip(), now) {
            Ok(())
        } else {
            Err(Refused::OverLimit)
        }
    }

    /// Decides on a handshake response. Its number is limited by that of our own initiations, unless somebody reads
    /// them on the way, so sources are not counted.
    pub(crate) fn admit_response(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(), Refused> {
        self.check_mac1(datagram)?;
        if self.limiter.admit_any(now) {
            return Ok(());
        }
        self.check_mac2(from, datagram)
    }

    fn check_mac1(&self, datagram: &[u8]) -> Result<(), Refused> {
        let checked = self.mac1.verify_packet(None, datagram, &mut []);
        checked.map(|_| ()).map_err(|_| Refused::BadMac)
    }

    fn check_mac2(&self, from: SocketAddr, datagram: &[u8]) -> Result<(), Refused> {
        let address = from.ip().to_canonical();
        match self
            .mac2
            .verify_packet(Some(address), datagram, &mut [0; COOKIE_REPLY_LEN])
        {
            Ok(_) => Ok(()),
            Err(TunnResult::WriteToNetwork(reply)) => Err(Message::copy_of(reply)
                .map_or(Refused::OverLimit, |reply| {
                    Refused::ProofNeeded(Box::new(reply))
                })),
            Err(_) => Err(Refused::BadMac),
        }
    }
}

/// Length of a cookie reply.
const COOKIE_REPLY_LEN: usize = 64;
