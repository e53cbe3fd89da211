//! One session and one handshake, each a boringtun `Tunn` of its own.
//!
//! A `Tunn` could hold eight sessions, but then it alone chooses which one seals: without its own timers it falls back
//! to an old session whenever a late packet arrives on it. With a single session per `Tunn` the choice is ours, and
//! dropping the `Tunn` is what erases the keys. `Tunn::update_timers` is never called, so nothing inside expires;
//! `Tunn::encapsulate` is called only where a session exists, so nothing inside queues.

use std::time::Instant;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::{Tunn, TunnResult};

use crate::error::OpenError;
use crate::outbox::{MESSAGE_MAX, Message};
use crate::timers::{
    REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME, REKEY_AFTER_MESSAGES, REKEY_AFTER_TIME,
    REKEY_ON_RECEIVE_TIME,
};

/// What was inside a data message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inner {
    /// An IP packet of this length.
    Packet(usize),
    /// Nothing.
    Keepalive,
    /// Something that is no IP packet.
    NotIp,
}

/// A handshake that we started.
pub(crate) struct Handshake {
    tunn: Box<Tunn>,
    local_index: u32,
}

impl Handshake {
    /// Prepares a handshake; `index` is the 24-bit index of `tunn`.
    pub(crate) fn new(tunn: Box<Tunn>, index: u32) -> Self {
        Self {
            tunn,
            local_index: index << 8,
        }
    }

    /// Returns the index to which a response to the latest initiation is addressed.
    pub(crate) fn local_index(&self) -> u32 {
        self.local_index
    }

    /// Writes the next initiation. A response to an earlier one is not accepted any more.
    pub(crate) fn initiate(&mut self) -> Option<Message> {
        let mut buffer = [0; MESSAGE_MAX];
        let message = written(self.tunn.format_handshake_initiation(&mut buffer, true)).ok()?;
        self.local_index = message.sender_index();
        Some(message)
    }

    /// Takes a response and returns the keepalive that tells the responder so. After that [`Self::into_session`].
    pub(crate) fn finish(&mut self, response: &[u8]) -> Result<Message, OpenError> {
        written(self.tunn.decapsulate(None, response, &mut [0; MESSAGE_MAX]))
    }

    /// Takes a cookie reply; the next initiation carries mac2.
    pub(crate) fn take_cookie(&mut self, reply: &[u8]) -> Result<(), OpenError> {
        take_cookie(&mut self.tunn, reply)
    }

    /// Becomes the session that a finished handshake has established.
    pub(crate) fn into_session(self, now: Instant) -> Session {
        let sent = 1; // the keepalive of `finish`
        let initiator = true;
        let Self { tunn, local_index } = self;
        Session {
            tunn,
            local_index,
            born: now,
            initiator,
            sent,
            heard: false,
            asked_over: None,
            renewed: false,
        }
    }
}

/// An established session.
pub(crate) struct Session {
    tunn: Box<Tunn>,
    local_index: u32,
    born: Instant,
    initiator: bool,
    /// Messages sealed.
    sent: u64,
    /// Whether the peer has used it.
    heard: bool,
    /// Local index of the session that the peer had used before it asked for this one.
    asked_over: Option<u32>,
    /// Whether a packet received late in its life has asked for the next session already.
    renewed: bool,
}

impl Session {
    /// Answers an initiation. The session seals only after the initiator has used it.
    pub(crate) fn respond(
        mut tunn: Box<Tunn>,
        initiation: &[u8],
        now: Instant,
    ) -> Result<(Self, Message), OpenError> {
        let response = written(tunn.decapsulate(None, initiation, &mut [0; MESSAGE_MAX]))?;
        let local_index = response.sender_index();
        let session = Self {
            tunn,
            local_index,
            born: now,
            initiator: false,
            sent: 0,
            heard: false,
            asked_over: None,
            renewed: false,
        };
        Ok((session, response))
    }

    /// Gives its `Tunn` back, to answer a repeated initiation with the cookie that it may hold.
    pub(crate) fn into_tunn(self) -> Box<Tunn> {
        self.tunn
    }

    /// Notes that the peer asked for this session after it had used `other`.
    pub(crate) fn set_asked_over(&mut self, other: Option<u32>) {
        self.asked_over = other;
    }

    /// Takes a cookie reply to our response.
    pub(crate) fn take_cookie(&mut self, reply: &[u8]) -> Result<(), OpenError> {
        take_cookie(&mut self.tunn, reply)
    }

