//! The thread that owns the BFD sessions: it receives, sends and keeps time, and nothing else.
//!
//! It runs before ordinary threads where the kernel permits it (SCHED_FIFO), so that a busy control loop or a busy host
//! makes no peer look dead. Packets to nodes pass the TUN device and the tunnels as those of hosts do: a session that is up
//! proves the packet path. Those to BGP neighbors outside of the fabric leave by the host's own ways. Control learns the newest
//! state of all sessions, however many changes there were in between.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use sam_bfd::{Discard, MULTIHOP_PORT, PORT, SOURCE_PORTS, SessionStatus, Sessions};
use sam_net::{Epoll, HopSocket, Interest};
use sam_router::Foreign;
use sam_router::config::BfdTiming;
use sam_router::facts::{BfdFacts, BfdSessionFacts, CounterFacts};
use tokio::sync::{oneshot, watch};
use tracing::warn;

use crate::StartError;
use crate::bgp_io::Near;
use crate::mailbox::Mailbox;
use crate::random::kernel_random;

/// Priority among the threads that run before ordinary ones; low, as befits a thread that hardly runs.
const PRIORITY: i32 = 10;
/// Datagrams read at most before timers are looked at again.
const BATCH: usize = 1024;
/// Longer datagrams hold nothing that matters.
const DATAGRAM: usize = 64;
/// Longest wait, so that a lost wake-up cannot stall the thread.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Time between attempts to open sockets that could not be opened.
const RETRY: Duration = Duration::from_secs(1);
/// Time for the thread to say how things are; beyond that what it said before is shown.
const REPORT_PATIENCE: Duration = Duration::from_millis(200);
/// Mask of a random number of source ports to leave out, of the 2¹⁴ that there are.
const PORTS: u64 = 0x3fff;
/// Names of what the thread waits for.
const SOCKET: u64 = 0;
const MAILBOX: u64 = 1;

/// What neighbors outside of the fabric have in common that share sockets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Outside {
    /// Our address towards them.
    local: Ipv4Addr,
    /// The only interface to hear them through.
    interface: Option<String>,
    /// Whether they may be several hops away (RFC 5883).
    several_hops: bool,
}

impl Outside {
    fn port(&self) -> u16 {
        if self.several_hops {
            MULTIHOP_PORT
        } else {
            PORT
        }
    }

    /// Opens sockets for them. Who knows neither discriminators nor port can forge nothing; the port must not tell of the
    /// discriminators.
    fn open(&self, epoll: &Epoll) -> anyhow::Result<Sockets> {
        let skip = u64::from_ne_bytes(kernel_random()?) & PORTS;
        let skip = usize::try_from(skip).unwrap_or(0);
        let device = self.interface.as_deref();
        Sockets::open(self.local, device, self.port(), skip, epoll)
    }

    fn link(&self, epoll: &Epoll) -> anyhow::Result<Link> {
        let seed = u64::from_ne_bytes(kernel_random()?);
        Ok(Link {
            sessions: Sessions::over_open_links(seed),
            sockets: Some(self.open(epoll)?),
            port: self.port(),
        })
    }
}

/// Neighbors outside of the fabric: by what they share and by address, with the TTL with which they arrive at least.
type Neighbors = BTreeMap<Outside, BTreeMap<Ipv4Addr, (BfdTiming, u8)>>;

/// What the thread has not read yet.
#[derive(Debug, Default)]
struct Letters {
    peers: Option<BTreeMap<Ipv4Addr, BfdTiming>>,
    neighbors: Option<Neighbors>,
    report: Option<oneshot::Sender<BfdFacts>>,
    stop: bool,
}

/// The control side of BFD.
#[derive(Debug)]
pub(crate) struct Bfd {
    /// Absent where the sockets could not be opened; then the reason stands in `idle`.
    running: Option<(Arc<Mailbox<Letters>>, JoinHandle<()>)>,
    idle: String,
    /// What the thread said last.
    last: BfdFacts,
}

/// How all sessions are, after each change; closed when there is no thread.
pub(crate) type Changes = watch::Receiver<Vec<SessionStatus>>;

impl Bfd {
    /// Starts the thread. A router that cannot listen for BFD forwards nevertheless, as if no peer spoke it.
    pub(crate) fn start(near: &Near, seed: u64) -> (Self, Option<Changes>) {
        match Self::try_start(near, seed) {
            Ok((bfd, changes)) => (bfd, Some(changes)),
            Err(error) => {
                warn!(error = format!("{error:#}"), "BFD does not run");
                let idle = Self {
                    running: None,
                    idle: format!("does not run: {error:#}"),
                    last: BfdFacts::default(),
                };
                (idle, None)
            }
        }
    }

