//! Verbs about clouds and the fake one.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Subcommand;

use super::values::{parse_name, parse_name_or_any};
use crate::rehearsal::Trouble;

/// `samctl iam-policy`
#[derive(Debug, Subcommand)]
pub enum IamPolicyCommand {
    /// Print a policy of IAM, for the role of the routers' instance profile
    Aws(AwsPolicyArgs),
    /// Print a custom role of Azure, for the routers' managed identities
    Azure(AzureRoleArgs),
    /// Print statements of an OCI policy, for the dynamic group that the routers are in
    Oci(OciPolicyArgs),
}

/// `samctl iam-policy aws`
#[derive(Debug, clap::Args)]
pub struct AwsPolicyArgs {
    /// Value of the tag sam-group, which the network interfaces of all routers must have
    #[arg(long, value_name = "TAG", value_parser = parse_name)]
    pub group: String,
    /// Only in this region
    #[arg(long, default_value = "*", value_parser = parse_name_or_any)]
    pub region: String,
    /// Only in this account
    #[arg(long, default_value = "*", value_parser = parse_name_or_any)]
    pub account: String,
}

/// `samctl iam-policy azure`
#[derive(Debug, clap::Args)]
pub struct AzureRoleArgs {
    /// Subscription
    #[arg(long, value_name = "ID", value_parser = parse_name)]
    pub subscription: String,
    /// Resource group in which the role can be assigned
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub resource_group: String,
    /// The network interfaces have public addresses
    #[arg(long)]
    pub public_addresses: bool,
    /// The network interfaces are in application security groups
    #[arg(long)]
    pub application_groups: bool,
}

/// `samctl iam-policy oci`
#[derive(Debug, clap::Args)]
pub struct OciPolicyArgs {
    /// Dynamic group whose rule matches the routers' instances
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub dynamic_group: String,
    /// Compartment of the subnet and its VNICs: its name or OCID, or the OCID of the tenancy
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub compartment: String,
}

/// `samctl capture`
#[derive(Debug, Subcommand)]
pub enum CaptureCommand {
    /// Play the capture part of a configuration against a fake of its cloud, on loopback; exit 5 when a step fails
    ///
    /// The router's own reconciler and client plan, take addresses, give one back, leave one to another router, take it over when
    /// that one is dead, and give everything back. Printed is each change that this makes at the provider.
    Rehearse(RehearseArgs),
}

/// `samctl capture rehearse`
#[derive(Debug, clap::Args)]
pub struct RehearseArgs {
    /// Configuration file of the router, YAML or TOML by its ending; key files are not read
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Let this go wrong; can be given several times
    #[arg(long = "fault", value_name = "NAME", value_enum)]
    pub faults: Vec<Trouble>,
}

/// `samctl lab`
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Serve a cloud that is not there, for clients of real ones: APIs, instance metadata, faults and a ledger
    ///
    /// One address serves the EC2 Query API of AWS, Azure Resource Manager, OCI with its token service, and at /instances/ID what an instance sees at 169.254.169.254. What can be looked at and broken is below /fakecloud/: GET state,
    /// ledger, calls; POST faults, such as {"operation": "Assign*", "times": 1, "effect": "loseAnswer"}.
    Fakecloud(FakecloudArgs),
}

/// `samctl lab fakecloud`
#[derive(Debug, clap::Args)]
pub struct FakecloudArgs {
    /// What there is: subnets, instances, roles, latencies, faults; YAML
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8470")]
    pub listen: SocketAddr,
}
