//! What is measured. Each case starts a daemon of its own and opens all sessions before the clock runs.

use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::daemons::{Daemon, System};
use crate::death::silent_death;
use crate::feed;
use crate::peer::Peer;

/// The table that a change meets in an idle daemon.
const STANDING: usize = 10_000;
/// Changes of which the percentiles are.
const CHANGES: usize = 500;

/// A figure with its name and unit.
pub(crate) type Figure = (String, f64);

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Many routes from one peer, nobody to tell.
    Load(usize),
    /// Routes reflected to so many clients; then the feeding session ends.
    Reflect(usize, usize),
    /// One change at a time.
    Change,
    /// One change at a time while that many routes load from another peer.
    ChangeUnderLoad(usize),
    /// A peer falls silent that is active for so many addresses.
    PeerDeath(usize),
}

impl Case {
    /// Returns its name.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Load(routes) => format!("load {routes}"),
            Self::Reflect(routes, clients) => format!("reflect {routes} to {clients}"),
            Self::Change => "change".to_owned(),
            Self::ChangeUnderLoad(routes) => format!("change while {routes} load"),
            Self::PeerDeath(routes) => format!("silent death, {routes}"),
        }
    }

    /// Returns the word that picks it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Load(_) => "load",
            Self::Reflect(_, 10) => "reflect-10",
            Self::Reflect(..) => "reflect",
            Self::Change => "change",
            Self::ChangeUnderLoad(_) => "change-loading",
            Self::PeerDeath(_) => "peer-death",
        }
    }

    /// Tells whether a system can be measured: the forwarding table of the others is the kernel's.
    pub(crate) fn concerns(self, system: System) -> bool {
        system == System::Samctl || !matches!(self, Self::PeerDeath(_))
    }

    /// Measures.
    pub(crate) fn run(self, system: System, folder: &Path) -> Result<Vec<Figure>> {
        match self {
            Self::Load(routes) => load(system, folder, routes),
            Self::Reflect(routes, clients) => reflect(system, folder, routes, clients),
            Self::Change => change(system, folder, STANDING, 0),
            Self::ChangeUnderLoad(routes) => change(system, folder, STANDING, routes),
            Self::PeerDeath(routes) => silent_death(routes),
        }
    }
}

fn feeder(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 255, 1, number)
}

fn client(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 255, 2, u8::try_from(number + 1).expect("few clients"))
}

fn load(system: System, folder: &Path, routes: usize) -> Result<Vec<Figure>> {
    let daemon = system.start(folder, &[feeder(1)])?;
    let mut peer = Peer::establish(feeder(1), daemon.address())?;
    let messages = feed::announcements(0..routes, feeder(1));
    let (resident, cpu) = (daemon.resident()?, daemon.cpu_s()?);
    let start = Instant::now();
    peer.say(&messages)?;
    let end = counted(&daemon, routes)?;
    let per_route = (daemon.resident()? - resident) as f64 / routes as f64;
    let seconds = (end - start).as_secs_f64();
    Ok(figures(&[
        ("routes/s", routes as f64 / seconds),
        ("processor s", daemon.cpu_s()? - cpu),
        ("bytes per route", per_route),
    ]))
}

/// Waits until the daemon has so many routes.
fn counted(daemon: &Daemon, routes: usize) -> Result<Instant> {
    let end = Instant::now() + Duration::from_secs(180);
    loop {
        let count = daemon.routes().unwrap_or(0);
        if count >= routes {
            return Ok(Instant::now());
        }
        ensure!(Instant::now() < end, "{count} of {routes} routes arrived");
        // Asking costs the daemon time.
        thread::sleep(Duration::from_millis(20));
    }
}

