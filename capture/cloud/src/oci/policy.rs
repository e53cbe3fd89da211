//! The least that the routers' dynamic group must be permitted, as statements of a policy.

use serde_json::{Value, json};

/// Whom the statements are about, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementScope {
    /// Dynamic group whose rule matches the instances of the routers.
    pub dynamic_group: String,
    /// Compartment of the subnet and its VNICs, by name or OCID; the OCID of a tenancy is all of it.
    pub compartment: String,
}

/// Kinds of resources, each with the permissions that are needed of what `use` would give.
pub const PERMISSIONS: [(&str, &[&str]); 5] = [
    (
        "private-ips",
        &[
            "PRIVATE_IP_READ",
            "PRIVATE_IP_CREATE",
            "PRIVATE_IP_ASSIGN",
            "PRIVATE_IP_UPDATE",
            "PRIVATE_IP_UNASSIGN",
            "PRIVATE_IP_DELETE",
        ],
    ),
    (
        "vnics",
        &["VNIC_READ", "VNIC_ASSIGN", "VNIC_UNASSIGN", "VNIC_UPDATE"],
    ),
    ("subnets", &["SUBNET_ATTACH", "SUBNET_DETACH"]),
    ("vnic-attachments", &["VNIC_ATTACHMENT_READ"]),
    ("instances", &["INSTANCE_INSPECT", "INSTANCE_READ"]),
];

/// Writes the statements: a list of texts, as the vendor's tools take it.
#[must_use]
pub fn statements(scope: &StatementScope) -> Value {
    let StatementScope {
        dynamic_group,
        compartment,
    } = scope;
    let place = match compartment {
        tenancy if tenancy.starts_with("ocid1.tenancy.") => "tenancy".to_owned(),
        id if id.starts_with("ocid1.") => format!("compartment id {id}"),
        name => format!("compartment {name}"),
    };
    let statements = PERMISSIONS.map(|(kind, permissions)| {
        let permissions = permissions.iter();
        let conditions: Vec<String> = permissions
            .map(|permission| format!("request.permission='{permission}'"))
            .collect();
        let conditions = conditions.join(", ");
        format!("Allow dynamic-group {dynamic_group} to use {kind} in {place} where any {{{conditions}}}")
    });
    json!(statements)
}
