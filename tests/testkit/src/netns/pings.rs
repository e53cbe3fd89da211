//! A stream of pings, and what became of it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use sam_net::Namespace;

use super::shell::Daemon;
use super::wait::wait_until;

const PATIENCE: Duration = Duration::from_secs(15);
/// Answers at least, before it counts as begun and before it may end.
const ANSWERS: usize = 20;

/// Pings at a fixed interval. Each run stays below 65,536 of them: ping(8) counts no further.
#[derive(Debug)]
pub struct Pings {
    daemon: Daemon,
}

/// What became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loss {
    /// Pings up to the last that was answered.
    pub sent: usize,
    /// Pings before that one without answer. Those after it were still under way.
    pub lost: usize,
    /// Answers to a ping that had been answered.
    pub twice: usize,
    /// Longest time between two answers.
    pub gap: Duration,
}

impl Pings {
    /// Starts a ping every ten milliseconds, and waits until some are answered.
    ///
    /// # Panics
    /// When they are not.
    #[must_use]
    pub fn start(from: &Namespace, to: Ipv4Addr, log: &Path) -> Self {
        Self::every(Duration::from_millis(10), from, to, log)
    }

    /// The same with any `interval`.
    ///
    /// # Panics
    /// When no ping is answered.
    #[must_use]
    pub fn every(interval: Duration, from: &Namespace, to: Ipv4Addr, log: &Path) -> Self {
        let command = format!("exec ping -n -D -i {} {to}", interval.as_secs_f64());
        let pings = Self {
            daemon: Daemon::sh(from, &command, log),
        };
        pings.wait_for_answers(0);
        pings
    }

    /// Ends them, and says what became of them.
    ///
    /// # Panics
    /// When no more are answered, or ping(8) does not end.
    #[must_use]
    pub fn stop(self) -> Loss {
        self.stop_with_times().0
    }

    /// The same, and when each answer came, in seconds since the epoch.
    ///
    /// # Panics
    /// When no more are answered, or ping(8) does not end.
    #[must_use]
    pub fn stop_with_times(mut self) -> (Loss, Vec<f64>) {
        self.wait_for_answers(answers(&self.daemon.log()).count());
        self.daemon.signal("INT");
        wait_until("ping ends", PATIENCE, || self.daemon.exit_code().is_some());
        let log = self.daemon.log();
        (
            Loss::read(&log),
            answers(&log).map(|(time, _)| time).collect(),
        )
    }

    fn wait_for_answers(&self, seen: usize) {
        wait_until("pings are answered", PATIENCE, || {
            answers(&self.daemon.log()).count() >= seen + ANSWERS
        });
    }
}

impl Loss {
    /// Reads what `ping -D` printed.
    fn read(log: &str) -> Self {
        let mut times = Vec::new();
        let mut answered = BTreeSet::new();
        let mut twice = 0;
        for (time, sequence) in answers(log) {
            times.push(time);
            twice += usize::from(!answered.insert(sequence));
        }
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        let sent = answered.last().copied().unwrap_or(0);
        Self {
            sent,
            lost: sent - answered.len(),
            twice,
            gap: Duration::from_secs_f64(gaps.fold(0.0, f64::max)),
        }
    }
}

/// When the first answer came, by what `ping -D` printed, in seconds since the epoch.
#[must_use]
pub fn first_answer(log: &str) -> Option<f64> {
    answers(log).next().map(|(time, _)| time)
}

/// Arrival (seconds) and sequence number, from 1, of each answer.
fn answers(log: &str) -> impl Iterator<Item = (f64, usize)> {
    log.lines().filter_map(|line| {
        let (time, rest) = line.strip_prefix('[')?.split_once(']')?;
        let (_, rest) = rest.split_once("icmp_seq=")?;
        let sequence = rest.split(' ').next()?;
        Some((time.parse().ok()?, sequence.parse().ok()?)).filter(|_| rest.contains("time="))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ping_was_under_way_and_an_error_is_no_answer() {
        let log = "PING 10.0.0.1 (10.0.0.1) 56(84) bytes of data.\n\
            [10.00] 64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.1 ms\n\
            [10.02] From 10.0.0.9 icmp_seq=2 Destination Host Unreachable\n\
            [10.03] 64 bytes from 10.0.0.1: icmp_seq=4 ttl=64 time=0.1 ms\n\
            [10.04] 64 bytes from 10.0.0.1: icmp_seq=3 ttl=64 time=9.1 ms\n\
            [10.05] 64 bytes from 10.0.0.1: icmp_seq=4 ttl=64 time=9.1 ms (DUP!)\n\
            \n--- 10.0.0.1 ping statistics ---\n\
            5 packets transmitted, 3 received, +1 duplicates, +1 errors, 40% packet loss\n";

        let loss = Loss::read(log);

        assert_eq!((loss.sent, loss.lost, loss.twice), (4, 1, 1));
        assert!((loss.gap.as_secs_f64() - 0.03).abs() < 1e-6, "{loss:?}");
    }
}
