//! The control core: one value that turns configuration, BGP events, host facts and commands into outputs.
//!
//! Contract: one mutation (`handle_input`, `handle_timeout`), then drain `poll_output` to `None`, then the next.
//! `Router::new` counts as a mutation. Within one drain, `Output::Journal` comes first and `Output::Publish` precedes
//! every `Output::Bgp` that carries the same news (engine/ARCHITECTURE.md R6): the FIB knows before the peers do.

pub mod config;
pub mod events;
pub mod facts;
pub mod input;
pub mod journal;
pub mod output;
pub mod router;
pub mod view;

pub use config::Config;
pub use events::Event;
pub use facts::Facts;
pub use input::{Command, HostEvent, Input};
pub use journal::RuntimeState;
pub use output::{BgpOrder, Output};
pub use router::{CommandRefusal, Router, Start, TimerName};
