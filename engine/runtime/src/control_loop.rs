//! The one loop that owns the `Router`: everything that happens becomes an input, every output is carried out.
//!
//! ```text
//!  BGP sockets ─┐                         ┌─► mailboxes of the packet path
//!  notices ─────┤  bounded   ┌────────┐   ├─► BGP sockets
//!  host facts ──┼──────────► │ Router │ ──┼─► journal file
//!  API calls ───┤            └────────┘   ├─► events: log, `samctl events`
//!  signals ─────┘                         └─► host (TUN MTU)
//! ```
//! The loop takes no decision. Outputs are carried out in their order, so a snapshot is posted to the workers before
//! the UPDATE that tells others about it is written. When a thread of the packet path ends, or the TUN device is gone,
//! the router ends with the reason: whoever supervises it starts a whole one again.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use sam_router::events::Event;
use sam_router::output::BgpOrder;
use sam_router::path_test::TEST_PORT;
use sam_router::restart_only;
use sam_router::router::Start;
use sam_router::{CloudInput, Command, Config, Input, Output, Router, VrrpReport};
use sam_vrrp::{State, Status};
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::{debug, info, warn};

use crate::bfd_thread::{Bfd, Changes};
use crate::bgp_io::{self, BgpEvent, BgpIo, Near, send_hold};
use crate::cloud_thread::{Answers, Cloud, Providers};
use crate::control_socket::{self, Call};
use crate::data_plane::{DataPlane, Reports, worker_count};
use crate::event_log::EventLog;
use crate::facts::FactSource;
use crate::host_io::HostIo;
use crate::journal_io;
use crate::path_test;
use crate::pulse::{ElectionNews, EngineWatch, Pulse};
use crate::random::kernel_random;
use crate::signals::{Order, Signals};
use crate::vrrp_thread::{self, Vrrp};
use crate::{Reload, StartError};

/// Connection events that may wait; readers pause beyond that.
const BGP_EVENTS: usize = 256;
/// API calls that may wait.
const CALLS: usize = 64;
/// How often the host is looked at: link state, addresses, routes to endpoints.
const HOST_INTERVAL: Duration = Duration::from_secs(1);
/// Time for the last messages to leave after an orderly stop.
const FAREWELL: Duration = Duration::from_millis(300);

/// Everything that the loop owns.
pub(crate) struct Control {
    pub(crate) router: Router,
    pub(crate) data_plane: DataPlane,
    pub(crate) bfd: Bfd,
    pub(crate) vrrp: Vrrp,
    /// The provider, where addresses are captured in a cloud.
    cloud: Option<Cloud>,
    pub(crate) host: HostIo,
    pub(crate) facts: FactSource,
    pub(crate) events: EventLog,
    /// Wakes those who watch a change feed.
    pub(crate) news: watch::Sender<u64>,
    pub(crate) reload: Reload,
    /// Why the state on disk is not that of the router, if so.
    pub(crate) unsaved: Option<String>,
    /// Who tests the ways to other nodes: one at a time.
    pub(crate) test_turn: Arc<Semaphore>,
    /// Overlay addresses of the nodes whose tests are answered.
    test_nodes: watch::Sender<BTreeSet<Ipv4Addr>>,
    bgp: BgpIo,
    /// Where this loop shows that it runs.
    pulse: Arc<Pulse>,
    started: Instant,
}

/// The receiving ends of all queues into the loop.
struct Inbox {
    bgp: mpsc::Receiver<BgpEvent>,
    bfd: Option<Changes>,
    vrrp: vrrp_thread::Changes,
    cloud: Option<Answers>,
    calls: mpsc::Receiver<Call>,
    reports: Reports,
    signals: Signals,
}

/// Runs a router until it is told to stop.
///
/// # Errors
/// When a port, device or socket cannot be opened; the message names it and what would help.
pub(crate) async fn run(
    config: Config,
    reload: Reload,
    providers: Providers,
) -> Result<(), StartError> {
    let (mut control, mut inbox) = start(config, reload, providers).await?;
    let result = serve(&mut control, &mut inbox).await;
    control.stop().await;
    result
}

