//! One session: two keys, a counter for what is sent, a window for what is received.
//!
//! Any number of threads seal and open with it at once. Its keys are wiped when the last of them forgets it.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::aead::{Key, TAG_LEN};
use crate::error::OpenError;
use crate::message::{COUNTER, DATA_HEADER, Kind, RECEIVER};
use crate::noise::Keys;
use crate::replay::{Order, Place, Window};
use crate::timers::{
    REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME, REKEY_AFTER_MESSAGES, REKEY_AFTER_TIME,
    REKEY_ON_RECEIVE_TIME,
};
use crate::traffic::Line;

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

/// A data message that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsealed {
    /// Its counter.
    counter: u64,
    /// What was inside.
    pub(crate) inner: Inner,
    /// Where it stands among the messages received on this session.
    pub(crate) place: Place,
}

/// How a session came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Index under which the peer addresses it.
    pub(crate) local_index: u32,
    /// Index under which we address it.
    pub(crate) remote_index: u32,
    /// Whether we started the handshake.
    pub(crate) initiator: bool,
    /// When it was established.
    pub(crate) born: Instant,
    /// Local index of the session that the peer had used before it asked for this one.
    pub(crate) asked_over: Option<u32>,
}

/// When a session comes of age; computed once because every packet asks.
struct Ages {
    old_for_sending: Instant,
    old_for_receiving: Instant,
    expires: Instant,
}

impl Ages {
    /// Only the initiator renews a session because of its age.
    fn of(origin: &Origin) -> Self {
        let expires = origin.born + REJECT_AFTER_TIME;
        let age = |age| {
            if origin.initiator {
                origin.born + age
            } else {
                expires
            }
        };
        Self {
            old_for_sending: age(REKEY_AFTER_TIME),
            old_for_receiving: age(REKEY_ON_RECEIVE_TIME),
            expires,
        }
    }
}

/// An established session.
pub(crate) struct Session {
    origin: Origin,
    ages: Ages,
    seal_key: Key,
    open_key: Key,
    /// Counter of the next message sent.
    sent: Line<AtomicU64>,
    window: Line<Mutex<Window>>,
    /// Whether the peer has used it.
    heard: AtomicBool,
    /// Whether the device has been asked for the next session since packets received ask for it.
    renewed: AtomicBool,
}

impl Session {
    /// Makes the session that a handshake has established.
    pub(crate) fn new(keys: &Keys, origin: Origin) -> Self {
        Self {
            origin,
            ages: Ages::of(&origin),
            seal_key: Key::new(&keys.seal),
            open_key: Key::new(&keys.open),
            sent: Line::default(),
            window: Line(Mutex::new(Window::new())),
            heard: AtomicBool::new(false),
            renewed: AtomicBool::new(false),
        }
    }

    /// Seals `inner` (empty: a keepalive), zeros up to `padded` bytes after it, into `out`, which is long enough, and
    /// returns the length; `None` if the counters are used up.
    pub(crate) fn seal(&self, inner: &[u8], padded: usize, out: &mut [u8]) -> Option<usize> {
        let write = |text: &mut [u8]| text.copy_from_slice(inner);
        self.seal_with(inner.len(), padded, write, out)
    }

    /// Like [`Self::seal`] for `len` bytes that `write` puts where they are sealed.
    pub(crate) fn seal_with(
        &self,
        len: usize,
        padded: usize,
        write: impl FnOnce(&mut [u8]),
        out: &mut [u8],
    ) -> Option<usize> {
        let counter = self.next_counter()?;
        let (header, rest) = out.split_at_mut(DATA_HEADER);
        header[..4].copy_from_slice(&Kind::Data.bytes());
        header[RECEIVER].copy_from_slice(&self.origin.remote_index.to_le_bytes());
        header[COUNTER].copy_from_slice(&counter.to_le_bytes());
        let (text, rest) = rest.split_at_mut(padded);
        let (inner, padding) = text.split_at_mut(len);
        write(inner);
        padding.fill(0);
        rest[..TAG_LEN].copy_from_slice(&self.seal_key.seal(counter, &[], text));
        Some(DATA_HEADER + padded + TAG_LEN)
    }

