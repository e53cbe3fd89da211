//! A cloud that is not there: a subnet with routers and a machine, whose fabric the fake cloud is.
//!
//! ```text
//! .10 ── lan1 ── router onprem ══ wan ══╦══ router aws ─── nic-aws ───╮
//!                                       ╚══ router azure ─ nic-azure ─┤ fabric of the fake cloud
//!                                              .11 ── nic-machine ────╯
//! ```

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use sam_net::Namespace;
use sam_router::config::CloudKind;
use serde_json::{Value, json};

use super::fabric::Fabric;
use super::shell::{Daemon, sh};
use super::topology::Site;
use super::wait::wait_until;

/// The site in the cloud, and its first router.
pub const CLOUD: Site = Site::AWS;
/// The other router there, where it has one.
pub const STANDBY: Site = Site::AZURE;
/// A site with a LAN.
pub const ELSEWHERE: Site = Site::ONPREM;

const PATIENCE: Duration = Duration::from_secs(20);
/// The same where a provider's changes take seconds, and forwarding comes before the first address.
const BRING_UP: Duration = Duration::from_secs(60);
/// Where the fake cloud listens: on the underlay, as a provider does.
const LISTEN: &str = "203.0.113.250:8470";
/// Subscription and group of Azure.
const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-lab";

/// The fake cloud, with the wires of the site in its hands.
#[derive(Debug)]
pub struct CloudLab {
    cloud: CloudKind,
    wires: Namespace,
    // Stopped when the lab goes.
    _daemon: Daemon,
}

impl CloudLab {
    /// Takes the ends of the site's cables out of its LAN, gives them to the cloud, and starts it. `settings` are further
    /// ones of the provider in the scenario, such as its latency.
    ///
    /// # Panics
    /// When something refuses.
    #[must_use]
    pub fn start(
        program: &Path,
        fabric: &Fabric,
        cloud: CloudKind,
        routers: &[Site],
        settings: &Value,
    ) -> Self {
        let topology = &fabric.topology;
        let machine = nic(
            "machine",
            "c2",
            topology.client(CLOUD),
            "eth0",
            CLOUD.client(),
        );
        let mut instances = vec![json!({"id": "i-machine", "type": "lab", "nics": [machine]})];
        let mut excluded = vec!["10.77.60.1".to_owned()];
        for &site in routers {
            let (name, number) = (site.name(), site.number());
            // The first addresses belong to the provider.
            let address = Ipv4Addr::new(10, 77, 60, 2 + number);
            let command =
                format!("ip address flush dev lan0 && ip address add {address}/24 dev lan0");
            sh(topology.router(site), &command).success();
            let wire = format!("r{number}");
            let nic = nic(name, &wire, topology.router(site), "lan0", address);
            let id = format!("i-{name}");
            instances.push(json!({"id": id, "type": "lab", "role": "router", "nics": [nic]}));
            excluded.push(address.to_string());
        }
        let excluded = format!("exclude: [{}]", excluded.join(", "));
        fabric.edit_all("exclude: [10.77.60.1]", &excluded);
        let wires = topology.wires().clone();
        for instance in &instances {
            let end = instance["nics"][0]["wire"].as_str().expect("a wire");
            sh(&wires, &format!("ip link set {end} nomaster")).success();
        }
        let file = fabric.path("cloud.yaml");
        let scenario = scenario(cloud, &instances, settings).to_string();
        fs::write(&file, scenario).expect("writable");
        Self {
            cloud,
            _daemon: serve(program, &wires, &file, &fabric.path("cloud.log")),
            wires,
        }
    }

    /// The lab with two routers that capture by themselves. None of them runs yet: of two that start at once the one captures
    /// that has seen its interface first, which is chance.
    ///
    /// # Panics
    /// When something refuses.
    #[must_use]
    pub fn pair(program: &Path, cloud: CloudKind, settings: &Value) -> (Fabric, Self) {
        Self::pair_with(program, cloud, settings, "")
    }

    /// The same with `more` settings of both routers.
    ///
    /// # Panics
    /// When something refuses.
    #[must_use]
    pub fn pair_with(
        program: &Path,
        cloud: CloudKind,
        settings: &Value,
        more: &str,
    ) -> (Fabric, Self) {
        let fabric = Fabric::new(program, 3);
        fabric.edit_all(
            "name: azure, site: azure, role: azure",
            "name: azure, site: aws, role: aws",
        );
        fabric.edit(STANDBY, "owned: [10.77.60.12]", "owned: [10.77.60.11]");
        let lab = Self::start(program, &fabric, cloud, &[CLOUD, STANDBY], settings);
        for site in [CLOUD, STANDBY] {
            lab.let_capture(&fabric, site, more);
        }
        (fabric, lab)
    }