/// Does what comes in until the router is told to stop, or cannot go on.
async fn serve(control: &mut Control, inbox: &mut Inbox) -> Result<(), StartError> {
    control.refresh_host()?;
    control.drive();
    sd_ready();
    info!(node = %control.router.config().own_node().name, "running");
    let mut tick = tokio::time::interval(HOST_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let deadline = control.router.poll_timeout().map(|(at, _)| at);
        tokio::select! {
            alive = changed(&mut inbox.bfd) => match alive {
                Some(sessions) => control.input(Input::Bfd(&sessions)),
                None => bail!("the thread of BFD ended, its last words are on standard error; start the router again"),
            },
            changed = inbox.vrrp.changed() => match changed {
                Ok(()) => {
                    let report = inbox.vrrp.borrow_and_update().clone();
                    control.on_election(&report);
                }
                Err(_) => bail!("the thread of VRRP ended, its last words are on standard error; start the router again"),
            },
            answer = answered(&mut inbox.cloud) => control.on_cloud(answer, &mut inbox.cloud),
            Some(event) = inbox.bgp.recv() => control.on_bgp(event),
            Some(notice) = inbox.reports.notices.recv() => control.input(Input::Notice(notice)),
            Some(thread) = inbox.reports.ended.recv() => bail!(
                "the thread {thread} of the packet path ended, its last words are on standard error; start the \
                 router again"
            ),
            Some((request, reply)) = inbox.calls.recv() => control.answer(request, reply).await,
            () = sleep_until(deadline) => {
                // What arrived in time must not be late because nobody read it: a hold timer would fire.
                for event in queued(&mut inbox.bgp) {
                    control.on_bgp(event);
                }
                control.router.handle_timeout(Instant::now());
            }
            _ = tick.tick() => control.refresh_host()?,
            () = sleep_until(control.vrrp.watch.due()) => control.look_at_election(&inbox.vrrp),
            order = inbox.signals.next() => match order {
                Order::Stop => return Ok(()),
                Order::Reload => {
                    if let Err(error) = control.reload_now().await {
                        warn!(%error, "configuration not reloaded, the former one stays");
                    }
                }
            },
        }
        control.drive();
        control.pulse.beat(Instant::now());
    }
}

async fn start(
    config: Config,
    reload: Reload,
    providers: Providers,
) -> Result<(Control, Inbox), StartError> {
    let state = match &config.local.state_file {
        Some(path) => journal_io::open(path)?,
        None => sam_router::journal::RuntimeState::default(),
    };
    let seed = seed();
    let workers = worker_count(&config);
    let mut host = HostIo::open(&config, workers)?;
    let (data_plane, reports) =
        DataPlane::start(&config, workers, host.take_tuns(), kernel_random()?)?;
    let (bgp_sender, bgp_events) = mpsc::channel(BGP_EVENTS);
    bgp_io::check(&config.local.foreign)?;
    let near = near(&config);
    let place = format!("{}:179 of {}", near.overlay, near.tun);
    let (bfd, bfd_changes) = Bfd::start(&near, seed);
    let pulse = Pulse::new("control".to_owned(), Instant::now());
    let engine = EngineWatch {
        control: Arc::clone(&pulse),
        workers: data_plane.pulses(),
    };
    let (vrrp, vrrp_changes) = Vrrp::start(engine, data_plane.mute())?;
    let (cloud, cloud_answers) = Cloud::start(&config, providers)?.unzip();
    let bgp = BgpIo::listen(near, bgp_sender)
        .with_context(|| format!("cannot listen for BGP on {place}"))?;
    let (call_sender, calls) = mpsc::channel(CALLS);
    let test_nodes = serve_tests(&config, call_sender.clone());
    let socket = config.local.control_socket.clone();
    control_socket::serve(&socket, call_sender)
        .await
        .with_context(|| format!("cannot open the control socket {}", socket.display()))?;
    let signals = Signals::listen().context("cannot handle signals")?;
    let now = Instant::now();
    let control = Control {
        router: Router::new(
            Start {
                config,
                state,
                seed,
            },
            now,
        ),
        facts: FactSource::new(data_plane.stats()),
        data_plane,
        bfd,
        vrrp,
        cloud,
        host,
        events: EventLog::new(),
        news: watch::Sender::new(0),
        reload,
        unsaved: None,
        test_turn: Arc::new(Semaphore::new(1)),
        test_nodes,
        bgp,
        pulse,
        started: now,
    };
    Ok((
        control,
        Inbox {
            bgp: bgp_events,
            bfd: bfd_changes,
            vrrp: vrrp_changes,
            cloud: cloud_answers,
            calls,
            reports,
            signals,
        },
    ))
}

