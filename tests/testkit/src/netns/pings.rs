//! A stream of pings, and what became of it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use sam_net::Namespace;

use super::shell::Daemon;
use super::wait::wait_until;

const PATIENCE: Duration = Duration::from_secs(15);

/// A ping every ten milliseconds.
#[derive(Debug)]
pub struct Pings {
    daemon: Daemon,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Pings sent.
    pub sent: usize,
    /// Pings without answer.
    pub lost: usize,
    /// Longest time between two answers.
    pub gap: Duration,
}

impl Pings {
    /// Starts them, and waits until they are answered.
    ///
    /// # Panics
    /// When they are not.
    #[must_use]
    pub fn start(from: &Namespace, to: Ipv4Addr, log: &Path) -> Self {
        let command = format!("exec ping -n -D -i 0.01 {to}");
        let pings = Self {
            daemon: Daemon::sh(from, &command, log),
        };
        wait_until("pings are answered", PATIENCE, || {
            pings.daemon.log().lines().count() > 20
        });
        pings
    }

    /// Ends them, and says what became of them.
    ///
    /// # Panics
    /// When no more are answered, or ping(8) does not end.
    #[must_use]
    pub fn stop(mut self) -> Loss {
        // Answers that are under way count.
        let seen = self.daemon.log().lines().count();
        wait_until("more pings are answered", PATIENCE, || {
            self.daemon.log().lines().count() > seen + 20
        });
        self.daemon.signal("INT");
        wait_until("ping ends", PATIENCE, || self.daemon.exit_code().is_some());
        let log = self.daemon.log();
        let times: Vec<f64> = log
            .lines()
            .filter(|line| line.contains("icmp_seq="))
            .filter_map(|line| line.strip_prefix('[')?.split_once(']')?.0.parse().ok())
            .collect();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        let number = |word: &str| {
            let before = log.split_once(word).map_or("", |(before, _)| before);
            let number = before.trim_end().rsplit([' ', '\n']).next();
            number.and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        let (sent, received): (usize, usize) = (number("packets transmitted"), number("received"));
        Loss {
            sent,
            lost: sent - received,
            gap: Duration::from_secs_f64(gaps.fold(0.0, f64::max)),
        }
    }
}