    /// Opens data messages in place, and adds what became of each to `opened`: an inner packet is at the start of its message
    /// then. Every `Ok` is authenticated and new. The window is locked once for all of them.
    pub(crate) fn open<'a>(
        &self,
        messages: impl Iterator<Item = &'a mut [u8]>,
        order: Order,
        opened: &mut Vec<Result<Unsealed, OpenError>>,
    ) {
        let before = opened.len();
        opened.extend(messages.map(|message| self.decrypt(message)));
        let opened = &mut opened[before..];
        if opened.iter().all(Result::is_err) {
            return;
        }
        // Marked only now: a forged counter must not move the window. A poisoned lock cannot be, nothing panics in it.
        let mut window = self.window.0.lock().unwrap_or_else(PoisonError::into_inner);
        for result in opened {
            if let Ok(unsealed) = result {
                match window.mark(unsealed.counter, order) {
                    Some(place) => unsealed.place = place,
                    None => *result = Err(OpenError::Replay),
                }
            }
        }
        drop(window);
        self.note_heard();
    }

    /// Decrypts a data message in place, whether its counter is new or not.
    fn decrypt(&self, message: &mut [u8]) -> Result<Unsealed, OpenError> {
        let mut counter = [0; 8];
        counter.copy_from_slice(&message[COUNTER]);
        let counter = u64::from_le_bytes(counter);
        if counter >= REJECT_AFTER_MESSAGES {
            return Err(OpenError::Replay);
        }
        let len = self.open_key.open(counter, &[], message, DATA_HEADER..);
        let inner = inner(&message[..len.ok_or(OpenError::DecryptFailed)?]);
        let place = Place::Late;
        Ok(Unsealed {
            counter,
            inner,
            place,
        })
    }

    /// Returns the index under which the peer addresses this session.
    pub(crate) fn local_index(&self) -> u32 {
        self.origin.local_index
    }

    /// Returns when it was established.
    pub(crate) fn born(&self) -> Instant {
        self.origin.born
    }

    /// Whether we started the handshake.
    pub(crate) fn initiator(&self) -> bool {
        self.origin.initiator
    }

    /// Whether the peer has used it, which proves that it has it.
    pub(crate) fn heard(&self) -> bool {
        self.heard.load(Relaxed)
    }

    /// Returns the local index of the session that the peer had used before it asked for this one.
    pub(crate) fn asked_over(&self) -> Option<u32> {
        self.origin.asked_over
    }

    /// Returns when it is to be forgotten. The paper lets keys lie until `REJECT_AFTER_TIME` * 3; as nothing uses them
    /// after `REJECT_AFTER_TIME`, they go then.
    pub(crate) fn expires(&self) -> Instant {
        self.ages.expires
    }

    /// Whether it may seal and open.
    pub(crate) fn alive(&self, now: Instant) -> bool {
        self.opens(now) && self.sent.0.load(Relaxed) < REJECT_AFTER_MESSAGES
    }

    /// Whether it may open. Who only opens leaves the counter alone, which others write all the time.
    pub(crate) fn opens(&self, now: Instant) -> bool {
        now < self.ages.expires
    }

    /// Whether a packet just sent asks for the next session.
    pub(crate) fn old_for_sending(&self, now: Instant) -> bool {
        now >= self.ages.old_for_sending || self.sent.0.load(Relaxed) >= REKEY_AFTER_MESSAGES
    }

    /// Whether a packet just received asks for the next session.
    pub(crate) fn old_for_receiving(&self, now: Instant) -> bool {
        now >= self.ages.old_for_receiving && !self.renewed.load(Relaxed)
    }

    /// Notes that the device asks for the next session: from now on packets received do not, if they have begun to. It is
    /// the device that notes it, because the word of a worker may be lost on the way to it.
    pub(crate) fn note_renewed(&self, now: Instant) {
        if self.old_for_receiving(now) {
            self.renewed.store(true, Relaxed);
        }
    }

    fn note_heard(&self) {
        if !self.heard() {
            self.heard.store(true, Relaxed);
        }
    }

    /// Takes a counter that nobody else gets.
    fn next_counter(&self) -> Option<u64> {
        // Looked at first so that refused packets do not count on; 2^13 threads would have to pass at once to wrap it.
        if self.sent.0.load(Relaxed) >= REJECT_AFTER_MESSAGES {
            return None;
        }
        let counter = self.sent.0.fetch_add(1, Relaxed);
        (counter < REJECT_AFTER_MESSAGES).then_some(counter)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// Names what is in the text of a data message; padding after an IP packet is cut off by the length that the packet
/// itself states.
fn inner(text: &[u8]) -> Inner {
    let (header, stated) = match text {
        [] => return Inner::Keepalive,
        [0x40..=0x4f, _, high, low, ..] => (20, usize::from(u16::from_be_bytes([*high, *low]))),
        [0x60..=0x6f, _, _, _, high, low, ..] => {
            (40, 40 + usize::from(u16::from_be_bytes([*high, *low])))
        }
        _ => return Inner::NotIp,
    };
    if (header..=text.len()).contains(&stated) {
        Inner::Packet(stated)
    } else {
        Inner::NotIp
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn after_2_to_the_60_messages_either_side_wants_the_next_session() {
        for session in pair() {
            let now = session.born();
            session.sent.0.store(REKEY_AFTER_MESSAGES - 1, Relaxed);
            assert!(!session.old_for_sending(now));
            session.seal(&[], 0, &mut [0; 32]).unwrap();
            assert!(session.old_for_sending(now));
            assert!(session.alive(now));
        }
    }

    #[test]
    fn the_last_counters_are_never_used_however_often_one_tries() {
        let [session, _] = pair();
        session.sent.0.store(REJECT_AFTER_MESSAGES - 1, Relaxed);
        assert!(session.seal(&[], 0, &mut [0; 32]).is_some());
        for _ in 0..20_000 {
            assert!(session.seal(&[], 0, &mut [0; 32]).is_none());
        }
        assert!(!session.alive(session.born()));
    }

    #[test]
    fn by_age_only_the_initiator_wants_the_next_session() {
        let [initiator, responder] = pair();
        let at = |seconds| initiator.born() + Duration::from_secs(seconds);
        let (at_119, at_120, at_164, at_165) = (at(119), at(120), at(164), at(165));
        assert!(!initiator.old_for_sending(at_119));
        assert!(initiator.old_for_sending(at_120));
        assert!(!responder.old_for_sending(at_120));
        assert!(!initiator.old_for_receiving(at_164));
        assert!(initiator.old_for_receiving(at_165));
        assert!(!responder.old_for_receiving(at_165));
        initiator.note_renewed(at_164);
        assert!(initiator.old_for_receiving(at_165));
        initiator.note_renewed(at_165);
        assert!(!initiator.old_for_receiving(at_165), "once");
    }

    #[test]
    fn a_session_lives_for_180_seconds() {
        let [session, _] = pair();
        assert!(session.alive(session.born() + REJECT_AFTER_TIME - Duration::from_nanos(1)));
        assert!(!session.alive(session.born() + REJECT_AFTER_TIME));
    }

    #[test]
    fn each_side_opens_what_the_other_seals_once() {
        let [initiator, responder] = pair();
        let mut sealed = [0; 64];
        let len = initiator.seal(&[], 0, &mut sealed).unwrap();
        assert!(!responder.heard());
        let taken = Ok((Inner::Keepalive, Place::Highest));
        assert_eq!(
            open(&responder, &mut [&mut sealed[..len].to_vec()]),
            [taken]
        );
        assert!(responder.heard());
        let refused = Err(OpenError::Replay);
        assert_eq!(open(&responder, &mut [&mut sealed[..len]]), [refused]);
        let len = responder.seal(&[9; 20], 32, &mut sealed).unwrap();
        assert_eq!(len, 64);
        let taken = Ok((Inner::NotIp, Place::Highest));
        assert_eq!(open(&initiator, &mut [&mut sealed]), [taken]);
        assert_eq!(sealed[..20], [9; 20]);
        assert_eq!(sealed[20..32], [0; 12]);
    }

    #[test]
    fn what_was_sent_before_the_newest_message_is_late() {
        let [initiator, responder] = pair();
        let [mut first, mut second, mut third] = keepalives(&initiator);
        let opened = open(&responder, &mut [&mut second, &mut first, &mut third]);
        let places = [Place::Highest, Place::Late, Place::Highest];
        assert_eq!(opened, places.map(|place| Ok((Inner::Keepalive, place))));
    }

    #[test]
    fn of_a_counter_that_comes_twice_at_once_one_is_taken() {
        let [initiator, responder] = pair();
        let [mut first, mut second] = keepalives(&initiator);
        let (mut again, mut later) = (first, second);
        let opened = open(&responder, &mut [&mut first, &mut again, &mut second]);
        let taken = Ok((Inner::Keepalive, Place::Highest));
        assert_eq!(opened, [taken, Err(OpenError::Replay), taken]);
        let opened = open(&responder, &mut [&mut later]);
        assert_eq!(opened, [Err(OpenError::Replay)]);
    }

    #[test]
    fn a_forged_message_among_others_moves_no_window() {
        let [initiator, responder] = pair();
        let [mut first, mut second] = keepalives(&initiator);
        let mut forged = first;
        forged[COUNTER].copy_from_slice(&(1_u64 << 40).to_le_bytes());
        let opened = open(&responder, &mut [&mut forged, &mut first]);
        let taken = Ok((Inner::Keepalive, Place::Highest));
        assert_eq!(opened, [Err(OpenError::DecryptFailed), taken]);
        assert_eq!(open(&responder, &mut [&mut second]), [taken]);
    }

    #[test]
    fn an_inner_packet_is_as_long_as_it_says() {
        let packet = |first: u8, at: usize, stated: u16, len: usize| {
            let mut bytes = vec![0; len];
            bytes[0] = first;
            bytes[at..at + 2].copy_from_slice(&stated.to_be_bytes());
            inner(&bytes)
        };
        assert_eq!(packet(0x45, 2, 20, 20), Inner::Packet(20));
        assert_eq!(packet(0x45, 2, 21, 32), Inner::Packet(21));
        assert_eq!(packet(0x45, 2, 33, 32), Inner::NotIp);
        assert_eq!(packet(0x45, 2, 19, 32), Inner::NotIp);
        assert_eq!(packet(0x60, 4, 0, 40), Inner::Packet(40));
        assert_eq!(packet(0x60, 4, 8, 64), Inner::Packet(48));
        assert_eq!(packet(0x60, 4, 25, 64), Inner::NotIp);
        assert_eq!(packet(0x60, 4, u16::MAX, 64), Inner::NotIp);
        assert_eq!(packet(0x50, 4, 8, 64), Inner::NotIp);
        assert_eq!(inner(&[0x45]), Inner::NotIp);
        assert_eq!(inner(&[0x60, 0, 0, 0, 0]), Inner::NotIp);
        assert_eq!(inner(&[]), Inner::Keepalive);
    }

    #[test]
    fn keys_are_not_printed() {
        let [session, _] = pair();
        assert!(!format!("{session:?}").contains("key"));
    }

    /// Opens messages that came together.
    fn open(
        session: &Session,
        messages: &mut [&mut [u8]],
    ) -> Vec<Result<(Inner, Place), OpenError>> {
        let mut opened = Vec::new();
        let messages = messages.iter_mut().map(|message| &mut **message);
        session.open(messages, Order::Kept, &mut opened);
        let seen = |unsealed: Unsealed| (unsealed.inner, unsealed.place);
        let seen = opened.into_iter().map(|result| result.map(seen));
        seen.collect()
    }

    /// Seals messages with nothing in them.
    fn keepalives<const N: usize>(session: &Session) -> [[u8; 32]; N] {
        [(); N].map(|()| {
            let mut sealed = [0; 32];
            session.seal(&[], 0, &mut sealed).unwrap();
            sealed
        })
    }

    /// The two ends of a session, initiator first.
    fn pair() -> [Session; 2] {
        let [a, b] = [1, 2].map(|byte| Zeroizing::new([byte; 32]));
        let born = start();
        [(1, 2), (2, 1)].map(|(local_index, remote_index)| {
            let initiator = local_index == 1;
            let (seal, open) = if initiator { (&a, &b) } else { (&b, &a) };
            let keys = Keys {
                seal: seal.clone(),
                open: open.clone(),
            };
            let origin = Origin {
                local_index,
                remote_index,
                initiator,
                born,
                asked_over: None,
            };
            Session::new(&keys, origin)
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any instant serves as the origin of virtual time"
    )]
    fn start() -> Instant {
        Instant::now()
    }
}
