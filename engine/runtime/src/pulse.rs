//! Whether the threads of the engine run: each shows it once per turn, and the thread of the election looks; at that one control
//! looks.
//!
//! A thread that ends is noticed by itself. One that stands still keeps its sockets and sessions, so nobody else would
//! notice for long: a master whose control stands still learns no route, and one whose worker does answers nobody. One whose
//! election does has lost the role, and would answer beside whoever took it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a worker may show nothing. Idle ones look up every second; a machine that does much else takes longer.
const WORKER_PATIENCE: Duration = Duration::from_secs(3);
/// The same for control, which takes in whole tables, and shows them: the role must not change because somebody asked.
const CONTROL_PATIENCE: Duration = Duration::from_secs(10);

/// The last turn of one thread.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// The thread, in words for people.
    name: String,
    origin: Instant,
    /// Milliseconds since then.
    last: AtomicU64,
}

impl Pulse {
    pub(crate) fn new(name: String, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            name,
            origin: now,
            last: AtomicU64::new(0),
        })
    }

    /// Shows that the thread runs.
    pub(crate) fn beat(&self, now: Instant) {
        let millis = now.saturating_duration_since(self.origin).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        self.last.store(millis, Relaxed);
    }

    /// When the thread showed that last.
    fn last(&self) -> Instant {
        self.origin + Duration::from_millis(self.last.load(Relaxed))
    }

    fn is_missed(&self, patience: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.last()) > patience
    }
}

/// Watches control and the workers.
#[derive(Debug)]
pub(crate) struct EngineWatch {
    /// Control.
    pub(crate) control: Arc<Pulse>,
    /// The workers of the packet path.
    pub(crate) workers: Vec<Arc<Pulse>>,
}

impl EngineWatch {
    /// Names a thread that stands still, if there is one.
    pub(crate) fn missed(&self, now: Instant) -> Option<&str> {
        let mut workers = self.workers.iter();
        let missed = workers.find(|pulse| pulse.is_missed(WORKER_PATIENCE, now));
        let control = &self.control;
        let control = control.is_missed(CONTROL_PATIENCE, now).then_some(control);
        missed.or(control).map(|pulse| pulse.name.as_str())
    }
}

/// Watches the thread of the election, while that says that this router is the master.
///
/// A master has something to do once per interval. One that did nothing for three of them has been taken over from (RFC 9568
/// section 6.1), and steps back when it wakes.
#[derive(Debug)]
pub(crate) struct ElectionWatch {
    pulse: Arc<Pulse>,
    /// How long it may show nothing; `None` while this router is no master.
    patience: Option<Duration>,
    /// When to look.
    due: Option<Instant>,
    /// Whether it shows nothing.
    silent: bool,
}

/// What is new about the thread of the election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ElectionNews {
    /// It stands still.
    Silent,
    /// It runs again, and said nothing new.
    Awake,
}

impl ElectionWatch {
    pub(crate) fn new(pulse: Arc<Pulse>) -> Self {
        Self {
            pulse,
            patience: None,
            due: None,
            silent: false,
        }
    }

    /// Takes in what the thread said: the interval of its advertisements if this router is the master, else nothing to watch.
    pub(crate) fn follow(&mut self, interval: Option<Duration>, now: Instant) {
        self.patience = interval.map(|interval| interval * INTERVALS);
        self.due = self.patience.map(|patience| now + patience);
        self.silent = false;
    }

    /// Takes in that the interval changed; the thread shows something at once.
    pub(crate) fn set_interval(&mut self, interval: Duration, now: Instant) {
        if self
            .patience
            .is_some_and(|patience| patience != interval * INTERVALS)
        {
            self.follow(Some(interval), now);
        }
    }

    /// When [`Self::look`] has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Tells whether the thread stands still.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent
    }

    /// Looks after the thread if it is time to; returns what is new.
    pub(crate) fn look(&mut self, now: Instant) -> Option<ElectionNews> {
        let patience = self.patience?;
        self.due.filter(|due| *due <= now)?;
        let silent = self.pulse.is_missed(patience, now);
        // The pulse is kept in milliseconds.
        let next = self.pulse.last() + patience + Duration::from_millis(1);
        self.due = Some(if silent { now + patience } else { next });
        let is_new = std::mem::replace(&mut self.silent, silent) != silent;
        is_new.then_some(if silent {
            ElectionNews::Silent
        } else {
            ElectionNews::Awake
        })
    }
}

/// Intervals of advertisements in which a master that runs shows something.
const INTERVALS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_election_that_shows_nothing_for_three_intervals_is_silent_until_it_does_again() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let pulse = Pulse::new("the election".to_owned(), start);
        let mut watch = ElectionWatch::new(Arc::clone(&pulse));
        assert_eq!(
            (watch.due(), watch.look(at(60_000))),
            (None, None),
            "no master"
        );

        pulse.beat(at(60_000));
        watch.follow(Some(Duration::from_millis(300)), at(60_000));
        assert_eq!(watch.due(), Some(at(60_900)));
        pulse.beat(at(60_700));
        assert_eq!(watch.look(at(60_900)), None);
        assert_eq!(
            watch.due(),
            Some(at(61_601)),
            "as long after it was seen last"
        );
        assert_eq!(watch.look(at(61_600)), None, "not yet");
        assert_eq!(watch.look(at(61_601)), Some(ElectionNews::Silent));
        assert!(watch.is_silent());
        assert_eq!(watch.look(at(62_501)), None, "that is known");

        pulse.beat(at(63_000));
        assert_eq!(watch.look(at(63_401)), Some(ElectionNews::Awake));

        watch.set_interval(Duration::from_millis(300), at(63_450));
        assert_eq!(watch.due(), Some(at(63_901)), "the same");
        watch.set_interval(Duration::from_millis(20), at(63_450));
        assert_eq!(watch.due(), Some(at(63_510)));
        watch.follow(None, at(63_500));
        watch.set_interval(Duration::from_millis(20), at(63_500));
        assert_eq!((watch.due(), watch.look(at(90_000))), (None, None));
    }

    #[test]
    fn a_thread_is_missed_when_it_shows_nothing_and_no_more_when_it_does_again() {
        let now = Instant::now();
        let pulse = |name: &str| Pulse::new(name.to_owned(), now);
        let watch = EngineWatch {
            control: pulse("control"),
            workers: vec![pulse("worker 0"), pulse("worker 1")],
        };
        let later = now + WORKER_PATIENCE;
        assert_eq!(watch.missed(later), None);
        let later = later + Duration::from_millis(1);
        watch.workers[0].beat(later);
        assert_eq!(watch.missed(later), Some("worker 1"));
        watch.workers[1].beat(later);
        assert_eq!(watch.missed(later), None, "control takes longer");

        let later = now + CONTROL_PATIENCE + Duration::from_millis(1);
        watch.workers.iter().for_each(|pulse| pulse.beat(later));
        assert_eq!(watch.missed(later), Some("control"));
        watch.control.beat(later);
        assert_eq!(watch.missed(later), None);
    }
}
