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

impl Egress {
    /// Reads what other programs take from their environment: `HTTPS_PROXY` and `NO_PROXY`, in either case.
    ///
    /// `look_up` finds a variable; whoever owns the process decides whether there is such a thing.
    #[must_use]
    pub fn from_environment(look_up: impl Fn(&str) -> Option<String>) -> Self {
        let find = |name: &str| {
            let found = look_up(name).or_else(|| look_up(&name.to_lowercase()));
            found.filter(|text| !text.is_empty())
        };
        Self {
            proxy: find("HTTPS_PROXY").map(Secret::new),
            no_proxy: find("NO_PROXY").unwrap_or_default(),
            ..Self::default()
        }
    }
}

impl Endpoints {
    /// Reads what the SDKs of AWS take from their environment: `AWS_ENDPOINT_URL_EC2`, `AWS_ENDPOINT_URL` and
    /// `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    #[must_use]
    pub fn from_aws_environment(look_up: impl Fn(&str) -> Option<String>) -> Self {
        let find = |name: &str| look_up(name).filter(|text| !text.is_empty());
        Self {
            api: find("AWS_ENDPOINT_URL_EC2").or_else(|| find("AWS_ENDPOINT_URL")),
            metadata: find("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
            federation: None,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn among<'a>(known: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| {
            let found = known.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn variables_of_other_programs_are_understood() {
        let known = [
            ("HTTPS_PROXY", "http://proxy:3128"),
            ("https_proxy", "http://other:3128"),
            ("no_proxy", "example.com"),
        ];
        let egress = Egress::from_environment(among(&known));
        assert_eq!(egress.proxy, Some(Secret::new("http://proxy:3128")));
        assert_eq!(egress.no_proxy, "example.com");
        assert_eq!(
            Egress::from_environment(|_| Some(String::new())),
            Egress::default()
        );
    }

    #[test]
    fn the_endpoint_of_a_service_comes_before_that_of_all() {
        let known = [
            ("AWS_ENDPOINT_URL", "http://all"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://imds"),
        ];
        let endpoints = Endpoints::from_aws_environment(among(&known));
        assert_eq!(endpoints.api.as_deref(), Some("http://all"));
        assert_eq!(endpoints.metadata.as_deref(), Some("http://imds"));
        let known = [
            ("AWS_ENDPOINT_URL", "http://all"),
            ("AWS_ENDPOINT_URL_EC2", "http://ec2"),
        ];
        let endpoints = Endpoints::from_aws_environment(among(&known));
        assert_eq!(endpoints.api.as_deref(), Some("http://ec2"));
    }
}
