//! Who we are: the instance, and the one NIC of it that captures.

use ipnet::Ipv4Net;
use sam_capture::provider::{ErrorClass, NicId, ProviderError};
use serde::{Deserialize, Serialize};

use super::metadata::InstanceMetadata;
use crate::MacAddress;
use crate::http::{error, shortened};
use crate::metadata::unreadable;

/// The instance and its capture NIC, in EC2's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Region, as in `eu-central-1`.
    pub region: String,
    /// Account.
    pub account: String,
    /// Availability zone; a subnet never reaches beyond one.
    pub zone: String,
    /// Instance.
    pub instance: String,
    /// Its type.
    pub instance_type: String,
    /// The NIC that captures.
    pub nic: NicId,
    /// Subnet of that NIC.
    pub subnet: String,
    /// Its addresses.
    pub prefix: Ipv4Net,
    /// Network of the subnet.
    pub vpc: String,
}

/// The instance identity document, as far as it is needed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    region: String,
    account_id: String,
    availability_zone: String,
    instance_id: String,
    instance_type: String,
}

const INTERFACES: &str = "meta-data/network/interfaces/macs/";

/// Asks the metadata service who we are.
///
/// # Errors
/// Also when the hardware address is not that of exactly one NIC: never the first one instead.
pub(super) fn identify(
    metadata: &mut InstanceMetadata,
    mac: MacAddress,
) -> Result<Identity, ProviderError> {
    let text = metadata.read("dynamic/instance-identity/document")?;
    let document: Document =
        serde_json::from_str(&text).map_err(|_| unreadable("instance identity document"))?;
    let listed = metadata.read(INTERFACES)?;
    let name = choose(&listed, mac)?;
    let mut fact = |what: &str| {
        let text = metadata.read(&format!("{INTERFACES}{name}/{what}"))?;
        Ok::<_, ProviderError>(text.trim().to_owned())
    };
    let prefix = fact("subnet-ipv4-cidr-block")?;
    Ok(Identity {
        nic: NicId(fact("interface-id")?),
        subnet: fact("subnet-id")?,
        vpc: fact("vpc-id")?,
        prefix: prefix
            .parse()
            .map_err(|_| unreadable("subnet-ipv4-cidr-block"))?,
        region: document.region,
        account: document.account_id,
        zone: document.availability_zone,
        instance: document.instance_id,
        instance_type: document.instance_type,
    })
}

/// Finds the one NIC with a hardware address, and returns how the metadata service writes it.
fn choose(listed: &str, mac: MacAddress) -> Result<&str, ProviderError> {
    let names: Vec<&str> = listed
        .lines()
        .map(|line| line.trim().trim_end_matches('/'))
        .collect();
    let mut fitting = names.iter().filter(|name| name.parse() == Ok(mac));
    match (fitting.next(), fitting.next()) {
        (Some(name), None) => Ok(name),
        (found, _) => {
            let number = if found.is_some() {
                "several NICs"
            } else {
                "no NIC"
            };
            let known = shortened(&names.join(", "), 200);
            let message =
                format!("{number} of the instance has the hardware address {mac}; it has: {known}");
            Err(error(ErrorClass::Permanent, "NoSuchNic", &message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nic_is_chosen_by_its_address_or_not_at_all() {
        let mac: MacAddress = "02:00:00:00:0a:0b".parse().expect("an address");
        let listed = "02:00:00:00:0a:0a/\n02:00:00:00:0a:0b/";
        assert_eq!(choose(listed, mac), Ok("02:00:00:00:0a:0b"));
        for listed in [
            "02:00:00:00:0a:0a/",
            "",
            "02:00:00:00:0a:0b/\n02:00:00:00:0A:0B/",
        ] {
            let refused = choose(listed, mac).expect_err(listed);
            assert_eq!(refused.class, ErrorClass::Permanent);
            assert!(refused.message.contains("02:00:00:00:0a:0b"), "{refused}");
        }
    }
}
