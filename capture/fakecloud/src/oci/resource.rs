//! What a path names, and how the fake names things.

use crate::cloud::Cloud;
use crate::http::Request;

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    /// All private IPs.
    PrivateIps,
    /// A private IP.
    PrivateIp(String),
    /// Moving many of them.
    BulkUpdate,
    /// A VNIC.
    Vnic(String),
    /// All virtual machines.
    Instances,
    /// Whose the VNICs are.
    VnicAttachments,
    /// A work request.
    WorkRequest(String),
    /// Why a work request failed.
    WorkRequestErrors(String),
    /// The token service.
    Federation,
    /// Anything else.
    Unknown,
}

impl Resource {
    pub(super) fn of(request: &Request) -> Self {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["20160918", "privateIps"] => Self::PrivateIps,
            ["20160918", "privateIps", "actions", "bulkUpdatePrivateIps"] => Self::BulkUpdate,
            ["20160918", "privateIps", id] => Self::PrivateIp((*id).to_owned()),
            ["20160918", "vnics", id] => Self::Vnic((*id).to_owned()),
            ["20160918", "instances"] => Self::Instances,
            ["20160918", "vnicAttachments"] => Self::VnicAttachments,
            ["20160918", "workRequests", id] => Self::WorkRequest((*id).to_owned()),
            ["20160918", "workRequests", id, "errors"] => Self::WorkRequestErrors((*id).to_owned()),
            ["v1", "x509"] => Self::Federation,
            _ => Self::Unknown,
        }
    }

    /// Names the operation, for faults and the list of calls.
    pub(super) fn operation(&self, method: &str) -> &'static str {
        match (method, self) {
            ("GET", Self::PrivateIps) => "ListPrivateIps",
            ("POST", Self::PrivateIps) => "CreatePrivateIp",
            ("GET", Self::PrivateIp(_)) => "GetPrivateIp",
            ("PUT", Self::PrivateIp(_)) => "UpdatePrivateIp",
            ("DELETE", Self::PrivateIp(_)) => "DeletePrivateIp",
            ("POST", Self::BulkUpdate) => "BulkUpdatePrivateIps",
            ("GET", Self::Vnic(_)) => "GetVnic",
            ("PUT", Self::Vnic(_)) => "UpdateVnic",
            ("GET", Self::Instances) => "ListInstances",
            ("GET", Self::VnicAttachments) => "ListVnicAttachments",
            ("GET", Self::WorkRequest(_)) => "GetWorkRequest",
            ("GET", Self::WorkRequestErrors(_)) => "ListWorkRequestErrors",
            ("POST", Self::Federation) => "GetSecurityToken",
            _ => "Unknown",
        }
    }
}

/// Makes an OCID of this kind.
pub(crate) fn ocid(kind: &str, region: &str, unique: &str) -> String {
    let unique = unique.replace(['-', '.'], "");
    format!("ocid1.{kind}.oc1.{region}.{unique}")
}

/// Makes an OCID for what a request makes.
pub(super) fn ocid_of(cloud: &Cloud, kind: &str, request: &str) -> String {
    ocid(kind, &cloud.settings.region, request)
}
