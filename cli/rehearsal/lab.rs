//! The stage: a fake cloud on a loopback port, with the routers of the configuration's site on machines of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sam_capture::provider::{NicId, Operation};
use sam_capture::{NodeId, Provider};
use sam_cloud::{Endpoints, MacAddress, Settings, Timeouts};
use sam_fakecloud::server::{self, Shared};
use sam_fakecloud::server_thread::ServerThread;
use sam_fakecloud::{
    InstanceEntry, Lag, Latency, NicEntry, Policy, Rates, Record, Scenario, SubnetEntry, World,
};
use sam_router::config::{CloudKind, Config, Node};

use super::report::ChangeRow;
use super::trouble::Trouble;
use crate::exit::{Exit, Failure};
use crate::provider;

/// Name of the tag by which the policy of AWS knows the routers' interfaces, and of whatever else wants one.
const GROUP: &str = "rehearsal";
const SUBNET: &str = "subnet-rehearsal";
const NETWORK: &str = "network-rehearsal";
const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000000";
/// No provider gives out the first four addresses of a subnet.
const RESERVED: usize = 4;
/// A call that the fake does not answer is given up early.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    metadata: Duration::from_secs(3),
    read: Duration::from_secs(10),
    change: Duration::from_secs(10),
    operation: Duration::from_secs(3),
};

/// What of a configuration is played.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) provider: CloudKind,
    pub(super) own: Machine,
    pub(super) other: Machine,
    /// Who owns what is captured.
    pub(super) owner: Owner,
    /// Addresses that are moved.
    pub(super) addresses: [Ipv4Addr; 3],
    pub(super) release_hold: Duration,
    /// What the configuration does not say.
    pub(super) invented: Vec<String>,
    prefix: ipnet::Ipv4Net,
    account: String,
    group: String,
}

/// A router on its machine.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) node: NodeId,
    pub(super) name: String,
    pub(super) nic: NicId,
    instance: String,
    mac: MacAddress,
    address: Ipv4Addr,
}

/// A router of another site.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) node: NodeId,
    pub(super) site: String,
    pub(super) overlay: Ipv4Addr,
}

impl Machine {
    /// What the fake calls its interface: without the path that Azure puts before it.
    pub(super) fn short(&self) -> &str {
        self.nic.0.rsplit('/').next().unwrap_or_default()
    }

    fn entry(&self) -> InstanceEntry {
        InstanceEntry {
            id: self.instance.clone(),
            kind: "rehearsal".to_owned(),
            role: Some("router".to_owned()),
            running: true,
            tokens_required: true,
            hop_limit: 1,
            tags: BTreeMap::new(),
            nics: vec![NicEntry {
                id: self.short().to_owned(),
                subnet: SUBNET.to_owned(),
                mac: self.mac.to_string(),
                address: self.address,
                secondary: Vec::new(),
                source_dest_check: true,
                wire: None,
                tags: [("sam-group".to_owned(), GROUP.to_owned())].into(),
                document: serde_json::Value::Null,
            }],
        }
    }
}

