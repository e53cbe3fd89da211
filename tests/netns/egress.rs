//! How calls of a provider leave the host: through a proxy where one is set, and by the underlay in any case.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use sam_net::Namespace;
use sam_router::config::CloudKind;
use sam_testkit::netns::cloud::{CLOUD, CloudLab, ELSEWHERE};
use sam_testkit::netns::{Capture, Fabric, sh, wait_until};
use serde_json::json;

use crate::case::{Case, Need, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "egress::aws_at_a_private_endpoint_is_called_through_the_proxy_and_by_the_underlay_only",
        needs: NEEDS,
        run: || through_proxy(CloudKind::Aws),
    },
    Case {
        name: "egress::azure_at_a_private_endpoint_is_called_through_the_proxy_and_by_the_underlay_only",
        needs: NEEDS,
        run: || through_proxy(CloudKind::Azure),
    },
    Case {
        name: "egress::oci_at_a_private_endpoint_is_called_through_the_proxy_and_by_the_underlay_only",
        needs: NEEDS,
        run: || through_proxy(CloudKind::Oci),
    },
];

const NEEDS: &[Need] = &[
    Need::Tool("curl"),
    Need::Tool("ip"),
    Need::Tool("tcpdump"),
    Need::Tool("tshark"),
];
const PATIENCE: Duration = Duration::from_secs(20);
/// Where the proxy is.
const PROXY: &str = "203.0.113.250:3128";
/// The provider's endpoint inside its network: no router has a route there.
const PRIVATE: &str = "10.200.0.1";
/// The metadata service, a neighbor.
const METADATA: &str = "203.0.113.251";

/// ```text
/// .11 ── fabric ── lan0  router aws  wan0 ── wan ──┬── proxy 203.0.113.250 ── endpoint 10.200.0.1
///                    └── a route to the proxy      └── metadata 203.0.113.251
/// ```
/// Whatever is not bound to the underlay takes that route, and finds nobody.
fn through_proxy(kind: CloudKind) {
    let mut fabric = Fabric::new(samctl(), 2);
    let lab = CloudLab::start(samctl(), &fabric, kind, &[CLOUD], &json!({}));
    lab.let_capture(&fabric, CLOUD, "");
    let public = "http://203.0.113.250:8470";
    let private = format!("http://{PRIVATE}:8470");
    let metadata = format!("metadata: \"http://{METADATA}:8470/");
    fabric.edit(CLOUD, &format!("metadata: \"{public}/"), &metadata);
    fabric.edit(
        CLOUD,
        &format!("api: \"{public}\""),
        &format!("api: \"{private}\""),
    );
    if kind == CloudKind::Oci {
        fabric.edit(CLOUD, public, &private);
    }
    let (wires, machine) = (
        fabric.topology.wires().clone(),
        fabric.topology.router(CLOUD).clone(),
    );
    let addresses =
        format!("ip address add {METADATA}/24 dev wan && ip address add {PRIVATE}/32 dev lo");
    sh(&wires, &addresses).success();
    let lure = "ip route add 203.0.113.250/32 dev lan0";
    sh(&machine, lure).success();
    let proxy = Proxy::start(&wires);
    let provider = format!("tcp and (port 3128 or net {PRIVATE}/32 or host {METADATA})");
    let tap = |interface: &str, filter: &str| {
        let file = fabric.path(&format!("{interface}.pcap"));
        Capture::start(&machine, interface, filter, &file)
    };
    let wan = tap("wan0", &provider);
    let lan = tap(
        "lan0",
        "ip host 203.0.113.250 or arp host 203.0.113.250 or net 10.200.0.0/24",
    );

    fabric.start(ELSEWHERE);
    let environment = format!("HTTPS_PROXY=http://{PROXY}");
    let wrapper = ["env", "-u", "NO_PROXY", "-u", "no_proxy", &environment];
    fabric.start_within(CLOUD, &wrapper);
    let tun = Capture::start(&machine, "sam0", &provider, &fabric.path("sam0.pcap"));
    wait_for_ping(fabric.topology.client(CLOUD), ELSEWHERE.client(), PATIENCE);
    let router = fabric.router(CLOUD);
    router
        .samctl(&format!("release {} --hold 1h", ELSEWHERE.client()))
        .success();
    wait_until("the address is given back", PATIENCE, || {
        lab.holder(ELSEWHERE.client()).is_none()
    });

    let targets = proxy.targets();
    let wanted = format!("{PRIVATE}:8470");
    assert!(!targets.is_empty());
    assert!(targets.iter().all(|to| *to == wanted), "{targets:?}");
    let wan = wan.stop();
    let begun = |to: &str| wan.count(&format!("tcp.flags.syn == 1 && tcp.flags.ack == 0 && {to}"));
    assert!(begun("tcp.dstport == 3128") >= targets.len());
    assert!(begun(&format!("ip.dst == {METADATA}")) > 0, "a neighbor");
    assert_eq!(begun(&format!("ip.dst == {PRIVATE}")), 0, "not directly");
    assert_eq!(lan.stop().count("frame"), 0, "nothing by the LAN");
    assert_eq!(tun.stop().count("frame"), 0, "nothing through tunnels");
}

/// An HTTP proxy that connects to whatever it is asked for (RFC 9110 section 9.3.6); it ends with the test.
struct Proxy {
    targets: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(at: &Namespace) -> Self {
        let address: SocketAddr = PROXY.parse().expect("an address");
        let listener = at.enter(|| TcpListener::bind(address));
        let listener = listener.expect("a namespace").expect("a port");
        let targets: Arc<Mutex<Vec<String>>> = Arc::default();
        let (asked, inside) = (Arc::clone(&targets), at.clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (asked, inside) = (Arc::clone(&asked), inside.clone());
                thread::spawn(move || serve(&client, &inside, &asked));
            }
        });
        Self { targets }
    }

    /// What it was asked for so far.
    fn targets(&self) -> Vec<String> {
        locked(&self.targets).clone()
    }
}

fn serve(client: &TcpStream, at: &Namespace, asked: &Mutex<Vec<String>>) -> Option<()> {
    let mut lines = BufReader::new(client).lines().map_while(Result::ok);
    let first = lines.next()?;
    lines.find(String::is_empty)?;
    let target = first
        .strip_prefix("CONNECT ")?
        .split(' ')
        .next()?
        .to_owned();
    locked(asked).push(target.clone());
    let server = at.enter(|| TcpStream::connect(target)).ok()?.ok();
    let answer = match server {
        Some(_) => "HTTP/1.1 200 OK\r\n\r\n",
        None => "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
    };
    { client }.write_all(answer.as_bytes()).ok()?;
    let server = server?;
    thread::scope(|scope| {
        scope.spawn(|| relay(client, &server));
        relay(&server, client);
    });
    Some(())
}

/// Carries what comes from one to the other, to its end.
fn relay(mut from: &TcpStream, mut to: &TcpStream) {
    std::io::copy(&mut from, &mut to).ok();
    to.shutdown(Shutdown::Write).ok();
}

fn locked(targets: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    targets.lock().unwrap_or_else(PoisonError::into_inner)
}
