//! Round trips between the clients: one small datagram at a time, an echo at the far end.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::lab::{CLIENTS, Lab};

const ECHO_PORT: u16 = 7;
/// Pause between two probes.
const PAUSE: Duration = Duration::from_millis(1);
/// A probe that takes longer counts as this long.
const PATIENCE: Duration = Duration::from_millis(500);

/// Round trips in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoundTrips {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Probes for some time.
pub(crate) fn probe(lab: &Lab, time: Duration) -> Result<RoundTrips> {
    let stop = Arc::new(AtomicBool::new(false));
    let echo = lab.clients[1].enter(|| UdpSocket::bind((CLIENTS[1], ECHO_PORT)))??;
    echo.set_read_timeout(Some(Duration::from_millis(50)))?;
    let stopped = Arc::clone(&stop);
    let echoing = thread::spawn(move || {
        let mut probe = [0; 64];
        while !stopped.load(Ordering::Relaxed) {
            if let Ok((length, from)) = echo.recv_from(&mut probe) {
                echo.send_to(&probe[..length], from).ok();
            }
        }
    });
    let outcome = lab.clients[0]
        .enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?
        .map_err(anyhow::Error::from)
        .and_then(|socket| send(&socket, time));
    stop.store(true, Ordering::Relaxed);
    echoing
        .join()
        .map_err(|_| anyhow::anyhow!("the echo panicked"))?;
    outcome
}

fn send(socket: &UdpSocket, time: Duration) -> Result<RoundTrips> {
    socket.connect((CLIENTS[1], ECHO_PORT))?;
    let end = Instant::now() + time;
    let mut round_trips = Vec::new();
    let mut number: u64 = 0;
    while Instant::now() < end {
        number += 1;
        round_trips.push(one(socket, number)?.as_secs_f64() * 1e6);
        thread::sleep(PAUSE);
    }
    round_trips.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let last = round_trips.len().saturating_sub(1);
        round_trips.get(last * percent / 100).copied()
    };
    let (Some(p50_us), Some(p99_us)) = (at(50), at(99)) else {
        bail!("no probe was sent");
    };
    if p50_us >= PATIENCE.as_secs_f64() * 1e6 {
        bail!("half of the probes are not answered");
    }
    Ok(RoundTrips { p50_us, p99_us })
}

/// Sends a probe and waits for its own answer.
fn one(socket: &UdpSocket, number: u64) -> Result<Duration> {
    let mut probe = [0; 36];
    probe[..8].copy_from_slice(&number.to_be_bytes());
    let begun = Instant::now();
    socket.send(&probe)?;
    let mut answer = [0; 64];
    loop {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(PATIENCE);
        }
        socket.set_read_timeout(Some(left))?;
        if socket.recv(&mut answer).is_ok() && answer[..8] == probe[..8] {
            return Ok(begun.elapsed());
        }
    }
}
