//! Azure Resource Manager's wire for network interfaces: JSON documents under etags, operations that go on after the
//! answer. And the instance metadata service with its tokens.

mod change;
mod graph;
mod interface;
mod metadata;
mod read;
mod resource;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Time;
use crate::cloud::{Cloud, Refusal};
use crate::http::{Request, Response};
use crate::nic::Nic;
use crate::seal::Seal;
use crate::wire::{Call, Denial, Principal, Problem, Question, Wire};
use resource::Resource;

/// The wire.
#[derive(Debug)]
pub(crate) struct Arm;

/// What a bearer token says.
#[derive(Debug, Serialize, Deserialize)]
struct Bearer {
    instance: String,
    role: String,
    audience: String,
    expires: Time,
}

/// Whom tokens for Resource Manager are for.
const AUDIENCES: [&str; 2] = [
    "https://management.azure.com",
    "https://management.core.windows.net",
];

impl Wire for Arm {
    fn operation(&self, request: &Request) -> String {
        Resource::of(request).operation(&request.method).to_owned()
    }

    /// A token of the metadata service, or one of the scenario.
    fn authenticate(
        &self,
        cloud: &Cloud,
        seal: &Seal,
        request: &Request,
        now: Time,
    ) -> Result<Principal, Denial> {
        let header = request.header("authorization").ok_or(Denial::Anonymous)?;
        let token = header.strip_prefix("Bearer ");
        let token = token.ok_or(Denial::Malformed("the token is no bearer token"))?;
        let mut keys = cloud.settings.keys.values();
        if let Some(key) = keys.find(|key| key.secret == token) {
            return Ok(Principal {
                name: key.id.clone(),
                role: key.role.clone(),
            });
        }
        let bearer: Bearer = seal.open("bearer", token).ok_or(Denial::Unknown)?;
        if bearer.expires < now {
            return Err(Denial::Expired);
        }
        if !AUDIENCES.contains(&bearer.audience.trim_end_matches('/')) {
            return Err(Denial::Malformed("the token is for another audience"));
        }
        Ok(Principal {
            name: bearer.instance,
            role: bearer.role,
        })
    }

    fn execute(&self, cloud: &mut Cloud, call: &Call<'_>) -> Result<Response, Problem> {
        if call.request.query_value("api-version").is_none() {
            let message =
                "The api-version query parameter (?api-version=) is required for all requests.";
            return Err(Problem::new(400, "MissingApiVersionParameter", message));
        }
        match (call.request.method.as_str(), Resource::of(call.request)) {
            ("GET", Resource::Interface(name)) => read::interface(cloud, call, &name),
            ("PUT", Resource::Interface(name)) => change::put(cloud, call, &name),
            ("GET", Resource::Interfaces) => read::interfaces(cloud, call),
            ("GET", Resource::Machine(name)) => read::machine(cloud, call, &name),
            ("GET", Resource::Operation(id)) => read::operation(cloud, call, &id),
            ("GET", Resource::Availability(network)) => read::availability(cloud, call, &network),
            ("GET", Resource::Permissions) => read::permissions(cloud, call),
            ("POST", Resource::Graph) => graph::query(cloud, call),
            ("POST", Resource::Move(network)) => change::move_configurations(cloud, call, &network),
            _ => Err(not_found(&call.request.path)),
        }
    }

    fn with_rest(&self, response: Response, writes: bool, left: u32) -> Response {
        let header = if writes {
            "x-ms-ratelimit-remaining-subscription-writes"
        } else {
            "x-ms-ratelimit-remaining-subscription-reads"
        };
        response.with(header, left.to_string())
    }

    fn deny(&self, denial: &Denial) -> Problem {
        let invalid = |message: &str| Problem::new(401, "InvalidAuthenticationToken", message);
        match denial {
            Denial::Anonymous => Problem::new(
                401,
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing.",
            ),
            Denial::Malformed(what) => invalid(what),
            Denial::Unknown | Denial::Skewed => invalid("The access token is invalid."),
            Denial::Expired => Problem::new(
                401,
                "ExpiredAuthenticationToken",
                "The access token expiry UTC time is earlier than current UTC time.",
            ),
            Denial::Throttled(wait) => {
                let mut problem = Problem::new(
                    429,
                    "TooManyRequests",
                    "The number of requests for the subscription has exceeded the limit.",
                );
                let seconds = u32::try_from(wait.num_seconds()).unwrap_or(u32::MAX);
                problem.retry_after = Some(seconds.saturating_add(1));
                problem
            }
        }
    }

    fn render(&self, problem: &Problem, request_id: &str) -> Response {
        let mut error = json!({ "code": problem.code, "message": problem.message });
        if let Some((code, message)) = &problem.detail {
            error["details"] = json!([{ "code": code, "message": message }]);
        }
        let response = Response::json(problem.status, &json!({ "error": error }));
        let response = response.with("x-ms-request-id", request_id);
        match problem.retry_after {
            Some(seconds) => response.with("retry-after", seconds.to_string()),
            None => response,
        }
    }

    fn metadata(&self, cloud: &Cloud, question: &Question<'_>) -> Response {
        metadata::answer(cloud, question)
    }
}

fn not_found(what: &str) -> Problem {
    let message = format!("The Resource '{what}' was not found.");
    Problem::new(404, "ResourceNotFound", message)
}

/// Checks a permission over a scope.
fn permit(
    cloud: &Cloud,
    call: &Call<'_>,
    action: &str,
    scope: &str,
    nic: Option<&Nic>,
) -> Result<(), Problem> {
    if call.may(cloud, action, nic) {
        return Ok(());
    }
    let message = format!(
        "The client '{}' does not have authorization to perform action '{action}' over scope '{scope}' or the scope is \
         invalid. If access was recently granted, please refresh your credentials.",
        call.principal.name
    );
    Err(Problem::new(403, "AuthorizationFailed", message))
}

/// Puts the model's refusal into Azure's words. `wanted` is the id of the ipConfiguration that wants an address.
fn refused(cloud: &Cloud, refusal: &Refusal, wanted: &str) -> Problem {
    let invalid = |code: &str, message: String| Problem::new(400, code, message);
    match refusal {
        Refusal::NoSuchNic(id) => not_found(id),
        Refusal::OutsideSubnet(address) => invalid(
            "PrivateIPAddressNotInSubnet",
            format!(
                "Private static IP address {address} does not belong to the range of the subnet."
            ),
        ),
        Refusal::Reserved(address) => invalid(
            "PrivateIPAddressInReservedRange",
            format!(
                "Private static IP address {address} falls within reserved IP range of the subnet."
            ),
        ),
        Refusal::Held {
            address, nic, name, ..
        } => invalid(
            "PrivateIPAddressIsAllocated",
            format!(
                "IP configuration {wanted} is using the private IP address {address} which is already allocated to \
                 resource {}.",
                resource::configuration_id(cloud, nic, name)
            ),
        ),
        Refusal::LimitExceeded { nic, limit } => invalid(
            "IpConfigurationLimitExceeded",
            format!("{nic} may have {limit} IP configurations."),
        ),
        Refusal::PrimaryChanged(_) => invalid(
            "IpConfigDeleteNotSupported",
            "Deletion and renaming of primary IP Configuration is not supported".to_owned(),
        ),
    }
}

/// Answers with a document.
fn answer(call: &Call<'_>, status: u16, body: &Value) -> Response {
    Response::json(status, body).with("x-ms-request-id", call.id)
}
