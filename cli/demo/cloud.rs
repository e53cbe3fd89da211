//! The providers of the demo: the fake cloud in this process, reached by the routers at an address on the WAN.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sam_fakecloud::server::{self, Shared};
use sam_fakecloud::server_thread::ServerThread;
use sam_fakecloud::{Delivery, Record, Request, Scenario, Time, World};
use sam_net::{Namespace, Netlink};
use serde_json::{Value, json};

use super::lab::{GUEST_PORT, Lab, PROVIDER, client_port, lan_port};
use super::random;
use super::sites::{GROUP, GUEST, Router, SUBSCRIPTION, Site, WAITING};
use crate::wires;

const PORT: u16 = 8470;
const GUEST_NIC: &str = "eni-guest";

/// The running fake cloud.
pub(super) struct FakeCloud {
    world: Shared,
    _server: ServerThread,
}

impl FakeCloud {
    /// Takes the loose cables of the lab and serves the providers' APIs.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(super) fn start(lab: &Lab) -> Result<Self> {
        let scenario: Scenario = serde_json::from_value(scenario(lab)?)?;
        let world = match World::new(&scenario, random()?, server::now()) {
            Ok(world) => Arc::new(Mutex::new(world)),
            Err(errors) => bail!("the demo's cloud is impossible: {errors:?}"),
        };
        let listener = lab.wires.enter(|| -> Result<_> {
            wires::attach(&world)?;
            Ok(std::net::TcpListener::bind(address())?)
        })??;
        let server = ServerThread::start(listener, Shared::clone(&world))?;
        Ok(Self {
            world,
            _server: server,
        })
    }

    /// The router that has an address of another site on its interface.
    pub(super) fn holder(&self, site: Site, address: Ipv4Addr) -> Option<Router> {
        let mut routers = site.routers().into_iter();
        routers.find(|router| self.captured(*router).contains(&address))
    }

    /// Addresses of other sites that a router has on its interface.
    pub(super) fn captured(&self, router: Router) -> BTreeSet<Ipv4Addr> {
        let mut addresses = router
            .short_nic()
            .map(|nic| self.addresses(router.site, &nic))
            .unwrap_or_default();
        addresses.remove(&router.lan());
        addresses
    }

    fn addresses(&self, site: Site, nic: &str) -> BTreeSet<Ipv4Addr> {
        let Some(provider) = site.provider() else {
            return BTreeSet::new();
        };
        server::locked(&self.world, |world| {
            let nics = world.cloud(provider).into_iter().flat_map(|c| c.nics());
            let nics = nics.filter(|known| known.id == nic);
            nics.flat_map(|nic| nic.latest().addresses.iter().map(|held| held.address))
                .collect()
        })
    }

    /// The changes at a provider, the oldest first; all of them, as none of the demo's is ever forgotten.
    pub(super) fn ledger(&self, site: Site) -> Vec<Record> {
        let Some(provider) = site.provider() else {
            return Vec::new();
        };
        server::locked(&self.world, |world| {
            let cloud = world.cloud(provider);
            cloud.map_or_else(Vec::new, |cloud| {
                cloud.ledger().entries.iter().cloned().collect()
            })
        })
    }

    /// What became of addresses of other sites since a place in the ledger.
    pub(super) fn custody(&self, site: Site, since: usize) -> Custody {
        let nics: Vec<String> = { site.routers().into_iter() }
            .filter_map(Router::short_nic)
            .collect();
        let ledger = self.ledger(site);
        let records = ledger.iter().skip(since);
        Custody::of(records.filter(|record| nics.contains(&record.nic)))
    }

    /// How many faults are left.
    ///
    /// # Errors
    /// None that a running cloud has.
    pub(super) fn faults(&self) -> Result<usize> {
        let faults = self.control("GET", "faults", &Value::Null)?;
        Ok(faults.as_array().map_or(0, Vec::len))
    }

    /// How often a router has called its provider so far.
    pub(super) fn calls(&self, router: Router) -> Result<usize> {
        let calls = self.control("GET", "calls", &Value::Null)?;
        let calls = calls["entries"].as_array().into_iter().flatten();
        let instance = router.instance();
        Ok(calls.filter(|call| call["principal"] == instance).count())
    }

    /// Orders a fault.
    ///
    /// # Errors
    /// When it makes no sense.
    pub(super) fn disturb(&self, fault: &Value) -> Result<()> {
        self.control("POST", "faults", fault).map(drop)
    }

    /// Ends all faults.
    ///
    /// # Errors
    /// None that a running cloud has.
    pub(super) fn calm(&self) -> Result<()> {
        self.control("DELETE", "faults", &Value::Null).map(drop)
    }

    /// Starts or stops a router's machine, as far as the provider is concerned.
    ///
    /// # Errors
    /// When there is no such machine.
    pub(super) fn set_running(&self, router: Router, running: bool) -> Result<()> {
        let action = if running { "start" } else { "stop" };
        let path = format!("instances/{}/{action}", router.instance());
        self.control("POST", &path, &Value::Null).map(drop)
    }

    /// Moves the guest's address from the router that has it in AWS to the guest's interface there, as somebody at the
    /// console would.
    ///
    /// # Errors
    /// When somebody else holds it.
    pub(super) fn admit_guest(&self) -> Result<()> {
        let change = |nic: &str, change: &Value| {
            self.control("POST", &format!("nics/{nic}"), change)
                .map(drop)
        };
        let holder = self.holder(Site::Aws, GUEST).and_then(Router::short_nic);
        if let Some(holder) = holder {
            change(&holder, &json!({ "remove": [GUEST] }))?;
        }
        change(GUEST_NIC, &json!({ "add": [GUEST] }))
    }

    /// Asks the fake's own API.
    fn control(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let request = Request {
            method: method.to_owned(),
            path: format!("/fakecloud/{path}"),
            body: body.to_string().into_bytes(),
            ..Request::default()
        };
        let now = server::now();
        let reply = server::locked(&self.world, |world| {
            let admission = world.admit(&request, now);
            world.answer(&request, &admission, now)
        });
        let Delivery::Answer(response) = reply.delivery else {
            bail!("the fake cloud does not answer");
        };
        if response.status >= 300 {
            bail!("{}", String::from_utf8_lossy(&response.body));
        }
        if response.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&response.body).context("the fake cloud's answer is no JSON")
    }
}

