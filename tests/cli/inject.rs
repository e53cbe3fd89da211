//! `samctl bgp mrt inject`: routes of a file told to a speaker that this test plays.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use sam_bgp::mrt::DumpHead;
use sam_bgp::{
    ConnectionId, Input, Output, PathAttributes, PeerConfig, PeerId, PeerRole, Policy, Prefix,
    Rejection, Speaker, SpeakerConfig,
};
use samctl::exit::Exit;
use serde_json::Value;

use crate::run::{run, scratch};

#[test]
fn routes_of_a_file_are_told_with_their_attributes() {
    let (file, routes) = table("inject-told");
    let (address, heard) = listen();

    let terms = ["--asn", "64512", "--seconds", "0", "--live"];
    let printed = inject(&file, &[&["--to", &address], &terms[..]].concat());

    assert_eq!((printed.exit, printed.stderr.as_str()), (Exit::Ok, ""));
    let report: Value = serde_json::from_str(&printed.stdout).expect("JSON");
    assert_eq!((&report["routes"], &report["told"]), (&2.into(), &2.into()));
    assert_eq!(heard.join().expect("a speaker"), routes);
}

#[test]
fn a_speaker_that_refuses_is_a_failure_that_says_why() {
    let (file, _) = table("inject-refused");
    let (address, heard) = listen();

    let as_another = ["--asn", "64513", "--peer-asn", "64512", "--live"];
    let printed = inject(&file, &[&["--to", &address], &as_another[..]].concat());

    assert_eq!(printed.exit, Exit::Failed);
    assert!(
        printed.stderr.to_lowercase().contains("bad peer as"),
        "{}",
        printed.stderr
    );
    assert_eq!(heard.join().expect("a speaker"), BTreeMap::new());
}

#[test]
fn nothing_is_sent_unless_asked_plainly() {
    let (file, _) = table("inject-dry");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();

    let printed = inject(&file, &["--to", &address, "--asn", "64512"]);

    assert_eq!(printed.exit, Exit::Ok, "{}", printed.stderr);
    let report: Value = serde_json::from_str(&printed.stdout).expect("JSON");
    assert_eq!(
        (&report["routes"], &report["told"]),
        (&2.into(), &Value::Null)
    );
    listener.set_nonblocking(true).expect("a socket");
    assert!(listener.accept().is_err(), "nobody called");
    let whom = inject(&file, &["--live"]);
    assert_eq!(whom.exit, Exit::Usage, "{}", whom.stdout);
}

fn inject(file: &Path, more: &[&str]) -> crate::run::Printed {
    let path = file.to_str().expect("UTF-8");
    run(&[&["-o", "json", "bgp", "mrt", "inject", path], more].concat())
}

/// A dump of two routes, and what they are.
fn table(name: &str) -> (PathBuf, BTreeMap<Ipv4Net, PathAttributes>) {
    let now = Instant::now();
    let mut speaker = Speaker::new(config(), Open, 1, now);
    let route = |med| PathAttributes {
        local_pref: Some(300),
        med: Some(med),
        communities: vec![77],
        ..PathAttributes::local(NEXT_HOP)
    };
    let routes: BTreeMap<Ipv4Net, PathAttributes> = [("192.0.2.1/32", 1), ("198.51.100.0/24", 2)]
        .map(|(prefix, med)| (prefix.parse().expect("a prefix"), route(med)))
        .into();
    for (prefix, attributes) in &routes {
        speaker.originate(*prefix, attributes.clone(), now);
    }
    while speaker.poll_output().is_some() {}
    let head = DumpHead {
        view: "test",
        time: 1_795_262_400,
        now,
    };
    let file = scratch(name).join("rib.mrt");
    std::fs::write(&file, speaker.table_dump(head)).expect("written");
    (file, routes)
}

/// Serves one session on a port of its own until that ends; the thread returns what it heard.
fn listen() -> (String, JoinHandle<BTreeMap<Ipv4Net, PathAttributes>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let serving = std::thread::spawn(move || {
        let mut speaker = Speaker::new(config(), Open, 1, Instant::now());
        speaker.set_next_hops(BTreeSet::from([NEXT_HOP]), Instant::now());
        speaker.set_peers(vec![peer()], Instant::now());
        let (mut stream, SocketAddr::V4(from)) = listener.accept().expect("a call") else {
            panic!("a caller with IPv6");
        };
        let connection = ConnectionId(2);
        let from = *from.ip();
        speaker.handle_input(Input::Accepted { connection, from }, Instant::now());
        let mut heard = BTreeMap::new();
        let mut byte = [0];
        loop {
            while let Some(output) = speaker.poll_output() {
                match output {
                    // Who said goodbye may listen no more.
                    Output::Send(_, bytes) => stream.write_all(&bytes).unwrap_or(()),
                    Output::BestPath(change) => {
                        let new = change.new.map(|path| (*path.attributes).clone());
                        heard.extend(new.map(|new| (change.prefix, new)));
                    }
                    Output::Close(_) => return heard,
                    Output::Connect { .. } | Output::Event(_) => {}
                }
            }
            // One after the other, so that no goodbye is read together with what came before.
            let Ok(1) = stream.read(&mut byte) else {
                return heard;
            };
            speaker.handle_input(Input::Received(connection, &byte), Instant::now());
        }
    });
    (address, serving)
}

fn config() -> SpeakerConfig {
    SpeakerConfig {
        asn: 64512,
        router_id: Ipv4Addr::new(10, 99, 0, 9),
        cluster_id: Ipv4Addr::new(10, 99, 0, 9),
        hostname: "listener".to_owned(),
        graceful_restart: None,
    }
}

fn peer() -> PeerConfig {
    PeerConfig {
        id: PeerId(1),
        address: Ipv4Addr::LOCALHOST,
        router_id: None,
        role: PeerRole::NonClient,
        active: false,
        hold_time: Duration::from_secs(90),
        connect_retry: Duration::from_secs(1),
        max_prefixes: 10,
        reflector: false,
        add_path: None,
        extended_messages: true,
        ipv6: false,
    }
}

const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

/// Takes and tells everything.
#[derive(Debug)]
struct Open;

impl<N: Prefix> Policy<N> for Open {
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
