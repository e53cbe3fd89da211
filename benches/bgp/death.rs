//! Silent death of a peer: how long the router needs from BFD's word to a published forwarding table that leads all addresses
//! to the backup. What comes before is BFD's detection time, what follows is the exchange of a pointer per packet worker.
//!
//! ```text
//!   router 2, active for all addresses ──┐
//!                                        ├── sessions in memory ── router 1, sam_router::Router
//!   router 3, standby for all of them ───┘
//! ```
//! Nobody else has a forwarding table of its own to show: BIRD, FRR and GoBGP hand theirs to the kernel.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::Ipv4Net;
use sam_bfd::{Diagnostic, DownCause, LastDown, SessionStatus, State};
use sam_bgp::wire::{Capability, DecodeContext, Message, Open, Update};
use sam_bgp::{ConnectionId, PathAttributes};
use sam_capture::{Claim, ClaimSource, ClaimState, NodeId, RouteKind, RouteTags};
use sam_dataplane::{NextHop, Snapshot, TunnelId};
use sam_router::config::BfdTiming;
use sam_router::router::Start;
use sam_router::{BgpOrder, Config, Input, Output, Router, RuntimeState};
use sam_testkit::rng::Rng;
use sam_testkit::topology::Topology;

use crate::cases::{Figure, figures};

/// As `fabric.bfd` has it by default: 300 ms, three times.
const DETECTION: Duration = Duration::from_millis(900);
/// The pool; 4 M addresses.
const POOL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 128, 0, 0), 10);
const CONTEXT: DecodeContext = DecodeContext {
    four_octet_as: true,
    ibgp: true,
    add_path: false,
    extended: false,
    ipv6: None,
};

/// Measures with so many addresses.
pub(crate) fn silent_death(routes: usize) -> Result<Vec<Figure>> {
    let mut stand = Stand::new(routes)?;
    for (node, state) in [(2, ClaimState::Active), (3, ClaimState::Standby)] {
        stand.claim_all(node, state, routes)?;
    }
    let addresses = [0, routes / 2, routes - 1].map(address);
    let active = stand.ways(&addresses)?;
    ensure!(active.len() == 1, "{active:?}");
    let mut session = stand.session(2);
    stand.tell(&session);

    session.state = State::Down;
    session.failures += 1;
    session.last_down = Some(LastDown {
        at: Instant::now(),
        cause: DownCause::Expired,
        remote_diagnostic: Diagnostic::NONE,
    });
    let start = Instant::now();
    let (published, done) = stand.tell(&session);

    let published = published.context("nothing was published")? - start;
    let backup = stand.ways(&addresses)?;
    ensure!(
        backup.len() == 1 && backup != active,
        "{active:?}, then {backup:?}"
    );
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(figures(&[
        ("BFD's word to own FIB, ms", ms(published)),
        ("silence to own FIB, ms", ms(DETECTION + published)),
        ("BFD's word to all done, ms", ms(done - start)),
    ]))
}

/// The router and what it published.
struct Stand {
    router: Router,
    config: Config,
    snapshot: Arc<Snapshot>,
    /// Connections to routers 2 and 3.
    sessions: [ConnectionId; 2],
}

impl Stand {
    /// Brings both sessions up.
    fn new(routes: usize) -> Result<Self> {
        let topology = Topology::new(3, &[], &mut Rng::new(1));
        let mut config = topology.config(0);
        config.fabric.pools[0].prefix = POOL;
        config.fabric.pools[0].exclude = BTreeSet::new();
        config.fabric.bgp.max_prefixes = routes + 10;
        config.fabric.bfd = Some(BfdTiming {
            interval: DETECTION / 3,
            multiplier: 3,
        });
        config.local.owned = BTreeSet::new();
        let start = Start {
            config: config.clone(),
            state: RuntimeState::default(),
            seed: 1,
        };
        let mut stand = Self {
            router: Router::new(start, Instant::now()),
            config,
            snapshot: Arc::default(),
            sessions: [ConnectionId(0); 2],
        };
        let dialed: Vec<(ConnectionId, Ipv4Addr)> = stand
            .drain()
            .orders
            .into_iter()
            .filter_map(|order| match order {
                BgpOrder::Connect {
                    connection,
                    address,
                } => Some((connection, address)),
                BgpOrder::Send(..) | BgpOrder::Close(_) => None,
            })
            .collect();
        for (place, node) in [2, 3].into_iter().enumerate() {
            let overlay = stand.overlay(node);
            let mut calls = dialed.iter();
            let call = calls.find(|(_, address)| *address == overlay);
            let (connection, _) = call.context("the router calls its neighbors")?;
            stand.sessions[place] = *connection;
            let connected = sam_bgp::Input::Connected(*connection);
            stand
                .router
                .handle_input(Input::Bgp(connected), Instant::now());
            let asn = stand.config.fabric.asn;
            let open = Open {
                asn: u16::try_from(asn)?,
                hold_time_s: 9,
                router_id: overlay,
                capabilities: vec![
                    Capability::FourOctetAs(asn),
                    Capability::Multiprotocol { afi: 1, safi: 1 },
                ],
            };
            stand.hear(node, &Message::Open(open));
            stand.hear(node, &Message::Keepalive);
        }
        Ok(stand)
    }

