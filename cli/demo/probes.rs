//! Somebody who talks all the time: datagrams to a client's echo service, and how long no answer came.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use sam_net::Namespace;

use super::server::PORT;

/// Time between two probes.
const INTERVAL: Duration = Duration::from_millis(2);
/// Probing before anything happens.
const BEFORE: Duration = Duration::from_millis(400);
/// Unbroken answers that end the measurement.
const STEADY: Duration = Duration::from_millis(500);
/// How long answers to the last probes are under way.
const LAST: Duration = Duration::from_millis(100);

/// What was lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    /// Longest time without an answer, in milliseconds; negative never, infinite when the last probes are unanswered.
    pub gap_ms: f64,
    /// Probes sent.
    pub sent: u64,
    /// Probes answered.
    pub answered: u64,
}

/// Probes under way.
#[derive(Debug)]
pub(super) struct Probes {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Sent>,
}

/// When each probe was sent, and which were answered.
#[derive(Debug, Default)]
struct Sent {
    at: Vec<Instant>,
    answered: Vec<bool>,
}

impl Probes {
    /// Begins, and returns once it has gone on for a moment.
    ///
    /// # Errors
    /// When there is no route.
    pub(super) fn start(from: &Namespace, to: Ipv4Addr) -> Result<Self> {
        let socket = from.enter(|| -> Result<UdpSocket> {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(SocketAddr::from((to, PORT)))?;
            Ok(socket)
        })?;
        let socket = socket.with_context(|| format!("cannot probe {to}"))?;
        socket.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let thread_stop = Arc::clone(&stop);
        let thread = std::thread::spawn(move || probe(&socket, &thread_stop));
        std::thread::sleep(BEFORE);
        Ok(Self { stop, thread })
    }

    /// Ends after some more time, and counts.
    ///
    /// # Errors
    /// Never, but for a defect of the prober.
    pub(super) fn stop(self) -> Result<Loss> {
        std::thread::sleep(STEADY);
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.thread.join();
        Ok(loss(&sent.map_err(|_| anyhow!("the prober panicked"))?))
    }
}

fn probe(socket: &UdpSocket, stop: &AtomicBool) -> Sent {
    let mut probes = Sent::default();
    let mut next = Instant::now();
    let mut last = None;
    loop {
        let now = Instant::now();
        if stop.load(Ordering::Relaxed) {
            let end = *last.get_or_insert(now + LAST);
            if now >= end {
                return probes;
            }
        } else if now >= next {
            let number = u32::try_from(probes.at.len()).unwrap_or(u32::MAX);
            // An ICMP error of an earlier probe surfaces here; the probe then counts as lost.
            socket.send(&number.to_be_bytes()).ok();
            probes.at.push(now);
            probes.answered.push(false);
            next = now + INTERVAL;
        }
        let mut bytes = [0; 16];
        while let Ok(count) = socket.recv(&mut bytes) {
            let Ok(number) = <[u8; 4]>::try_from(&bytes[..count]) else {
                continue;
            };
            let index = u32::from_be_bytes(number) as usize;
            if let Some(answered) = probes.answered.get_mut(index) {
                *answered = true;
            }
        }
        std::thread::sleep(Duration::from_micros(300));
    }
}

/// Longest time between two answered probes, less the interval that is always there.
fn loss(probes: &Sent) -> Loss {
    let both = probes.at.iter().zip(&probes.answered);
    let answered = both.filter(|(_, answered)| **answered);
    let mut answered: Vec<Instant> = answered.map(|(at, _)| *at).collect();
    let count = answered.len() as u64;
    // Silence before the first answer and after the last one counts too.
    answered.extend(probes.at.first());
    answered.extend(probes.at.last());
    answered.sort_unstable();
    let gap = answered.windows(2).map(|pair| pair[1] - pair[0]).max();
    Loss {
        gap_ms: gap
            .unwrap_or_default()
            .saturating_sub(INTERVAL)
            .as_secs_f64()
            * 1000.0,
        sent: probes.at.len() as u64,
        answered: count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_to_the_end_counts() {
        let start = Instant::now();
        let at = (0..10).map(|n| start + INTERVAL * n).collect();
        let mut probes = Sent {
            at,
            answered: vec![true; 10],
        };
        assert!(loss(&probes).gap_ms < 0.001);

        probes.answered[4] = false;
        assert!((loss(&probes).gap_ms - 2.0).abs() < 0.001);
        probes.answered[5..].fill(false);
        assert_eq!(loss(&probes).answered, 4);
        assert!((loss(&probes).gap_ms - 10.0).abs() < 0.001);
    }
}
