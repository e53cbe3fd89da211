//! The bounded queue of events on the way out.
//!
//! An event that only repeats itself (the same rejected route, the same foreign ARP answer) passes once per
//! [`REPEAT_INTERVAL`]; the others in between are counted.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::events::Event;

/// How long an event that repeats itself is held back.
pub const REPEAT_INTERVAL: Duration = Duration::from_secs(60);

/// Events waiting at most; further ones are counted as lost.
pub const QUEUE_LIMIT: usize = 4096;

/// Repeating events remembered at most.
const REMEMBERED_LIMIT: usize = 1024;

/// The queue of events on the way out.
#[derive(Debug, Default)]
pub struct Events {
    queue: VecDeque<Event>,
    remembered: BTreeMap<Event, Instant>,
    suppressed: u64,
    lost: u64,
}

impl Events {
    /// Queues an event, unless it repeats itself too soon.
    pub fn push(&mut self, event: Event, now: Instant) {
        if event.repeats() && self.is_repeated(&event, now) {
            self.suppressed += 1;
        } else if self.queue.len() >= QUEUE_LIMIT {
            self.lost += 1;
        } else {
            self.queue.push_back(event);
        }
    }

    /// Takes the oldest event.
    pub fn pop(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }

    /// Returns how many repetitions were held back.
    #[must_use]
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// Returns how many events found the queue full.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn is_repeated(&mut self, event: &Event, now: Instant) -> bool {
        if let Some(&at) = self.remembered.get(event)
            && now.saturating_duration_since(at) < REPEAT_INTERVAL
        {
            return true;
        }
        if self.remembered.len() >= REMEMBERED_LIMIT {
            self.remembered
                .retain(|_, at| now.saturating_duration_since(*at) < REPEAT_INTERVAL);
        }
        // What cannot be remembered would pass each time: held back, so that the log stays bounded.
        if self.remembered.len() >= REMEMBERED_LIMIT && !self.remembered.contains_key(event) {
            return true;
        }
        self.remembered.insert(event.clone(), now);
        false
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use sam_capture::NodeId;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn a_repeated_event_passes_once_per_interval_and_a_state_change_always() {
        let (mut events, now) = (Events::default(), Instant::now());
        let foreign = Event::ForeignAnswer {
            address: [10, 77, 60, 10].into(),
            mac: "x".into(),
        };
        let gate = Event::Gate {
            open: true,
            reason: "r".into(),
        };

        for seconds in [0, 1, 59, 60] {
            events.push(foreign.clone(), now + Duration::from_secs(seconds));
            events.push(gate.clone(), now + Duration::from_secs(seconds));
        }

        let passed: Vec<Event> = std::iter::from_fn(|| events.pop()).collect();
        assert_eq!(passed.iter().filter(|event| **event == foreign).count(), 2);
        assert_eq!(passed.iter().filter(|event| **event == gate).count(), 4);
        assert_eq!(events.suppressed(), 2);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn a_session_that_goes_down_again_is_told_again() {
        let (mut events, now) = (Events::default(), Instant::now());
        for _ in 0..3 {
            let node = NodeId(2);
            let reason = "hold timer expired".to_owned();
            events.push(Event::SessionDown { node, reason }, now);
            events.push(Event::SessionUp { node }, now);
        }

        assert_eq!(std::iter::from_fn(|| events.pop()).count(), 6);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn events_beyond_the_memory_are_held_back_until_there_is_room() {
        let (mut events, now) = (Events::default(), Instant::now());
        let push_all = |events: &mut Events, at: Instant| {
            for index in 0_u32..2_000 {
                let mac = index.to_string();
                let address = Ipv4Addr::from(index);
                events.push(Event::ForeignAnswer { address, mac }, at);
            }
            std::iter::from_fn(|| events.pop()).count()
        };

        assert_eq!(push_all(&mut events, now), REMEMBERED_LIMIT);
        assert_eq!(push_all(&mut events, now), 0);
        assert_eq!(
            push_all(&mut events, now + REPEAT_INTERVAL),
            REMEMBERED_LIMIT
        );
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "virtual time needs a start")]
    fn a_full_queue_counts_what_it_loses() {
        let mut events = Events::default();

        for _ in 0..QUEUE_LIMIT + 3 {
            events.push(Event::Stopping, Instant::now());
        }

        assert_eq!(events.lost(), 3);
    }
}