    /// Starts all routers of the pair's fabric, so that the first one in the cloud captures and the other one stands by.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn bring_up(&self, fabric: &mut Fabric) {
        let address = ELSEWHERE.client();
        self.bring_up_active(fabric);
        fabric.start(STANDBY);
        let other = format!("nic-{}", STANDBY.name());
        wait_until("the other one stands by", BRING_UP, || {
            self.want(fabric, STANDBY, address).as_deref() == Some("keep")
                && !self.checks_sources(&other)
        });
    }

    /// Starts all of them but the one that is to stand by.
    ///
    /// # Panics
    /// When the first one in the cloud does not capture.
    pub fn bring_up_active(&self, fabric: &mut Fabric) {
        for site in [ELSEWHERE, CLOUD] {
            fabric.start(site);
        }
        let active = format!("nic-{}", CLOUD.name());
        wait_until("the first router captures", BRING_UP, || {
            self.holder(ELSEWHERE.client()).as_ref() == Some(&active)
        });
    }

    /// What a router that has seen its interface wants of an address.
    ///
    /// # Panics
    /// When the router does not answer.
    #[must_use]
    pub fn want(&self, fabric: &Fabric, site: Site, address: Ipv4Addr) -> Option<String> {
        let view = fabric.router(site).json("captures");
        let mut rows = view["captures"].as_array()?.iter();
        let row = rows.find(|row| row["address"] == json!(address))?;
        let want = row["want"].as_str().map(str::to_owned);
        want.filter(|_| view["nic"].is_object())
    }

    /// Configures a router to capture by itself, with `more` settings.
    pub fn let_capture(&self, fabric: &Fabric, site: Site, more: &str) {
        let (name, cloud) = (site.name(), self.cloud.name());
        let federation = match self.cloud {
            CloudKind::Aws | CloudKind::Azure => String::new(),
            CloudKind::Oci => format!("federation: \"http://{LISTEN}\", "),
        };
        let capture = format!(
            "capture: {{type: {cloud}, interface: lan0, mode: auto, journalFile: {name}.jsonl, endpoints: {{{federation}\
             api: \"http://{LISTEN}\", metadata: \"http://{LISTEN}/instances/i-{name}\", interface: wan0}}{more}}}"
        );
        let former = "capture: {type: proxy-arp, interface: lan0, activeWhen: single-router}";
        fabric.edit(site, former, &capture);
        let endpoint = format!("endpoint: \"{}:51820\"", site.underlay());
        let nic = nic_id(self.cloud, &format!("nic-{name}"));
        fabric.edit_all(&endpoint, &format!("nic: \"{nic}\", {endpoint}"));
    }

    /// Changes a NIC as somebody at the console would.
    pub fn by_hand(&self, nic: &str, change: &Value) {
        self.tell(&format!("nics/{nic}"), change);
    }

    /// Orders a fault.
    pub fn disturb(&self, fault: &Value) {
        self.tell("faults", fault);
    }

    /// Ends all faults.
    ///
    /// # Panics
    /// When the fake cloud does not answer.
    pub fn calm(&self) {
        let command = format!("curl -sf -X DELETE http://{LISTEN}/fakecloud/faults");
        sh(&self.wires, &command).success();
    }

    /// How many orders of faults are not used up.
    ///
    /// # Panics
    /// When the fake cloud does not answer.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.look("faults").as_array().map_or(0, Vec::len)
    }

    /// The NIC that an address is on.
    ///
    /// # Panics
    /// When the fake cloud does not answer.
    #[must_use]
    pub fn holder(&self, address: Ipv4Addr) -> Option<String> {
        let view = self.look("state");
        let mut nics = view[self.cloud.name()]["nics"].as_array()?.iter();
        let held = |nic: &&Value| {
            let mut addresses = nic["addresses"].as_array().into_iter().flatten();
            addresses.any(|held| *held == json!(address))
        };
        nics.find(held)?["nic"].as_str().map(str::to_owned)
    }

    /// Whether packets that are not a NIC's own are dropped.
    ///
    /// # Panics
    /// When the fake cloud does not answer, or has no such NIC.
    #[must_use]
    pub fn checks_sources(&self, nic: &str) -> bool {
        let view = self.look("state");
        let mut nics = view[self.cloud.name()]["nics"]
            .as_array()
            .into_iter()
            .flatten();
        let found = nics.find(|found| found["nic"] == nic).expect("a NIC");
        found["sourceDestCheck"].as_bool().expect("a flag")
    }

    /// Frames that the fabric dropped for a reason.
    ///
    /// # Panics
    /// When the fake cloud does not answer.
    #[must_use]
    pub fn dropped(&self, reason: &str) -> u64 {
        let dropped = &self.look("fabric")[self.cloud.name()]["dropped"];
        dropped[reason].as_u64().unwrap_or(0)
    }

    /// Operations that the provider was asked for, metadata included, in order; the latest thousands.
    ///
    /// # Panics
    /// When the fake cloud does not answer.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        let view = self.look("calls");
        let entries = view["entries"].as_array().into_iter().flatten();
        let names = entries.filter_map(|call| call["operation"].as_str());
        names.map(str::to_owned).collect()
    }

    fn look(&self, what: &str) -> Value {
        let command = format!("curl -sf http://{LISTEN}/fakecloud/{what}");
        let text = sh(&self.wires, &command).success();
        serde_json::from_str(&text).expect("JSON")
    }

    /// Posts to the fake cloud's own API.
    pub fn tell(&self, what: &str, value: &Value) {
        let command = format!("curl -sf -X POST -d '{value}' http://{LISTEN}/fakecloud/{what}");
        sh(&self.wires, &command).success();
    }
}

