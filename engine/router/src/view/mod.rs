//! Read models: what `samctl` shows, as JSON and, rendered from the same values, as text.
//!
//! Field names are the API. Times are seconds ago, sizes bytes, addresses and prefixes text, enumerations
//! kebab-case words. The filling functions only read.

use std::time::Instant;

use sam_capture::NodeId;
use sam_dataplane::notice::Mac;
use serde::{Deserialize, Serialize};

use crate::config::Config;

mod arp;
mod bfd;
mod bgp;
mod bgp_reader;
mod bgp_table;
mod captures;
mod counters;
mod discovery;
mod doctor;
mod drain;
mod explain;
mod monitor;
mod notification;
mod owners;
mod path_test;
mod policy;
mod routes;
mod status;
mod step;
mod trace;
mod tunnels;
mod vrrp;

pub use arp::{ArpView, ForeignAnswerRow, NeighborRow, SightingRow};
pub use bfd::{BfdRow, BfdSummary, BfdView};
pub use bgp::{
    BgpNeighborView, BgpNeighborsView, BgpRibView, BgpRouteRow, BgpWhyView, ComparisonView,
    ErrorRow, FamilyRow, ForeignView, LadderRow, MessageCounts, NeighborSummary, PathRow,
    RejectedRow, RestartingView, RibEntry, TimerRow,
};
pub use bgp_table::{AttributesView, BgpTableRow, BgpTableView, RouteTable, UnknownAttribute};
pub use captures::{
    ActionRow, ActionView, ActionsView, CaptureCounter, CaptureGroup, CaptureMember, CaptureNic,
    CapturePlace, CaptureRow, CapturesView, EndedRow, PermissionRow, ROOM_REMEDY, StandingRow,
    UnclassifiedRow,
};
pub use counters::{CounterRow, CountersView, DropRow, RejectionRow};
pub use discovery::{DiscoveryConfigured, DiscoveryView, HomeRow, MachineRow};
pub use doctor::{CheckRow, CheckStatus, DoctorSummary, DoctorView};
pub use drain::{DrainView, HandoverRow, HandoversView, LeftRow};
pub use explain::{ArpCondition, ArpVerdict, DropRisk, ExplainView, PathMtu, QuestionRow};
pub use monitor::{MonitorView, Topic, Watch};
pub use notification::NotificationView;
pub use owners::{ClaimRow, OwnerRow, OwnersView};
pub use path_test::{PathTestRow, PathTestView, SiteTestRow, TestCheck, TestMatrixView};
pub use policy::{PolicyRow, PolicyTestView, PolicyVerdict, PolicyView};
pub use routes::{RouteAction, RouteOrigin, RouteRow, RoutesView};
pub use status::{
    API_VERSION, CaptureSummary, OffloadOff, PoolSummary, StatusView, UpCount, VersionView,
};
pub use step::{StepView, step_name};
pub use trace::{
    LiveTraceEnd, LiveTraceView, StageResult, TraceOutcome, TraceProtocol, TraceQuery, TraceStage,
    TraceVerdict, TraceView,
};
pub use tunnels::{IdentityConflictRow, TunnelRow, TunnelsView, UndeliveredRow};
pub use vrrp::{SplitBrainRow, TrackedRow, VrrpConfigured, VrrpView};

/// A node, as named in views.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeRef {
    /// Identity.
    pub id: NodeId,
    /// Name; the id in decimal when the node is not configured. A foreign neighbor has its name or its address, and its
    /// address as a number is its id.
    pub name: String,
    /// Site; empty when the node is not configured.
    pub site: String,
}

impl NodeRef {
    /// Names a node.
    #[must_use]
    pub fn new(config: &Config, id: NodeId) -> Self {
        match config.fabric.nodes.get(&id) {
            Some(node) => Self {
                id,
                name: node.name.clone(),
                site: node.site.clone(),
            },
            None => Self {
                id,
                name: config
                    .local
                    .foreign
                    .name_of(id)
                    .unwrap_or_else(|| id.to_string()),
                site: String::new(),
            },
        }
    }
}

/// Writes a MAC address.
#[must_use]
pub fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Returns in how many seconds `then` is.
fn seconds_until(then: Instant, now: Instant) -> f64 {
    seconds_ago(now, then)
}

/// Returns how many seconds ago `then` was.
fn seconds_ago(then: Instant, now: Instant) -> f64 {
    now.saturating_duration_since(then).as_secs_f64()
}
