//! A cloud that is not there: its fabric between routers and a machine, with the rest of the world behind tunnels.

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use sam_net::Namespace;
use sam_testkit::netns::{Daemon, Fabric, Site, sh, wait_until};
use serde_json::{Value, json};

use crate::case::{Case, Need, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "cloud::the_fabric_delivers_what_the_router_holds_and_nothing_else",
        needs: &[Need::Tool("curl"), Need::Tool("ip")],
        run: delivers,
    },
    Case {
        name: "cloud::a_router_captures_by_itself_and_the_other_one_takes_over_when_it_is_drained_or_killed",
        needs: &[Need::Tool("curl"), Need::Tool("ip")],
        run: captures,
    },
    Case {
        name: "cloud::a_machine_that_the_provider_lists_is_reached_until_it_is_stopped",
        needs: &[Need::Tool("curl"), Need::Tool("ip")],
        run: lists,
    },
];

/// The site in the cloud.
const CLOUD: Site = Site::AWS;
/// The other router there, where it has one.
const STANDBY: Site = Site::AZURE;
const ELSEWHERE: Site = Site::ONPREM;
const PATIENCE: Duration = Duration::from_secs(20);
/// Where the fake cloud is: on the underlay, as a provider is.
const LISTEN: &str = "203.0.113.250:8470";

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── eni-a ╮
///                                                            fabric of the fake cloud
///                                          .11 ── eni-machine ╯
/// ```
fn delivers() {
    let mut fabric = Fabric::new(samctl(), 2);
    let cloud = Lab::start(&fabric, &[CLOUD]);
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

    let routed = json!({ "add": [ELSEWHERE.client()], "sourceDestCheck": false });
    cloud.by_hand("eni-aws", &routed);
    wait_for_ping(machine, ELSEWHERE.client(), PATIENCE);
    wait_for_ping(host, CLOUD.client(), PATIENCE);

    // A router whose check is on speaks for what it holds, and for nothing else.
    cloud.by_hand("eni-aws", &json!({ "sourceDestCheck": true }));
    assert!(ping(ELSEWHERE.client()));
    cloud.by_hand("eni-aws", &json!({ "remove": [ELSEWHERE.client()] }));
    let before = cloud.dropped("source-check");
    sh(host, &format!("ping -n -c 1 -W 1 {}", CLOUD.client()));
    assert!(cloud.dropped("source-check") > before);
    assert!(!ping(ELSEWHERE.client()));
}

/// Two routers in the subnet; nobody touches the cloud but they.
fn captures() {
    let mut fabric = Fabric::new(samctl(), 3);
    fabric.edit_all(
        "name: azure, site: azure, role: azure",
        "name: azure, site: aws, role: aws",
    );
    fabric.edit(STANDBY, "owned: [10.77.60.12]", "owned: [10.77.60.11]");
    let cloud = Lab::start(&fabric, &[CLOUD, STANDBY]);
    capture_in(&fabric, &[CLOUD, STANDBY], "");
    // The first to come captures; the other one finds it there.
    for site in [ELSEWHERE, CLOUD, STANDBY] {
        fabric.start(site);
    }

    wait_for_ping(fabric.topology.client(CLOUD), ELSEWHERE.client(), PATIENCE);
    assert_eq!(cloud.holder(ELSEWHERE.client()).as_deref(), Some("eni-aws"));
    let captures = fabric.router(CLOUD).json("captures");
    assert_eq!(captures["mode"], "auto", "{captures}");
    let doctor = fabric.router(CLOUD).samctl("doctor capture");
    assert_eq!(doctor.code, 0, "{}", doctor.text());

    // An agent of the cloud configures it on the host.
    let router = fabric.topology.router(CLOUD);
    let address = ELSEWHERE.client();
    sh(router, &format!("ip address add {address}/32 dev lan0")).success();
    let doctor = fabric.router(CLOUD).samctl("doctor capture");
    assert_eq!(doctor.code, 5, "{}", doctor.text());
    assert!(doctor.text().contains("doctor --fix"), "{}", doctor.text());
    let fixed = fabric.router(CLOUD).samctl("doctor capture --fix");
    assert_eq!(fixed.code, 0, "{}", fixed.text());
    let left = sh(router, "ip -4 address show dev lan0").success();
    assert!(!left.contains(&format!("{address}/32")), "{left}");
    wait_for_ping(fabric.topology.client(CLOUD), address, PATIENCE);

    // By order it is given back, and comes again when the order ends.
    let drained = fabric.router(CLOUD);
    drained
        .samctl(&format!("release {address} --hold 1h"))
        .success();
    let is_free = || cloud.holder(address).is_none();
    wait_until("the address is given back", PATIENCE, is_free);
    drained
        .samctl(&format!("release {address} --hold 0s"))
        .success();
    let is_held = || cloud.holder(address).as_deref() == Some("eni-aws");
    wait_until("the address is captured again", PATIENCE, is_held);

    drained.samctl("drain on --wait").success();
    assert_eq!(
        cloud.holder(ELSEWHERE.client()).as_deref(),
        Some("eni-azure")
    );
    wait_for_ping(fabric.topology.client(CLOUD), ELSEWHERE.client(), PATIENCE);
    drained.samctl("drain off").success();

    let killed = Instant::now();
    fabric.take(STANDBY).daemon().kill();
    let machine = fabric.topology.client(CLOUD);
    let is_moved = || cloud.holder(ELSEWHERE.client()).as_deref() == Some("eni-aws");
    wait_until(
        "the first router holds the address again",
        PATIENCE,
        is_moved,
    );
    wait_for_ping(machine, ELSEWHERE.client(), PATIENCE);
    let gone = killed.elapsed();
    assert!(gone < Duration::from_secs(12), "{gone:?}");

    // Nothing stays behind when it is to be removed.
    fabric.router(CLOUD).samctl("release --all").success();
    wait_until("the interface is as it was", PATIENCE, || {
        cloud.holder(address).is_none() && cloud.checks_sources("eni-aws")
    });
}

