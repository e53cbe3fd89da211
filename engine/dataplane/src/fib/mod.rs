//! Forwarding information base: longest-prefix match from destination to [`NextHop`] (RFC 1812 section 5.2.4.3).
//!
//! ```text
//!   address ──► trie ──► number of a group ──► ways ──► next hop
//!               shared by all copies           one short list, made anew by each `build_by`
//!               but for what changed
//! ```
//! Routes that rely on the same paths lead to one group. A path that dies changes where groups lead, not where routes do:
//! however many routes there are, all of them turn to their backup at once (prefix independent convergence).

mod address_set;
mod groups;
mod next_hop;
mod table;
mod trie;

pub use address_set::AddressSet;
pub use next_hop::NextHop;
pub use table::{Fib, FibBuilder};
