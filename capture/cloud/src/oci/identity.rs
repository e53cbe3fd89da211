//! Who we are: the instance, and the one VNIC of it that captures.

use ipnet::Ipv4Net;
use sam_capture::provider::{ErrorClass, NicId, ProviderError};
use serde::{Deserialize, Serialize};

use super::metadata::InstanceMetadata;
use super::shapes::is_ocid;
use crate::MacAddress;
use crate::http::{error, shortened};
use crate::metadata::unreadable;

/// The instance and its capture VNIC, in OCI's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Region, as in `eu-frankfurt-1`.
    pub region: String,
    /// Domain of the realm that the region is in, as in `oraclecloud.com`.
    pub realm: String,
    /// Compartment.
    pub compartment: String,
    /// Instance.
    pub instance: String,
    /// Its shape.
    pub shape: String,
    /// The VNIC that captures.
    pub nic: NicId,
    /// Addresses of the subnet of that VNIC.
    pub prefix: Ipv4Net,
}

/// The document of the instance, as far as it is needed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instance {
    id: String,
    compartment_id: String,
    #[serde(default)]
    shape: String,
    region_info: RegionInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegionInfo {
    region_identifier: String,
    realm_domain_component: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vnic {
    vnic_id: String,
    mac_addr: String,
    subnet_cidr_block: Ipv4Net,
}

/// Asks the metadata service who we are.
///
/// # Errors
/// Also when the hardware address is not that of exactly one VNIC: never the first one instead.
pub(super) fn identify(
    metadata: &mut InstanceMetadata,
    mac: MacAddress,
) -> Result<Identity, ProviderError> {
    let instance: Instance = metadata.document("instance/")?;
    let vnics: Vec<Vnic> = metadata.document("vnics/")?;
    let vnic = choose(&vnics, mac)?;
    let place = &instance.region_info;
    let names = [
        &place.region_identifier,
        &place.realm_domain_component,
        &instance.compartment_id,
        &vnic.vnic_id,
    ];
    if !names.iter().all(|name| is_ocid(name)) {
        return Err(unreadable("instance/"));
    }
    Ok(Identity {
        region: place.region_identifier.clone(),
        realm: place.realm_domain_component.clone(),
        compartment: instance.compartment_id,
        instance: instance.id,
        shape: instance.shape,
        nic: NicId(vnic.vnic_id.clone()),
        prefix: vnic.subnet_cidr_block.trunc(),
    })
}

/// Finds the one VNIC with a hardware address.
fn choose(vnics: &[Vnic], mac: MacAddress) -> Result<&Vnic, ProviderError> {
    let mut fitting = vnics.iter().filter(|vnic| vnic.mac_addr.parse() == Ok(mac));
    let number = match (fitting.next(), fitting.next()) {
        (Some(vnic), None) => return Ok(vnic),
        (Some(_), Some(_)) => "several VNICs have",
        (None, _) => "no VNIC has",
    };
    let known: Vec<&str> = vnics.iter().map(|vnic| vnic.mac_addr.as_str()).collect();
    let known = shortened(&known.join(", "), 200);
    let message = format!("{number} the hardware address {mac}; the instance has: {known}");
    Err(error(ErrorClass::Permanent, "NoSuchNic", &message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vnic_is_chosen_by_its_address_or_not_at_all() {
        let mac: MacAddress = "02:00:17:00:00:0b".parse().expect("an address");
        let vnic = |id: &str, mac: &str| Vnic {
            vnic_id: id.to_owned(),
            mac_addr: mac.to_owned(),
            subnet_cidr_block: "10.0.0.0/24".parse().expect("a prefix"),
        };
        let [a, b] = [
            vnic("a", "02:00:17:00:00:0A"),
            vnic("b", "02:00:17:00:00:0B"),
        ];
        let both = [a.clone(), b.clone()];
        assert_eq!(choose(&both, mac), Ok(&b));
        for vnics in [vec![], vec![a], vec![b.clone(), b]] {
            let refused = choose(&vnics, mac).expect_err("not exactly one");
            assert_eq!(refused.class, ErrorClass::Permanent);
            assert!(refused.message.contains("02:00:17:00:00:0b"), "{refused}");
        }
    }
}