/// How a router names a NIC of the scenario in its configuration.
fn nic_id(cloud: CloudKind, name: &str) -> String {
    match cloud {
        CloudKind::Aws | CloudKind::Oci => name.to_owned(),
        CloudKind::Azure => format!("{GROUP}/providers/Microsoft.Network/networkInterfaces/{name}"),
    }
}

/// The scenario of the lab at a provider.
fn scenario(cloud: CloudKind, instances: &[Value], settings: &Value) -> Value {
    let (region, account, group, allow) = match cloud {
        CloudKind::Aws => (
            "eu-central-1",
            "123456789012",
            "123456789012",
            json!([
                "ec2:Describe*",
                "ec2:*PrivateIpAddresses",
                "ec2:ModifyNetworkInterfaceAttribute"
            ]),
        ),
        CloudKind::Azure => (
            "westeurope",
            "00000000-0000-0000-0000-000000000001",
            "rg-lab",
            json!([
                "Microsoft.Network/*",
                "Microsoft.Compute/virtualMachines/read",
                "Microsoft.Authorization/permissions/read"
            ]),
        ),
        CloudKind::Oci => (
            "eu-frankfurt-1",
            "ocid1.tenancy.oc1..lab",
            "ocid1.compartment.oc1..lab",
            json!(["PRIVATE_IP_*", "VNIC_*", "SUBNET_*", "INSTANCE_*"]),
        ),
    };
    let mut site = json!({
        "region": region, "account": account, "group": group,
        "subnets": [{"id": "subnet-lab", "network": "net-lab", "prefix": "10.77.60.0/24"}],
        "addressLimits": {"lab": 200},
        "roles": {"router": {"allow": allow}},
        "instances": instances,
    });
    for (name, value) in settings.as_object().into_iter().flatten() {
        site[name] = value.clone();
    }
    json!({ "seed": 7, cloud.name(): site })
}

fn serve(program: &Path, wires: &Namespace, scenario: &Path, log: &Path) -> Daemon {
    let (address, port) = LISTEN.split_once(':').expect("address and port");
    let command = format!("ip link set lo up && ip address add {address}/24 dev wan");
    sh(wires, &command).success();
    let command = format!(
        "exec {} lab fakecloud -c {} --listen 0.0.0.0:{port}",
        program.display(),
        scenario.display()
    );
    let daemon = Daemon::sh(wires, &command, log);
    wait_until("the fake cloud answers", PATIENCE, || {
        sh(wires, &format!("curl -sf http://{LISTEN}/fakecloud/state")).code == 0
    });
    daemon
}

/// An interface of the cloud; nobody's check is off.
fn nic(name: &str, wire: &str, at: &Namespace, interface: &str, address: Ipv4Addr) -> Value {
    json!({
        "id": format!("nic-{name}"), "subnet": "subnet-lab", "mac": mac(at, interface),
        "address": address, "wire": wire,
    })
}

fn mac(namespace: &Namespace, interface: &str) -> String {
    let text = sh(namespace, &format!("ip -j link show dev {interface}")).success();
    let links: Value = serde_json::from_str(&text).expect("JSON");
    links[0]["address"].as_str().expect("a MAC").to_owned()
}
