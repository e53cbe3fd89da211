//! Sessions that are renewed while they are in use, with wireguard-go and boringtun, in both roles.
//!
//! Our side is the core alone, on a clock that a test puts forward: no two minutes pass. The other one is the real program,
//! whose kernel answers pings.
//!
//! ```text
//!   test: core ── socket in router 1 ── wan ── wireguard-go or boringtun ── kernel of router 2
//! ```

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use sam_wg::{DataPath, Device, Event, HANDSHAKE_MAX, Opened, PeerConfig, PeerIndex, SealError};

use crate::fabric::{Fabric, WG_PORT, random};
use crate::kernel_host::{KernelHost, Program};
use crate::process::output;
use crate::scratch::Scratch;
use crate::wait::within;
use crate::world::{Place, World};

const OURS: Place = Place(1);
const THEIRS: Place = Place(2);
const PEER: PeerIndex = PeerIndex(0);

/// We renew, again and again, with packets under way; none is lost.
pub(crate) fn we_renew(program: Program, scratch: &Scratch) -> Result<()> {
    let mut lab = Lab::start(program, scratch)?;
    lab.wait("the first answer", |lab| lab.ask_until_answered())?;
    for renewal in 1..=RENEWALS {
        lab.ask(BURST)?;
        lab.skipped += REKEY_AFTER_TIME;
        lab.ask(BURST)?;
        lab.wait("a new session", |lab| {
            ensure!(
                lab.handshakes() > renewal,
                "{} handshakes",
                lab.handshakes()
            );
            Ok(())
        })?;
        lab.ask(BURST)?;
        lab.wait("all answers", Lab::nothing_is_missing)?;
    }
    ensure!(lab.handshakes() == 1 + RENEWALS, "renewed by them too");
    lab.one_session_after_the_other()
}

/// They renew, because nobody answers for 15 s (WireGuard paper section 6.2) what they send by a session that lives; none of
/// our packets is lost.
pub(crate) fn they_renew(program: Program, scratch: &Scratch) -> Result<()> {
    let mut lab = Lab::start(program, scratch)?;
    lab.wait("the first answer", |lab| lab.ask_until_answered())?;
    lab.wait("all answers", Lab::nothing_is_missing)?;

    let silence = Instant::now();
    lab.silent = true;
    within(SILENCE, "they call again", || {
        lab.they_ping();
        lab.receive()?;
        ensure!(lab.handshakes() > 1, "one session");
        Ok(())
    })?;
    ensure!(silence.elapsed() > NO_ANSWER, "for another reason");

    lab.ask(BURST)?;
    lab.wait("all answers", Lab::nothing_is_missing)?;
    ensure!(lab.initiations == 1, "we called too");
    lab.one_session_after_the_other()
}

/// Our core, and the other program.
struct Lab {
    world: World,
    _theirs: KernelHost,
    socket: UdpSocket,
    device: Device,
    path: DataPath,
    start: Instant,
    /// By how much our clock was put forward.
    skipped: Duration,
    /// Number of the next ping.
    next: u16,
    /// Pings that have no answer yet.
    missing: BTreeSet<u16>,
    events: Vec<Event>,
    /// Handshakes that we began.
    initiations: u64,
    /// Whether our core is not told of anything but handshakes, so that it has nothing to say.
    silent: bool,
}

impl Lab {
    fn start(program: Program, scratch: &Scratch) -> Result<Self> {
        let (world, fabric) = (World::build(2)?, Fabric::new(2, None)?);
        let theirs = KernelHost::start_program(program, world.site(THEIRS)?, &fabric, scratch)?;
        let own = SocketAddr::from((OURS.underlay(), WG_PORT));
        let socket = world.site(OURS)?.router.enter(|| UdpSocket::bind(own))??;
        socket.set_read_timeout(Some(PAUSE))?;
        let start = Instant::now();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let mut device = Device::new(fabric.key(OURS), random()?, wall, start);
        let config = PeerConfig {
            index: PEER,
            public_key: fabric.key(THEIRS).public(),
            preshared_key: None,
            endpoint: Some(SocketAddr::from((THEIRS.underlay(), WG_PORT))),
            persistent_keepalive: None,
            roaming: true,
        };
        device.set_peers(&[config], start);
        Ok(Self {
            world,
            _theirs: theirs,
            socket,
            path: device.data_path(),
            device,
            start,
            skipped: Duration::ZERO,
            next: 0,
            missing: BTreeSet::new(),
            events: Vec::new(),
            initiations: 0,
            silent: false,
        })
    }

    fn now(&self) -> Instant {
        Instant::now() + self.skipped
    }

    /// Sends pings, all at once.
    fn ask(&mut self, count: u16) -> Result<()> {
        for _ in 0..count {
            let number = self.next;
            ensure!(self.send(number)?, "there is no session");
            self.missing.insert(number);
            self.next += 1;
        }
        self.exchange()
    }

    /// Sends a ping as soon as there is a session, and fails until it is answered.
    fn ask_until_answered(&mut self) -> Result<()> {
        if self.next == 0 && self.send(0)? {
            self.missing.insert(0);
            self.next = 1;
        }
        self.exchange()?;
        ensure!(self.next == 1, "no session");
        self.nothing_is_missing()
    }

