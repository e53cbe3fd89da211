//! Oracle Cloud Infrastructure: secondary private IPs of a VNIC, over the Core Services API.
//!
//! A private IP is an object with a version of its own and moves from VNIC to VNIC in one change, compared with that
//! version: the strongest fence of the providers. One call changes one address. What is not there and what one may not
//! see look alike, so an absence is never concluded from a refusal.

mod api;
mod change;
mod error;
mod identity;
mod key;
mod look;
mod metadata;
mod owners;
pub mod policy;
mod preflight;
mod shapes;
mod signer;
mod token;

use std::time::Duration;

use chrono::{DateTime, Utc};
use sam_capture::Provider;
use sam_capture::provider::{
    Capabilities, ErrorClass, Fence, Operation, Outcome, ProviderError, Standing,
};

use crate::MacAddress;
use crate::batch;
use crate::http::{SettingsError, error};
use crate::machines::Machines;
use crate::settings::Settings;
use api::Api;
pub use identity::Identity;
use look::Known;
use owners::Owners;

/// OCI as this instance reaches it.
#[derive(Debug)]
pub struct Oci {
    mac: MacAddress,
    api: Api,
    identity: Option<Identity>,
    /// The subnet of our VNIC.
    subnet: Option<String>,
    known: Known,
    owners: Owners,
    machines: Machines,
}

/// How long a change may take; of some it is told that they took more than half a minute.
pub const SLOWEST_CHANGE: Duration = Duration::from_secs(60);

/// Addresses in one operation: two rounds of calls. More would make looks at their holders so slow where calls take seconds
/// that no change could rest on them.
const BATCH: usize = 16;

impl Oci {
    /// Makes a client. It asks nobody anything yet.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            mac: settings.mac,
            api: Api::new(settings)?,
            identity: None,
            subnet: None,
            known: Known::default(),
            owners: Owners::default(),
            machines: Machines::default(),
        })
    }

    /// Says who we are; the metadata service is asked once, and again after a refusal, for the VNIC may be another one.
    ///
    /// # Errors
    /// When the metadata service does not answer, or the capture interface is not exactly one VNIC of the instance.
    pub fn identify(&mut self) -> Result<Identity, ProviderError> {
        if let Some(identity) = &self.identity {
            return Ok(identity.clone());
        }
        let identity = identity::identify(&mut self.api.metadata, self.mac)?;
        self.subnet = None;
        self.identity = Some(identity.clone());
        Ok(identity)
    }

    /// Returns until when the token in use is good.
    #[must_use]
    pub fn credentials_expire(&self) -> Option<DateTime<Utc>> {
        self.api.tokens.expires()
    }

    fn carry_out(
        &mut self,
        identity: &Identity,
        operation: &Operation,
        fence: &dyn Fence,
    ) -> Result<Outcome, ProviderError> {
        match operation {
            Operation::Observe => self.observe(identity).map(Outcome::Observed),
            Operation::FindHolders(addresses) => {
                self.find_holders(identity, addresses).map(Outcome::Holders)
            }
            Operation::Inventory => self.inventory(identity).map(Outcome::Inventory),
            Operation::Preflight => Ok(Outcome::Permissions(self.preflight(identity))),
            Operation::Assign { addresses, .. } => self.assign(identity, addresses, fence),
            Operation::Seize { addresses } => self.seize(identity, addresses, fence),
            Operation::Unassign { addresses, .. } => self.unassign(identity, addresses, fence),
            Operation::SetForwarding { enabled, version } => {
                self.set_forwarding(identity, *enabled, version.as_ref(), fence)
            }
            Operation::Strip { .. } => {
                let message = "an address moves in one change here: seize it";
                Err(error(ErrorClass::Permanent, "NoStrip", message))
            }
        }
    }
}

impl Provider for Oci {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            moves: true,
            batch: BATCH,
            marks: true,
        }
    }

    fn standing(&self) -> Standing {
        let expires = self.credentials_expire();
        let each = self.api.clients().map(|client| client.standing(expires));
        let newest = each.max_by_key(|standing| standing.answered);
        newest.unwrap_or_default()
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
            && failed.class == ErrorClass::Denied
        {
            self.identity = None;
        }
        outcome
    }
}
