//! The thread that takes part in the election on the LAN: it receives, sends and keeps time, and nothing else.
//!
//! It runs before ordinary threads where the kernel permits it (SCHED_FIFO): a master that is late is taken for dead. Its
//! socket is on the LAN itself, beside the packet path. Control learns the newest role; who does not know the role keeps
//! silent on the LAN.
//!
//! It runs on while others stand still. So it looks after them ([`EngineWatch`]): a router of which a thread stands still steps
//! back. And it has the workers be silent from the moment in which the role is lost until control has closed the gate. Control
//! looks after this thread ([`ElectionWatch`]), and closes the gate when nothing is heard of it.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use sam_net::{Epoll, Interest, LinkSocket};
use sam_router::facts::{CounterFacts, ElectionFacts, VrrpFacts};
use sam_router::{VrrpPlan, VrrpReport};
use sam_vrrp::{Arrival, GROUP, Instance, PROTOCOL, State, Status};
use tokio::sync::{oneshot, watch};
use tracing::warn;

use crate::StartError;
use crate::data_plane::Mute;
use crate::mailbox::Mailbox;
use crate::pulse::{ElectionWatch, EngineWatch, Pulse};
use crate::vrrp_arp::VrrpArp;

/// Priority among the threads that run before ordinary ones; low, as befits a thread that hardly runs.
const PRIORITY: i32 = 10;
/// Packets read at most before timers are looked at again.
const BATCH: usize = 256;
/// Longer packets hold nothing that matters: IP header with options, and an advertisement with 255 addresses.
const PACKET: usize = 60 + 8 + 255 * 4 + 8;
/// How often a socket that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Time for the thread to say how things are; beyond that the answer does without.
const REPORT_PATIENCE: Duration = Duration::from_millis(200);
/// Time for another router to take over before an orderly stop goes on without.
const HANDOVER: Duration = Duration::from_secs(1);
/// Names of what the thread waits for.
const SOCKET: u64 = 0;
const MAILBOX: u64 = 1;
const ARP: u64 = 2;

/// What the thread has not read yet.
#[derive(Debug, Default)]
struct Letters {
    plan: Option<Option<VrrpPlan>>,
    report: Option<oneshot::Sender<VrrpFacts>>,
    /// The state by which control acts.
    acknowledged: Option<Option<State>>,
    /// Leave, and answer when another router has taken over, or when there is nothing to hand over.
    resign: Option<oneshot::Sender<()>>,
    stop: bool,
}

/// The control side of VRRP.
#[derive(Debug)]
pub(crate) struct Vrrp {
    mailbox: Arc<Mailbox<Letters>>,
    handle: Option<JoinHandle<()>>,
    /// Generation of the election to take part in, and the interval of its advertisements.
    election: Option<(u64, Duration)>,
    /// Whether the thread runs.
    pub(crate) watch: ElectionWatch,
}

/// What the election says, after each change; closed when the thread is gone.
pub(crate) type Changes = watch::Receiver<VrrpReport>;

impl Vrrp {
    /// Starts the thread; it waits for an election to take part in.
    ///
    /// # Errors
    /// When the kernel gives no eventfd, epoll or thread.
    pub(crate) fn start(engine: EngineWatch, mute: Mute) -> Result<(Self, Changes), StartError> {
        let mailbox = Arc::new(Mailbox::new().context("cannot make an eventfd")?);
        let epoll = Epoll::new(3).context("cannot wait for VRRP packets")?;
        epoll
            .add(mailbox.as_fd(), MAILBOX, Interest::Read)
            .context("cannot wait for VRRP packets")?;
        let (publish, changes) = watch::channel(VrrpReport {
            generation: 0,
            status: None,
        });
        let pulse = Pulse::new("the election".to_owned(), Instant::now());
        let thread = Thread {
            pulse: Arc::clone(&pulse),
            plan: None,
            election: None,
            failure: None,
            successor: None,
            mailbox: Arc::clone(&mailbox),
            publish,
            scheduling: String::new(),
            engine,
            mute,
            muted: false,
            acknowledged: None,
            stalled: None,
            stalls: 0,
            unsent: 0,
            unread: 0,
        };
        let handle = std::thread::Builder::new()
            .name("vrrp".to_owned())
            .spawn(move || thread.run(epoll))
            .context("cannot start the thread for VRRP")?;
        let vrrp = Self {
            mailbox,
            handle: Some(handle),
            election: None,
            watch: ElectionWatch::new(pulse),
        };
        Ok((vrrp, changes))
    }

    /// Says that control acts by this report.
    pub(crate) fn acknowledge(&self, report: &VrrpReport) {
        let state = report.status.as_ref().map(|status| status.state);
        self.mailbox
            .post(|letters| letters.acknowledged = Some(state));
    }