    /// Seals `inner` (empty: a keepalive) into `out`, which is long enough, and returns the length.
    pub(crate) fn seal(&mut self, inner: &[u8], out: &mut [u8]) -> Option<usize> {
        if self.sent >= REJECT_AFTER_MESSAGES {
            return None;
        }
        self.sent += 1;
        let TunnResult::WriteToNetwork(sealed) = self.tunn.encapsulate(inner, out) else {
            return None;
        };
        Some(sealed.len())
    }

    /// Opens a data message into `out`, which is as long as `datagram`. Every `Ok` is authenticated.
    pub(crate) fn open(&mut self, datagram: &[u8], out: &mut [u8]) -> Result<Inner, OpenError> {
        // boringtun's replay window overflows at the end of the counter's range, which a peer could use on purpose.
        let counter = datagram.get(8..16).and_then(|bytes| bytes.try_into().ok());
        if counter.is_none_or(|bytes| u64::from_le_bytes(bytes) >= REJECT_AFTER_MESSAGES) {
            return Err(OpenError::Replay);
        }
        let opened = match self.tunn.decapsulate(None, datagram, out) {
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                Ok(Inner::Packet(packet.len()))
            }
            TunnResult::Done => Ok(Inner::Keepalive),
            TunnResult::Err(WireGuardError::InvalidPacket) => Ok(Inner::NotIp),
            TunnResult::Err(error) => Err(data_error(&error)),
            TunnResult::WriteToNetwork(_) => Err(OpenError::UnknownType),
        };
        self.heard |= opened.is_ok();
        opened
    }

    /// Returns the index under which the peer addresses this session.
    pub(crate) fn local_index(&self) -> u32 {
        self.local_index
    }

    /// Returns when it was established.
    pub(crate) fn born(&self) -> Instant {
        self.born
    }

    /// Whether we started the handshake.
    pub(crate) fn initiator(&self) -> bool {
        self.initiator
    }

    /// Whether the peer has used it, which proves that it has it.
    pub(crate) fn heard(&self) -> bool {
        self.heard
    }

    /// Returns the local index of the session that the peer had used before it asked for this one.
    pub(crate) fn asked_over(&self) -> Option<u32> {
        self.asked_over
    }

    /// Returns when it is to be forgotten. The paper lets keys lie until `REJECT_AFTER_TIME` * 3; as nothing uses them
    /// after `REJECT_AFTER_TIME`, they go then.
    pub(crate) fn expires(&self) -> Instant {
        self.born + REJECT_AFTER_TIME
    }

    /// Whether it may seal and open.
    pub(crate) fn alive(&self, now: Instant) -> bool {
        now < self.expires() && self.sent < REJECT_AFTER_MESSAGES
    }

    /// Whether a packet just sent asks for the next session.
    pub(crate) fn old_for_sending(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.born);
        self.sent >= REKEY_AFTER_MESSAGES || (self.initiator && age >= REKEY_AFTER_TIME)
    }

    /// Whether a packet just received asks for the next session; true only once.
    pub(crate) fn old_for_receiving(&mut self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.born);
        let old = self.initiator && age >= REKEY_ON_RECEIVE_TIME && !self.renewed;
        self.renewed |= old;
        old
    }
}

/// Returns the message that boringtun wants to be sent.
pub(crate) fn written(result: TunnResult<'_>) -> Result<Message, OpenError> {
    if let TunnResult::WriteToNetwork(bytes) = result {
        Message::copy_of(bytes).ok_or(OpenError::HandshakeRejected)
    } else {
        Err(OpenError::HandshakeRejected)
    }
}

fn take_cookie(tunn: &mut Tunn, reply: &[u8]) -> Result<(), OpenError> {
    match tunn.decapsulate(None, reply, &mut [0; MESSAGE_MAX]) {
        TunnResult::Err(WireGuardError::InvalidAeadTag) => Err(OpenError::DecryptFailed),
        TunnResult::Err(_) => Err(OpenError::UnknownIndex),
        TunnResult::Done
        | TunnResult::WriteToNetwork(_)
        | TunnResult::WriteToTunnelV4(..)
        | TunnResult::WriteToTunnelV6(..) => Ok(()),
    }
}

