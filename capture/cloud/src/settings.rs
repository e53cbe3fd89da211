//! Where a provider is and how it is reached; credentials are not among it, they come from the metadata service.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::{MacAddress, Secret};

/// Settings of one provider's client.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Hardware address of the interface that captures: it decides which NIC is ours.
    pub mac: MacAddress,
    /// Addresses of the provider other than the usual ones.
    pub endpoints: Endpoints,
    /// How calls leave the host.
    pub egress: Egress,
    /// How long calls may take.
    pub timeouts: Timeouts,
    /// The clock; another one in tests.
    pub clock: fn() -> SystemTime,
}

impl Settings {
    /// Makes the settings of a router in a public cloud, whose capture interface has this hardware address.
    #[must_use]
    pub fn new(mac: MacAddress) -> Self {
        Self {
            mac,
            endpoints: Endpoints::default(),
            egress: Egress::default(),
            timeouts: Timeouts::default(),
            clock: SystemTime::now,
        }
    }
}

/// Base URLs without a slash at the end; `None` is the provider's usual one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// The provider's API: `https://ec2.REGION.amazonaws.com`, `https://management.azure.com`, ...
    pub api: Option<String>,
    /// The metadata service of the instance: `http://169.254.169.254`.
    pub metadata: Option<String>,
    /// Where a certificate of the instance becomes a token (OCI): `https://auth.REGION.oraclecloud.com`.
    pub federation: Option<String>,
}

/// How calls to the provider leave the host. The metadata service is always called directly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Egress {
    /// HTTP proxy, as URL; it may carry a name and a password.
    pub proxy: Option<Secret>,
    /// Hosts that are called without the proxy, separated by commas, as in `NO_PROXY`.
    pub no_proxy: String,
    /// Source address, so that the calls do not depend on the tunnels that the router itself makes.
    pub source: Option<IpAddr>,
    /// Interface that they leave by.
    pub interface: Option<String>,
    /// Certificates that are trusted, as PEM, instead of Mozilla's list.
    pub roots: Option<String>,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Name lookup, and then again connection with TLS.
    pub connect: Duration,
    /// A call of the metadata service, as a whole.
    pub metadata: Duration,
    /// A call that reads, as a whole.
    pub read: Duration,
    /// A call that changes, as a whole.
    pub change: Duration,
    /// What goes on at the provider after such a call was answered.
    pub operation: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            metadata: Duration::from_secs(3),
            read: Duration::from_secs(10),
            change: Duration::from_secs(30),
            operation: Duration::from_secs(600),
        }
    }
}
