//! EC2's XML, as far as it is needed.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Serialize;

use crate::http::Response;
use crate::wire::Problem;

const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

/// A list: each entry is an element `item`.
#[derive(Debug, Serialize)]
pub(super) struct Items<T> {
    item: Vec<T>,
}

impl<T> FromIterator<T> for Items<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        Self {
            item: entries.into_iter().collect(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tag {
    key: String,
    value: String,
}

pub(super) fn tags(tags: &BTreeMap<String, String>) -> Items<Tag> {
    let tag = |(key, value): (&String, &String)| Tag {
        key: key.clone(),
        value: value.clone(),
    };
    tags.iter().map(tag).collect()
}

#[derive(Debug, Serialize)]
pub(super) struct Value<T> {
    pub(super) value: T,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Interfaces {
    pub(super) network_interface_set: Items<Interface>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Interface {
    pub(super) network_interface_id: String,
    pub(super) subnet_id: String,
    pub(super) vpc_id: String,
    pub(super) availability_zone: String,
    pub(super) description: String,
    pub(super) owner_id: String,
    pub(super) status: &'static str,
    pub(super) mac_address: String,
    pub(super) private_ip_address: Ipv4Addr,
    pub(super) source_dest_check: bool,
    pub(super) attachment: Attachment,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tag_set: Option<Items<Tag>>,
    pub(super) private_ip_addresses_set: Items<PrivateAddress>,
    pub(super) interface_type: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attachment {
    pub(super) attachment_id: String,
    pub(super) instance_id: String,
    pub(super) instance_owner_id: String,
    pub(super) device_index: u32,
    pub(super) status: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PrivateAddress {
    pub(super) private_ip_address: Ipv4Addr,
    pub(super) primary: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reservations {
    pub(super) reservation_set: Items<Reservation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reservation {
    pub(super) reservation_id: String,
    pub(super) owner_id: String,
    pub(super) instances_set: Items<Machine>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    pub(super) instance_id: String,
    pub(super) instance_state: MachineState,
    pub(super) instance_type: String,
    pub(super) placement: Placement,
    pub(super) subnet_id: String,
    pub(super) vpc_id: String,
    pub(super) private_ip_address: Option<Ipv4Addr>,
    pub(super) source_dest_check: bool,
    pub(super) tag_set: Items<Tag>,
    pub(super) network_interface_set: Items<Interface>,
    pub(super) metadata_options: MetadataOptions,
}

#[derive(Debug, Serialize)]
pub(super) struct MachineState {
    pub(super) code: u16,
    pub(super) name: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Placement {
    pub(super) availability_zone: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetadataOptions {
    pub(super) state: &'static str,
    pub(super) http_tokens: &'static str,
    pub(super) http_put_response_hop_limit: u8,
    pub(super) http_endpoint: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Subnets {
    pub(super) subnet_set: Items<SubnetItem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubnetItem {
    pub(super) subnet_id: String,
    pub(super) vpc_id: String,
    pub(super) state: &'static str,
    pub(super) cidr_block: String,
    pub(super) available_ip_address_count: u32,
    pub(super) availability_zone: String,
    pub(super) owner_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstanceTypes {
    pub(super) instance_type_set: Items<InstanceType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstanceType {
    pub(super) instance_type: String,
    pub(super) network_info: NetworkInfo,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NetworkInfo {
    pub(super) ipv4_addresses_per_interface: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InterfaceAttribute {
    pub(super) network_interface_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source_dest_check: Option<Value<bool>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<Value<String>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Assigned {
    pub(super) network_interface_id: String,
    pub(super) assigned_private_ip_addresses_set: Items<AssignedAddress>,
    #[serde(rename = "return")]
    pub(super) done: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AssignedAddress {
    pub(super) private_ip_address: Ipv4Addr,
}

#[derive(Debug, Serialize)]
pub(super) struct Done {
    #[serde(rename = "return")]
    pub(super) done: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Errors<'a> {
    errors: ErrorList<'a>,
    #[serde(rename = "RequestID")]
    request_id: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorList<'a> {
    error: ErrorItem<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorItem<'a> {
    code: &'a str,
    message: &'a str,
}

/// Renders an answer as `<ACTIONResponse>` with its namespace and request id.
pub(super) fn answer<T: Serialize>(action: &str, request_id: &str, body: &T) -> Response {
    let root = format!("{action}Response");
    let body = xml(&root, body);
    let start = format!("<{root}>");
    let rest = body.strip_prefix(&start).unwrap_or(&body);
    let text = format!("<{root} xmlns=\"{NAMESPACE}\"><requestId>{request_id}</requestId>{rest}");
    response(200, &text)
}

/// Renders an error.
pub(super) fn error(problem: &Problem, request_id: &str) -> Response {
    let errors = Errors {
        errors: ErrorList {
            error: ErrorItem {
                code: &problem.code,
                message: &problem.message,
            },
        },
        request_id,
    };
    response(problem.status, &xml("Response", &errors))
}

fn xml<T: Serialize>(root: &str, body: &T) -> String {
    quick_xml::se::to_string_with_root(root, body).expect("shapes are elements and text")
}

fn response(status: u16, body: &str) -> Response {
    let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}");
    Response::new(status, "text/xml;charset=UTF-8", text)
}