    fn nothing_is_missing(&mut self) -> Result<()> {
        ensure!(self.missing.is_empty(), "no answer to {:?}", self.missing);
        Ok(())
    }

    /// Waits for a condition, and handles meanwhile what comes.
    fn wait(&mut self, what: &str, look: impl Fn(&mut Self) -> Result<()>) -> Result<()> {
        within(PATIENCE, what, || {
            self.receive()?;
            look(self)
        })
    }

    /// Sends a ping; false if there is no session.
    fn send(&mut self, number: u16) -> Result<bool> {
        let mut out = [0; 256];
        let now = self.now();
        match self.path.seal(PEER, &echo_request(number), &mut out, now) {
            Ok(len) => {
                let to = self.path.endpoint(PEER).context("no endpoint")?;
                self.socket.send_to(&out[..len], to)?;
                Ok(true)
            }
            Err(SealError::NoSession) => Ok(false),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Handles all datagrams that have come. What they send is opened and not answered.
    fn receive(&mut self) -> Result<()> {
        let (mut datagram, mut out) = ([0; 2048], [0; 2048]);
        while let Ok((len, from)) = self.socket.recv_from(&mut datagram) {
            let (datagram, now) = (&datagram[..len], self.now());
            match self.path.open(from, datagram, &mut out, now)? {
                Opened::Packet { len, .. } => {
                    if let Some(number) = echo_reply(&out[..len]) {
                        self.missing.remove(&number);
                    }
                }
                Opened::Keepalive => {}
                Opened::Handshake => {
                    self.silent = false;
                    self.device.handle_message(from, datagram, now)?;
                }
            }
            self.exchange()?;
        }
        Ok(())
    }

    /// Lets device and data path know what the other one knows, and sends what waits. No timer of ours runs.
    fn exchange(&mut self) -> Result<()> {
        let (now, mut message) = (self.now(), [0; HANDSHAKE_MAX]);
        while let Some(signal) = self.path.poll_signal() {
            if !self.silent {
                self.device.handle_signal(signal, now);
            }
        }
        while let Some((to, len)) = self.device.poll_transmit(&mut message) {
            self.initiations += u64::from(message[0] == 1);
            self.socket.send_to(&message[..len], to)?;
        }
        self.events
            .extend(std::iter::from_fn(|| self.device.poll_event()));
        self.path.refresh();
        Ok(())
    }

    /// Has the other side's kernel send something, to which it hears no answer.
    fn they_ping(&self) {
        if let Ok(site) = self.world.site(THEIRS) {
            let mut command = site.router.command("ping");
            let unanswered = command.args(["-n", "-c", "1", "-W", "1"]);
            output(unanswered.arg(OURS.overlay().to_string())).ok();
        }
    }

    fn handshakes(&self) -> u64 {
        self.device
            .status()
            .first()
            .map_or(0, |peer| peer.handshakes)
    }

    /// There was a session all the time since the first one.
    fn one_session_after_the_other(&self) -> Result<()> {
        let mut sessions = self.events.iter().filter_map(|event| match event {
            Event::SessionUp { first, .. } => Some(*first),
            Event::SessionDown { .. } | Event::EndpointChanged { .. } => None,
        });
        let (first, others) = (sessions.next(), sessions.collect::<Vec<_>>());
        ensure!(first == Some(true) && !others.contains(&true));
        ensure!(!self.events.contains(&Event::SessionDown { peer: PEER }));
        ensure!(self.now() >= self.start + self.skipped);
        Ok(())
    }
}

/// A ping from our overlay address to theirs (RFC 792).
fn echo_request(number: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0];
    packet.extend(OURS.overlay().octets());
    packet.extend(THEIRS.overlay().octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum);
    let mut echo = vec![8, 0, 0, 0, 0x5a, 0x4d];
    echo.extend(number.to_be_bytes());
    let sum = checksum(&echo);
    echo[2..4].copy_from_slice(&sum);
    packet.extend(echo);
    packet
}

/// Returns the number of the ping that is answered.
fn echo_reply(packet: &[u8]) -> Option<u16> {
    let echo = packet.get(20..28)?;
    let is_reply = packet[9] == 1 && echo[..2] == [0, 0] && echo[4..6] == [0x5a, 0x4d];
    is_reply.then(|| u16::from_be_bytes([echo[6], echo[7]]))
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let [_, _, high, low] = (!(sum + (sum >> 16))).to_be_bytes();
    [high, low]
}

const RENEWALS: u64 = 5;
/// Pings at once.
const BURST: u16 = 10;
/// How long one look for datagrams takes.
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(25);
/// WireGuard paper, section 6.1: older than REKEY_AFTER_TIME, not yet REJECT_AFTER_TIME.
const REKEY_AFTER_TIME: Duration = Duration::from_secs(121);
/// KEEPALIVE_TIMEOUT and REKEY_TIMEOUT.
const NO_ANSWER: Duration = Duration::from_secs(14);
const SILENCE: Duration = Duration::from_secs(45);
