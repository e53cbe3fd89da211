//! The packet path as threads: N workers that share nothing but WireGuard sessions, and one thread for handshakes.
//!
//! ```text
//!   control ──mailboxes──► worker 0 … N-1: TUN queue, LAN fanout member, UDP sockets of one port (0: control sockets)
//!                              │ posts: handshake messages, signals      ▲ wake: a session came up
//!                              ▼                                         │
//!                          handshakes: peers, timers ── publishes sessions
//! ```
//! The kernel keeps a flow to one worker at each port, so flows stay in order without any lock between workers.

mod budget;
mod carriers;
mod courtesy;
mod handshake_thread;
mod lan;
mod listener;
#[cfg(test)]
mod logged;
mod mailbox;
mod plain_ports;
mod ports;
#[cfg(test)]
mod refused;
mod sockets;
mod software;
mod switches;
mod trust;
mod underlay;
mod worker;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use sam_dataplane::trace::TapRecord;
use sam_dataplane::{
    FabricQuestion, Handshakes, LanQuestion, Notice, PacketFilter, PathProbe, PortId, Snapshot,
    Stats,
};
use sam_net::Tun;
use sam_router::Config;
use sam_router::config::WORKERS_MAX;
use sam_wg::{PeerConfig, PeerStatus};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

pub(crate) use handshake_thread::HandshakeReport;
pub(crate) use listener::Captured;
pub(crate) use mailbox::{LanSockets, WorkerReport};
pub(crate) use switches::tun_limit;
pub(crate) use worker::BUFFERS;

use crate::StartError;
use crate::kernel_release::safe_offloads;
use crate::pulse::Pulse;
use handshake_thread::{HandshakeBox, HandshakeThread};
use mailbox::Mailbox;
use sockets::WantedSockets;
use worker::{Worker, WorkerStart};

/// Notices that may wait for control.
pub(crate) const NOTICES: usize = 1024;
/// Of these, places that notices without bound leave to the others, so that no LAN host can make control miss a session.
const RESERVED_NOTICES: usize = NOTICES / 2;
/// Time for a thread to say how things are; beyond that the answer does without, for BGP must not wait.
const REPORT_PATIENCE: Duration = Duration::from_millis(500);

/// Returns how many workers there are to be: as configured, else one per core.
pub(crate) fn worker_count(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let wanted = config.local.workers.unwrap_or(cores).get();
    wanted.min(WORKERS_MAX.into())
}

/// What the threads tell control.
#[derive(Debug)]
pub(crate) struct Reports {
    /// Facts of the packet path.
    pub(crate) notices: mpsc::Receiver<Notice>,
    /// Names of threads that ended.
    pub(crate) ended: mpsc::Receiver<String>,
}

/// How things are in all threads; what a thread did not say in time is missing.
#[derive(Debug, Default)]
pub(crate) struct DataPlaneReport {
    /// Of the workers that answered, with their numbers.
    pub(crate) workers: Vec<(usize, WorkerReport)>,
    /// WireGuard peers.
    pub(crate) peers: Vec<PeerStatus>,
    /// Notices that wait for control.
    pub(crate) notices_waiting: usize,
    /// Notices that found their queue full.
    pub(crate) notices_lost: u64,
    /// WireGuard messages and events that found their queue full.
    pub(crate) wireguard_lost: u64,
}

/// The control side of the packet path.
#[derive(Debug)]
pub(crate) struct DataPlane {
    workers: Vec<Arc<Mailbox>>,
    /// What the workers serve.
    sockets: WantedSockets,
    handshakes: Arc<HandshakeBox>,
    /// Counters: one block per worker, then that of the handshakes.
    stats: Vec<Arc<Stats>>,
    notices: mpsc::Sender<Notice>,
    /// Where the workers show that they run.
    pulses: Vec<Arc<Pulse>>,
    /// The capture under way or the last one.
    capture: mpsc::WeakSender<TapRecord>,
    threads: Vec<JoinHandle<()>>,
}

