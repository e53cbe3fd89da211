//! OCI's Core Services wire, version 20160918: objects under etags of their own. And instance metadata, version 2, with
//! the certificates that the token service takes.

mod certificate;
mod change;
mod der;
mod identity;
mod instance;
mod key;
mod metadata;
mod private_ip;
#[cfg(test)]
mod races;
mod read;
mod resource;
mod signature;
#[cfg(test)]
mod tests;
mod vnic;
mod work;

use serde_json::{Value, json};

use crate::Time;
use crate::cloud::{Cloud, Refusal};
use crate::http::{Request, Response};
use crate::nic::Nic;
use crate::seal::Seal;
use crate::wire::{Call, Denial, Principal, Problem, Question, Wire};
use resource::Resource;
pub(crate) use resource::ocid;

/// The wire.
#[derive(Debug)]
pub(crate) struct Core;

/// Tells whether a key of the scenario is a public key that signatures can be checked with.
pub(crate) fn is_public_key(pem: &str) -> bool {
    key::PublicKey::from_pem(pem).is_some()
}

impl Wire for Core {
    fn operation(&self, request: &Request) -> String {
        Resource::of(request).operation(&request.method).to_owned()
    }

    fn authenticate(
        &self,
        cloud: &Cloud,
        seal: &Seal,
        request: &Request,
        now: Time,
    ) -> Result<Principal, Denial> {
        signature::authenticate(cloud, seal, request, now)
    }

    fn execute(&self, cloud: &mut Cloud, call: &Call<'_>) -> Result<Response, Problem> {
        match (call.request.method.as_str(), Resource::of(call.request)) {
            ("GET", Resource::PrivateIps) => read::list(cloud, call),
            ("POST", Resource::PrivateIps) => change::create(cloud, call),
            ("GET", Resource::PrivateIp(id)) => read::private_ip(cloud, call, &id),
            ("PUT", Resource::PrivateIp(id)) => change::update(cloud, call, &id),
            ("DELETE", Resource::PrivateIp(id)) => change::delete(cloud, call, &id),
            ("POST", Resource::BulkUpdate) => work::bulk_update(cloud, call),
            ("GET", Resource::Vnic(id)) => vnic::get(cloud, call, &id),
            ("PUT", Resource::Vnic(id)) => vnic::update(cloud, call, &id),
            ("GET", Resource::Instances) => instance::list(cloud, call),
            ("GET", Resource::VnicAttachments) => instance::attachments(cloud, call),
            ("GET", Resource::WorkRequest(id)) => work::get(cloud, call, &id),
            ("GET", Resource::WorkRequestErrors(id)) => work::errors(cloud, call, &id),
            ("POST", Resource::Federation) => identity::federate(cloud, call),
            _ => Err(hidden()),
        }
    }

    /// Who is not known hears nothing else, whatever the reason.
    fn deny(&self, denial: &Denial) -> Problem {
        let unknown = |message: &str| Problem::new(401, "NotAuthenticated", message);
        match denial {
            Denial::Anonymous | Denial::Unknown | Denial::Expired => unknown(
                "The required information to complete authentication was not provided or was incorrect.",
            ),
            Denial::Malformed(what) => unknown(what),
            Denial::Skewed => {
                unknown("The date of the request is not within the allowed clock skew.")
            }
            Denial::Throttled(_) => {
                Problem::new(429, "TooManyRequests", "User-rate limit exceeded.")
            }
        }
    }

    fn render(&self, problem: &Problem, request_id: &str) -> Response {
        let body = json!({ "code": problem.code, "message": problem.message });
        let response = Response::json(problem.status, &body).with("opc-request-id", request_id);
        match problem.retry_after {
            Some(seconds) => response.with("retry-after", seconds.to_string()),
            None => response,
        }
    }

    fn metadata(&self, cloud: &Cloud, question: &Question<'_>) -> Response {
        metadata::answer(cloud, question)
    }
}

/// What is not there and what one may not see look alike.
fn hidden() -> Problem {
    let message = "Authorization failed or requested resource not found.";
    Problem::new(404, "NotAuthorizedOrNotFound", message)
}

fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(400, "InvalidParameter", message)
}

fn missing(names: &str) -> Problem {
    let message = format!("This request is missing one of the following arguments: {names}.");
    Problem::new(400, "MissingParameter", message)
}

/// Checks permissions, each for a change also on this VNIC.
fn permit(
    cloud: &Cloud,
    call: &Call<'_>,
    permissions: &[&str],
    nic: Option<&Nic>,
) -> Result<(), Problem> {
    if permissions.iter().all(|name| call.may(cloud, name, nic)) {
        Ok(())
    } else {
        Err(hidden())
    }
}

/// Checks that nothing else is happening to a VNIC.
fn idle(cloud: &Cloud, nic: &str) -> Result<(), Problem> {
    match cloud.under_way(nic) {
        None => Ok(()),
        Some(operation) => {
            let message = format!("{nic} is being changed by {}.", operation.id);
            Err(Problem::new(409, "IncorrectState", message))
        }
    }
}

/// Checks If-Match, if it is sent.
fn unchanged(call: &Call<'_>, etag: &str) -> Result<(), Problem> {
    match call.request.header("if-match") {
        Some(wanted) if wanted != "*" && wanted != etag => {
            let message = "The etag does not match that of the resource.";
            Err(Problem::new(412, "NoEtagMatch", message))
        }
        Some(_) | None => Ok(()),
    }
}

/// Puts the model's refusal into OCI's words. That of an address in use is not published.
fn refused(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::NoSuchNic(_) => hidden(),
        Refusal::OutsideSubnet(address) => {
            invalid(format!("{address} is not in the CIDR of the subnet."))
        }
        Refusal::Reserved(address) => invalid(format!("{address} is reserved in the subnet.")),
        Refusal::Held { address, .. } => {
            let message = format!("The private IP address {address} is already in use.");
            Problem::new(409, "Conflict", message)
        }
        Refusal::LimitExceeded { nic, limit } => {
            let message = format!("{nic} may have {limit} private IPs.");
            Problem::new(400, "LimitExceeded", message)
        }
        Refusal::PrimaryChanged(nic) => {
            invalid(format!("The primary private IP of {nic} stays with it."))
        }
    }
}

/// Answers with a document.
fn answer(call: &Call<'_>, status: u16, body: &Value) -> Response {
    Response::json(status, body).with("opc-request-id", call.id)
}
