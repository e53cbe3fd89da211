//! BGP-4, sans-IO: wire format, sessions, RIB and decision process; knows nothing of SAM.
//!
//! [`Speaker`] is the whole: bytes, connection events and `now` go in; connection orders, bytes, best-path changes
//! and events come out. Everything a message can do is in `wire`, everything a session can do in `session`,
//! everything a route can do in `rib`.

mod config;
mod external;
pub mod feed;
mod input;
pub mod mrt;
mod orders;
mod output;
mod peer;
pub mod policy;
mod reflector;
mod refresh;
mod restart;
pub mod rib;
mod rib_view;
pub mod rules;
pub mod session;
pub mod speaker;
mod strangers;
pub mod template;
#[cfg(test)]
mod testing;
mod view;
pub mod wire;

pub use feed::{Cursor, Feed, News, Stamp};
pub use orders::{OrderRefusal, PeerOrder};
pub use policy::{Policies, Policy, Rejection};
pub use reflector::LOOP_REASONS;
pub use restart::RestartView;
pub use rib::{
    Alternatives, BestPathChange, Cause, DecisionStep, Path, PathSource, STALE_SUPERSEDED,
    is_near_limit,
};
pub use rib_view::RibView;
pub use speaker::{
    ConnectionId, Event, ExternalPeer, GracefulRestartConfig, Input, Output, OwnRestart,
    PeerConfig, PeerId, PeerRole, Speaker, SpeakerConfig, TimerName,
};
pub use wire::{AddPathDirection, Family, LargeCommunity, Nlri, PathAttributes, PathId, Prefix};