    fn try_start(near: &Near, seed: u64) -> Result<(Self, Changes), StartError> {
        let mailbox = Arc::new(Mailbox::new().context("cannot make an eventfd")?);
        let epoll = epoll(&mailbox).context("cannot wait for BFD packets")?;
        let (publish, changes) = watch::channel(Vec::new());
        let thread = Thread {
            fabric: Link {
                sessions: Sessions::new(seed),
                sockets: Some(Sockets::open(
                    near.overlay,
                    Some(&*near.tun),
                    PORT,
                    usize::try_from(seed & PORTS).unwrap_or(0),
                    &epoll,
                )?),
                port: PORT,
            },
            outside: BTreeMap::new(),
            wanted: Neighbors::new(),
            missing: BTreeSet::new(),
            retry_at: None,
            mailbox: Arc::clone(&mailbox),
            publish,
            scheduling: String::new(),
            discarded: BTreeMap::new(),
            unsent: 0,
            unread: 0,
        };
        let handle = std::thread::Builder::new()
            .name("bfd".to_owned())
            .spawn(move || thread.run(epoll))
            .context("cannot start the thread for BFD")?;
        let bfd = Self {
            running: Some((mailbox, handle)),
            idle: String::new(),
            last: BfdFacts::default(),
        };
        Ok((bfd, changes))
    }

    /// Makes the peers exactly these.
    pub(crate) fn set_peers(&self, peers: BTreeMap<Ipv4Addr, BfdTiming>) {
        if let Some((mailbox, _)) = &self.running {
            mailbox.post(|letters| letters.peers = Some(peers));
        }
    }

    /// Makes the neighbors outside of the fabric that are watched exactly those that are configured so.
    pub(crate) fn set_neighbors(&self, foreign: &Foreign) {
        let mut neighbors = Neighbors::new();
        for (address, neighbor) in &foreign.neighbors {
            let (terms, reach) = (&neighbor.terms, neighbor.terms.reach);
            if let Some(timing) = terms.bfd {
                let place = Outside {
                    local: terms.local_address,
                    interface: terms.interface.clone(),
                    several_hops: reach.hops() > 1,
                };
                let those = neighbors.entry(place).or_default();
                those.insert(*address, (timing, reach.least_bfd_ttl()));
            }
        }
        if let Some((mailbox, _)) = &self.running {
            mailbox.post(|letters| letters.neighbors = Some(neighbors));
        }
    }

    /// Asks how things are; a thread that is too busy to say so leaves it at what it said last.
    pub(crate) async fn report(&mut self) -> BfdFacts {
        let Some((mailbox, _)) = &self.running else {
            return BfdFacts {
                scheduling: self.idle.clone(),
                ..BfdFacts::default()
            };
        };
        let (sender, receiver) = oneshot::channel();
        mailbox.post(|letters| letters.report = Some(sender));
        let answer = tokio::time::timeout(REPORT_PATIENCE, receiver).await;
        match answer.ok().and_then(Result::ok) {
            Some(facts) => self.last = facts,
            None => return unanswered(&self.last),
        }
        self.last.clone()
    }

    /// Tells the peers that we leave, and ends the thread.
    pub(crate) fn stop(&mut self) {
        if let Some((mailbox, handle)) = self.running.take() {
            mailbox.post(|letters| letters.stop = true);
            // A thread that panicked has said so.
            handle.join().ok();
        }
    }
}

/// Makes what is shown while the thread does not answer out of what it said last.
fn unanswered(last: &BfdFacts) -> BfdFacts {
    let words = format!("no answer in {} ms", REPORT_PATIENCE.as_millis());
    let scheduling = match last.scheduling.as_str() {
        "" => words,
        known => format!("{known}, {words}"),
    };
    BfdFacts {
        scheduling,
        silent: true,
        ..last.clone()
    }
}

fn epoll(mailbox: &Mailbox<Letters>) -> io::Result<Epoll> {
    let epoll = Epoll::new(2)?;
    epoll.add(mailbox.as_fd(), MAILBOX, Interest::Read)?;
    Ok(epoll)
}

/// Where packets come in, and where they leave.
struct Sockets {
    receiver: HopSocket,
    sender: HopSocket,
}

impl Sockets {
    /// Opens them, and has `epoll` tell of what comes. A socket that is closed leaves that by itself.
    fn open(
        local: Ipv4Addr,
        device: Option<&str>,
        port: u16,
        skip: usize,
        epoll: &Epoll,
    ) -> anyhow::Result<Self> {
        let receiver = HopSocket::bind(local, device, port)?;
        epoll.add(receiver.as_fd(), SOCKET, Interest::Read)?;
        Ok(Self {
            receiver,
            sender: HopSocket::bind_within(local, device, SOURCE_PORTS, skip)?,
        })
    }
}

