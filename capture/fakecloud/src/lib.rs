//! A cloud to rehearse with: EC2, Azure Resource Manager and OCI wires over one model, with faults and a ledger.
//!
//! [`World`] is a value: requests and the time go in, answers come out. It reads no clock, socket or random source, so
//! tests drive it through any interleaving; [`server`] is the one file that does, and puts it on a socket, in a thread of
//! its own ([`server_thread`]) where a program does something else meanwhile. The fake encodes what is published about the providers; agreement with it is not agreement with them.
//!
//! Call order for a request: [`World::admit`] when it arrives, [`World::answer`] after the wait that it asks for.

mod aws;
mod azure;
mod cloud;
mod console;
mod control;
pub mod fabric;
mod fault;
mod http;
mod ledger;
mod nic;
mod oci;
mod operation;
mod policy;
mod provider;
mod route;
mod scenario;
mod seal;
pub mod server;
pub mod server_thread;
mod settings;
mod throttle;
mod wire;
mod world;

pub use cloud::{Cloud, Refusal};
pub use fault::{Effect, Fault};
pub use http::{Delivery, Reply, Request, Response};
pub use ledger::{CallRecord, Log, Record};
pub use nic::{Holding, Nic, Snapshot, Version};
pub use policy::Policy;
pub use provider::Provider;
pub use scenario::{InstanceEntry, NicEntry, Scenario, ScenarioError, Site, SubnetEntry};
pub use settings::{Key, Lag, Latency};
pub use throttle::{Rate, Rates};
pub use world::{Admission, World};

/// A point in time.
pub type Time = chrono::DateTime<chrono::Utc>;
