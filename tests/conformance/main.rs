//! RFCs as tables that fail when a cell is missing.
//!
//! What one crate can prove by itself is proved there; `clauses.txt` says which test proves which clause, and
//! `clauses.rs` checks that these tests exist. Here are the tables that need the outside view: a session as a peer
//! sees it, in bytes that no code of ours has written, and what one packet costs on the wire.

mod clauses;
mod overhead;
mod session;