/// Makes the router silent on its LANs, whatever the snapshot says that control has handed out.
#[derive(Debug)]
pub(crate) struct Mute {
    workers: Vec<Arc<Mailbox>>,
}

impl Mute {
    /// Makes it silent, or ends that.
    pub(crate) fn set(&self, muted: bool) {
        for worker in &self.workers {
            worker.post(|letters| letters.muted = Some(muted));
        }
    }
}

impl DataPlane {
    /// Opens the underlay sockets and starts `count` workers and the thread for handshakes. `tuns` are the queues of
    /// the TUN device.
    ///
    /// # Errors
    /// When a socket cannot be opened or a thread not be started.
    pub(crate) fn start(
        config: &Config,
        count: usize,
        tuns: Vec<Tun>,
        seed: [u8; 32],
    ) -> Result<(Self, Reports), StartError> {
        let (notices, notice_receiver) = mpsc::channel(NOTICES);
        let (ended, ended_receiver) = mpsc::channel(count + 1);
        let sockets = WantedSockets::of(config);
        let opened = sockets.open(None, count)?;
        let handshake_stats = Arc::new(Stats::default());
        let device =
            sam_wg::Device::new(&config.local.private_key, seed, wall_time(), Instant::now());
        let owner = Handshakes::new(device, Arc::clone(&handshake_stats));
        let mut data_plane = Self {
            workers: (0..count)
                .map(|_| Mailbox::new().map(Arc::new))
                .collect::<Result<_, _>>()
                .context("cannot make an eventfd")?,
            sockets,
            handshakes: Arc::default(),
            stats: (0..count).map(|_| Arc::default()).collect(),
            notices: notices.clone(),
            pulses: (0..count)
                .map(|index| Pulse::new(format!("worker {index}"), Instant::now()))
                .collect(),
            capture: mpsc::channel(1).0.downgrade(),
            threads: Vec::new(),
        };
        let icmp_limiter = Arc::default();
        let offloads = safe_offloads(config.local.offloads);
        let tuns = handles(tuns, count)?.into_iter();
        for (index, ((tun, reads_tun), sockets)) in tuns.zip(opened.workers).enumerate() {
            let worker = Worker::new(WorkerStart {
                index,
                tun,
                reads_tun,
                sockets,
                offloads,
                sessions: owner.data_path(),
                icmp_limiter: Arc::clone(&icmp_limiter),
                stats: Arc::clone(&data_plane.stats[index]),
                mailbox: Arc::clone(&data_plane.workers[index]),
                handshakes: Arc::clone(&data_plane.handshakes),
                notices: notices.clone(),
                pulse: Arc::clone(&data_plane.pulses[index]),
            })?;
            data_plane.spawn(format!("worker{index}"), &ended, move || worker.run())?;
        }
        let thread = HandshakeThread::new(
            owner,
            opened.senders.unwrap_or_default(),
            Arc::clone(&data_plane.handshakes),
            data_plane.workers.clone(),
            Arc::clone(&handshake_stats),
            notices,
        );
        data_plane.stats.push(handshake_stats);
        data_plane.spawn("handshakes".to_owned(), &ended, move || thread.run())?;
        let reports = Reports {
            notices: notice_receiver,
            ended: ended_receiver,
        };
        Ok((data_plane, reports))
    }

    /// Where the workers show that they run.
    pub(crate) fn pulses(&self) -> Vec<Arc<Pulse>> {
        self.pulses.clone()
    }

    /// What makes the router silent on its LANs when control cannot.
    pub(crate) fn mute(&self) -> Mute {
        Mute {
            workers: self.workers.clone(),
        }
    }

    /// Makes the WireGuard peers exactly these.
    pub(crate) fn set_peers(&self, peers: Vec<PeerConfig>) {
        self.handshakes.post(|letters| letters.peers = Some(peers));
    }

    /// Makes every worker forward by this snapshot from now on.
    pub(crate) fn install(&self, snapshot: &Arc<Snapshot>) {
        self.handshakes
            .post(|letters| letters.snapshot = Some(Arc::clone(snapshot)));
        for worker in &self.workers {
            worker.post(|letters| letters.snapshot = Some(Arc::clone(snapshot)));
        }
    }