impl Site {
    /// Reads the site from a configuration.
    ///
    /// # Errors
    /// What the configuration lacks.
    pub(super) fn of(config: &Config) -> Result<Self, Failure> {
        let unfit = |error: &str, remedy: &str| Failure::new(Exit::Usage, error).remedy(remedy);
        let cloud = config.cloud().ok_or_else(|| {
            let remedy = "write `self.capture: {type: aws, interface: ens5}`, or `azure`, or `oci`";
            unfit("the configuration captures in no cloud", remedy)
        })?;
        let own = config.own_node();
        let nodes = || config.fabric.nodes.values();
        let mut elsewhere = nodes().filter(|node| node.site != own.site);
        let owner = elsewhere.next().ok_or_else(|| {
            let error = "the fabric has no other site whose addresses could be captured";
            unfit(error, "add its nodes to fabric.nodes")
        })?;
        let mut places = config.fabric.pools.iter().filter_map(place);
        let (prefix, [own_address, other_address, addresses @ ..]) =
            places.next().ok_or_else(|| {
                let error = "no pool has five free addresses to rehearse with";
                unfit(error, "give one a prefix of /28 or wider")
            })?;
        let mut invented = Vec::new();
        let sibling = nodes().find(|node| node.site == own.site && node.id != own.id);
        let highest = nodes().map(|node| node.id.0).max().unwrap_or(0);
        let other = sibling.map_or((NodeId(highest + 1), "a second router"), |node| {
            (node.id, node.name.as_str())
        });
        if sibling.is_none() {
            invented.push(format!("{}: site {} has one only", other.1, own.site));
        }
        let (nic, account, group) =
            identity(cloud.provider, own.nic.as_ref(), "own", &mut invented)?;
        let sibling_nic = sibling.and_then(|node| node.nic.as_ref());
        let (other_nic, ..) = identity(cloud.provider, sibling_nic, "other", &mut invented)?;
        let machine = |node, name: &str, nic, last, address| Machine {
            node,
            name: name.to_owned(),
            nic,
            instance: format!("i-{last}"),
            mac: MacAddress([2, 0, 0, 0, 0, last]),
            address,
        };
        Ok(Self {
            provider: cloud.provider,
            own: machine(own.id, &own.name, nic, 1, own_address),
            other: machine(other.0, other.1, other_nic, 2, other_address),
            owner: Owner::from(owner),
            addresses,
            release_hold: cloud.release_hold,
            invented,
            prefix,
            account,
            group,
        })
    }

    fn kind(&self) -> sam_fakecloud::Provider {
        match self.provider {
            CloudKind::Aws => sam_fakecloud::Provider::Aws,
            CloudKind::Azure => sam_fakecloud::Provider::Azure,
            CloudKind::Oci => sam_fakecloud::Provider::Oci,
        }
    }

    /// The cloud of the site, with the role that `samctl iam-policy` prints.
    fn scenario(&self, troubles: &[Trouble]) -> Scenario {
        let mut site = sam_fakecloud::Site {
            region: region(self.provider).to_owned(),
            zone: None,
            account: self.account.clone(),
            group: Some(self.group.clone()),
            subnets: vec![SubnetEntry {
                id: SUBNET.to_owned(),
                network: NETWORK.to_owned(),
                prefix: self.prefix,
            }],
            instances: vec![self.own.entry(), self.other.entry()],
            roles: [("router".to_owned(), role(self))].into(),
            keys: Vec::new(),
            address_limits: BTreeMap::new(),
            page_size: None,
            lag: Lag::default(),
            latency: Latency::default(),
            throttle: Rates::default(),
            atomic_move: true,
        };
        troubles.iter().for_each(|trouble| trouble.shape(&mut site));
        let mut scenario = Scenario {
            seed: Some(1),
            ..Scenario::default()
        };
        match self.provider {
            CloudKind::Aws => scenario.aws = Some(site),
            CloudKind::Azure => scenario.azure = Some(site),
            CloudKind::Oci => scenario.oci = Some(site),
        }
        scenario
    }
}

impl From<&Node> for Owner {
    fn from(node: &Node) -> Self {
        Self {
            node: node.id,
            site: node.site.clone(),
            overlay: node.overlay,
        }
    }
}

/// Five addresses of a pool: two for the routers' own, three to move.
fn place(pool: &sam_capture::Pool) -> Option<(ipnet::Ipv4Net, [Ipv4Addr; 5])> {
    let prefix = pool.prefix;
    let last = prefix.broadcast();
    let hosts = prefix.hosts().skip(RESERVED);
    let hosts = hosts.filter(|at| pool.admits(*at) && *at != last).take(5);
    let hosts: Vec<Ipv4Addr> = hosts.collect();
    Some((prefix, hosts.try_into().ok()?))
}