fn reflect(system: System, folder: &Path, routes: usize, clients: usize) -> Result<Vec<Figure>> {
    let mut addresses = vec![feeder(1)];
    addresses.extend((0..clients).map(client));
    let daemon = system.start(folder, &addresses)?;
    let mut listeners = (0..clients)
        .map(|number| Peer::establish(client(number), daemon.address()))
        .collect::<Result<Vec<_>>>()?;
    let peer = Peer::establish(feeder(1), daemon.address())?;
    let messages = feed::announcements(0..routes, feeder(1));
    let cpu = daemon.cpu_s()?;

    let mut mouth = peer.mouth()?;
    let full = timed(&mut listeners, (routes, 0), move || {
        mouth.write_all(&messages).context("cannot write")
    })?;
    let cpu = daemon.cpu_s()? - cpu;
    let mouth = peer.mouth()?;
    let gone = timed(&mut listeners, (routes, routes), move || {
        mouth
            .shutdown(Shutdown::Both)
            .context("cannot end the session")
    })?;
    Ok(figures(&[
        ("all full, s", full.as_secs_f64()),
        ("processor s", cpu),
        ("feeder gone, all withdrawn, s", gone.as_secs_f64()),
    ]))
}

/// Does something and returns how long it took until every listener heard so many announced and withdrawn.
fn timed(
    listeners: &mut [Peer],
    (announced, withdrawn): (usize, usize),
    act: impl FnOnce() -> Result<()> + Send,
) -> Result<Duration> {
    thread::scope(|scope| {
        let start = Instant::now();
        let acting = scope.spawn(act);
        let waiting: Vec<_> = listeners
            .iter_mut()
            .map(|listener| scope.spawn(move || listener.wait_for(announced, withdrawn)))
            .collect();
        acting.join().expect("no panic")?;
        let mut last = start;
        for listener in waiting {
            last = last.max(listener.join().expect("no panic")?);
        }
        Ok(last - start)
    })
}

fn change(system: System, folder: &Path, standing: usize, loading: usize) -> Result<Vec<Figure>> {
    let daemon = system.start(folder, &[feeder(1), feeder(2), client(0)])?;
    let mut listener = Peer::establish(client(0), daemon.address())?;
    let mut peer = Peer::establish(feeder(1), daemon.address())?;
    let other = Peer::establish(feeder(2), daemon.address())?;
    peer.say(&feed::announcements(0..standing, feeder(1)))?;
    listener.wait_for(standing, 0)?;

    if loading == 0 {
        let mut times = Vec::new();
        for number in 0..CHANGES {
            let start = Instant::now();
            peer.say(&feed::announcement(&[number], feeder(1), 1000 + number % 2))?;
            times.push(listener.wait_for(standing + number + 1, 0)? - start);
        }
        return Ok(percentiles(times));
    }
    // Each change is a withdrawal and so stands out of the announcements that load meanwhile.
    let mouth = other.mouth()?;
    let messages = feed::announcements(standing..standing + loading, feeder(2));
    let times = thread::scope(|scope| {
        let loader = scope.spawn(move || say_all(mouth, &messages));
        let mut times = Vec::new();
        for number in 0..CHANGES.min(standing) {
            if listener.announced >= standing + loading {
                break;
            }
            let start = Instant::now();
            peer.say(&feed::withdrawal(number))?;
            times.push(listener.wait_for(0, number + 1)? - start);
        }
        loader.join().expect("no panic")?;
        anyhow::Ok(times)
    })?;
    Ok(percentiles(times))
}

fn say_all(mut mouth: TcpStream, messages: &[u8]) -> Result<()> {
    mouth.write_all(messages).context("cannot write")
}

fn percentiles(mut times: Vec<Duration>) -> Vec<Figure> {
    times.sort();
    let at = |share: f64| {
        let index = ((times.len() - 1) as f64 * share).round() as usize;
        times[index].as_secs_f64() * 1e3
    };
    figures(&[
        ("p50, ms", at(0.5)),
        ("p99, ms", at(0.99)),
        ("changes", times.len() as f64),
    ])
}

pub(crate) fn figures(figures: &[(&str, f64)]) -> Vec<Figure> {
    figures
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect()
}
