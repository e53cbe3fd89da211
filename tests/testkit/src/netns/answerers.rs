//! Who answers on a LAN, all the time: somebody who asks and asks, and counts.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sam_net::Namespace;

use super::arp::Asker;
use super::wait::wait_until;

/// Time between two questions: half of what a router answers to one sender.
const PERIOD: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(15);

/// Asks who has an address until it is stopped.
#[derive(Debug)]
pub struct Answerers {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// Who answered: for each question, when it was asked and which MACs had answered by the next one.
#[derive(Debug, Default)]
pub struct Seen {
    questions: Vec<(Instant, BTreeSet<String>)>,
}

impl Answerers {
    /// Starts to ask, as the host `sender` in a client's namespace, and waits until somebody answers.
    ///
    /// # Panics
    /// When the client's interface cannot be opened, or nobody answers.
    #[must_use]
    pub fn start(client: &Namespace, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicBool::new(false));
        let (client, over, first) = (client.clone(), Arc::clone(&stop), Arc::clone(&answered));
        let thread = std::thread::spawn(move || {
            let work = || {
                let mut asker = Asker::open(sender, target);
                let mut seen = Seen::default();
                while !over.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let answers = asker.ask(PERIOD).into_iter();
                    let macs: BTreeSet<String> = answers.map(|answer| answer.mac).collect();
                    if !macs.is_empty() {
                        first.store(true, Ordering::Relaxed);
                    }
                    seen.questions.push((asked, macs));
                }
                seen
            };
            client.enter(work).expect("the client can be entered")
        });
        wait_until("somebody answers", PATIENCE, || {
            answered.load(Ordering::Relaxed)
        });
        Self { stop, thread }
    }

    /// Stops, and returns who answered.
    ///
    /// # Panics
    /// When asking failed.
    #[must_use]
    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("asking goes on")
    }
}

impl Seen {
    /// Longest time in which every question was answered by two or more.
    #[must_use]
    pub fn longest_overlap(&self) -> Duration {
        self.longest(|macs| macs.len() > 1)
    }

    /// Longest time by which a question came too late: this busy the machine was.
    #[must_use]
    pub fn longest_delay(&self) -> Duration {
        let gaps = self.questions.windows(2).map(|pair| pair[1].0 - pair[0].0);
        gaps.max().unwrap_or_default().saturating_sub(PERIOD)
    }

    /// Longest time in which no question was answered.
    #[must_use]
    pub fn longest_silence(&self) -> Duration {
        self.longest(BTreeSet::is_empty)
    }

    /// All that ever answered.
    #[must_use]
    pub fn macs(&self) -> BTreeSet<String> {
        let all = self.questions.iter().flat_map(|(_, macs)| macs);
        all.cloned().collect()
    }

    /// How often another one answered than before.
    #[must_use]
    pub fn changes(&self) -> usize {
        let single = self.questions.iter().filter(|(_, macs)| macs.len() == 1);
        let macs: Vec<_> = single.map(|(_, macs)| macs).collect();
        macs.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    /// From the first question of a row for which `counts` holds to the first after it.
    fn longest(&self, counts: impl Fn(&BTreeSet<String>) -> bool) -> Duration {
        let (mut longest, mut since) = (Duration::ZERO, None);
        for (asked, macs) in &self.questions {
            if let Some(since) = since {
                longest = longest.max(*asked - since);
            }
            since = counts(macs).then(|| since.unwrap_or(*asked));
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_questions_are_measured_up_to_the_next_one() {
        let start = Instant::now();
        let answers: [&[&str]; 6] = [&["a"], &[], &["a", "b"], &["a", "b"], &["b"], &[]];
        let times = [0, 1, 2, 3, 4, 7];
        let questions = answers.iter().zip(times).map(|(macs, at)| {
            let macs = macs.iter().map(|mac| (*mac).to_owned()).collect();
            (start + PERIOD * at, macs)
        });
        let seen = Seen {
            questions: questions.collect(),
        };

        assert_eq!(seen.longest_overlap(), 2 * PERIOD);
        assert_eq!(seen.longest_silence(), PERIOD);
        assert_eq!(seen.longest_delay(), 2 * PERIOD);
        assert_eq!((seen.macs().len(), seen.changes()), (2, 1));
    }
}
