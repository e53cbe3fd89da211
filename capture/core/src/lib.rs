//! SAM vocabulary: who the nodes are, which addresses are mobile, how a route says so, and who owns an address.

pub mod claim_source;
pub mod desired;
pub mod election;
pub mod executor;
pub mod fence;
mod fights;
pub mod held_tags;
pub mod import;
mod inability;
pub mod node;
pub mod ownership;
mod pace;
pub mod placement;
pub mod plan;
pub mod pool;
pub mod provider;
pub mod record;
pub mod route_tags;
mod takeover;

pub use claim_source::ClaimSource;
pub use desired::{Candidate, Desires, Landscape, Want};
pub use election::Election;
pub use executor::Executor;
pub use fence::{Authority, PathSignature, Stale, Ticket};
pub use import::{EnrolledNode, Enrollment, IDENTITY_REASONS, ImportRejection};
pub use inability::Inability;
pub use node::{NodeId, Role};
pub use ownership::Owner;
pub use placement::Load;
pub use plan::Mode;
pub use pool::Pool;
pub use provider::Provider;
pub use record::{Prior, Record};
pub use route_tags::{Claim, ClaimState, RouteKind, RouteTags, TagsError};
