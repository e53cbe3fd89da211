//! What an operator looks into BGP with: tables of a neighbor, changes as they happen, dumps in MRT.
//!
//! ```text
//! .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
//! ```

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use sam_testkit::netns::{Daemon, Fabric, Site, wait_until};
use serde_json::Value;

use crate::case::{Case, samctl};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "inspection::a_monitor_shows_what_is_there_and_then_each_change",
        needs: &[],
        run: monitor,
    },
    Case {
        name: "inspection::a_monitor_that_does_not_read_holds_up_nobody_and_ends_with_the_latest_state",
        needs: &[],
        run: slow_reader,
    },
    Case {
        name: "inspection::the_tables_of_a_neighbor_hold_what_both_sides_announced",
        needs: &[],
        run: tables,
    },
    Case {
        name: "inspection::a_dump_is_read_back_with_every_path",
        needs: &[],
        run: dump,
    },
];

const PATIENCE: Duration = Duration::from_secs(5);
/// Twice as many changes as this are several times what the buffers of a socket and of its writer hold.
const FLIPS: usize = 500;
const MOVED: &str = "10.77.60.70";

fn monitor() {
    let fabric = Fabric::running(samctl(), 2);
    let router = fabric.router(Site::ONPREM);
    let follow = |topic: &str| {
        let command = router.command(&format!("-o json bgp monitor {topic}"));
        Daemon::start(command, &fabric.path(&format!("monitor-{topic}.log")))
    };
    let watched = [follow("rib"), follow("neighbors"), follow("owners")];
    for daemon in &watched {
        wait_until("the snapshot is complete", PATIENCE, || {
            lines(daemon)
                .iter()
                .any(|line| line["kind"] == "snapshot-complete")
        });
    }
    let established = |line: &Value| line["neighbor"]["state"] == "established";
    wait_until("the session is shown", PATIENCE, || {
        lines(&watched[1]).iter().any(established)
    });

    fabric
        .router(Site::AWS)
        .samctl(&format!("announce {MOVED}"));

    let [routes, _, owners] = &watched;
    wait_until("the route and its owner are shown", PATIENCE, || {
        let told = |line: &Value| line["prefix"] == format!("{MOVED}/32");
        let owned = |line: &Value| {
            line["address"] == MOVED && line["owner"]["owner"]["name"] == Site::AWS.name()
        };
        lines(routes).iter().any(told) && lines(owners).iter().any(owned)
    });
    fabric
        .router(Site::AWS)
        .samctl(&format!("withdraw {MOVED}"));
    wait_until("its end is shown", PATIENCE, || {
        let last = |line: &&Value| line["prefix"] == format!("{MOVED}/32");
        let seen = lines(routes);
        let ended = seen
            .iter()
            .rfind(last)
            .is_some_and(|line| line["paths"] == Value::Array(vec![]));
        ended
            && lines(owners)
                .last()
                .is_some_and(|line| line["owner"].is_null())
    });
    let generations: Vec<u64> = lines(routes)
        .iter()
        .filter(|line| line["kind"] == "route")
        .filter_map(|line| line["generation"].as_u64())
        .collect();
    assert!(generations.is_sorted(), "{generations:?}");
}

/// The reader opens the stream, and reads only when everything is over.
fn slow_reader() {
    let mut fabric = Fabric::new(samctl(), 2);
    // Nothing of this is to survive a restart: no file is written at each order.
    fabric.edit_all("stateFile: ", "stateFile: none # ");
    fabric.start_all();
    let router = fabric.router(Site::ONPREM);
    let ask = |head: &str, body: &str| {
        let mut stream = UnixStream::connect(router.socket()).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("settable");
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        stream
    };
    let order = |verb: &str| {
        let body = format!("{{\"address\":\"{MOVED}\"}}");
        let mut answer = String::new();
        let mut stream = ask(&format!("POST /v1/{verb}"), &body);
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    let reader = ask("GET /v1/bgp/monitor?topic=rib", "");
    for _ in 0..FLIPS {
        order("announce");
        order("withdraw");
    }
    order("announce");
    let row = router.owner_row(MOVED.parse().expect("an address"));
    let latest = row["sequence"].as_u64().expect("a sequence");

    let mut told = 0;
    let mut last = Value::Null;
    // Lines of chunk sizes are no objects.
    for line in BufReader::new(reader).lines() {
        let line = line.expect("the latest state comes");
        let Ok(line @ Value::Object(_)) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        if line["prefix"] == format!("{MOVED}/32") {
            told += 1;
            last = line["paths"][0]["sequence"].clone();
        }
        if last == latest {
            break;
        }
    }
    assert_eq!(last, latest);
    assert!(
        told < FLIPS,
        "changes were told {told} times of {}",
        2 * FLIPS
    );
}

fn tables() {
    let fabric = Fabric::running(samctl(), 2);
    let router = fabric.router(Site::ONPREM);
    let prefixes = |table: &str| -> Vec<String> {
        let view = router.json(&format!("bgp neighbor aws {table}"));
        let routes = view["routes"].as_array().cloned().unwrap_or_default();
        let prefixes = routes.iter().filter_map(|route| route["prefix"].as_str());
        prefixes.map(str::to_owned).collect()
    };
    let (theirs, ours) = (Site::AWS.client(), Site::ONPREM.client());
    let (theirs, ours) = (format!("{theirs}/32"), format!("{ours}/32"));
    wait_until("both have told their routes", PATIENCE, || {
        prefixes("accepted").contains(&theirs) && prefixes("advertised").contains(&ours)
    });
    assert_eq!(prefixes("received"), prefixes("accepted"));
    assert!(prefixes("rejected").is_empty() && !prefixes("advertised").contains(&theirs));
    let text = router.samctl("bgp neighbor aws received").stdout;
    assert!(
        text.starts_with("NETWORK") && text.contains("{LocalPref: "),
        "{text}"
    );
    let unknown = router.samctl("bgp neighbor onprem received");
    assert_eq!(unknown.code, 1, "{}", unknown.text());
}

fn dump() {
    let fabric = Fabric::running(samctl(), 2);
    let router = fabric.router(Site::ONPREM);
    let file = fabric.path("rib.mrt");
    let file = file.display();
    wait_until("the other site is known", PATIENCE, || {
        router.owner(Site::AWS.client()).is_some()
    });
    let expected = router.json("bgp rib");
    let entries = expected["entries"].as_array().cloned().unwrap_or_default();
    let paths = entries
        .iter()
        .map(|entry| entry["paths"].as_array().map_or(0, Vec::len));

    let dumped = router.samctl(&format!("bgp mrt dump {file}"));
    assert_eq!(dumped.code, 0, "{}", dumped.text());
    let read = router.samctl(&format!("-o json bgp mrt read {file}"));

    assert_eq!(read.code, 0, "{}", read.text());
    let rows: Vec<Value> = read
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert_eq!(rows.len(), paths.sum::<usize>(), "{}", read.stdout);
    let theirs = format!("{}/32", Site::AWS.client());
    let row = rows
        .iter()
        .find(|row| row["prefix"] == theirs)
        .expect("the route of aws");
    assert_eq!(row["kind"], "rib");
    assert_eq!(row["next_hop"], "10.99.0.2");
    assert!(
        row["communities"]
            .as_array()
            .is_some_and(|list| !list.is_empty())
    );
}

fn lines(daemon: &Daemon) -> Vec<Value> {
    let log = daemon.log();
    log.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}