/// Nobody is told to own the machine's address.
fn lists() {
    let mut fabric = Fabric::new(samctl(), 2);
    fabric.edit(CLOUD, "owned: [10.77.60.11]", "owned: []");
    let cloud = Lab::start(&fabric, &[CLOUD]);
    let discovery = ", discovery: {type: provider, interval: 5s, expiry: 10s}";
    capture_in(&fabric, &[CLOUD], discovery);
    fabric.start_all();
    let (machine, host) = (
        fabric.topology.client(CLOUD),
        fabric.topology.client(ELSEWHERE),
    );

    wait_for_ping(host, CLOUD.client(), PATIENCE);
    wait_for_ping(machine, ELSEWHERE.client(), PATIENCE);
    let owners = fabric.router(ELSEWHERE).json("owners");
    let text = owners.to_string();
    assert!(text.contains("\"provider\""), "{text}");
    // What the router has captured meanwhile is no machine's.
    assert_eq!(cloud.holder(ELSEWHERE.client()).as_deref(), Some("eni-aws"));
    let found = fabric.router(CLOUD).json("discovery");
    let machines = found["machines"].as_array().expect("machines");
    assert_eq!(machines.len(), 1, "{found}");
    assert_eq!(machines[0]["nic"], "eni-machine", "{found}");

    cloud.post("instances/i-machine/stop", &json!({}));
    wait_until("nobody owns the address", PATIENCE, || {
        fabric.owner(ELSEWHERE, CLOUD.client()).is_none()
    });
    cloud.post("instances/i-machine/start", &json!({}));
    wait_for_ping(host, CLOUD.client(), PATIENCE);
}

/// Has routers capture in the cloud by themselves.
fn capture_in(fabric: &Fabric, routers: &[Site], more: &str) {
    for &site in routers {
        let name = site.name();
        let capture = format!(
            "capture: {{type: aws, interface: lan0, mode: auto, journalFile: {name}.jsonl, endpoints: \
             {{api: \"http://{LISTEN}\", metadata: \"http://{LISTEN}/instances/i-{name}\", interface: wan0}}{more}}}"
        );
        let former = "capture: {type: proxy-arp, interface: lan0, activeWhen: single-router}";
        fabric.edit(site, former, &capture);
        let endpoint = format!("endpoint: \"{}:51820\"", site.underlay());
        fabric.edit_all(&endpoint, &format!("nic: eni-{name}, {endpoint}"));
    }
}

/// The fake cloud, with the wires of the site in its hands.
struct Lab {
    wires: Namespace,
    _daemon: Daemon,
}

