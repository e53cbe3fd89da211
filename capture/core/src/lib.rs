//! SAM vocabulary: who the nodes are, which addresses are mobile, how a route says so, and who owns an address.

pub mod claim_source;
pub mod import;
pub mod node;
pub mod ownership;
pub mod pool;
pub mod provider;
pub mod route_tags;

pub use claim_source::ClaimSource;
pub use import::{EnrolledNode, Enrollment, IDENTITY_REASONS, ImportRejection};
pub use node::{NodeId, Role};
pub use ownership::Owner;
pub use pool::Pool;
pub use provider::Provider;
pub use route_tags::{Claim, ClaimState, RouteKind, RouteTags, TagsError};
