//! The speaker through its public interface, on virtual time.
//!
//! `fabric` joins whole speakers by in-memory pipes; `bench` holds one speaker whose peers are played by the test,
//! message by message.

mod absent_peers;
mod add_path;
mod backpressure;
mod bench;
mod enhanced_refresh;
mod errors;
mod extended;
mod external;
mod fabric;
mod feed;
mod fuzzed;
mod graceful_restart;
mod hostile;
mod ipv6;
mod lessons;
mod limits;
mod model;
mod model_test;
mod mrt;
mod orders;
mod propagation;
mod reflection;
mod robustness;
mod routes;
mod schedule;
mod sessions;
mod vocabulary;
mod withheld;
