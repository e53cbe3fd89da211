//! The LANs are watched for others who answer: questions, and what became of them.

use std::sync::Arc;
use std::time::Instant;

use super::Forwarder;
use crate::lan_watch::Question;
use crate::neighbor::NeighborKey;
use crate::notice::Notice;
use crate::outlet::Io;
use crate::role::Role;

impl Forwarder {
    /// Watches the LANs of this snapshot.
    pub(super) fn follow_lans(&mut self, now: Instant) {
        if self.role == Role::Speaker {
            let snapshot = Arc::clone(&self.snapshot);
            self.watch.follow(snapshot.lans.iter(), now);
        }
    }

    /// Asks what is to be asked now, and tells who answered the question before.
    pub(super) fn watch_lans(&mut self, io: &mut Io<'_>, now: Instant) {
        if !self.watch.poll_turn(now) {
            return;
        }
        let snapshot = Arc::clone(&self.snapshot);
        for lan in &snapshot.lans {
            let port = lan.id;
            if let Some(question) = self.watch.end(port) {
                let Question {
                    address,
                    asked,
                    answers,
                } = question;
                for (mac, answers) in answers {
                    self.notify(Notice::QuestionAnswered {
                        port,
                        address,
                        mac,
                        asked,
                        answers,
                    });
                }
            }
            if let Some(address) = self.watch.begin(lan) {
                self.ask(NeighborKey { port, address }, None, io, now);
            }
        }
    }
}
