//! Test equipment: a virtual network on a virtual clock for simulations (`world`), and the means to run real peers
//! in namespaces.
//!
//! The simulator drives the same `Router`, `Forwarder` and `wg::Device` as production. Only the drivers differ:
//! instead of sockets there are links that delay, lose, reorder and cut; instead of the host's TCP there is a small
//! reliable stream (`stream`) whose packets travel through the engines like any other.

pub mod host;
pub mod link;
pub mod netns;
pub mod rng;
pub mod stream;
pub mod world;

pub use host::Host;
pub use link::Faults;
pub use rng::Rng;
pub use world::{Delivered, World};
