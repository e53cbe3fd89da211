//! The live move: a client's cable goes to another site while somebody talks to it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sam_net::Namespace;
use serde_json::json;

use super::ask;
use super::lab::{Lab, SITES, SiteName};
use super::report::Move;
use super::routers::Routers;
use super::server::{PORT, Session};

/// Time between two probes.
const INTERVAL: Duration = Duration::from_millis(2);
/// Probing before the move.
const BEFORE: Duration = Duration::from_millis(400);
/// Unbroken answers that end the measurement.
const STEADY: Duration = Duration::from_millis(500);
/// Time after which the move has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// When each probe was sent, and which were answered.
#[derive(Debug, Default)]
struct Probes {
    sent: Vec<Instant>,
    answered: Vec<bool>,
}

/// Moves the client of `from` to the LAN of `to`, and the address with it.
///
/// # Errors
/// When the lab or a router refuses.
pub(super) fn run(lab: &Lab, routers: &Routers, from: SiteName, to: SiteName) -> Result<Move> {
    let observer = &lab.clients[0];
    let address = from.client();
    let mut session = Session::open(observer, address)?;
    session.echo("before")?;
    let stop = Arc::new(AtomicBool::new(false));
    let socket = prober(observer, address)?;
    let thread_stop = Arc::clone(&stop);
    let probing = std::thread::spawn(move || probe(&socket, &thread_stop));
    std::thread::sleep(BEFORE);

    lab.replug(from, to)?;
    let body = json!({ "address": address.to_string() });
    ask::post(&routers.socket(to), "/v1/announce", &body).context("announce")?;
    ask::post(&routers.socket(from), "/v1/withdraw", &body).context("withdraw")?;

    let moved = Instant::now();
    while !SITES
        .iter()
        .all(|at| routers.owner(*at, address).as_deref() == Some(to.name))
        && moved.elapsed() < PATIENCE
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    let survived = session.echo("after").is_ok();
    std::thread::sleep(STEADY);
    stop.store(true, Ordering::Relaxed);
    let probes = probing
        .join()
        .map_err(|_| anyhow::anyhow!("the prober panicked"))?;
    Ok(Move {
        address: address.to_string(),
        from: from.name.to_owned(),
        to: to.name.to_owned(),
        lost_ms: longest_gap(&probes).as_secs_f64() * 1000.0,
        probes_sent: probes.sent.len() as u64,
        probes_answered: probes.answered.iter().filter(|answered| **answered).count() as u64,
        tcp_survived: survived,
    })
}

fn prober(observer: &Namespace, address: Ipv4Addr) -> Result<UdpSocket> {
    let socket = observer.enter(|| -> Result<UdpSocket> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(SocketAddr::from((address, PORT)))?;
        Ok(socket)
    })??;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn probe(socket: &UdpSocket, stop: &AtomicBool) -> Probes {
    let mut probes = Probes::default();
    let mut next = Instant::now();
    let mut last = None;
    loop {
        let now = Instant::now();
        if stop.load(Ordering::Relaxed) {
            // Answers to the last probes are still under way.
            let end = *last.get_or_insert(now + Duration::from_millis(100));
            if now >= end {
                return probes;
            }
        } else if now >= next {
            let number = u32::try_from(probes.sent.len()).unwrap_or(u32::MAX);
            // An ICMP error of an earlier probe surfaces here; the probe then counts as lost.
            socket.send(&number.to_be_bytes()).ok();
            probes.sent.push(now);
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
fn longest_gap(probes: &Probes) -> Duration {
    let answered: Vec<Instant> = probes
        .sent
        .iter()
        .zip(&probes.answered)
        .filter(|(_, answered)| **answered)
        .map(|(at, _)| *at)
        .collect();
    let unbroken = probes.answered.last().copied().unwrap_or(false);
    let gap = answered.windows(2).map(|pair| pair[1] - pair[0]).max();
    match gap {
        Some(gap) if unbroken => gap.saturating_sub(INTERVAL),
        _ => PATIENCE,
    }
}
