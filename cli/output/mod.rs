//! The only places that format: [`table`] for people, [`machine`] for programs.

pub mod machine;
pub mod table;

pub use table::{Text, event_line, monitor_line};