    /// Has a router claim the first `routes` addresses.
    fn claim_all(&mut self, node: u32, state: ClaimState, routes: usize) -> Result<()> {
        let claim = Claim {
            state,
            sequence: 1,
            pool: self.config.fabric.pools[0].id,
            source: ClaimSource::Configured,
        };
        let mut attributes = PathAttributes::local(self.overlay(node));
        let tags = RouteTags::new(NodeId(node), RouteKind::Owner(claim));
        tags.apply(self.config.fabric.asn, &mut attributes);
        let numbers: Vec<usize> = (0..routes).collect();
        let update = |part: &[usize]| {
            let announced = part
                .iter()
                .map(|number| Ipv4Net::from(address(*number)).into());
            Message::Update(Update {
                announced: announced.collect(),
                attributes: Some(attributes.clone()),
                ..Update::default()
            })
        };
        // As from a socket: in pieces, each of which is published.
        for part in numbers.chunks(PART * MESSAGES) {
            let bytes: Vec<u8> = part
                .chunks(PART)
                .flat_map(|part| update(part).encode(CONTEXT))
                .collect();
            self.read(node, &bytes);
        }
        let known = self.router.rib_prefixes().len();
        ensure!(known >= routes, "{known} of {routes} prefixes");
        Ok(())
    }

    /// Hands in how the session with a router is; returns when the forwarding table was published, and when all was done.
    fn tell(&mut self, session: &SessionStatus) -> (Option<Instant>, Instant) {
        let sessions = std::slice::from_ref(session);
        self.router
            .handle_input(Input::Bfd(sessions), Instant::now());
        (self.drain().published, Instant::now())
    }

    fn hear(&mut self, node: u32, message: &Message) {
        self.read(node, &message.encode(CONTEXT));
    }

    fn read(&mut self, node: u32, bytes: &[u8]) {
        let connection = self.sessions[if node == 2 { 0 } else { 1 }];
        let received = sam_bgp::Input::Received(connection, bytes);
        self.router
            .handle_input(Input::Bgp(received), Instant::now());
        self.drain();
    }

    fn drain(&mut self) -> Drained {
        let mut drained = Drained::default();
        while let Some(output) = self.router.poll_output() {
            if let Output::Publish(snapshot) = output {
                self.snapshot = snapshot;
                drained.published.get_or_insert_with(Instant::now);
            } else if let Output::Bgp(order) = output {
                drained.orders.push(order);
            }
        }
        drained
    }

    /// The tunnels to which the published table leads addresses.
    fn ways(&self, addresses: &[Ipv4Addr]) -> Result<BTreeSet<TunnelId>> {
        let way = |address: &Ipv4Addr| match self.snapshot.fib.lookup(*address) {
            Some(NextHop::Tunnel(tunnel)) => Ok(tunnel),
            other => anyhow::bail!("{address} leads to {other:?}"),
        };
        addresses.iter().map(way).collect()
    }

    fn overlay(&self, node: u32) -> Ipv4Addr {
        self.config.fabric.nodes[&NodeId(node)].overlay
    }

    /// A session that is up.
    fn session(&self, node: u32) -> SessionStatus {
        SessionStatus {
            peer: self.overlay(node),
            state: State::Up,
            since: Instant::now(),
            remote_state: State::Up,
            local_discriminator: 1,
            remote_discriminator: 2,
            diagnostic: Diagnostic::NONE,
            remote_diagnostic: Diagnostic::NONE,
            transmit_interval: Some(DETECTION / 3),
            receive_interval: Some(DETECTION / 3),
            detection_time: Some(DETECTION),
            multiplier: 3,
            remote_multiplier: 3,
            polling: false,
            ups: 1,
            failures: 0,
            last_down: None,
            received: 0,
            sent: 0,
        }
    }
}

/// What came out of the router.
#[derive(Default)]
struct Drained {
    /// When the first forwarding table came.
    published: Option<Instant>,
    orders: Vec<BgpOrder>,
}

/// Prefixes of one UPDATE, which has room for some more.
const PART: usize = 700;
/// UPDATEs of one piece: 64 KiB.
const MESSAGES: usize = 16;

fn address(number: usize) -> Ipv4Addr {
    let number = u32::try_from(number).expect("the pool has fewer addresses");
    // Neither the network itself nor its last address can be owned.
    Ipv4Addr::from(u32::from(POOL.addr()) + 1 + number)
}
