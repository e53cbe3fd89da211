//! Amazon Web Services: secondary private addresses of an ENI, over EC2's Query wire.
//!
//! An ENI has no version, and its addresses carry no mark. A change is answered before the fabric has followed it, and
//! what is read may lag behind; who reads too early must wait, not act.

mod credentials;
mod ec2;
mod error;
mod identity;
mod look;
mod metadata;
pub mod policy;
mod preflight;
mod shapes;
mod sigv4;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use chrono::{DateTime, Utc};
use sam_capture::Provider;
use sam_capture::provider::{
    Capabilities, ErrorClass, Fence, NicId, Operation, Outcome, ProviderError, Standing,
};

use crate::MacAddress;
use crate::batch;
use crate::http::{SettingsError, error};
use crate::machines::Machines;
use crate::purpose::Purpose;
use crate::settings::Settings;
use ec2::{Ec2, Form};
pub use identity::Identity;
use look::Limit;
use metadata::InstanceMetadata;

/// AWS as this instance reaches it.
#[derive(Debug)]
pub struct Aws {
    mac: MacAddress,
    metadata: InstanceMetadata,
    ec2: Ec2,
    identity: Option<Identity>,
    limit: Limit,
    machines: Machines,
}

/// One call takes as many addresses as an ENI may have; the biggest instances have 50.
const BATCH: usize = 50;

impl Aws {
    /// Makes a client. It asks nobody anything yet.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            mac: settings.mac,
            metadata: InstanceMetadata::new(settings)?,
            ec2: Ec2::new(settings)?,
            identity: None,
            limit: Limit::default(),
            machines: Machines::default(),
        })
    }

    /// Says who we are; the metadata service is asked once, and again when our NIC is not known any more.
    ///
    /// # Errors
    /// When the metadata service does not answer, or the capture interface is not exactly one NIC of the instance.
    pub fn identify(&mut self) -> Result<Identity, ProviderError> {
        if let Some(identity) = &self.identity {
            return Ok(identity.clone());
        }
        let identity = identity::identify(&mut self.metadata, self.mac)?;
        self.identity = Some(identity.clone());
        Ok(identity)
    }

    /// Returns until when the credentials in use are good.
    #[must_use]
    pub fn credentials_expire(&self) -> Option<DateTime<Utc>> {
        self.ec2.credentials.expires()
    }

    fn carry_out(
        &mut self,
        identity: &Identity,
        operation: &Operation,
        fence: &dyn Fence,
    ) -> Result<Outcome, ProviderError> {
        let nic = &identity.nic;
        let form = match operation {
            Operation::Observe => return self.observe(identity).map(Outcome::Observed),
            Operation::FindHolders(addresses) => {
                return self.find_holders(identity, addresses).map(Outcome::Holders);
            }
            Operation::Inventory => return self.inventory(identity).map(Outcome::Inventory),
            Operation::Preflight => {
                let permissions = preflight::preflight(&mut self.ec2, &mut self.metadata, identity);
                return Ok(Outcome::Permissions(permissions));
            }
            Operation::Assign { addresses, .. } => assignment(nic, addresses, false),
            Operation::Seize { addresses } => {
                let addresses = addresses.keys().copied().collect();
                assignment(nic, &addresses, true)
            }
            Operation::Unassign { addresses, .. } => Form::new("UnassignPrivateIpAddresses")
                .with("NetworkInterfaceId", nic)
                .with_list("PrivateIpAddress", addresses.keys()),
            Operation::SetForwarding { enabled, .. } => {
                Form::new("ModifyNetworkInterfaceAttribute")
                    .with("NetworkInterfaceId", nic)
                    .with("SourceDestCheck.Value", !enabled)
            }
            Operation::Strip { .. } => {
                let message = "an address moves in one change here: seize it";
                return Err(error(ErrorClass::Permanent, "NoStrip", message));
            }
        };
        let purpose = Purpose::Change(fence);
        let changed = self
            .ec2
            .change(&mut self.metadata, &identity.region, &form, purpose);
        changed.map(|request_id| Outcome::Done { request_id })
    }
}

/// With `reassigns`, the addresses are taken from whoever has them; without, one that somebody has fails them all.
fn assignment(nic: &NicId, addresses: &BTreeSet<Ipv4Addr>, reassigns: bool) -> Form {
    Form::new("AssignPrivateIpAddresses")
        .with("NetworkInterfaceId", nic)
        .with_list("PrivateIpAddress", addresses)
        .with("AllowReassignment", reassigns)
}

impl Provider for Aws {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            moves: true,
            batch: BATCH,
            marks: false,
        }
    }

    fn standing(&self) -> Standing {
        self.ec2.client().standing(self.credentials_expire())
    }

    fn perform(
        &mut self,
        operation: &Operation,
        fence: &dyn Fence,
    ) -> Result<Outcome, ProviderError> {
        batch::check(operation, self.capabilities())?;
        let identity = self.identify()?;
        let outcome = self.carry_out(&identity, operation, fence);
        if let Err(failed) = &outcome
            && failed.code == "InvalidNetworkInterfaceID.NotFound"
        {
            self.identity = None;
        }
        outcome
    }
}