    /// Looks after the thread from what it says on.
    pub(crate) fn watch_as(&mut self, report: &VrrpReport) {
        let is_master = |status: &Status| status.state == State::Master;
        let is_master = report.status.as_ref().is_some_and(is_master);
        let interval = self.election.map(|(_, interval)| interval);
        self.watch
            .follow(interval.filter(|_| is_master), Instant::now());
    }

    /// Takes part in this election, in no other.
    pub(crate) fn set_plan(&mut self, plan: Option<VrrpPlan>) {
        let election = plan
            .as_ref()
            .map(|plan| (plan.generation, plan.settings.interval));
        let now = Instant::now();
        match (self.election, election) {
            (Some((former, _)), Some((generation, interval))) if former == generation => {
                self.watch.set_interval(interval, now);
            }
            (_, _) => self.watch.follow(None, now),
        }
        self.election = election;
        self.mailbox.post(|letters| letters.plan = Some(plan));
    }

    /// Asks how things are.
    pub(crate) async fn report(&self) -> VrrpFacts {
        if self.watch.is_silent() {
            return VrrpFacts {
                failure: Some("the thread of the election stands still".to_owned()),
                silent: true,
                ..VrrpFacts::default()
            };
        }
        let (sender, receiver) = oneshot::channel();
        self.mailbox.post(|letters| letters.report = Some(sender));
        let answer = tokio::time::timeout(REPORT_PATIENCE, receiver).await;
        answer
            .ok()
            .and_then(Result::ok)
            .unwrap_or_else(|| VrrpFacts {
                failure: Some("the thread does not answer".to_owned()),
                ..VrrpFacts::default()
            })
    }

    /// Gives the role of the master up, and waits until another router has it; not for long, for there may be none.
    pub(crate) async fn resign(&self) {
        let (sender, receiver) = oneshot::channel();
        self.mailbox.post(|letters| letters.resign = Some(sender));
        // Nobody followed: the stop goes on all the same.
        tokio::time::timeout(HANDOVER, receiver).await.ok();
    }
}

impl Drop for Vrrp {
    fn drop(&mut self) {
        self.mailbox.post(|letters| letters.stop = true);
        // Who stands still would be waited for without end.
        if let Some(handle) = self.handle.take().filter(|_| !self.watch.is_silent()) {
            // A thread that panicked has said so.
            handle.join().ok();
        }
    }
}

/// An election under way.
struct Election {
    instance: Instance,
    socket: LinkSocket,
    /// The second way of advertisements.
    arp: VrrpArp,
}

/// The thread, ready to run.
struct Thread {
    /// Where it shows that it runs.
    pulse: Arc<Pulse>,
    plan: Option<VrrpPlan>,
    /// Absent without a plan, or while the socket cannot be opened; then the reason stands in `failure`.
    election: Option<Election>,
    failure: Option<String>,
    /// Who waits for another master.
    successor: Option<oneshot::Sender<()>>,
    mailbox: Arc<Mailbox<Letters>>,
    publish: watch::Sender<VrrpReport>,
    /// `real-time`, or why not.
    scheduling: String,
    engine: EngineWatch,
    mute: Mute,
    /// Whether the workers were told to be silent.
    muted: bool,
    /// The state by which control acts, as it last said.
    acknowledged: Option<State>,
    /// Which thread stands still, and how often one did.
    stalled: Option<String>,
    stalls: u64,
    /// Packets that the kernel did not take.
    unsent: u64,
    /// Errors in place of packets.
    unread: u64,
}

impl Thread {
    fn run(mut self, mut epoll: Epoll) {
        self.hurry();
        loop {
            if let Err(error) = epoll.wait(self.wait()).map(drop) {
                warn!(%error, "cannot wait for VRRP packets, VRRP ends");
                return;
            }
            let letters = self.mailbox.take();
            // What arrived in time must not be late because nobody read it.
            self.receive();
            let stop = letters.stop;
            self.read(letters, &epoll);
            self.open(&epoll);
            if let Some(election) = &mut self.election {
                election.instance.handle_timeout(Instant::now());
            }
            // A process that stood still as a whole has overslept first of all.
            self.look_at_engine(Instant::now());
            self.send();
            self.tell();
            self.follow_mute();
            // What it had to say is said.
            self.pulse.beat(Instant::now());
            if stop {
                return;
            }
        }
    }

    /// How long nothing needs to be done; `None`: until something comes. In an election not longer than an interval, to show that
    /// this thread runs.
    fn wait(&self) -> Option<Duration> {
        let Some(election) = &self.election else {
            return self.plan.is_some().then_some(RETRY);
        };
        let due = election.instance.poll_timeout()?;
        let wait = due.saturating_duration_since(Instant::now());
        let interval = self.plan.as_ref().map(|plan| plan.settings.interval);
        Some(interval.map_or(wait, |interval| wait.min(interval)))
    }