/// The id of an interface, and the account and group that it is in.
fn identity(
    provider: CloudKind,
    nic: Option<&NicId>,
    whose: &str,
    invented: &mut Vec<String>,
) -> Result<(NicId, String, String), Failure> {
    if nic.is_none() {
        invented.push(format!(
            "the network interface of the {whose} router: `nic` is not there"
        ));
    }
    let group = GROUP.to_owned();
    match provider {
        CloudKind::Aws => {
            let invented = || NicId(format!("eni-{whose}"));
            let nic = nic.cloned().unwrap_or_else(invented);
            Ok((nic, "123456789012".to_owned(), group))
        }
        CloudKind::Oci => {
            let invented = || NicId(format!("ocid1.vnic.oc1..{whose}"));
            let nic = nic.cloned().unwrap_or_else(invented);
            Ok((nic, "ocid1.tenancy.oc1..rehearsal".to_owned(), group))
        }
        CloudKind::Azure => {
            let path = "providers/Microsoft.Network/networkInterfaces";
            let invented = || {
                NicId(format!(
                    "/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/{path}/nic-{whose}"
                ))
            };
            let nic = nic.cloned().unwrap_or_else(invented);
            let parts: Vec<&str> = nic.0.split('/').collect();
            let &["", _, subscription, _, group, "providers", _, _, _] = parts.as_slice() else {
                let error = format!("{nic} is no id of a network interface at Azure");
                return Err(Failure::new(Exit::Usage, error).remedy(
                    "`az network nic show --query id` prints it: /subscriptions/ID/resourceGroups/NAME/providers/…",
                ));
            };
            let (subscription, group) = (subscription.to_owned(), group.to_owned());
            Ok((nic, subscription, group))
        }
    }
}

const fn region(provider: CloudKind) -> &'static str {
    match provider {
        CloudKind::Aws => "eu-central-1",
        CloudKind::Azure => "westeurope",
        CloudKind::Oci => "eu-frankfurt-1",
    }
}

fn role(site: &Site) -> Policy {
    let owned = |actions: Vec<&str>| actions.into_iter().map(str::to_owned).collect();
    match site.provider {
        CloudKind::Aws => {
            let policy = sam_cloud::aws::policy::policy(&sam_cloud::aws::policy::PolicyScope {
                region: region(site.provider).to_owned(),
                account: site.account.clone(),
                group: GROUP.to_owned(),
            });
            Policy {
                allow: owned(sam_cloud::aws::policy::actions(&policy)),
                nic_tags: [("sam-group".to_owned(), GROUP.to_owned())].into(),
            }
        }
        CloudKind::Azure => {
            let role = sam_cloud::azure::policy::role(&sam_cloud::azure::policy::RoleScope {
                subscription: site.account.clone(),
                group: site.group.clone(),
                public_addresses: false,
                application_groups: false,
            });
            let actions = role["Actions"].as_array().into_iter().flatten();
            Policy {
                allow: owned(actions.filter_map(|action| action.as_str()).collect()),
                ..Policy::default()
            }
        }
        CloudKind::Oci => {
            let kinds = sam_cloud::oci::policy::PERMISSIONS.iter();
            Policy {
                allow: owned(kinds.flat_map(|(_, names)| *names).copied().collect()),
                ..Policy::default()
            }
        }
    }
}

/// The served cloud; it ends with this value.
pub(super) struct Lab {
    world: Shared,
    server: ServerThread,
}

