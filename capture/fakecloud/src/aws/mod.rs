//! EC2's Query wire, version 2016-11-15: forms in, XML out. And the instance metadata service, version 2.

mod change;
mod describe;
mod metadata;
mod paging;
mod parameters;
mod shapes;
mod sigv4;
#[cfg(test)]
mod tests;

use crate::Time;
use crate::cloud::{Cloud, Refusal};
use crate::http::{Request, Response};
use crate::nic::Nic;
use crate::seal::Seal;
use crate::wire::{Call, Denial, Principal, Problem, Question, Wire};
use parameters::Parameters;

/// The wire.
#[derive(Debug)]
pub(crate) struct Ec2;

impl Wire for Ec2 {
    fn operation(&self, request: &Request) -> String {
        let parameters = Parameters::of(request);
        parameters.text("Action").unwrap_or_default().to_owned()
    }

    fn authenticate(
        &self,
        cloud: &Cloud,
        seal: &Seal,
        request: &Request,
        now: Time,
    ) -> Result<Principal, Denial> {
        sigv4::authenticate(cloud, seal, request, now)
    }

    /// Each action is counted by itself.
    fn throttled_action<'a>(&self, operation: &'a str, _writes: bool) -> &'a str {
        operation
    }

    fn execute(&self, cloud: &mut Cloud, call: &Call<'_>) -> Result<Response, Problem> {
        let parameters = Parameters::of(call.request);
        match call.operation {
            "DescribeNetworkInterfaces" => describe::interfaces(cloud, call, &parameters),
            "DescribeInstances" => describe::instances(cloud, call, &parameters),
            "DescribeSubnets" => describe::subnets(cloud, call, &parameters),
            "DescribeInstanceTypes" => describe::instance_types(cloud, call, &parameters),
            "DescribeNetworkInterfaceAttribute" => describe::attribute(cloud, call, &parameters),
            "AssignPrivateIpAddresses" => change::assign(cloud, call, &parameters),
            "UnassignPrivateIpAddresses" => change::unassign(cloud, call, &parameters),
            "ModifyNetworkInterfaceAttribute" => change::modify(cloud, call, &parameters),
            other => Err(Problem::new(
                400,
                "InvalidAction",
                format!("The action {other} is not valid for this web service."),
            )),
        }
    }

    fn deny(&self, denial: &Denial) -> Problem {
        match denial {
            Denial::Anonymous => Problem::new(
                403,
                "MissingAuthenticationToken",
                "Request is missing Authentication Token",
            ),
            Denial::Malformed(what) => Problem::new(400, "IncompleteSignature", *what),
            Denial::Unknown => Problem::new(
                401,
                "AuthFailure",
                "AWS was not able to validate the provided access credentials",
            ),
            Denial::Expired => Problem::new(400, "ExpiredToken", "The security token has expired"),
            Denial::Skewed => Problem::new(400, "RequestExpired", "Request has expired."),
            Denial::Throttled(_) => {
                Problem::new(503, "RequestLimitExceeded", "Request limit exceeded.")
            }
        }
    }

    fn render(&self, problem: &Problem, request_id: &str) -> Response {
        shapes::error(problem, request_id)
    }

    fn metadata(&self, cloud: &Cloud, question: &Question<'_>) -> Response {
        metadata::answer(cloud, question)
    }
}

/// Checks a permission, then DryRun: the order in which EC2 does it.
fn permit(
    cloud: &Cloud,
    call: &Call<'_>,
    parameters: &Parameters,
    nic: Option<&Nic>,
) -> Result<(), Problem> {
    let permission = format!("ec2:{}", call.operation);
    if !call.may(cloud, &permission, nic) {
        let resource = nic.map_or_else(|| "*".to_owned(), |nic| arn(cloud, nic));
        return Err(Problem::new(
            403,
            "UnauthorizedOperation",
            format!(
                "You are not authorized to perform this operation. User: arn:aws:sts::{}:assumed-role/{}/{} is not \
                 authorized to perform: {permission} on resource: {resource} because no identity-based policy allows \
                 the {permission} action",
                cloud.settings.account, call.principal.role, call.principal.name
            ),
        ));
    }
    if parameters.flag("DryRun")? {
        let message = "Request would have succeeded, but DryRun flag is set.";
        return Err(Problem::new(412, "DryRunOperation", message));
    }
    Ok(())
}

fn arn(cloud: &Cloud, nic: &Nic) -> String {
    let settings = &cloud.settings;
    format!(
        "arn:aws:ec2:{}:{}:network-interface/{}",
        settings.region, settings.account, nic.id
    )
}

/// Puts the model's refusal into EC2's words.
fn refused(refusal: &Refusal) -> Problem {
    let invalid = |message: String| Problem::new(400, "InvalidParameterValue", message);
    match refusal {
        Refusal::NoSuchNic(id) => Problem::new(
            400,
            "InvalidNetworkInterfaceID.NotFound",
            format!("The networkInterface ID '{id}' does not exist"),
        ),
        Refusal::OutsideSubnet(address) => invalid(format!(
            "Address {address} does not fall within the subnet's address range"
        )),
        Refusal::Reserved(address) => invalid(format!(
            "Address {address} is in subnet's reserved address range"
        )),
        Refusal::Held {
            address, primary, ..
        } => {
            if *primary {
                invalid(format!(
                    "[{address}] assigned, but is not among the secondary-addresses of its network interface"
                ))
            } else {
                invalid(format!("[{address}] assigned, but move is not allowed."))
            }
        }
        Refusal::LimitExceeded { .. } => Problem::new(
            400,
            "PrivateIpAddressLimitExceeded",
            "Number of private addresses will exceed limit.",
        ),
        Refusal::PrimaryChanged(_) => {
            invalid("The primary IP address of an interface cannot be unassigned.".to_owned())
        }
    }
}
