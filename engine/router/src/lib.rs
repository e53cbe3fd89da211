//! The control core: one value that turns configuration, BGP events, host facts and commands into outputs.
//!
//! Contract: one mutation (`handle_input`, `handle_timeout`), then drain `poll_output` to `None`, then the next.
//! `Router::new` counts as a mutation. Within one drain, `Output::Journal` comes first and `Output::Publish` precedes
//! every `Output::Bgp` that carries the same news (engine/ARCHITECTURE.md R6): the FIB knows before the peers do.
//!
//! The parts and what each decides: `origination` what we announce, `claims` who else does, `owner_table` who owns, `owner_rules` why,
//! `fib_sync` where packets go, `answer_set` whom we answer for, `tunnels` how nodes are reached, `path_watch` which
//! of them BFD found broken, `next_hops` which paths may be chosen therefore, `path_mtu` and `prober` how much each path
//! carries, `stale_hops` whether kept routes lead anywhere, `foreign_policy` what passes between the fabric and routers of
//! others, `discovery` which hosts of the LAN are heard, `path_test` what `samctl test` tries and means, `identity` whether
//! a node is one router, `lan_role` whether VRRP lets this router act on its LAN, `contests` which hosts are on its side when the LAN is cut, `startup_fence` what it must know before it takes a role from another, `drain` what it leaves to others before
//! work on it, `graceful_shutdown` what neighbors of other ASes are asked for then, `neighbor_orders` what an operator does with one
//! session, `handover` how an address moves by order, `lan_orders` how a router that was not there learns of that, `holdings` what one that begins says first.
//! `router` only connects them; `view`, `doctor`, `explain` and `trace` only read.

pub mod config;
mod diff;
mod discovery;
mod doctor;
pub mod encapsulation;
pub mod event_queue;
pub mod events;
mod explain;
pub mod facts;
pub mod foreign;
pub mod input;
pub mod journal;
pub mod output;
pub mod path_test;
mod release;
pub mod router;
mod secret;
pub mod view;

mod answer_set;
mod capture_news;
mod claims;
mod cloud_control;
mod cloud_homes;
mod cloud_readiness;
mod cloud_site;
mod commands;
mod contests;
mod drain;
mod fib_sync;
#[cfg(test)]
mod fixture;
mod foreign_policy;
mod foreign_sessions;
mod graceful_shutdown;
mod handover;
mod holdings;
mod host;
mod identity;
mod lan_orders;
mod lan_role;
mod neighbor_orders;
mod next_hop_group;
mod next_hops;
mod notices;
mod numbering;
mod offloads;
mod origination;
mod owner_rules;
mod owner_table;
mod path_mtu;
mod path_watch;
mod peers;
mod policy;
mod prober;
mod publication;
mod sightings;
mod signature;
mod split_brain;
mod stale_hops;
mod startup_fence;
#[cfg(test)]
mod testnet;
#[cfg(test)]
mod tests;
mod trace;
mod tunnel_fault;
mod tunnels;
mod undelivered;

pub use cloud_control::{CloudInput, capture_holds};
pub use commands::CommandRefusal;
pub use config::Config;
pub use diff::restart_only;
pub use encapsulation::Encapsulation;
pub use events::Event;
pub use facts::Facts;
pub use fib_sync::{LAN_PORT, TUN_PORT};
pub use foreign::Foreign;
pub use host::{Roamed, RoamedRoute};
pub use input::{Command, HostEvent, Input};
pub use journal::RuntimeState;
pub use lan_role::{VrrpPlan, VrrpReport};
pub use offloads::Offloads;
pub use output::{BgpOrder, Output};
pub use release::{DEFAULT_RELEASE, RELEASE_MAX};
pub use router::{Router, Start, TimerName};
pub use sam_bgp::PeerOrder;
pub use secret::Secret;
pub use trace::TraceRefusal;