/// Our end of every connection to another node.
pub(crate) fn near(config: &Config) -> Near {
    Near {
        overlay: config.own_node().overlay,
        tun: config.local.tun.clone(),
    }
}

/// Starts to answer the tests of other nodes. A router that cannot forwards nevertheless; the others are told by their
/// own tests.
fn serve_tests(config: &Config, calls: mpsc::Sender<Call>) -> watch::Sender<BTreeSet<Ipv4Addr>> {
    let (sender, nodes) = watch::channel(overlays(config));
    if let Err(error) = path_test::serve(&near(config), nodes, calls) {
        warn!(%error, port = TEST_PORT, "cannot listen for `samctl test` of other nodes");
    }
    sender
}

fn overlays(config: &Config) -> BTreeSet<Ipv4Addr> {
    let nodes = config.fabric.nodes.values();
    nodes.map(|node| node.overlay).collect()
}

impl Control {
    /// Hands one input to the router.
    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.router.handle_input(input, Instant::now());
    }

    /// Seconds since start.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Does what the election says.
    fn on_election(&mut self, report: &VrrpReport) {
        self.vrrp.watch_as(report);
        self.input(Input::Vrrp(report));
        // Whoever stands still from here on is taken for the master by the workers already, or soon.
        let acts = |status: &Status| status.state == State::Master;
        if report.status.as_ref().is_some_and(acts) {
            self.vrrp.acknowledge(report);
        }
        self.drive();
        self.vrrp.acknowledge(report);
    }

    /// Closes the gate when nothing is heard of the thread of the election, for who is master is unknown then.
    fn look_at_election(&mut self, changes: &vrrp_thread::Changes) {
        let report = changes.borrow().clone();
        match self.vrrp.watch.look(Instant::now()) {
            Some(ElectionNews::Silent) => {
                warn!(
                    "the thread of the election stands still: this router keeps silent on its LAN"
                );
                let unknown = VrrpReport {
                    status: None,
                    ..report
                };
                self.input(Input::Vrrp(&unknown));
                self.drive();
                self.vrrp.acknowledge(&unknown);
            }
            Some(ElectionNews::Awake) => {
                warn!("the thread of the election runs again");
                self.on_election(&report);
            }
            None => {}
        }
    }

    fn on_bgp(&mut self, event: BgpEvent) {
        match event {
            BgpEvent::Connected(connection, stream) => {
                let send_hold = self.send_hold(stream.peer_addr().ok());
                if self.bgp.attach_dialed(connection, stream, send_hold) {
                    self.input(Input::Bgp(sam_bgp::Input::Connected(connection)));
                }
            }
            BgpEvent::Accepted(stream, from, door) if self.bgp.admit(&stream, from, door) => {
                let connection = self.bgp.next_accepted();
                let send_hold = self.send_hold(stream.peer_addr().ok());
                self.bgp.attach(connection, stream, send_hold);
                self.input(Input::Bgp(sam_bgp::Input::Accepted { connection, from }));
            }
            BgpEvent::Accepted(_, from, door) => {
                debug!(%from, ?door, "BGP connection of nobody who may come this way closed");
            }
            BgpEvent::Received(connection, piece) if self.bgp.is_open(connection) => {
                let received = sam_bgp::Input::Received(connection, &piece.bytes);
                self.input(Input::Bgp(received));
            }
            BgpEvent::Received(..) => {}
            BgpEvent::Relieved(connection) => {
                self.input(Input::Bgp(sam_bgp::Input::Relieved(connection)));
            }
            BgpEvent::Closed(connection) => {
                self.bgp.close(connection);
                self.input(Input::Bgp(sam_bgp::Input::Closed(connection)));
            }
            BgpEvent::Stalled(connection) => {
                self.facts.count_stalled();
                self.bgp.close(connection);
                self.input(Input::Bgp(sam_bgp::Input::Stalled(connection)));
            }
        }
    }

    /// Takes in an answer of the provider. A provider that is gone is no reason not to forward.
    fn on_cloud(&mut self, answer: Option<CloudInput>, answers: &mut Option<Answers>) {
        let answer = answer.unwrap_or_else(|| {
            *answers = None;
            let reason = "the thread of the provider ended, its last words are on standard error";
            CloudInput::Unavailable {
                reason: reason.to_owned(),
            }
        });
        self.input(Input::Cloud(answer));
    }

    /// How long a peer may take no message; the hold time agreed on is never longer than the one proposed.
    fn send_hold(&self, peer: Option<std::net::SocketAddr>) -> Duration {
        let config = self.router.config();
        let foreign = match peer {
            Some(std::net::SocketAddr::V4(peer)) => config.local.foreign.terms(*peer.ip()),
            Some(std::net::SocketAddr::V6(_)) | None => None,
        };
        send_hold(foreign.map_or(config.fabric.bgp.hold_time, |(_, terms)| terms.hold_time))
    }

    fn refresh_host(&mut self) -> Result<(), StartError> {
        self.facts.sample();
        self.bgp.open_doors();
        for event in self.host.poll(&self.router, &self.data_plane)? {
            self.input(Input::Host(event));
        }
        Ok(())
    }

    /// Carries out every output that waits, in order.
    pub(crate) fn drive(&mut self) {
        while let Some(output) = self.router.poll_output() {
            match output {
                Output::Journal(state) => self.save(&state),
                Output::Publish(snapshot) => {
                    self.host.on_snapshot(&snapshot);
                    self.data_plane.install(&snapshot);
                }
                Output::BfdPeers(peers) => self.bfd.set_peers(peers),
                Output::Foreign(foreign) => {
                    self.bfd.set_neighbors(&foreign);
                    self.bgp.set_foreign(foreign);
                }
                Output::Vrrp(plan) => self.vrrp.set_plan(plan),
                Output::Authority(authority) => {
                    if let Some(cloud) = &self.cloud {
                        cloud.set_authority(authority);
                    }
                }
                Output::CaptureRecord(record) => {
                    let cloud = self.cloud.as_mut();
                    if let Some(news) = cloud.and_then(|cloud| cloud.record(&record)) {
                        self.input(Input::Cloud(news));
                    }
                }
                Output::Cloud(order) => {
                    if let Some(cloud) = &self.cloud {
                        cloud.order(order);
                    }
                }
                Output::Probe(probe) => self.data_plane.probe(probe),
                Output::AskLan(question) => self.data_plane.ask_lan(question),
                Output::AskFabric(question) => self.data_plane.ask_fabric(question),
                Output::WireGuardPeers(peers) => self.data_plane.set_peers(peers),
                Output::Bgp(BgpOrder::Connect {
                    connection,
                    address,
                }) => {
                    self.bgp.connect(connection, address);
                }
                Output::Bgp(BgpOrder::Send(connection, bytes)) => {
                    if self.bgp.send(connection, bytes) {
                        self.input(Input::Bgp(sam_bgp::Input::Congested(connection)));
                    }
                }
                Output::Bgp(BgpOrder::Close(connection)) => self.bgp.close(connection),
                Output::Event(event) => self.tell(event),
            }
        }
        let count = self.router.change_count();
        self.news
            .send_if_modified(|told| std::mem::replace(told, count) != count);
    }

    fn save(&mut self, state: &sam_router::journal::RuntimeState) {
        let Some(path) = &self.router.config().local.state_file else {
            return;
        };
        let failure = journal_io::store(path, state).err();
        if let Some(error) = &failure {
            warn!(%error, path = %path.display(), "cannot write the state file");
        }
        self.unsaved = failure.map(|error| format!("cannot write {}: {error}", path.display()));
    }

    fn tell(&mut self, event: Event) {
        let text = serde_json::to_string(&event).unwrap_or_default();
        if event.is_warning() {
            warn!(target: "samctl", "{text}");
        } else {
            info!(target: "samctl", "{text}");
        }
        self.events.push(event);
    }

    /// Reads the configuration again and applies it; the former one stays when it is bad.
    ///
    /// # Errors
    /// What is wrong with the file, which settings need a restart, or which socket cannot be opened.
    pub(crate) async fn reload_now(&mut self) -> Result<(), String> {
        let config = (self.reload)()?;
        let changed = restart_only(self.router.config(), &config);
        if !changed.is_empty() {
            return Err(format!(
                "these settings need a restart: {}",
                changed.join(", ")
            ));
        }
        bgp_io::check(&config.local.foreign).map_err(|error| error.to_string())?;
        // The last thing that can fail: before it everything is as it was.
        let sockets = self.data_plane.set_sockets(&config);
        sockets.await.map_err(|error| format!("{error:#}"))?;
        self.host.forget();
        self.test_nodes.send_replace(overlays(&config));
        self.input(Input::Config(Box::new(config)));
        self.refresh_host().map_err(|error| format!("{error:#}"))?;
        self.drive();
        Ok(())
    }

    async fn stop(&mut self) {
        info!("stopping");
        // First of all: whoever follows us takes over while we still carry everything.
        self.vrrp.resign().await;
        // Before the sessions of BGP close: this end is no failure of the path.
        self.bfd.stop();
        self.input(Input::Command(Command::Shutdown));
        self.drive();
        tokio::time::sleep(FAREWELL).await;
        self.data_plane.stop();
        std::fs::remove_file(&self.router.config().local.control_socket).ok();
    }
}

