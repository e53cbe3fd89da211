//! What a speaker costs without sockets: a table received, reflected and lost again.
//!
//! `cargo bench -p sam-bgp` prints processor time per route, medians of five. `BENCH_ROUTES` sets the size of the table,
//! 100,000 by default.
#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench may fail by panic, and its time starts now"
)]

use std::borrow::Cow;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use sam_bgp::wire::{Capability, DecodeContext, Message, Open, Update};
use sam_bgp::{
    ConnectionId, Input, LargeCommunity, Output, PathAttributes, PeerConfig, PeerId, PeerRole,
    Policy, Prefix, Rejection, Speaker, SpeakerConfig,
};

const ASN: u16 = 64_577;
/// Prefixes in one UPDATE and different sets of attributes, as in `benches/bgp`.
const PACKED: usize = 50;
const SETS: usize = 100;
/// Bytes handed in at once.
const READ: usize = 16 * 1024;
const ROUNDS: usize = 5;
const CONTEXT: DecodeContext = DecodeContext {
    four_octet_as: true,
    ibgp: true,
    add_path: false,
    extended: false,
    ipv6: None,
};

fn main() {
    let routes = std::env::var("BENCH_ROUTES").ok();
    let routes = routes.map_or(100_000, |routes| routes.parse().expect("a number"));
    let messages = announcements(routes);
    for clients in [0, 1, 5, 10] {
        let mut loads = Vec::new();
        let mut losses = Vec::new();
        for _ in 0..ROUNDS {
            let (mut speaker, feeder) = established(clients);
            let (now, start) = (Instant::now(), processor_time());
            for piece in messages.chunks(READ) {
                speaker.handle_input(Input::Received(feeder, piece), now);
                drain(&mut speaker);
            }
            loads.push(processor_time() - start);
            assert_eq!(speaker.prefixes().len(), routes);
            let start = processor_time();
            speaker.handle_input(Input::Closed(feeder), now);
            drain(&mut speaker);
            losses.push(processor_time() - start);
            assert!(speaker.prefixes().is_empty());
        }
        let per = |times: &mut Vec<Duration>| {
            times.sort();
            times[ROUNDS / 2].as_nanos() / routes as u128
        };
        println!(
            "{routes} routes, {clients:2} clients: load {} ns, lose {} ns per route",
            per(&mut loads),
            per(&mut losses)
        );
    }
}

/// Takes and gives everything.
struct Everything;

impl<N: Prefix> Policy<N> for Everything {
    fn import(
        &self,
        _: PeerId,
        _: N,
        _: &mut Cow<'_, PathAttributes<N::NextHop>>,
    ) -> Result<(), Rejection> {
        Ok(())
    }

    fn export(
        &self,
        _: PeerId,
        _: N,
        _: &mut Cow<'_, PathAttributes<N::NextHop>>,
    ) -> Result<(), Rejection> {
        Ok(())
    }
}

/// Returns the time that this process has spent on a processor.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("a kernel with schedstat");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("nanoseconds"))
}

fn drain(speaker: &mut Speaker<Everything>) {
    while let Some(output) = speaker.poll_output() {
        black_box::<Output>(output);
    }
}

fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, u8::try_from(number).expect("few peers"))
}

/// A reflector with a feeder and clients, all sessions up.
fn established(clients: usize) -> (Speaker<Everything>, ConnectionId) {
    let now = Instant::now();
    let config = SpeakerConfig {
        asn: ASN.into(),
        router_id: address(1),
        cluster_id: address(1),
        hostname: "bench".to_owned(),
        graceful_restart: None,
    };
    let mut speaker = Speaker::new(config, Everything, 1, now);
    let peers = (0..=clients).map(|peer| PeerConfig {
        id: PeerId(u32::try_from(peer + 2).expect("few peers")),
        address: address(peer + 2),
        router_id: None,
        role: PeerRole::Client,
        active: false,
        hold_time: Duration::from_secs(240),
        connect_retry: Duration::from_secs(1),
        max_prefixes: 2_000_000,
        reflector: false,
        add_path: None,
        extended_messages: true,
        ipv6: false,
    });
    speaker.set_peers(peers.collect(), now);
    speaker.set_next_hops([address(2)].into(), now);
    for peer in 0..=clients {
        let connection = ConnectionId(2 * peer as u64 + 2);
        let from = address(peer + 2);
        speaker.handle_input(Input::Accepted { connection, from }, now);
        let open = Message::Open(Open {
            asn: ASN,
            hold_time_s: 240,
            router_id: from,
            capabilities: vec![
                Capability::Multiprotocol { afi: 1, safi: 1 },
                Capability::FourOctetAs(ASN.into()),
            ],
        });
        for message in [open, Message::Keepalive] {
            let bytes = message.encode(CONTEXT);
            speaker.handle_input(Input::Received(connection, &bytes), now);
            drain(&mut speaker);
        }
    }
    (speaker, ConnectionId(2))
}

fn announcements(routes: usize) -> Vec<u8> {
    let large = |local1, local2| LargeCommunity {
        global: ASN.into(),
        local1,
        local2,
    };
    let hosts: Vec<u32> = (0..u32::try_from(routes).expect("fewer than hosts")).collect();
    let updates = (0..).zip(hosts.chunks(PACKED)).map(|(number, hosts)| {
        let set = number % u32::try_from(SETS).expect("few sets");
        let host = |number: &u32| Ipv4Net::from(Ipv4Addr::from(0x0b00_0000 + number)).into();
        Message::Update(Update {
            announced: hosts.iter().map(host).collect(),
            attributes: Some(PathAttributes {
                local_pref: Some(400),
                large_communities: vec![large(1, set), large(2, 1), large(3, 1)],
                ..PathAttributes::local(address(2))
            }),
            ..Update::default()
        })
    });
    updates.flat_map(|update| update.encode(CONTEXT)).collect()
}
