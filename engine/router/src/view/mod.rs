//! Read models: what `samctl` shows, as JSON and, rendered from the same values, as text.
//!
//! Field names are the API. Times are seconds ago, sizes bytes, addresses and prefixes text, enumerations
//! kebab-case words. The filling functions only read.

use sam_capture::NodeId;
use serde::{Deserialize, Serialize};

mod arp;
mod bgp;
mod counters;
mod doctor;
mod explain;
mod owners;
mod routes;
mod status;
mod tunnels;

pub use arp::{ArpView, NeighborRow, SightingRow};
pub use bgp::{
    BgpNeighborView, BgpNeighborsView, BgpRibView, BgpRouteRow, BgpWhyView, ComparisonView,
    LadderRow, MessageCounts, NeighborSummary, NotificationView, PathRow, RejectedRow, RibEntry,
    StepView,
};
pub use counters::{CounterRow, CountersView, DropRow, RejectionRow};
pub use doctor::{CheckRow, CheckStatus, DoctorSummary, DoctorView};
pub use explain::{ArpCondition, ArpVerdict, DropRisk, ExplainView, PathMtu, QuestionRow};
pub use owners::{ClaimRow, OwnerRow, OwnersView};
pub use routes::{RouteAction, RouteOrigin, RouteRow, RoutesView};
pub use status::{CaptureSummary, PoolSummary, StatusView, UpCount, VersionView};
pub use tunnels::{IdentityConflictRow, TunnelRow, TunnelsView};

/// A node, as named in views.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeRef {
    /// Identity.
    pub id: NodeId,
    /// Name; the id in decimal when the node is not configured.
    pub name: String,
    /// Site; empty when the node is not configured.
    pub site: String,
}
