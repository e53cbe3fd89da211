//! The least that the identity of a router must be permitted, as a custom role of Azure.

use serde_json::{Value, json};

/// Where a role can be assigned, and what the NICs there refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleScope {
    /// Subscription.
    pub subscription: String,
    /// Resource group.
    pub group: String,
    /// Whether a NIC has a public address: who writes the NIC must then be permitted to join that.
    pub public_addresses: bool,
    /// The same of application security groups.
    pub application_groups: bool,
}

/// What every router needs.
const ACTIONS: [&str; 9] = [
    "Microsoft.Authorization/permissions/read",
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Network/locations/operations/read",
    "Microsoft.Network/networkInterfaces/read",
    "Microsoft.Network/networkInterfaces/write",
    "Microsoft.Network/networkSecurityGroups/join/action",
    "Microsoft.Network/virtualNetworks/moveIpConfigurations/action",
    "Microsoft.Network/virtualNetworks/read",
    "Microsoft.Network/virtualNetworks/subnets/join/action",
];
const PUBLIC_ADDRESSES: &str = "Microsoft.Network/publicIPAddresses/join/action";
const APPLICATION_GROUPS: &str =
    "Microsoft.Network/applicationSecurityGroups/joinIpConfiguration/action";

/// Writes the role. It is meant to be assigned on the routers' NICs, machines, network and security group rather than on
/// the whole group.
#[must_use]
pub fn role(scope: &RoleScope) -> Value {
    let mut actions = ACTIONS.to_vec();
    if scope.public_addresses {
        actions.push(PUBLIC_ADDRESSES);
    }
    if scope.application_groups {
        actions.push(APPLICATION_GROUPS);
    }
    actions.sort_unstable();
    let RoleScope {
        subscription,
        group,
        ..
    } = scope;
    json!({
        "Name": format!("samctl capture {group}"),
        "Description": "Lets routers move mobile addresses between their network interfaces.",
        "IsCustom": true,
        "Actions": actions,
        "NotActions": [],
        "DataActions": [],
        "NotDataActions": [],
        "AssignableScopes": [format!("/subscriptions/{subscription}/resourceGroups/{group}")],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_nics_do_not_refer_to_need_not_be_joined() {
        let mut scope = RoleScope {
            subscription: "s".into(),
            group: "rg".into(),
            public_addresses: false,
            application_groups: false,
        };
        let least = role(&scope);
        assert_eq!(
            least["AssignableScopes"],
            json!(["/subscriptions/s/resourceGroups/rg"])
        );
        let text = least.to_string();
        assert!(!text.contains('*') && !text.contains("delete"), "{text}");
        scope.public_addresses = true;
        scope.application_groups = true;
        let more = role(&scope)["Actions"].as_array().expect("actions").len();
        assert_eq!(more, ACTIONS.len() + 2);
    }
}
