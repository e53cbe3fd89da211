//! Makes the client of the cloud in which a router captures.

use std::collections::BTreeSet;

use sam_capture::Provider;
use sam_capture::provider::NicId;
use sam_cloud::{Egress, Endpoints, MacAddress, Settings};
use sam_net::Netlink;
use sam_router::config::{CloudCapture, CloudKind, Config};

/// Makes the client; it calls nobody yet.
///
/// # Errors
/// Why there is none, in words: the interface is not there, or the settings make no sense.
pub(crate) fn provider(config: &Config) -> Result<Box<dyn Provider>, String> {
    let Some(cloud) = config.cloud() else {
        return Err("the configuration captures in no cloud".to_owned());
    };
    let mut settings = Settings::new(mac(&cloud.interface)?);
    settings.endpoints = endpoints(cloud);
    settings.egress = Egress {
        interface: cloud.endpoints.interface.clone(),
        ..Egress::from_environment(environment)
    };
    if cloud.provider == CloudKind::Oci {
        settings.timeouts.change = sam_cloud::oci::SLOWEST_CHANGE;
    }
    let identity = environment("AZURE_CLIENT_ID");
    client(cloud.provider, &settings, nics_of_site(config), identity)
}

/// Makes the client of a provider; what only Azure asks for: the NICs of the site's routers, and which managed identity.
///
/// # Errors
/// Why there is none, in words.
pub(crate) fn client(
    provider: CloudKind,
    settings: &Settings,
    nics: BTreeSet<NicId>,
    identity: Option<String>,
) -> Result<Box<dyn Provider>, String> {
    let made: Result<Box<dyn Provider>, _> = match provider {
        CloudKind::Aws => sam_cloud::aws::Aws::new(settings).map(boxed),
        CloudKind::Azure => sam_cloud::azure::Azure::new(settings, nics, identity).map(boxed),
        CloudKind::Oci => sam_cloud::oci::Oci::new(settings).map(boxed),
    };
    made.map_err(|error| error.to_string())
}

/// The interfaces of our site's routers: those of other sites are none of this cloud's.
fn nics_of_site(config: &Config) -> BTreeSet<NicId> {
    let nodes = &config.fabric.nodes;
    let own = nodes.get(&config.local.node).map(|node| &node.site);
    let site = nodes.values().filter(|node| Some(&node.site) == own);
    site.filter_map(|node| node.nic.clone()).collect()
}

fn boxed(provider: impl Provider + 'static) -> Box<dyn Provider> {
    Box::new(provider)
}

/// What the configuration says; for AWS what its SDKs take from the environment otherwise.
fn endpoints(cloud: &CloudCapture) -> Endpoints {
    let written = &cloud.endpoints;
    let usual = match cloud.provider {
        CloudKind::Aws => Endpoints::from_aws_environment(environment),
        CloudKind::Azure | CloudKind::Oci => Endpoints::default(),
    };
    Endpoints {
        api: written.api.clone().or(usual.api),
        metadata: written.metadata.clone().or(usual.metadata),
        federation: written.federation.clone().or(usual.federation),
    }
}

/// The hardware address by which the metadata service knows our NIC.
fn mac(interface: &str) -> Result<MacAddress, String> {
    let link = Netlink::open().and_then(|mut netlink| netlink.link(interface));
    let link = link.map_err(|error| error.to_string())?;
    let mac = link
        .mac
        .ok_or_else(|| format!("{interface} has no hardware address"))?;
    Ok(MacAddress(mac))
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
