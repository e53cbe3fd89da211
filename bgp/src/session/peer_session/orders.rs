//! Orders of an operator about one session.

use std::time::Instant;

use super::super::occasion::Occasion;
use super::PeerSession;
use crate::input::ConnectionId;
use crate::wire::subcode;

impl PeerSession {
    /// Ends all connections with Cease/4 (administrative reset) and calls the peer again at once. With `hard` routes go even
    /// where the peer would keep them (RFC 8538).
    pub(crate) fn reset(&mut self, hard: bool, now: Instant) {
        for id in self.connection_ids() {
            let restart = self
                .connection_mut(id)
                .and_then(|connection| connection.restart());
            let graceful = restart.is_some_and(|restart| restart.survives_notification());
            let mut occasion = Occasion::stopped(subcode::ADMIN_RESET, "reset by order");
            if hard && graceful {
                let notification = occasion.notification.take();
                occasion.notification = notification.map(|notification| notification.hard_reset());
            }
            self.step(id, occasion, now);
        }
        self.dialing.start_again(now);
        self.conclude(now);
    }

    /// Ends all connections, like [`Self::stop`], until [`Self::enable`]; tells the far operator `why` (RFC 9003).
    pub(crate) fn disable(&mut self, why: &str, now: Instant) {
        self.stop(subcode::ADMIN_SHUTDOWN, why, now);
    }

    /// Allows connections again.
    pub(crate) fn enable(&mut self, now: Instant) {
        self.dialing.start_again(now);
        self.conclude(now);
    }

    fn connection_ids(&self) -> Vec<ConnectionId> {
        self.connections
            .iter()
            .map(|connection| connection.id)
            .collect()
    }
}
