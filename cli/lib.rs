//! The program.
pub mod args;
pub mod config;
