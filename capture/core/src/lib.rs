//! SAM vocabulary: who the nodes are, which addresses are mobile, how a route says so, and who owns an address.

pub mod node;
pub mod pool;

pub use node::{NodeId, Role};
pub use pool::Pool;
