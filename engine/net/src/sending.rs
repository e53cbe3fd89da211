//! Where a call stands that sends trains.

use std::io;

use crate::send_failure::SendFailure;
use crate::udp::Train;

/// Where a call of [`crate::UdpSocket::send_trains`] stands.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    /// First train not dealt with.
    pub(crate) next: usize,
    /// Whether that train must leave as single datagrams.
    pub(crate) alone: bool,
    /// Whether it may be the train that was refused, not the datagrams.
    pub(crate) suspect: bool,
    /// Whether an error was taken for one of an earlier packet, and the train tried again.
    pub(crate) told: bool,
}

impl Sending {
    /// Gives the first message of the train up.
    pub(crate) fn fail(
        &mut self,
        train: &mut Train,
        length: usize,
        segment: usize,
        error: io::Error,
        failures: &mut Vec<SendFailure>,
    ) {
        failures.push(SendFailure {
            index: self.next,
            packets: length.div_ceil(segment),
            error,
        });
        self.suspect = false;
        train.buffer.trim_front(length);
        if train.buffer.is_empty() {
            self.advance();
        }
    }

    pub(crate) fn advance(&mut self) {
        *self = Self {
            next: self.next + 1,
            ..Self::default()
        };
    }
}
