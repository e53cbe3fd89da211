//! Test equipment: a virtual network on a virtual clock for simulations, real routers in namespaces (`netns`), and a
//! foreign kernel (`guest`).
//!
//! The simulator drives the same `Router`, `Forwarder` and `wg::Device` as production. Only the drivers differ:
//! instead of sockets there are links that delay, lose, reorder and cut; instead of the host's TCP there is a small
//! reliable stream (`stream`) whose packets travel through the engines like any other.

pub mod data_plane;
mod election;
pub mod forgery;
pub mod guest;
pub mod host;
mod invariants;
pub mod link;
pub mod machine;
pub mod netns;
mod operations;
pub mod packet;
pub mod rng;
pub mod site;
pub mod stream;
pub mod topology;
mod traffic;
mod uninterrupted;
pub mod world;

pub use forgery::Forgery;
pub use host::Host;
pub use link::Faults;
pub use operations::Cache;
pub use rng::Rng;
pub use site::Site;
pub use topology::Topology;
pub use uninterrupted::uninterrupted;
pub use world::{Delivered, World};