    /// Sends a probe of a tunnel's size; of two that wait for one size, the newer counts.
    pub(crate) fn probe(&self, probe: PathProbe) {
        if let Some(first) = self.workers.first() {
            first.post(|letters| {
                letters.add_probe(probe);
            });
        }
    }

    /// Asks a LAN who has an address; of two questions for one address that wait, the newer counts.
    pub(crate) fn ask_lan(&self, question: LanQuestion) {
        if let Some(first) = self.workers.first() {
            first.post(|letters| {
                letters.questions.insert(question.address, question);
            });
        }
    }

    /// Asks another router whether an address lives with it; control paces such questions.
    pub(crate) fn ask_fabric(&self, question: FabricQuestion) {
        if let Some(first) = self.workers.first() {
            first.post(|letters| {
                let key = (question.tunnel, question.address);
                letters.fabric_questions.insert(key, question);
            });
        }
    }

    /// Makes the workers serve a LAN port, in place of former sockets; one member per worker.
    pub(crate) fn set_lan(&self, port: PortId, members: Vec<LanSockets>) {
        for (worker, sockets) in self.workers.iter().zip(members) {
            worker.post(|letters| drop(letters.lans.insert(port, sockets)));
        }
    }

    /// Makes the workers serve the sockets of the underlay that a configuration wants. Waits until they do, for a limited
    /// time: then a port that was given up is free.
    ///
    /// # Errors
    /// When a socket cannot be opened; all are as before then.
    pub(crate) async fn set_sockets(&mut self, config: &Config) -> Result<(), StartError> {
        let wanted = WantedSockets::of(config);
        if wanted == self.sockets {
            return Ok(());
        }
        let opened = wanted.open(Some(&self.sockets), self.workers.len())?;
        self.sockets = wanted;
        let mut answers = Vec::new();
        for (worker, mut change) in self.workers.iter().zip(opened.workers) {
            answers.push(change.acknowledged());
            worker.post(|letters| letters.change_sockets(change));
        }
        if let Some(senders) = opened.senders {
            let (done, answer) = oneshot::channel();
            answers.push(answer);
            self.handshakes
                .post(|letters| letters.senders = Some((senders, done)));
        }
        let end = tokio::time::Instant::now() + REPORT_PATIENCE;
        for answer in answers {
            // Whoever does not answer any more has closed all.
            tokio::time::timeout_at(end, answer).await.ok();
        }
        Ok(())
    }

    /// Copies packets until the reader is dropped, of which at most `queue` wait; `None` while another one reads. A
    /// filter leaves received inner packets only.
    pub(crate) fn tap(&mut self, queue: usize, filter: Option<PacketFilter>) -> Option<Captured> {
        if is_wanted(&self.capture) {
            return None;
        }
        let is_inner = filter.is_some();
        let (listener, captured) = listener::listen(queue, filter);
        self.capture = listener.downgrade();
        for worker in &self.workers {
            let listener = listener.clone();
            worker.post(|letters| letters.tap = Some(listener));
        }
        if !is_inner {
            self.handshakes.post(|letters| letters.tap = Some(listener));
        }
        Some(captured)
    }

    /// Asks how things are.
    pub(crate) async fn report(&self) -> DataPlaneReport {
        let mut answers = Vec::new();
        for worker in &self.workers {
            let (sender, receiver) = oneshot::channel();
            worker.post(|letters| letters.report = Some(sender));
            answers.push(receiver);
        }
        let (sender, handshakes) = oneshot::channel();
        self.handshakes
            .post(|letters| letters.report = Some(sender));
        let end = tokio::time::Instant::now() + REPORT_PATIENCE;
        let mut report = DataPlaneReport::default();
        for (index, answer) in answers.into_iter().enumerate() {
            if let Ok(Ok(worker)) = tokio::time::timeout_at(end, answer).await {
                report.notices_lost += worker.notices_lost;
                report.workers.push((index, worker));
            }
        }
        if let Ok(Ok(HandshakeReport {
            peers,
            lost,
            notices_lost,
        })) = tokio::time::timeout_at(end, handshakes).await
        {
            report.peers = peers;
            report.wireguard_lost = lost;
            report.notices_lost += notices_lost;
        }
        report.notices_waiting = self.notices.max_capacity() - self.notices.capacity();
        report
    }

