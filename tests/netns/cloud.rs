//! A cloud that is not there: its fabric between a router and a machine, with the rest of the world behind tunnels.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use sam_net::Namespace;
use sam_testkit::netns::{Daemon, Fabric, Site, sh, wait_until};
use serde_json::{Value, json};

use crate::case::{Case, Need, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[Case {
    name: "cloud::the_fabric_delivers_what_the_router_holds_and_nothing_else",
    needs: &[Need::Tool("curl"), Need::Tool("ip")],
    run: delivers,
}];

/// The site in the cloud.
const CLOUD: Site = Site::AWS;
const ELSEWHERE: Site = Site::ONPREM;
/// Its router's address: the first three belong to the provider.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 4);
const PATIENCE: Duration = Duration::from_secs(15);
const LISTEN: &str = "127.0.0.1:8470";

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── eni-router ╮
///                                                                 fabric of the fake cloud
///                                              .11 ── eni-machine ╯
/// ```
fn delivers() {
    let mut fabric = Fabric::new(samctl(), 2);
    let cloud = Lab::start(&fabric);
    fabric.start_all();
    let (machine, host) = (
        fabric.topology.client(CLOUD),
        fabric.topology.client(ELSEWHERE),
    );
    let ping = |to: Ipv4Addr| sh(machine, &format!("ping -n -c 1 -W 1 {to}")).code == 0;
    wait_until("the routers agree", PATIENCE, || {
        fabric.owner(ELSEWHERE, CLOUD.client()).as_deref() == Some("aws")
    });

    // Nobody holds the address of the other site, so nobody is told where it is.
    assert!(!ping(ELSEWHERE.client()));
    assert!(cloud.dropped("nobody") > 0);

    cloud.by_hand("eni-router", &json!({ "add": [ELSEWHERE.client()] }));
    wait_for_ping(machine, ELSEWHERE.client(), PATIENCE);
    wait_for_ping(host, CLOUD.client(), PATIENCE);

    // A router whose check is on speaks for what it holds, and for nothing else.
    cloud.by_hand("eni-router", &json!({ "sourceDestCheck": true }));
    assert!(ping(ELSEWHERE.client()));
    cloud.by_hand("eni-router", &json!({ "remove": [ELSEWHERE.client()] }));
    let before = cloud.dropped("source-check");
    sh(host, &format!("ping -n -c 1 -W 1 {}", CLOUD.client()));
    assert!(cloud.dropped("source-check") > before);
    assert!(!ping(ELSEWHERE.client()));
}

/// The fake cloud, with the wires of the site in its hands.
struct Lab {
    wires: Namespace,
    _daemon: Daemon,
}

impl Lab {
    /// Takes the ends of the site's cables out of its LAN, and gives them to the cloud.
    fn start(fabric: &Fabric) -> Self {
        let wires = fabric.topology.wires().clone();
        let ends = [
            ("r2", fabric.topology.router(CLOUD)),
            ("c2", fabric.topology.client(CLOUD)),
        ];
        for (end, _) in ends {
            sh(&wires, &format!("ip link set {end} nomaster")).success();
        }
        let address = format!("ip address flush dev lan0 && ip address add {ROUTER}/24 dev lan0");
        sh(fabric.topology.router(CLOUD), &address).success();
        fabric.edit_all(
            "exclude: [10.77.60.1]",
            &format!("exclude: [10.77.60.1, {ROUTER}]"),
        );

        let nic = |id: &str, end: &str, mac: String, address: Ipv4Addr| {
            json!({
                "id": id, "subnet": "subnet-0a", "mac": mac, "address": address, "wire": end,
                "sourceDestCheck": id != "eni-router",
            })
        };
        let router = nic(
            "eni-router",
            "r2",
            mac(fabric.topology.router(CLOUD), "lan0"),
            ROUTER,
        );
        let machine = mac(fabric.topology.client(CLOUD), "eth0");
        let machine = nic("eni-machine", "c2", machine, CLOUD.client());
        let scenario = json!({"aws": {
            "region": "eu-central-1", "account": "123456789012",
            "subnets": [{"id": "subnet-0a", "network": "vpc-0a", "prefix": "10.77.60.0/24"}],
            "instances": [{"id": "i-router", "nics": [router]}, {"id": "i-machine", "nics": [machine]}],
        }});
        let file = fabric.path("cloud.yaml");
        fs::write(&file, scenario.to_string()).expect("writable");
        sh(&wires, "ip link set lo up").success();
        let command = format!(
            "exec {} lab fakecloud -c {} --listen {LISTEN}",
            samctl().display(),
            file.display()
        );
        let daemon = Daemon::sh(&wires, &command, &fabric.path("cloud.log"));
        wait_until("the fake cloud answers", PATIENCE, || {
            sh(&wires, &format!("curl -sf http://{LISTEN}/fakecloud/state")).code == 0
        });
        Self {
            wires,
            _daemon: daemon,
        }
    }

    /// Changes a NIC as somebody at the console would.
    fn by_hand(&self, nic: &str, change: &Value) {
        let url = format!("http://{LISTEN}/fakecloud/nics/{nic}");
        sh(
            &self.wires,
            &format!("curl -sf -X POST -d '{change}' {url}"),
        )
        .success();
    }

    /// Frames that the fabric dropped for a reason.
    fn dropped(&self, reason: &str) -> u64 {
        let text = sh(
            &self.wires,
            &format!("curl -sf http://{LISTEN}/fakecloud/fabric"),
        );
        let view: Value = serde_json::from_str(&text.success()).expect("JSON");
        view["aws"]["dropped"][reason].as_u64().unwrap_or(0)
    }
}

fn mac(namespace: &Namespace, interface: &str) -> String {
    let text = sh(namespace, &format!("ip -j link show dev {interface}")).success();
    let links: Value = serde_json::from_str(&text).expect("JSON");
    links[0]["address"].as_str().expect("a MAC").to_owned()
}
