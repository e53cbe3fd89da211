//! The speaker through its public interface, on virtual time.
//!
//! `fabric` joins whole speakers by in-memory pipes; `bench` holds one speaker whose peers are played by the test,
//! message by message.

mod bench;
mod fabric;
mod feed;
mod hostile;
mod mrt;
mod reflection;
mod routes;
mod sessions;
mod vocabulary;