/// What became of addresses, by a part of the ledger.
#[derive(Debug, Default)]
pub(super) struct Custody {
    /// The longest time for which nobody held one between two that did.
    pub gap: Duration,
    /// How often one was put on an interface.
    pub given: usize,
    /// How often the same one was.
    pub most: usize,
}

impl Custody {
    fn of<'a>(records: impl Iterator<Item = &'a Record>) -> Self {
        let mut custody = Self::default();
        let mut taken: BTreeMap<Ipv4Addr, Time> = BTreeMap::new();
        let mut given: BTreeMap<Ipv4Addr, usize> = BTreeMap::new();
        for record in records {
            let (before, after) = (&record.before.addresses, &record.after.addresses);
            for address in before.iter().filter(|address| !after.contains(address)) {
                taken.insert(*address, record.at);
            }
            for address in after.iter().filter(|address| !before.contains(address)) {
                *given.entry(*address).or_default() += 1;
                if let Some(since) = taken.remove(address) {
                    let gap = (record.at - since).to_std().unwrap_or_default();
                    custody.gap = custody.gap.max(gap);
                }
            }
        }
        custody.given = given.values().sum();
        custody.most = given.into_values().max().unwrap_or(0);
        custody
    }
}

/// Where it listens.
pub(super) fn address() -> SocketAddr {
    SocketAddr::from((PROVIDER, PORT))
}

/// The provider's addresses in the configuration of a router.
pub(super) fn endpoints(router: Router) -> String {
    let url = format!("http://{}", address());
    let instance = router.instance();
    let federation = if router.site == Site::Oci {
        format!(", federation: \"{url}\"")
    } else {
        String::new()
    };
    format!("{{api: \"{url}\", metadata: \"{url}/instances/{instance}\"{federation}}}")
}

/// The providers as `samctl lab fakecloud` would read them: at each a subnet, two routers and a client.
fn scenario(lab: &Lab) -> Result<Value> {
    let mut scenario = serde_json::Map::new();
    for site in Site::CLOUDS {
        scenario.insert(site.name().to_owned(), provider(lab, site)?);
    }
    Ok(Value::Object(scenario))
}

fn provider(lab: &Lab, site: Site) -> Result<Value> {
    let (region, account, group, allowed) = match site {
        Site::Onprem | Site::Aws => (
            "eu-central-1",
            "123456789012",
            "demo",
            json!([
                "ec2:Describe*",
                "ec2:*PrivateIpAddresses",
                "ec2:ModifyNetworkInterfaceAttribute"
            ]),
        ),
        Site::Azure => (
            "westeurope",
            SUBSCRIPTION,
            GROUP,
            json!([
                "Microsoft.Network/*",
                "Microsoft.Compute/virtualMachines/read",
                "Microsoft.Authorization/permissions/read",
            ]),
        ),
        Site::Oci => (
            "eu-frankfurt-1",
            "ocid1.tenancy.oc1..demo",
            "ocid1.compartment.oc1..demo",
            json!(["PRIVATE_IP_*", "VNIC_*", "SUBNET_*", "INSTANCE_*"]),
        ),
    };
    let nic = |id: &str, wire: &str, at: &Namespace, interface: &str, address: Ipv4Addr| {
        Ok::<_, anyhow::Error>(json!({
            "id": id, "subnet": "subnet-demo", "mac": mac(at, interface)?, "address": address, "wire": wire,
            "tags": {"sam-group": "demo"},
        }))
    };
    let (client, id) = (lab.client(site), format!("nic-client-{}", site.name()));
    let mut instances = vec![json!({
        "id": format!("i-client-{}", site.name()),
        "nics": [nic(&id, &client_port(site), client, "eth0", site.client())?],
    })];
    if site == Site::Aws {
        let nic = nic(GUEST_NIC, GUEST_PORT, &lab.guest, "eth1", WAITING)?;
        instances.push(json!({ "id": "i-guest", "nics": [nic] }));
    }
    for router in site.routers() {
        let id = router.short_nic().unwrap_or_default();
        let machine = lab.router(router);
        let nic = nic(&id, &lan_port(router), machine, "lan0", router.lan())?;
        instances.push(json!({ "id": router.instance(), "role": "router", "nics": [nic] }));
    }
    Ok(json!({
        "region": region, "account": account, "group": group,
        "subnets": [{"id": "subnet-demo", "network": "network-demo", "prefix": "10.77.60.0/24"}],
        "roles": {"router": {"allow": allowed}},
        "latency": {"readMs": 20, "writeMs": 80, "operationMs": 200},
        "instances": instances,
    }))
}

fn mac(namespace: &Namespace, interface: &str) -> Result<String> {
    let mac = namespace.enter(|| -> Result<_> { Ok(Netlink::open()?.link(interface)?.mac) })??;
    let mac = mac.with_context(|| format!("{interface} has no hardware address"))?;
    let octets: Vec<String> = mac.iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(octets.join(":"))
}