/// Takes what waits now; what comes meanwhile stays.
fn queued<T>(receiver: &mut mpsc::Receiver<T>) -> Vec<T> {
    let waiting = receiver.len();
    std::iter::from_fn(|| receiver.try_recv().ok())
        .take(waiting)
        .collect()
}

/// Waits until a BFD session came up or went down; `None` when the thread is gone. Without a thread for ever.
async fn changed(changes: &mut Option<Changes>) -> Option<Vec<sam_bfd::SessionStatus>> {
    let Some(changes) = changes else {
        return std::future::pending().await;
    };
    changes.changed().await.ok()?;
    Some(changes.borrow_and_update().clone())
}

/// Waits until the provider answered; `None` when its thread is gone. Without a provider for ever.
async fn answered(answers: &mut Option<Answers>) -> Option<CloudInput> {
    match answers {
        Some(answers) => answers.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// A number that differs at each start and can be guessed: feeds jitter and the marker's epoch.
fn seed() -> u64 {
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let nanos = u64::try_from(since_epoch.as_nanos() & u128::from(u64::MAX)).unwrap_or_default();
    nanos ^ (u64::from(std::process::id()) << 40)
}

/// Tells a service manager that the router is up (sd_notify(3)), if there is one.
fn sd_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let told =
        address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address));
    if let Err(error) = told {
        warn!(%error, path = %path.display(), "cannot tell the service manager that the router is up");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_waits_is_taken_in_order_and_the_queue_stays_open() {
        let (sender, mut receiver) = mpsc::channel(8);
        for number in 0..5 {
            sender.try_send(number).expect("room");
        }
        assert_eq!(queued(&mut receiver), [0, 1, 2, 3, 4]);
        assert_eq!(queued(&mut receiver), [0; 0]);
        sender.try_send(5).expect("open");
        assert_eq!(queued(&mut receiver), [5]);
    }
}
