//! Whether the threads of the engine run: each shows it once per turn, and the thread of the election looks.
//!
//! A thread that ends is noticed by itself. One that stands still keeps its sockets and sessions, so nobody else would
//! notice for long: a master whose control stands still learns no route, and one whose worker does answers nobody.

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

    fn is_missed(&self, patience: Duration, now: Instant) -> bool {
        let last = Duration::from_millis(self.last.load(Relaxed));
        let age = now.saturating_duration_since(self.origin);
        age.saturating_sub(last) > patience
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

#[cfg(test)]
mod tests {
    use super::*;

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