impl Lab {
    /// Takes the ends of the site's cables out of its LAN, and gives them to the cloud.
    fn start(fabric: &Fabric, routers: &[Site]) -> Self {
        let wires = fabric.topology.wires().clone();
        let topology = &fabric.topology;
        let mut instances = vec![json!({
            "id": "i-machine",
            "nics": [nic("machine", "c2", topology.client(CLOUD), "eth0", CLOUD.client())],
        })];
        let mut addresses = vec!["10.77.60.1".to_owned()];
        for &site in routers {
            let (name, number) = (site.name(), site.number());
            // The first three belong to the provider.
            let address = Ipv4Addr::new(10, 77, 60, 2 + number);
            let command =
                format!("ip address flush dev lan0 && ip address add {address}/24 dev lan0");
            sh(topology.router(site), &command).success();
            let nic = nic(
                name,
                &format!("r{number}"),
                topology.router(site),
                "lan0",
                address,
            );
            let id = format!("i-{name}");
            instances.push(json!({ "id": id, "role": "router", "nics": [nic] }));
            addresses.push(address.to_string());
        }
        let excluded = format!("exclude: [{}]", addresses.join(", "));
        fabric.edit_all("exclude: [10.77.60.1]", &excluded);
        for instance in &instances {
            let end = instance["nics"][0]["wire"].as_str().expect("a wire");
            sh(&wires, &format!("ip link set {end} nomaster")).success();
        }
        let scenario = json!({"aws": {
            "region": "eu-central-1", "account": "123456789012",
            "subnets": [{"id": "subnet-0a", "network": "vpc-0a", "prefix": "10.77.60.0/24"}],
            "roles": {"router": {"allow": [
                "ec2:Describe*", "ec2:*PrivateIpAddresses", "ec2:ModifyNetworkInterfaceAttribute",
            ]}},
            "instances": instances,
        }});
        let file = fabric.path("cloud.yaml");
        fs::write(&file, scenario.to_string()).expect("writable");
        sh(
            &wires,
            "ip link set lo up && ip address add 203.0.113.250/24 dev wan",
        )
        .success();
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
        self.post(&format!("nics/{nic}"), change);
    }

    fn post(&self, path: &str, change: &Value) {
        let url = format!("http://{LISTEN}/fakecloud/{path}");
        sh(
            &self.wires,
            &format!("curl -sf -X POST -d '{change}' {url}"),
        )
        .success();
    }

    /// The NIC that an address is on.
    fn holder(&self, address: Ipv4Addr) -> Option<String> {
        let text = sh(
            &self.wires,
            &format!("curl -sf http://{LISTEN}/fakecloud/state"),
        );
        let view: Value = serde_json::from_str(&text.success()).expect("JSON");
        let mut nics = view["aws"]["nics"].as_array()?.iter();
        let held = |nic: &&Value| {
            let mut addresses = nic["addresses"].as_array().into_iter().flatten();
            addresses.any(|held| *held == json!(address))
        };
        nics.find(held)?["nic"].as_str().map(str::to_owned)
    }

    /// Whether packets that are not a NIC's own are dropped.
    fn checks_sources(&self, nic: &str) -> bool {
        let text = sh(
            &self.wires,
            &format!("curl -sf http://{LISTEN}/fakecloud/state"),
        );
        let view: Value = serde_json::from_str(&text.success()).expect("JSON");
        let mut nics = view["aws"]["nics"].as_array().into_iter().flatten();
        let found = nics.find(|found| found["nic"] == nic).expect("a NIC");
        found["sourceDestCheck"].as_bool().expect("a flag")
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

/// An interface of the cloud; nobody's check is off.
fn nic(name: &str, wire: &str, at: &Namespace, interface: &str, address: Ipv4Addr) -> Value {
    json!({
        "id": format!("eni-{name}"), "subnet": "subnet-0a", "mac": mac(at, interface),
        "address": address, "wire": wire,
    })
}

fn mac(namespace: &Namespace, interface: &str) -> String {
    let text = sh(namespace, &format!("ip -j link show dev {interface}")).success();
    let links: Value = serde_json::from_str(&text).expect("JSON");
    links[0]["address"].as_str().expect("a MAC").to_owned()
}
