//! `samctl test`: tries to reach other nodes, and answers those that try to reach this one.
//!
//! ```text
//!   here                                       there
//!   echo requests of many lengths, DF set ───► kernel
//!   TCP to the test port: a pattern       ───► responder: counts, sums, says whom it saw
//!                                         ◄─── another pattern
//!   or: a question                        ───► responder: tests its own ways
//!                                         ◄─── what it found out
//! ```
//! Everything runs between overlay addresses through the TUN device, so it takes the way of the traffic. What to try
//! and what it means is `sam_router::path_test`'s.

mod echo;
mod exchange;
mod pattern;
mod probe;
mod remote;
mod responder;

pub(crate) use probe::{TestPlan, run};
pub(crate) use remote::fetch;
pub(crate) use responder::serve;
