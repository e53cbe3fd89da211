//! The thread that owns the BFD sessions: it receives, sends and keeps time, and nothing else.
//!
//! It runs before ordinary threads where the kernel permits it (SCHED_FIFO), so that a busy control loop or a busy host
//! makes no peer look dead. Packets pass the TUN device and the tunnels as those of hosts do: a session that is up proves
//! the packet path. Control learns the newest state of all sessions, however many changes there were in between.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use sam_bfd::{PORT, SOURCE_PORTS, SessionStatus, Sessions};
use sam_net::{Epoll, HopSocket, Interest};
use sam_router::config::BfdTiming;
use sam_router::facts::{BfdFacts, BfdSessionFacts, CounterFacts};
use tokio::sync::{oneshot, watch};
use tracing::warn;

use crate::StartError;
use crate::bgp_io::Near;
use crate::mailbox::Mailbox;

/// Priority among the threads that run before ordinary ones; low, as befits a thread that hardly runs.
const PRIORITY: i32 = 10;
/// Datagrams read at most before timers are looked at again.
const BATCH: usize = 1024;
/// Longer datagrams hold nothing that matters.
const DATAGRAM: usize = 64;
/// Longest wait, so that a lost wake-up cannot stall the thread.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Time for the thread to say how things are; beyond that the answer does without.
const REPORT_PATIENCE: Duration = Duration::from_millis(200);
/// Names of what the thread waits for.
const SOCKET: u64 = 0;
const MAILBOX: u64 = 1;

/// What the thread has not read yet.
#[derive(Debug, Default)]
struct Letters {
    peers: Option<BTreeMap<Ipv4Addr, BfdTiming>>,
    report: Option<oneshot::Sender<BfdFacts>>,
    stop: bool,
}

/// The control side of BFD.
#[derive(Debug)]
pub(crate) struct Bfd {
    /// Absent where the sockets could not be opened; then the reason stands in `idle`.
    running: Option<(Arc<Mailbox<Letters>>, JoinHandle<()>)>,
    idle: String,
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
                };
                (idle, None)
            }
        }
    }

    fn try_start(near: &Near, seed: u64) -> Result<(Self, Changes), StartError> {
        let mailbox = Arc::new(Mailbox::new().context("cannot make an eventfd")?);
        let skip = usize::try_from(seed & 0x3fff).unwrap_or(0);
        let (publish, changes) = watch::channel(Vec::new());
        let thread = Thread {
            sessions: Sessions::new(seed),
            receiver: HopSocket::bind(near.overlay, &near.tun, PORT)?,
            sender: HopSocket::bind_within(near.overlay, &near.tun, SOURCE_PORTS, skip)?,
            mailbox: Arc::clone(&mailbox),
            publish,
            scheduling: String::new(),
            unsent: 0,
            unread: 0,
        };
        let epoll = thread.epoll().context("cannot wait for BFD packets")?;
        let handle = std::thread::Builder::new()
            .name("bfd".to_owned())
            .spawn(move || thread.run(epoll))
            .context("cannot start the thread for BFD")?;
        let bfd = Self {
            running: Some((mailbox, handle)),
            idle: String::new(),
        };
        Ok((bfd, changes))
    }

    /// Makes the peers exactly these.
    pub(crate) fn set_peers(&self, peers: BTreeMap<Ipv4Addr, BfdTiming>) {
        if let Some((mailbox, _)) = &self.running {
            mailbox.post(|letters| letters.peers = Some(peers));
        }
    }

    /// Asks how things are.
    pub(crate) async fn report(&self) -> BfdFacts {
        let silent = |scheduling: &str| BfdFacts {
            scheduling: scheduling.to_owned(),
            ..BfdFacts::default()
        };
        let Some((mailbox, _)) = &self.running else {
            return silent(&self.idle);
        };
        let (sender, receiver) = oneshot::channel();
        mailbox.post(|letters| letters.report = Some(sender));
        let answer = tokio::time::timeout(REPORT_PATIENCE, receiver).await;
        answer
            .ok()
            .and_then(Result::ok)
            .unwrap_or_else(|| silent("the thread does not answer"))
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

/// The thread, ready to run.
struct Thread {
    sessions: Sessions,
    receiver: HopSocket,
    sender: HopSocket,
    mailbox: Arc<Mailbox<Letters>>,
    publish: watch::Sender<Vec<SessionStatus>>,
    /// `real-time`, or why not.
    scheduling: String,
    /// Packets that the kernel did not take.
    unsent: u64,
    /// Errors in place of datagrams.
    unread: u64,
}

impl Thread {
    fn epoll(&self) -> io::Result<Epoll> {
        use std::os::fd::AsFd;
        let epoll = Epoll::new(2)?;
        epoll.add(self.receiver.as_fd(), SOCKET, Interest::Read)?;
        epoll.add(self.mailbox.as_fd(), MAILBOX, Interest::Read)?;
        Ok(epoll)
    }

    fn run(mut self, mut epoll: Epoll) {
        self.hurry();
        loop {
            let due = self.sessions.poll_timeout();
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
            self.read(letters);
            // What arrived in time must not be late because nobody read it.
            self.receive();
            self.sessions.handle_timeout(Instant::now());
            self.send();
            self.tell();
            if stop {
                return;
            }
        }
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

    fn read(&mut self, letters: Letters) {
        let now = Instant::now();
        if let Some(peers) = letters.peers {
            self.sessions.set_peers(&peers, now);
            self.publish.send_replace(self.sessions.status());
        }
        if letters.stop {
            self.sessions.set_peers(&BTreeMap::new(), now);
        }
        if let Some(reply) = letters.report {
            // Whoever asked may have given up.
            reply.send(self.facts(now)).ok();
        }
    }

    fn receive(&mut self) {
        let mut buffer = [0; DATAGRAM];
        for _ in 0..BATCH {
            match self.receiver.receive(&mut buffer) {
                Ok(Some(arrival)) => {
                    let payload = &buffer[..arrival.length];
                    // A refusal is counted there.
                    self.sessions
                        .handle_datagram(*arrival.from.ip(), arrival.ttl, payload, Instant::now())
                        .ok();
                }
                Ok(None) => return,
                Err(_) => self.unread += 1,
            }
        }
    }

    fn send(&mut self) {
        while let Some((to, packet)) = self.sessions.poll_transmit(Instant::now()) {
            if self.sender.send(to, PORT, &packet.encode()).is_err() {
                self.unsent += 1;
            }
        }
    }

    /// Tells control how all sessions are, if one came up or went down.
    fn tell(&mut self) {
        let events = std::iter::from_fn(|| self.sessions.poll_event());
        if events.count() > 0 {
            self.publish.send_replace(self.sessions.status());
        }
    }

    fn facts(&self, now: Instant) -> BfdFacts {
        let sessions = self.sessions.status();
        let counter = |name: &str, text: &str, value| CounterFacts {
            name: name.to_owned(),
            text: text.to_owned(),
            value,
        };
        let discarded = self.sessions.discarded();
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
            sessions: sessions
                .iter()
                .map(|status| BfdSessionFacts::new(status, now))
                .collect(),
            discarded: discarded
                .map(|(reason, count)| counter(reason.name(), reason.text(), count))
                .chain(ours)
                .collect(),
        }
    }
}
