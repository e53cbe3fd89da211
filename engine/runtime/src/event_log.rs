//! The last events, and who follows them: `samctl events [-f]`.

use std::collections::VecDeque;
use std::time::SystemTime;

use sam_router::events::Event;
use serde::Serialize;
use tokio::sync::broadcast;

/// Events kept for a late reader.
const KEPT: usize = 1024;
/// Events that a slow follower may lag behind before it misses some.
const FOLLOWER_LAG: usize = 1024;

/// An event with its time.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Stamped {
    /// Seconds since the Unix epoch.
    pub time: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Bounded store of events.
#[derive(Debug)]
pub(crate) struct EventLog {
    kept: VecDeque<Stamped>,
    followers: broadcast::Sender<Stamped>,
}

impl EventLog {
    /// Makes an empty log.
    pub(crate) fn new() -> Self {
        Self {
            kept: VecDeque::with_capacity(KEPT),
            followers: broadcast::channel(FOLLOWER_LAG).0,
        }
    }

    /// Stores an event and tells the followers.
    pub(crate) fn push(&mut self, event: Event) {
        let time = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        let stamped = Stamped { time, event };
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(stamped.clone());
        // Nobody following is the usual case.
        self.followers.send(stamped).ok();
    }

    /// Returns the kept events, oldest first, and a receiver of further ones without a gap.
    pub(crate) fn subscribe(&self) -> (Vec<Stamped>, broadcast::Receiver<Stamped>) {
        (
            self.kept.iter().cloned().collect(),
            self.followers.subscribe(),
        )
    }
}