fn data_error(error: &WireGuardError) -> OpenError {
    use WireGuardError as E;
    match error {
        E::InvalidCounter | E::DuplicateCounter => OpenError::Replay,
        E::InvalidAeadTag => OpenError::DecryptFailed,
        E::WrongIndex | E::NoCurrentSession | E::ConnectionExpired => OpenError::UnknownIndex,
        E::InvalidMac => OpenError::BadMac,
        E::UnderLoad => OpenError::UnderLoad,
        E::DestinationBufferTooSmall => OpenError::OutputTooSmall,
        E::IncorrectPacketLength | E::WrongPacketType | E::InvalidPacket => OpenError::UnknownType,
        E::UnexpectedPacket
        | E::WrongKey
        | E::InvalidTai64nTimestamp
        | E::WrongTai64nTimestamp
        | E::LockFailed => OpenError::HandshakeRejected,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use boringtun::noise::rate_limiter::RateLimiter;
    use boringtun::x25519;

    use super::*;
    use crate::identity::Identity;
    use crate::key::PrivateKey;

    #[test]
    fn after_2_to_the_60_messages_either_side_wants_the_next_session() {
        for session in pair().iter_mut() {
            let now = session.born;
            session.sent = REKEY_AFTER_MESSAGES - 1;
            assert!(!session.old_for_sending(now));
            session.seal(&[], &mut [0; MESSAGE_MAX]).unwrap();
            assert!(session.old_for_sending(now));
            assert!(session.alive(now));
        }
    }

    #[test]
    fn the_last_counters_are_never_used() {
        let [mut session, _] = pair();
        session.sent = REJECT_AFTER_MESSAGES - 1;
        assert!(session.seal(&[], &mut [0; MESSAGE_MAX]).is_some());
        assert!(session.seal(&[], &mut [0; MESSAGE_MAX]).is_none());
        assert!(!session.alive(session.born));
    }

    #[test]
    fn by_age_only_the_initiator_wants_the_next_session() {
        let [mut initiator, mut responder] = pair();
        let at = |seconds| initiator.born + Duration::from_secs(seconds);
        let (at_119, at_120, at_164, at_165) = (at(119), at(120), at(164), at(165));
        assert!(!initiator.old_for_sending(at_119));
        assert!(initiator.old_for_sending(at_120));
        assert!(!responder.old_for_sending(at_120));
        assert!(!initiator.old_for_receiving(at_164));
        assert!(initiator.old_for_receiving(at_165));
        assert!(!initiator.old_for_receiving(at_165), "once");
        assert!(!responder.old_for_receiving(at_165));
    }

    #[test]
    fn a_session_lives_for_180_seconds() {
        let [session, _] = pair();
        assert!(session.alive(session.born + REJECT_AFTER_TIME - Duration::from_nanos(1)));
        assert!(!session.alive(session.born + REJECT_AFTER_TIME));
    }

    #[test]
    fn each_side_opens_what_the_other_seals() {
        let [mut initiator, mut responder] = pair();
        let (mut sealed, mut opened) = ([0; MESSAGE_MAX], [0; MESSAGE_MAX]);
        let len = initiator.seal(&[], &mut sealed).unwrap();
        assert_eq!(
            responder.open(&sealed[..len], &mut opened),
            Ok(Inner::Keepalive)
        );
        assert_eq!(
            responder.open(&sealed[..len], &mut opened),
            Err(OpenError::Replay)
        );
        let len = responder.seal(&[9; 20], &mut sealed).unwrap();
        assert_eq!(
            initiator.open(&sealed[..len], &mut opened),
            Ok(Inner::NotIp)
        );
    }

    /// The two ends of a session, initiator first. The responder has seen the keepalive that confirms.
    fn pair() -> [Session; 2] {
        let keys = [PrivateKey::generate([1; 32]), PrivateKey::generate([2; 32])];
        let tunn = |own: usize| {
            let public = x25519::PublicKey::from(keys[own].public().0);
            let limiter = Arc::new(RateLimiter::new(&public, u64::MAX));
            let identity = Identity::new(&keys[own], limiter);
            identity.tunn(&keys[1 - own].public(), None, 7)
        };
        let now = start();
        let mut handshake = Handshake::new(tunn(0), 7);
        let initiation = handshake.initiate().unwrap();
        let (mut responder, response) = Session::respond(tunn(1), initiation.bytes(), now).unwrap();
        let keepalive = handshake.finish(response.bytes()).unwrap();
        let opened = responder.open(keepalive.bytes(), &mut [0; MESSAGE_MAX]);
        assert_eq!(opened, Ok(Inner::Keepalive));
        [handshake.into_session(now), responder]
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant serves as the origin of virtual time"
    )]
    fn start() -> Instant {
        Instant::now()
    }
}
