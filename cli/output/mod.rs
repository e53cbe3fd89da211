//! The only places that format: [`table`] for people, [`machine`] for programs.

pub mod machine;
pub mod table;

pub use table::{Text, decoded_text, event_line, monitor_line, mrt_line};
