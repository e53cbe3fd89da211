//! The control core: one value that turns configuration, BGP events, host facts and commands into outputs.
//!
//! Contract: one mutation (`handle_input`, `handle_timeout`), then drain `poll_output` to `None`, then the next.
//! Within one drain, `Output::Publish` precedes every `Output::Bgp` that carries the same news (engine/ARCHITECTURE.md
//! R6): the FIB knows before the peers do.

pub mod config;
pub mod input;
pub mod output;

pub use config::Config;
pub use input::{Command, HostEvent, Input};
pub use output::Output;
