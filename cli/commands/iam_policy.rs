//! `samctl iam-policy`: what a router at a cloud provider must be permitted.
//!
//! JSON is what the providers' tools take, so that the form for people is the same.

use sam_cloud::aws::policy::{PolicyScope, policy};
use sam_cloud::azure::policy::{RoleScope, role};
use sam_cloud::oci::policy::{StatementScope, statements};

use crate::Streams;
use crate::args::{Format, IamPolicyCommand};
use crate::exit::{Exit, Failure};
use crate::output::machine;

/// Prints a policy or a role.
///
/// # Errors
/// When it cannot be written.
pub fn iam_policy(
    command: &IamPolicyCommand,
    format: Format,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let document = match command {
        IamPolicyCommand::Aws(args) => policy(&PolicyScope {
            region: args.region.clone(),
            account: args.account.clone(),
            group: args.group.clone(),
        }),
        IamPolicyCommand::Azure(args) => role(&RoleScope {
            subscription: args.subscription.clone(),
            group: args.resource_group.clone(),
            public_addresses: args.public_addresses,
            application_groups: args.application_groups,
        }),
        IamPolicyCommand::Oci(args) => statements(&StatementScope {
            dynamic_group: args.dynamic_group.clone(),
            compartment: args.compartment.clone(),
        }),
    };
    let text = match format {
        Format::Table | Format::Json => machine::json(&document),
        Format::Yaml => machine::yaml(&document)?,
    };
    write!(streams.stdout, "{text}")?;
    Ok(Exit::Ok)
}