    /// Asks to run before ordinary threads.
    fn hurry(&mut self) {
        self.scheduling = match sam_net::process::run_before_others(PRIORITY) {
            Ok(()) => "real-time".to_owned(),
            Err(error) => format!("ordinary ({error})"),
        };
    }

    fn read(&mut self, letters: Letters, epoll: &Epoll) {
        if let Some(plan) = letters.plan {
            self.follow(plan, epoll);
        }
        if letters.stop {
            self.follow(None, epoll);
        }
        if let Some(reply) = letters.report {
            // Whoever asked may have given up.
            reply.send(self.facts(Instant::now())).ok();
        }
        if let Some(state) = letters.acknowledged {
            self.acknowledged = state;
        }
        if let Some(reply) = letters.resign {
            self.resign(reply);
        }
    }

    /// Steps back while a thread of this router stands still.
    fn look_at_engine(&mut self, now: Instant) {
        let missed = self.engine.missed(now);
        if missed != self.stalled.as_deref() {
            match missed {
                Some(name) => {
                    warn!("{name} stands still: this router steps back in the election on its LAN");
                    self.stalls += 1;
                }
                None => warn!("all threads of this router run again"),
            }
            self.stalled = missed.map(str::to_owned);
        }
        let penalty = self.penalty();
        if let Some(election) = &mut self.election {
            election.instance.set_penalty(penalty, now);
        }
    }

    fn penalty(&self) -> u8 {
        let Some(plan) = &self.plan else {
            return 0;
        };
        let stalled = self.stalled.is_some();
        let engine = if stalled { plan.engine_penalty } else { 0 };
        plan.penalty.saturating_add(engine)
    }

    /// Has the workers be silent from the moment in which the role is lost until control has closed the gate, however long
    /// that takes it.
    fn follow_mute(&mut self) {
        let election = self.election.as_ref();
        let is_backup =
            election.is_some_and(|election| election.instance.status().state == State::Backup);
        let muted = is_backup && self.acknowledged == Some(State::Master);
        if muted != self.muted {
            self.muted = muted;
            self.mute.set(muted);
        }
    }

    /// Changes the election in place if it is the same one, else leaves it.
    fn follow(&mut self, plan: Option<VrrpPlan>, epoll: &Epoll) {
        let now = Instant::now();
        let generation = |plan: &Option<VrrpPlan>| plan.as_ref().map(|plan| plan.generation);
        let same = generation(&self.plan) == generation(&plan);
        match (&mut self.election, &plan) {
            (Some(election), Some(plan)) if same => {
                election.instance.set_settings(plan.settings.clone(), now);
                election.instance.set_fence(plan.fenced);
            }
            (Some(election), _) => {
                election.instance.handle_shutdown(now);
                self.send();
                self.leave(epoll);
            }
            (None, _) => {}
        }
        self.plan = plan;
        self.failure = None;
        let penalty = self.penalty();
        if let Some(election) = &mut self.election {
            election.instance.set_penalty(penalty, now);
        } else {
            self.acknowledged = None;
        }
    }

    /// Closes the socket.
    fn leave(&mut self, epoll: &Epoll) {
        if let Some(election) = self.election.take() {
            // A socket that is closed is forgotten anyway.
            epoll.remove(election.socket.as_fd()).ok();
            epoll.remove(election.arp.as_fd()).ok();
        }
    }

    /// Begins to take part, if there is an election to take part in.
    fn open(&mut self, epoll: &Epoll) {
        let penalty = self.penalty();
        let Some(plan) = self.plan.as_ref().filter(|_| self.election.is_none()) else {
            return;
        };
        match sockets(plan, epoll) {
            Ok((socket, arp)) => {
                let now = Instant::now();
                let mut instance = Instance::new(plan.settings.clone(), plan.source, now);
                instance.set_fence(plan.fenced);
                instance.set_penalty(penalty, now);
                instance.handle_startup(now);
                self.election = Some(Election {
                    instance,
                    socket,
                    arp,
                });
                self.failure = None;
            }
            Err(reason) => {
                if self.failure.as_ref() != Some(&reason) {
                    warn!("VRRP does not run: {reason}; trying again");
                }
                self.failure = Some(reason);
            }
        }
    }

    fn receive(&mut self) {
        let Some(Election {
            instance,
            socket,
            arp,
        }) = &mut self.election
        else {
            return;
        };
        let mut buffer = [0; PACKET];
        for _ in 0..BATCH {
            match socket.receive(&mut buffer) {
                Ok(Some(packet)) => {
                    let arrival = Arrival {
                        source: packet.source,
                        destination: packet.destination,
                        ttl: packet.ttl,
                    };
                    // A refusal is counted there.
                    instance
                        .handle_packet(arrival, packet.payload, Instant::now())
                        .ok();
                }
                Ok(None) => break,
                Err(_) => self.unread += 1,
            }
        }
        // A copy is looked at after the packet that it may be one of.
        let received = arp.receive(|source, payload| {
            instance.handle_copy(source, payload, Instant::now()).ok();
        });
        if received.is_err() {
            self.unread += 1;
        }
    }

