//! Forwarding information base: longest-prefix match from destination to [`NextHop`].

mod lpm;
mod next_hop;

pub use lpm::{Fib, FibBuilder};
pub use next_hop::NextHop;
