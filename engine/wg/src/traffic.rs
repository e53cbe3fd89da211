//! What was sent to and received from one peer: written by workers packet by packet, read by the device at its deadlines.
//!
//! Nothing here needs a lock. Of two workers that write at once either may win, for they differ by less than the length
//! of a batch; what must not be lost is that the device looks, see [`Traffic::unplan`].

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use crate::timers::KEEPALIVE_TIMEOUT;

/// The traffic with one peer.
#[derive(Debug)]
pub(crate) struct Traffic {
    origin: Instant,
    sent: Line<Direction>,
    received: Line<Direction>,
    pending: Line<Pending>,
}

/// What every worker that carries packets of one direction writes: the bytes for each packet, the time once per batch. On
/// a cache line of its own, so that the two directions do not disturb each other.
#[derive(Debug, Default)]
struct Direction {
    /// When the last authenticated message went by.
    last: Moment,
    /// Bytes of inner packets.
    bytes: AtomicU64,
}

/// What workers of both directions read for every packet, and write seldom.
#[derive(Debug, Default)]
struct Pending {
    /// When the first packet was sent after which nothing was received.
    unanswered: Moment,
    /// When the first packet was received after which nothing was sent.
    unacknowledged: Moment,
    /// Until when workers are silent about each subject.
    quiet: [Moment; SUBJECTS],
}

/// What a worker tells the device about, each at its own pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// That the device has to look here within [`KEEPALIVE_TIMEOUT`].
    Look,
    /// That a packet found no session.
    Wanted,
    /// That the session in use is old.
    Old,
    /// That another session is used.
    Used,
    /// That the peer moved.
    Moved,
}

impl Traffic {
    /// Nothing yet; `origin` is not after any later `now`.
    pub(crate) fn new(origin: Instant) -> Self {
        Self {
            origin,
            sent: Line::default(),
            received: Line::default(),
            pending: Line::default(),
        }
    }

    /// Returns `now` as it is noted here; once per packet is enough.
    pub(crate) fn tick(&self, now: Instant) -> Tick {
        let since = now.saturating_duration_since(self.origin).as_nanos();
        Tick(u64::try_from(since).map_or(u64::MAX, |since| since.saturating_add(1)))
    }

    /// Notes that an authenticated message of any kind was sent.
    pub(crate) fn on_sent(&self, now: Tick) {
        self.sent.0.last.set(now);
        self.pending.0.unacknowledged.set(NEVER);
    }

    /// Notes that an inner packet was sent.
    pub(crate) fn on_data_sent(&self, bytes: usize, now: Tick) {
        self.sent.0.bytes.fetch_add(bytes as u64, Relaxed);
        self.on_sent(now);
        self.pending.0.unanswered.start(now);
    }

    /// Notes that an authenticated message of any kind was received.
    pub(crate) fn on_received(&self, now: Tick) {
        self.received.0.last.set(now);
        self.pending.0.unanswered.set(NEVER);
    }

    /// Notes that an inner packet was received.
    pub(crate) fn on_data_received(&self, bytes: usize, now: Tick) {
        self.received.0.bytes.fetch_add(bytes as u64, Relaxed);
        self.on_received(now);
        self.pending.0.unacknowledged.start(now);
    }

    /// Takes it that nothing waits for an answer.
    pub(crate) fn forget_unanswered(&self) {
        self.pending.0.unanswered.set(NEVER);
    }

    /// Takes it that nothing waits for a message in return.
    pub(crate) fn forget_unacknowledged(&self) {
        self.pending.0.unacknowledged.set(NEVER);
    }

    /// Returns when the last authenticated message was sent.
    pub(crate) fn last_sent(&self) -> Option<Instant> {
        self.instant(self.sent.0.last.get())
    }

    /// Returns when the last authenticated message was received.
    pub(crate) fn last_received(&self) -> Option<Instant> {
        self.instant(self.received.0.last.get())
    }

    /// Returns when the first packet was sent after which nothing was received.
    pub(crate) fn unanswered(&self) -> Option<Instant> {
        self.instant(self.pending.0.unanswered.get())
    }

    /// Returns when the first packet was received after which nothing was sent.
    pub(crate) fn unacknowledged(&self) -> Option<Instant> {
        self.instant(self.pending.0.unacknowledged.get())
    }

    /// Returns the bytes of inner packets sent.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.sent.0.bytes.load(Relaxed)
    }

    /// Returns the bytes of inner packets received.
    pub(crate) fn bytes_received(&self) -> u64 {
        self.received.0.bytes.load(Relaxed)
    }

    /// Whether the device is to be told about `subject` now.
    pub(crate) fn wants_word(&self, subject: Subject, now: Tick) -> bool {
        self.pending.0.quiet[subject as usize].get() <= now
    }

    /// Takes the right to tell the device about `subject` now; false if another worker has it.
    pub(crate) fn take_word(&self, subject: Subject, now: Tick) -> bool {
        let quiet = &self.pending.0.quiet[subject as usize];
        let told = quiet.get();
        told <= now && quiet.replace(told, now.after(subject.pause()))
    }

    /// Lets workers speak at once when there is cause again, about everything but [`Subject::Look`].
    pub(crate) fn listen(&self) {
        for subject in [Subject::Wanted, Subject::Old, Subject::Used, Subject::Moved] {
            self.pending.0.quiet[subject as usize].store(NEVER);
        }
    }

    /// Notes that no look is planned. To be called before the device reads what waits: a worker notes that something
    /// waits before it asks whether a look is planned, so one of the two sees what the other one did.
    pub(crate) fn unplan(&self) {
        self.pending.0.quiet[Subject::Look as usize].store(NEVER);
    }

    /// Notes that the device will look `at`.
    pub(crate) fn plan(&self, at: Instant) {
        self.pending.0.quiet[Subject::Look as usize].store(self.tick(at));
    }

    fn instant(&self, tick: Tick) -> Option<Instant> {
        Some(self.origin + Duration::from_nanos(tick.0.checked_sub(1)?))
    }
}

impl Subject {
    /// Returns how long workers are silent about it, if the device does not ask for a word.
    fn pause(self) -> Duration {
        match self {
            Self::Look => KEEPALIVE_TIMEOUT,
            Self::Wanted | Self::Old | Self::Used | Self::Moved => PAUSE,
        }
    }
}

/// A point in time: nanoseconds since the origin of the device plus one; or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

impl Tick {
    fn after(self, pause: Duration) -> Self {
        let pause = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(pause))
    }
}

/// A point in time that threads share.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    fn get(&self) -> Tick {
        Tick(self.0.load(SeqCst))
    }

    /// Writes `tick` if it is another one: most packets of a batch leave the cache line alone.
    fn set(&self, tick: Tick) {
        if self.0.load(Relaxed) != tick.0 {
            self.0.store(tick.0, Relaxed);
        }
    }

    /// Writes `tick` if there is none.
    fn start(&self, tick: Tick) {
        if self.0.load(Relaxed) == NEVER.0 {
            self.store(tick);
        }
    }

    fn store(&self, tick: Tick) {
        self.0.store(tick.0, SeqCst);
    }

    fn replace(&self, old: Tick, new: Tick) -> bool {
        self.0
            .compare_exchange(old.0, new.0, SeqCst, SeqCst)
            .is_ok()
    }
}

/// Keeps its content on cache lines of its own (they are fetched in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Line<T>(pub(crate) T);

const NEVER: Tick = Tick(0);
const SUBJECTS: usize = 5;

/// Distance between two words about most subjects.
const PAUSE: Duration = Duration::from_millis(250);