    /// The counters of all threads.
    pub(crate) fn stats(&self) -> Vec<Arc<Stats>> {
        self.stats.clone()
    }

    /// Number of workers.
    pub(crate) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Ends the threads.
    pub(crate) fn stop(&mut self) {
        for worker in &self.workers {
            worker.post(|letters| letters.stop = true);
        }
        self.handshakes.post(|letters| letters.stop = true);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                warn!("a thread of the packet path had panicked");
            }
        }
    }

    fn spawn(
        &mut self,
        name: String,
        ended: &mpsc::Sender<String>,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<(), StartError> {
        let last_words = LastWords {
            name: name.clone(),
            ended: ended.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || {
                let _last_words = last_words;
                run();
            })
            .context("cannot start a thread of the packet path")?;
        self.threads.push(thread);
        Ok(())
    }
}

/// Tells control that a thread ended, also by a panic.
struct LastWords {
    name: String,
    ended: mpsc::Sender<String>,
}

impl Drop for LastWords {
    fn drop(&mut self) {
        // Control is gone when the router stops.
        self.ended.try_send(std::mem::take(&mut self.name)).ok();
    }
}

/// Gives each of `count` workers a handle of the TUN device, and tells whether it reads by it: with fewer queues than
/// workers, the others only write.
fn handles(mut tuns: Vec<Tun>, count: usize) -> Result<Vec<(Tun, bool)>, StartError> {
    let readers = tuns.len().min(count);
    while tuns.len() < count {
        let writer = tuns
            .first()
            .context("the TUN device was already handed over")?
            .try_clone()
            .context("cannot share the TUN device")?;
        tuns.push(writer);
    }
    let handles = tuns.into_iter().enumerate();
    Ok(handles.map(|(index, tun)| (tun, index < readers)).collect())
}

/// Time since the Unix epoch.
fn wall_time() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Tells whether somebody still reads what is sent.
fn is_wanted<T>(sender: &mpsc::WeakSender<T>) -> bool {
    sender.upgrade().is_some_and(|sender| !sender.is_closed())
}

/// Tells control something unless there is no room for it; returns whether there was.
fn offer(notices: &mpsc::Sender<Notice>, notice: Notice) -> bool {
    let has_room = !notice.is_unbounded() || notices.capacity() > RESERVED_NOTICES;
    has_room && notices.try_send(notice).is_ok()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use sam_dataplane::TunnelId;

    use super::*;

    #[test]
    fn a_capture_is_wanted_until_its_reader_hangs_up_or_its_writer_ends() {
        let (sender, receiver) = mpsc::channel::<()>(1);
        let weak = sender.downgrade();
        assert!(is_wanted(&weak));
        drop(receiver);
        assert!(!is_wanted(&weak), "the reader hung up");

        let (sender, _receiver) = mpsc::channel::<()>(1);
        let weak = sender.downgrade();
        drop(sender);
        assert!(!is_wanted(&weak), "the writer ended");
    }

    #[test]
    fn control_hears_of_sessions_however_much_happens_on_a_lan() {
        let (sender, mut receiver) = mpsc::channel(NOTICES);
        let probe = Notice::AddressProbed {
            port: PortId(1),
            address: Ipv4Addr::LOCALHOST,
            mac: [2; 6],
        };
        let session = Notice::SessionDown {
            tunnel: TunnelId(0),
        };

        let told = (0..2 * NOTICES).filter(|_| offer(&sender, probe.clone()));
        assert_eq!(told.count(), NOTICES - RESERVED_NOTICES);

        assert!(offer(&sender, session.clone()));
        let last = std::iter::from_fn(|| receiver.try_recv().ok()).last();
        assert_eq!(last, Some(session));
    }
}
