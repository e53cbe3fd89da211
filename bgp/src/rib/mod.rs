//! Routing information base: Adj-RIB-In, Loc-RIB, Adj-RIB-Out and the decision process (RFC 4271 sections 3.2, 9).
//!
//! `Tables` is the whole: routes of sessions, originations, policy and next hops go in; best-path changes and
//! UPDATEs come out. It knows no connection and no bytes.

mod adj_rib_in;
mod adj_rib_out;
mod alternatives;
mod attribute_pool;
mod best_path;
mod cause;
mod decision;
mod destination;
mod destinations;
mod export;
mod loc_rib;
mod neighbor;
mod path;
mod pending;
mod recall;
mod refresh;
mod retention;
mod sources;
mod tables;
mod trial;
mod withheld;

pub use adj_rib_in::is_near_limit;
pub use alternatives::Alternatives;
pub use best_path::BestPathChange;
pub use cause::Cause;
pub use decision::DecisionStep;
pub use destination::STALE_SUPERSEDED;
pub use path::{Path, PathSource};

pub(crate) use decision::{Candidate, compare, rank};
pub(crate) use loc_rib::LocRib;
pub(crate) use neighbor::{Neighbor, NeighborIdentity, ReceivedRoute};
pub(crate) use tables::{Export, Tables};
pub use trial::Tried;