/// Sessions that share sockets.
struct Link {
    sessions: Sessions,
    /// Absent while the interface is gone to which they were bound.
    sockets: Option<Sockets>,
    port: u16,
}

impl Link {
    /// Reads what has come; returns how many errors came in place of datagrams.
    fn receive(&mut self) -> u64 {
        let Some(sockets) = &self.sockets else {
            return 0;
        };
        let mut buffer = [0; DATAGRAM];
        let mut unread = 0;
        for _ in 0..BATCH {
            match sockets.receiver.receive(&mut buffer) {
                Ok(Some(arrival)) => {
                    let payload = &buffer[..arrival.length];
                    // A refusal is counted there.
                    self.sessions
                        .handle_datagram(*arrival.from.ip(), arrival.ttl, payload, Instant::now())
                        .ok();
                }
                Ok(None) => break,
                Err(_) => unread += 1,
            }
        }
        unread
    }

    /// Sends what is due; returns how many packets the kernel did not take.
    fn send(&mut self) -> u64 {
        let mut unsent = 0;
        while let Some((to, packet)) = self.sessions.poll_transmit(Instant::now()) {
            let Some(sockets) = &self.sockets else {
                unsent += 1;
                continue;
            };
            if let Err(error) = sockets.sender.send(to, self.port, &packet.encode()) {
                unsent += 1;
                // One that is made anew has the same name, and is another one.
                if HopSocket::has_lost_device(&error) {
                    self.sockets = None;
                }
            }
        }
        unsent
    }
}

fn add(counts: impl Iterator<Item = (Discard, u64)>, sums: &mut BTreeMap<Discard, u64>) {
    for (reason, count) in counts {
        *sums.entry(reason).or_default() += count;
    }
}

/// The thread, ready to run.
struct Thread {
    /// Sessions with nodes, through the tunnels.
    fabric: Link,
    /// Sessions with neighbors outside of the fabric.
    outside: BTreeMap<Outside, Link>,
    /// Whom to watch outside of the fabric.
    wanted: Neighbors,
    /// Those of them that have no sockets, because these cannot be opened, or not again.
    missing: BTreeSet<Outside>,
    /// When that is tried again.
    retry_at: Option<Instant>,
    mailbox: Arc<Mailbox<Letters>>,
    publish: watch::Sender<Vec<SessionStatus>>,
    /// `real-time`, or why not.
    scheduling: String,
    /// Datagrams that did not count, of links that are gone.
    discarded: BTreeMap<Discard, u64>,
    /// Packets that the kernel did not take.
    unsent: u64,
    /// Errors in place of datagrams.
    unread: u64,
}

impl Thread {
    fn run(mut self, mut epoll: Epoll) {
        self.hurry();
        loop {
            let due = self.links().filter_map(|link| link.sessions.poll_timeout());
            let due = due.min();
            let wait = due.map_or(LONGEST_WAIT, |at| {
                at.saturating_duration_since(Instant::now())
                    .min(LONGEST_WAIT)
            });
            if let Err(error) = epoll.wait(Some(wait)).map(drop) {
                warn!(%error, "cannot wait for BFD packets, BFD ends");
                return;
            }
            let letters = self.mailbox.take();
            let stop = letters.stop;
            self.read(letters, &epoll);
            // What arrived in time must not be late because nobody read it.
            let mut unread = 0;
            self.links_mut().for_each(|link| unread += link.receive());
            let now = Instant::now();
            self.links_mut()
                .for_each(|link| link.sessions.handle_timeout(now));
            let mut unsent = 0;
            self.links_mut().for_each(|link| unsent += link.send());
            self.unread += unread;
            self.unsent += unsent;
            self.tell();
            if stop {
                return;
            }
            // The sockets of one that is gone may have been in the way.
            let freed = self.close_links() && !self.missing.is_empty();
            if freed || self.retry_at.is_some_and(|at| at <= now) {
                self.follow_wanted(&epoll, now);
            }
        }
    }

    /// Lets go of links without sessions, and notes which lost their interface; tells whether sockets were closed.
    fn close_links(&mut self) -> bool {
        let discarded = &mut self.discarded;
        let links = self.outside.len();
        self.outside.retain(|_, link| {
            let is_done = link.sessions.is_empty();
            if is_done {
                add(link.sessions.discarded(), discarded);
            }
            !is_done
        });
        let mut closed = self.outside.len() < links;
        for (place, link) in &self.outside {
            let is_wanted = self.wanted.contains_key(place);
            if link.sockets.is_none() && is_wanted && self.missing.insert(place.clone()) {
                warn!(local = %place.local, "the interface is gone by which neighbors were watched by BFD");
                closed = true;
            }
        }
        closed
    }

