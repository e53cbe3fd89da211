//! What a rehearsal starts from: the file of `samctl lab fakecloud`, and its checks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cloud::{Cloud, Instance, Subnet};
use crate::fabric::Traffic;
use crate::fault::Fault;
use crate::ledger::Log;
use crate::nic::{Holding, Nic, Version};
use crate::oci;
use crate::policy::Policy;
use crate::settings::{Key, Lag, Latency, Settings};
use crate::throttle::{Rates, Throttle};
use crate::{Provider, Refusal, Time};

/// A scenario.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// Everything random follows from it; without, each start differs.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Amazon Web Services.
    #[serde(default)]
    pub aws: Option<Site>,
    /// Microsoft Azure.
    #[serde(default)]
    pub azure: Option<Site>,
    /// Oracle Cloud Infrastructure.
    #[serde(default)]
    pub oci: Option<Site>,
    /// What goes wrong from the start.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// One provider's part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Site {
    /// Region.
    pub region: String,
    /// Availability zone or domain; the region's first by default.
    #[serde(default)]
    pub zone: Option<String>,
    /// Account, subscription or tenancy.
    pub account: String,
    /// Resource group or compartment; named like the account by default.
    #[serde(default)]
    pub group: Option<String>,
    /// Subnets.
    pub subnets: Vec<SubnetEntry>,
    /// Virtual machines.
    pub instances: Vec<InstanceEntry>,
    /// Roles by name.
    #[serde(default)]
    pub roles: BTreeMap<String, Policy>,
    /// Credentials of people and programs outside of instances.
    #[serde(default)]
    pub keys: Vec<Key>,
    /// Addresses per NIC by machine type; for the others 15 at AWS, 256 at Azure, 32 at OCI.
    #[serde(default)]
    pub address_limits: BTreeMap<String, usize>,
    /// Entries of a page at most.
    #[serde(default)]
    pub page_size: Option<usize>,
    /// How long changes are not seen.
    #[serde(default)]
    pub lag: Lag,
    /// How long calls take.
    #[serde(default)]
    pub latency: Latency,
    /// How often a principal may call; no limit by default.
    #[serde(default)]
    pub throttle: Rates,
    /// Whether Azure's moveIpConfigurations is there.
    #[serde(default)]
    pub atomic_move: bool,
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubnetEntry {
    /// Subnet id or name.
    pub id: String,
    /// VPC, virtual network or VCN.
    pub network: String,
    /// Addresses.
    pub prefix: Ipv4Net,
}

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InstanceEntry {
    /// Instance id or name.
    pub id: String,
    /// Machine type.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// The role of its credentials; without, it gets none.
    #[serde(default)]
    pub role: Option<String>,
    /// Whether it runs.
    #[serde(default = "yes")]
    pub running: bool,
    /// Whether the metadata service of AWS wants a token.
    #[serde(default = "yes")]
    pub tokens_required: bool,
    /// Hops that an answer with such a token survives.
    #[serde(default = "one_hop")]
    pub hop_limit: u8,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Its interfaces, in the order of devices.
    pub nics: Vec<NicEntry>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NicEntry {
    /// ENI id, name or VNIC OCID.
    pub id: String,
    /// The subnet that it is in.
    pub subnet: String,
    /// Hardware address, as Linux writes it.
    pub mac: String,
    /// Its own address.
    pub address: Ipv4Addr,
    /// Further addresses.
    #[serde(default)]
    pub secondary: Vec<Ipv4Addr>,
    /// Whether packets that are not its own are dropped.
    #[serde(default = "yes")]
    pub source_dest_check: bool,
    /// The interface here at which its wire ends: the far end of the instance's interface.
    #[serde(default)]
    pub wire: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Further properties of the document at Azure and OCI.
    #[serde(default)]
    pub document: Value,
}

const fn yes() -> bool {
    true
}

const fn one_hop() -> u8 {
    1
}

/// A mistake in a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioError {
    /// Where, as a JSON pointer.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

impl Scenario {
    /// Returns the part of a provider.
    #[must_use]
    pub const fn site(&self, provider: Provider) -> Option<&Site> {
        match provider {
            Provider::Aws => self.aws.as_ref(),
            Provider::Azure => self.azure.as_ref(),
            Provider::Oci => self.oci.as_ref(),
        }
    }

    /// Builds the clouds, as they are from `now` on.
    ///
    /// # Errors
    /// All mistakes.
    pub fn build(&self, now: Time) -> Result<Vec<Cloud>, Vec<ScenarioError>> {
        let mut builder = Builder {
            now,
            errors: Vec::new(),
        };
        let mut clouds = Vec::new();
        for provider in Provider::ALL {
            if let Some(site) = self.site(provider) {
                clouds.push(builder.cloud(provider, site));
            }
        }
        if clouds.is_empty() {
            let remedy = "add `aws:`, `azure:` or `oci:`";
            builder.wrong("", "the scenario has no provider", remedy);
        }
        if builder.errors.is_empty() {
            Ok(clouds)
        } else {
            Err(builder.errors)
        }
    }
}

#[derive(Debug)]
struct Builder {
    now: Time,
    errors: Vec<ScenarioError>,
}

impl Builder {
    fn wrong(&mut self, pointer: impl Into<String>, message: impl Into<String>, remedy: &str) {
        self.errors.push(ScenarioError {
            pointer: pointer.into(),
            message: message.into(),
            remedy: remedy.to_owned(),
        });
    }

    fn cloud(&mut self, provider: Provider, site: &Site) -> Cloud {
        let root = format!("/{}", provider.name());
        self.keys(&root, provider, site);
        let mut cloud = Cloud {
            provider,
            settings: settings(provider, site),
            subnets: BTreeMap::new(),
            instances: BTreeMap::new(),
            nics: BTreeMap::new(),
            roles: site.roles.clone(),
            operations: Vec::new(),
            throttle: Throttle::new(site.throttle),
            ledger: Log::default(),
            traffic: Traffic::default(),
            sequence: 1,
        };
        for (index, entry) in site.subnets.iter().enumerate() {
            let subnet = Subnet {
                id: entry.id.clone(),
                network: entry.network.clone(),
                prefix: entry.prefix.trunc(),
            };
            if cloud.subnets.insert(entry.id.clone(), subnet).is_some() {
                self.twice(format!("{root}/subnets/{index}/id"), "subnet", &entry.id);
            }
        }
        for (index, entry) in site.instances.iter().enumerate() {
            let pointer = format!("{root}/instances/{index}");
            self.instance(&pointer, entry, site, &mut cloud);
        }
        cloud
    }

    fn keys(&mut self, root: &str, provider: Provider, site: &Site) {
        for (index, key) in site.keys.iter().enumerate() {
            let pointer = format!("{root}/keys/{index}");
            self.role(&format!("{pointer}/role"), &key.role, site);
            if provider == Provider::Oci && !oci::is_public_key(&key.secret) {
                let message = format!("the secret of {} is no public RSA key", key.id);
                let remedy = "`openssl rsa -in FILE -pubout` prints that of a private key";
                self.wrong(format!("{pointer}/secret"), message, remedy);
            }
        }
    }

    fn twice(&mut self, pointer: String, what: &str, id: &str) {
        let message = format!("there is another {what} {id}");
        self.wrong(pointer, message, "give each its own id");
    }

    fn role(&mut self, pointer: &str, role: &str, site: &Site) {
        if !site.roles.contains_key(role) {
            let known: Vec<&str> = site.roles.keys().map(String::as_str).collect();
            let remedy = format!("add it to `roles`; there are: {}", known.join(", "));
            self.wrong(pointer, format!("there is no role {role}"), &remedy);
        }
    }

    fn instance(&mut self, pointer: &str, entry: &InstanceEntry, site: &Site, cloud: &mut Cloud) {
        if let Some(role) = &entry.role {
            self.role(&format!("{pointer}/role"), role, site);
        }
        let instance = Instance {
            id: entry.id.clone(),
            kind: entry.kind.clone(),
            running: entry.running,
            role: entry.role.clone(),
            tokens_required: entry.tokens_required,
            hop_limit: entry.hop_limit,
            tags: entry.tags.clone(),
        };
        if cloud.instances.insert(entry.id.clone(), instance).is_some() {
            self.twice(format!("{pointer}/id"), "instance", &entry.id);
        }
        if entry.nics.is_empty() {
            let message = format!("instance {} has no NIC", entry.id);
            self.wrong(format!("{pointer}/nics"), message, "add one");
        }
        for (index, nic) in entry.nics.iter().enumerate() {
            let pointer = format!("{pointer}/nics/{index}");
            let device = u32::try_from(index).unwrap_or(u32::MAX);
            let limit = site.address_limits.get(&entry.kind);
            let mut built = Nic::new(nic.id.clone(), self.first_version(cloud, nic));
            built.mac = self.mac(&format!("{pointer}/mac"), &nic.mac);
            built.instance.clone_from(&entry.id);
            built.subnet.clone_from(&nic.subnet);
            built.device_index = device;
            built.limit = limit.map_or_else(|| cloud.provider.address_limit(), |limit| *limit);
            built.tags = nic.tags.clone();
            built.wire = self.wire(&pointer, nic, cloud);
            self.nic(&pointer, built, cloud);
        }
    }

    fn nic(&mut self, pointer: &str, nic: Nic, cloud: &mut Cloud) {
        if !cloud.subnets.contains_key(&nic.subnet) {
            let message = format!("there is no subnet {}", nic.subnet);
            self.wrong(format!("{pointer}/subnet"), message, "add it to `subnets`");
            return;
        }
        let id = nic.id.clone();
        if cloud.nics.insert(id.clone(), nic).is_some() {
            self.twice(format!("{pointer}/id"), "NIC", &id);
        }
        match cloud.check_all() {
            Ok(()) => return,
            Err(Refusal::OutsideSubnet(address) | Refusal::Reserved(address)) => {
                let message = format!("the subnet does not give out {address}");
                let remedy = "take one that is inside, not at its start, and not its last";
                self.wrong(format!("{pointer}/address"), message, remedy);
            }
            Err(Refusal::Held { address, nic, .. }) => {
                let message = format!("{address} is on {nic} already");
                let remedy = "an address is on one NIC only";
                self.wrong(format!("{pointer}/address"), message, remedy);
            }
            Err(Refusal::LimitExceeded { limit, .. }) => {
                let message = format!("more than {limit} addresses");
                let remedy = "take fewer `secondary`, or raise `addressLimits` for this `type`";
                self.wrong(pointer, message, remedy);
            }
            Err(Refusal::NoSuchNic(_) | Refusal::PrimaryChanged(_)) => {}
        }
        // What is wrong here must not be said again for the next one.
        cloud.nics.remove(&id);
    }

    fn wire(&mut self, pointer: &str, nic: &NicEntry, cloud: &Cloud) -> Option<String> {
        let wire = nic.wire.as_ref()?;
        if cloud
            .nics
            .values()
            .any(|other| other.wire.as_ref() == Some(wire))
        {
            self.twice(format!("{pointer}/wire"), "wire", wire);
        }
        Some(wire.clone())
    }

    fn mac(&mut self, pointer: &str, text: &str) -> String {
        let parts: Vec<&str> = text.split(':').collect();
        let valid = |part: &&str| part.len() == 2 && u8::from_str_radix(part, 16).is_ok();
        if parts.len() != 6 || !parts.iter().all(valid) {
            let message = format!("'{text}' is no hardware address");
            self.wrong(pointer, message, "write it like 02:00:00:00:00:01");
        }
        text.to_lowercase()
    }

    fn first_version(&self, cloud: &Cloud, nic: &NicEntry) -> Version {
        let name = |address: Ipv4Addr| cloud.address_name(&nic.id, address);
        let addresses: BTreeSet<Ipv4Addr> = nic.secondary.iter().copied().collect();
        let secondary = addresses.into_iter().filter(|own| *own != nic.address);
        let primary = Holding {
            primary: true,
            ..Holding::secondary(nic.address, name(nic.address))
        };
        let secondary = secondary.map(|address| Holding::secondary(address, name(address)));
        let mut addresses: Vec<Holding> = std::iter::once(primary).chain(secondary).collect();
        for held in &mut addresses {
            held.etag = 1;
        }
        Version {
            since: self.now,
            etag: 1,
            source_dest_check: nic.source_dest_check,
            addresses,
            rest: nic.document.clone(),
        }
    }
}

/// Entries of a page unless the scenario says so.
const PAGE_SIZE: usize = 1000;

fn settings(provider: Provider, site: &Site) -> Settings {
    let first = match provider {
        Provider::Aws | Provider::Azure => format!("{}a", site.region),
        Provider::Oci => format!("lab:{}-AD-1", site.region.to_uppercase()),
    };
    let keys = site.keys.iter().map(|key| (key.id.clone(), key.clone()));
    Settings {
        region: site.region.clone(),
        zone: site.zone.clone().unwrap_or(first),
        account: site.account.clone(),
        group: site.group.clone().unwrap_or_else(|| site.account.clone()),
        page_size: site.page_size.unwrap_or(PAGE_SIZE).max(1),
        lag: site.lag,
        latency: site.latency,
        atomic_move: site.atomic_move,
        address_limits: site.address_limits.clone(),
        keys: keys.collect(),
    }
}