    fn send(&mut self) {
        let Some(Election {
            instance,
            socket,
            arp,
        }) = &mut self.election
        else {
            return;
        };
        while let Some(transmit) = instance.poll_transmit() {
            if socket
                .send(transmit.destination, &transmit.payload)
                .is_err()
            {
                self.unsent += 1;
            }
        }
        let source = self.plan.as_ref().map(|plan| plan.source);
        if let (Some(source), Some(copy)) = (source, instance.poll_copy())
            && !arp.send(source, &copy)
        {
            self.unsent += 1;
        }
    }

    /// Leaves the election as a master who wants to be followed; the plan stays, for control has not let go yet.
    fn resign(&mut self, reply: oneshot::Sender<()>) {
        if let Some(election) = &mut self.election
            && election.instance.status().state == State::Master
        {
            election.instance.handle_shutdown(Instant::now());
            self.successor = Some(reply);
        }
    }

    /// Tells control what the election says, if that changed; and whoever waits for it, that another master is there.
    fn tell(&mut self) {
        let status = self
            .election
            .as_ref()
            .map(|election| election.instance.status());
        let heard = status.as_ref().and_then(|status| status.heard);
        if let Some(waiting) = self.successor.take_if(|_| heard.is_some()) {
            waiting.send(()).ok();
        }
        // Until control lets go, a master that leaves goes on to carry packets: nobody else does yet.
        let resigned = status
            .as_ref()
            .is_some_and(|status| status.state == State::Initialize);
        let Some(plan) = self.plan.as_ref().filter(|_| !resigned) else {
            return;
        };
        let report = VrrpReport {
            generation: plan.generation,
            status,
        };
        self.publish.send_if_modified(|told| {
            let news = is_news(told, &report);
            if news {
                *told = report;
            }
            news
        });
    }

    fn facts(&self, now: Instant) -> VrrpFacts {
        let counter = |name: &str, text: &str, value| CounterFacts {
            name: name.to_owned(),
            text: text.to_owned(),
            value,
        };
        let instance = self.election.as_ref().map(|election| &election.instance);
        let refusals = instance.into_iter().flat_map(Instance::refusals);
        let refusals = refusals.map(|(refusal, count)| (refusal.name(), refusal.text(), count));
        let remarks = instance.into_iter().flat_map(Instance::remarks);
        let remarks = remarks.map(|(remark, count)| (remark.name(), remark.text(), count));
        let ours = [
            (
                "unsent",
                "packets that the kernel did not take",
                self.unsent,
            ),
            ("unread", "errors in place of packets", self.unread),
            (
                "stalled",
                "times that a thread of this router stood still",
                self.stalls,
            ),
        ];
        VrrpFacts {
            scheduling: self.scheduling.clone(),
            election: instance.map(|instance| ElectionFacts::new(&instance.status(), now)),
            failure: self.failure.clone(),
            stalled: self.stalled.clone(),
            silent: false,
            counters: refusals
                .chain(remarks)
                .chain(ours)
                .map(|(name, text, value)| counter(name, text, value))
                .collect(),
        }
    }
}

/// Opens both ways of advertisements.
fn sockets(plan: &VrrpPlan, epoll: &Epoll) -> Result<(LinkSocket, VrrpArp), String> {
    let group = plan.settings.peers.is_empty().then_some(GROUP);
    let socket = LinkSocket::open(&plan.interface, plan.source, PROTOCOL, group)
        .map_err(|error| error.to_string())?;
    let arp = VrrpArp::open(&plan.interface).map_err(|error| error.to_string())?;
    for (fd, name) in [(socket.as_fd(), SOCKET), (arp.as_fd(), ARP)] {
        epoll
            .add(fd, name, Interest::Read)
            .map_err(|error| error.to_string())?;
    }
    Ok((socket, arp))
}

/// Tells whether control decides anything by what is new.
fn is_news(told: &VrrpReport, report: &VrrpReport) -> bool {
    let key = |report: &VrrpReport| {
        let status = report.status.as_ref();
        let role = status.map(|status| (status.state, status.cause, status.conflicts));
        let heard = status.and_then(|status| status.heard);
        let rivals = status.and_then(|status| status.rivals);
        let others = (
            heard.map(|heard| heard.address),
            rivals.map(|rivals| rivals.times),
            status.map(|status| status.strangers.clone()),
        );
        (report.generation, role, others)
    };
    key(told) != key(report)
}