impl Lab {
    /// Serves the cloud of a site.
    ///
    /// # Errors
    /// When the site is impossible there, or the host gives no port.
    pub(super) fn serve(site: &Site, troubles: &[Trouble]) -> Result<Self, Failure> {
        let kind = site.kind();
        if let Some(strange) = troubles.iter().find(|trouble| !trouble.concerns(kind)) {
            let error = format!("{} cannot happen at {}", strange.name(), kind.name());
            return Err(Failure::new(Exit::Usage, error).remedy("it is one of Azure's troubles"));
        }
        let world = World::new(&site.scenario(troubles), [0; 32], server::now());
        let world = world.map_err(|errors| {
            let errors: Vec<String> = errors.into_iter().map(|error| error.message).collect();
            Failure::new(Exit::Usage, errors.join("; "))
                .remedy("correct `nic` in fabric.nodes: each router of the site has its own")
        })?;
        let world = Arc::new(Mutex::new(world));
        let failed = |error| Failure::new(Exit::Failed, format!("no fake cloud: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let server = ServerThread::start(listener, Shared::clone(&world)).map_err(failed)?;
        Ok(Self { world, server })
    }

    /// The client of a router on its machine.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn client(
        &self,
        site: &Site,
        machine: &Machine,
    ) -> Result<Box<dyn Provider>, Failure> {
        let url = format!("http://{}", self.server.address());
        let mut settings = Settings::new(machine.mac);
        settings.endpoints = Endpoints {
            metadata: Some(format!("{url}/instances/{}", machine.instance)),
            federation: (site.provider == CloudKind::Oci).then(|| url.clone()),
            api: Some(url),
        };
        settings.timeouts = TIMEOUTS;
        let nics = BTreeSet::from([site.own.nic.clone(), site.other.nic.clone()]);
        provider::client(site.provider, &settings, nics, None)
            .map_err(|error| Failure::new(Exit::Failed, error))
    }

    /// Lets go wrong what was ordered.
    pub(super) fn disturb(&self, site: &Site, troubles: &[Trouble]) {
        let faults = troubles.iter();
        let faults = faults.flat_map(|trouble| trouble.faults(site.kind(), &site.own.instance));
        server::locked(&self.world, |world| {
            for fault in faults {
                // There is room for a thousand.
                world.add_fault(fault);
            }
        });
    }

    /// Has the other router take an address, as it would itself.
    ///
    /// # Errors
    /// When the fake refuses.
    pub(super) fn let_other_hold(&self, site: &Site, address: Ipv4Addr) -> Result<(), Failure> {
        let mut other = self.client(site, &site.other)?;
        let assign = Operation::Assign {
            addresses: [address].into(),
            version: None,
        };
        let done = other.perform(&assign, &Always);
        done.map(drop).map_err(|error| {
            let error = format!("the other router cannot take {address}: {error}");
            Failure::new(Exit::Failed, error)
        })
    }

    /// A machine dies.
    pub(super) fn stop(&self, machine: &Machine) {
        server::locked(&self.world, |world| {
            world.set_running(&machine.instance, false)
        });
    }

    /// Addresses on an interface besides its own.
    pub(super) fn addresses(&self, machine: &Machine) -> BTreeSet<Ipv4Addr> {
        server::locked(&self.world, |world| {
            let kinds = sam_fakecloud::Provider::ALL.into_iter();
            let nics = kinds
                .filter_map(|kind| world.cloud(kind))
                .flat_map(|cloud| cloud.nics());
            let nics = nics.filter(|nic| nic.id == machine.short());
            let held = nics.flat_map(|nic| nic.latest().addresses.iter().map(|held| held.address));
            held.filter(|address| *address != machine.address).collect()
        })
    }

    /// The ledger so far.
    pub(super) fn changes(&self, site: &Site) -> Vec<ChangeRow> {
        server::locked(&self.world, |world| {
            let cloud = world.cloud(site.kind());
            let records = cloud.into_iter().flat_map(|cloud| &cloud.ledger().entries);
            records.map(change).collect()
        })
    }
}

/// The other router's reasons are not rehearsed.
struct Always;

impl sam_capture::provider::Fence for Always {
    fn is_current(&self) -> bool {
        true
    }
}

fn change(record: &Record) -> ChangeRow {
    let (before, after) = (&record.before, &record.after);
    let missing = |from: &[Ipv4Addr], of: &[Ipv4Addr]| -> Vec<Ipv4Addr> {
        let of = of.iter().filter(|address| !from.contains(address));
        of.copied().collect()
    };
    let turned = before.source_dest_check != after.source_dest_check;
    ChangeRow {
        operation: record.operation.clone(),
        nic: record.nic.clone(),
        added: missing(&before.addresses, &after.addresses),
        removed: missing(&after.addresses, &before.addresses),
        forwarding: turned.then_some(!after.source_dest_check),
    }
}
