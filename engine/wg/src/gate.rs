//! What a handshake message has to pass before any Diffie-Hellman work is spent on it: mac1, limits, mac2.
//!
//! "Under load" is decided per source (`limiter.rs`); who is over a limit has to show a cookie, which is bound to address
//! and port (data-plane.md section 10 row 33).

use std::net::SocketAddr;
use std::time::Instant;

use crate::cookie::{Oven, reply};
use crate::key::PublicKey;
use crate::limiter::Limiter;
use crate::mac::{cookie_key, has_mac1, mac1_key, verifies};
use crate::message::MAC_LEN;
use crate::outbox::Message;
use crate::random::Random;

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

/// A handshake message and where it came from.
pub(crate) type Received<'a> = (SocketAddr, &'a [u8]);

/// The checks of one device.
pub(crate) struct Gate {
    mac1_key: [u8; 32],
    cookie_key: [u8; 32],
    oven: Oven,
    limiter: Limiter,
}

impl Gate {
    /// Makes the gate of the device with this public key.
    pub(crate) fn new(public: &PublicKey) -> Self {
        Self {
            mac1_key: mac1_key(public),
            cookie_key: cookie_key(public),
            oven: Oven::default(),
            limiter: Limiter::default(),
        }
    }

    /// Decides on a handshake initiation.
    pub(crate) fn admit_initiation(
        &mut self,
        message: Received<'_>,
        random: &mut Random,
        now: Instant,
    ) -> Result<(), Refused> {
        let address = message.0.ip();
        self.check_mac1(message.1)?;
        if self.limiter.admit_claimed(address, now) {
            return Ok(());
        }
        self.check_mac2(message, random, now)?;
        if self.limiter.admit_proven(address, now) {
            Ok(())
        } else {
            Err(Refused::OverLimit)
        }
    }

    /// Decides on a handshake response. Its number is limited by that of our own initiations, unless somebody reads
    /// them on the way, so sources are not counted.
    pub(crate) fn admit_response(
        &mut self,
        message: Received<'_>,
        random: &mut Random,
        now: Instant,
    ) -> Result<(), Refused> {
        self.check_mac1(message.1)?;
        if self.limiter.admit_any(now) {
            return Ok(());
        }
        self.check_mac2(message, random, now)
    }

    fn check_mac1(&self, message: &[u8]) -> Result<(), Refused> {
        if has_mac1(&self.mac1_key, message) {
            Ok(())
        } else {
            Err(Refused::BadMac)
        }
    }

    fn check_mac2(
        &mut self,
        (from, message): Received<'_>,
        random: &mut Random,
        now: Instant,
    ) -> Result<(), Refused> {
        let cookie = self.oven.bake(from, random, now);
        let (covered, mac2) = message.split_at(message.len() - MAC_LEN);
        if verifies(&cookie, covered, mac2) {
            return Ok(());
        }
        let reply = reply(&self.cookie_key, &cookie, message, random);
        Err(Refused::ProofNeeded(Box::new(Message::new(&reply))))
    }
}
