//! Tests of the public interface of a device, in virtual time.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics fails, helpers of tests too"
)]

mod attack;
mod configuration;
mod endurance;
mod interop;
mod load;
mod outage;
mod restart;
mod roaming;
mod runs;
mod session;
mod workers;
mod world;
