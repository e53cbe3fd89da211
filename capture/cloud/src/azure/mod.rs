//! Microsoft Azure: ipConfigurations of a network interface, over Resource Manager.
//!
//! An interface is replaced as a whole under its etag; what goes on after the answer is watched to its end. An address
//! changes its NIC in one change only where the subscription has moveIpConfigurations; else it is taken off one
//! interface and put on another, each a change of its own. Our configurations are known by their names.

mod arm;
mod change;
mod error;
mod graph;
mod identity;
mod interface;
mod look;
mod operation;
pub mod policy;
mod preflight;
mod resource;
mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use chrono::{DateTime, Utc};
use sam_capture::Provider;
use sam_capture::provider::{
    Capabilities, ErrorClass, Fence, NicId, Operation, Outcome, ProviderError, Standing,
};

use crate::MacAddress;
use crate::batch;
use crate::http::SettingsError;
use crate::machines::Machines;
use crate::settings::Settings;
use arm::Arm;
pub use identity::Identity;
use interface::Interface;

/// Azure as this virtual machine reaches it.
#[derive(Debug)]
pub struct Azure {
    mac: MacAddress,
    arm: Arm,
    identity: Option<Identity>,
    /// NICs of the other routers.
    members: BTreeSet<NicId>,
    /// Where refusals said that addresses are.
    hints: BTreeMap<Ipv4Addr, NicId>,
    /// Our NIC, and those of the other routers, as they were read last.
    read: BTreeMap<NicId, Interface>,
    /// Machines by their ids in lower case.
    machines: Machines,
    /// Whether the preflight found that addresses can be moved.
    moves: bool,
}

/// The name of a NIC that holds an address and that we are not shown.
pub const HIDDEN: &str = "hidden";

/// Versions of the APIs.
const NETWORK_API: &str = "2024-07-01";
const MOVE_API: &str = "2025-09-01";
const COMPUTE_API: &str = "2024-07-01";
const AUTHORIZATION_API: &str = "2022-04-01";
const GRAPH_API: &str = "2021-03-01";

/// Addresses that a NIC may have.
const LIMIT: usize = 256;

/// All addresses change in one document; there is no other bound than the NIC's.
const BATCH: usize = 250;

impl Azure {
    /// Makes a client. It asks nobody anything yet.
    ///
    /// `members` are the NICs of the other routers, which are read first when a holder is looked for; `client_id` tells
    /// which managed identity to use where the machine has several.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn new(
        settings: &Settings,
        members: BTreeSet<NicId>,
        client_id: Option<String>,
    ) -> Result<Self, SettingsError> {
        let mut arm = Arm::new(settings)?;
        arm.tokens.client_id = client_id;
        Ok(Self {
            mac: settings.mac,
            arm,
            identity: None,
            members,
            hints: BTreeMap::new(),
            read: BTreeMap::new(),
            machines: Machines::default(),
            moves: false,
        })
    }

    /// Says who we are; asked once, and again when our NIC is not known any more.
    ///
    /// # Errors
    /// When nobody answers, or the capture interface is not exactly one NIC of the machine.
    pub fn identify(&mut self) -> Result<Identity, ProviderError> {
        if let Some(identity) = &self.identity {
            return Ok(identity.clone());
        }
        let identity = identity::identify(&mut self.arm, self.mac)?;
        self.identity = Some(identity.clone());
        Ok(identity)
    }

    /// Returns until when the token in use is good.
    #[must_use]
    pub fn credentials_expire(&self) -> Option<DateTime<Utc>> {
        self.arm.tokens.expires()
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
            Operation::Preflight => Ok(self.preflight(identity)),
            Operation::Assign { addresses, version } => {
                self.assign(identity, addresses, version.as_ref(), fence)
            }
            Operation::Seize { addresses } => self.seize(identity, addresses, fence),
            Operation::Strip {
                nic,
                addresses,
                version,
            } => self.strip(identity, nic, addresses, version.as_ref(), fence),
            Operation::Unassign { addresses, version } => {
                let addresses = addresses.keys().copied().collect();
                self.unassign(identity, &addresses, version.as_ref(), fence)
            }
            Operation::SetForwarding { enabled, version } => {
                self.set_forwarding(identity, *enabled, version.as_ref(), fence)
            }
        }
    }
}

impl Provider for Azure {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            moves: self.moves,
            batch: BATCH,
            marks: true,
        }
    }

    fn standing(&self) -> Standing {
        let (reads_left, writes_left) = self.arm.left;
        Standing {
            reads_left,
            writes_left,
            ..self.arm.client().standing(self.credentials_expire())
        }
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
            && failed.class == ErrorClass::PreconditionLost
            && failed.code == "ResourceNotFound"
        {
            self.identity = None;
        }
        outcome
    }
}
