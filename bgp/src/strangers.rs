//! Connections from addresses of no peer: how often the operator hears of them.
//!
//! Anyone who reaches the port can connect as often as they like; what is told of it has one rate for all of them, so
//! that they cannot drown other news.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::input::ConnectionId;
use crate::output::{Event, Output};
use crate::policy::Policies;
use crate::speaker::Speaker;
use crate::wire::{DecodeContext, Message, Notification, code, subcode};

/// Least time between two events.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts strangers between events.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    /// How many were not told yet.
    untold: u64,
    told_at: Option<Instant>,
}

impl Strangers {
    /// Notes one more; returns how many an event must tell of now, if one is due.
    pub(crate) fn note(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told_at.is_some_and(|at| now < at + INTERVAL) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

impl<P: Policies> Speaker<P> {
    /// RFC 4486 section 4: a connection from nobody we know is answered with Cease/5.
    pub(crate) fn reject_stranger(
        &mut self,
        connection: ConnectionId,
        from: Ipv4Addr,
        reason: &'static str,
    ) {
        let notification = Notification::new(code::CEASE, subcode::CONNECTION_REJECTED);
        let context = DecodeContext {
            four_octet_as: true,
            ibgp: true,
            add_path: false,
            extended: false,
            ipv6: None,
        };
        let bytes = Message::Notification(notification).encode(context);
        self.outputs
            .extend([Output::Send(connection, bytes), Output::Close(connection)]);
        if let Some(count) = self.strangers.note(self.now) {
            self.outputs
                .push_back(Output::Event(Event::ConnectionRefused {
                    from,
                    reason,
                    count,
                }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    #[test]
    fn a_crowd_of_strangers_is_one_event_per_interval_that_counts_them_all() {
        let mut strangers = Strangers::default();
        let told: Vec<u64> = (0..25)
            .filter_map(|second| strangers.note(start() + Duration::from_secs(second)))
            .collect();
        assert_eq!(told, [1, 10, 10]);
    }
}