    /// Asks to run before ordinary threads.
    fn hurry(&mut self) {
        self.scheduling = match sam_net::process::run_before_others(PRIORITY) {
            Ok(()) => "real-time".to_owned(),
            Err(error) => {
                warn!(
                    %error,
                    "BFD runs as an ordinary thread: on a busy host peers may look dead; CAP_SYS_NICE helps, or \
                     fabric.bfd with a longer interval"
                );
                format!("ordinary ({error})")
            }
        };
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        std::iter::once(&self.fabric).chain(self.outside.values())
    }

    fn links_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        std::iter::once(&mut self.fabric).chain(self.outside.values_mut())
    }

    fn status(&self) -> Vec<SessionStatus> {
        let links = self.links();
        links.flat_map(|link| link.sessions.status()).collect()
    }

    fn read(&mut self, letters: Letters, epoll: &Epoll) {
        let now = Instant::now();
        if let Some(peers) = letters.peers {
            self.fabric.sessions.set_peers(&peers, now);
            self.publish.send_replace(self.status());
        }
        if let Some(neighbors) = letters.neighbors {
            self.wanted = neighbors;
            self.follow_wanted(epoll, now);
            self.publish.send_replace(self.status());
        }
        if letters.stop {
            self.links_mut()
                .for_each(|link| link.sessions.set_peers(&BTreeMap::new(), now));
        }
        if let Some(reply) = letters.report {
            // Whoever asked may have given up.
            reply.send(self.facts(now)).ok();
        }
    }

    /// Has the sessions outside of the fabric be those that are wanted. Sockets that cannot be opened leave their neighbors
    /// without BFD, as if they did not speak it, until they can.
    fn follow_wanted(&mut self, epoll: &Epoll, now: Instant) {
        let wanted = std::mem::take(&mut self.wanted);
        self.missing.retain(|place| wanted.contains_key(place));
        for place in wanted.keys() {
            let link = self.outside.get_mut(place);
            if link.as_ref().is_some_and(|link| link.sockets.is_some()) {
                continue;
            }
            // Sessions outlive their sockets, so that it shows when they fail.
            let opened = match link {
                Some(link) => place
                    .open(epoll)
                    .map(|sockets| link.sockets = Some(sockets)),
                None => place.link(epoll).map(|link| {
                    self.outside.insert(place.clone(), link);
                }),
            };
            match opened {
                Ok(()) => {
                    self.missing.remove(place);
                }
                Err(error) => {
                    // Said once, however often it is tried.
                    if self.missing.insert(place.clone()) {
                        let error = format!("{error:#}");
                        warn!(error, local = %place.local, "neighbors are not watched by BFD yet");
                    }
                }
            }
        }
        for (place, link) in &mut self.outside {
            let peers = wanted.get(place).into_iter().flatten();
            let timings = peers.clone().map(|(peer, (timing, _))| (*peer, *timing));
            link.sessions.set_peers(&timings.collect(), now);
            for (peer, (_, least_ttl)) in peers {
                link.sessions.set_least_ttl(*peer, *least_ttl);
            }
        }
        self.wanted = wanted;
        self.retry_at = (!self.missing.is_empty()).then(|| now + RETRY);
    }

    /// Tells control how all sessions are, if one came up or went down.
    fn tell(&mut self) {
        let mut events = 0;
        self.links_mut().for_each(|link| {
            events += std::iter::from_fn(|| link.sessions.poll_event()).count();
        });
        if events > 0 {
            self.publish.send_replace(self.status());
        }
    }

    fn facts(&self, now: Instant) -> BfdFacts {
        let sessions = self.status();
        let counter = |name: &str, text: &str, value| CounterFacts {
            name: name.to_owned(),
            text: text.to_owned(),
            value,
        };
        let mut discarded = self.discarded.clone();
        self.links()
            .for_each(|link| add(link.sessions.discarded(), &mut discarded));
        let ours = [
            counter(
                "unsent",
                "packets that the kernel did not take",
                self.unsent,
            ),
            counter("unread", "errors in place of datagrams", self.unread),
        ];
        BfdFacts {
            scheduling: self.scheduling.clone(),
            silent: false,
            sessions: sessions
                .iter()
                .map(|status| BfdSessionFacts::new(status, now))
                .collect(),
            discarded: discarded
                .into_iter()
                .map(|(reason, count)| counter(reason.name(), reason.text(), count))
                .chain(ours)
                .collect(),
        }
    }
}

#[cfg(test)]
#[path = "bfd_thread_tests.rs"]
mod tests;
