//! Clients of cloud providers, as [`sam_capture::Provider`]: blocking, each in a thread of whoever uses it.
//!
//! Thin on purpose (decision 0021): each provider is a handful of calls over one HTTP client ([`http`]) that never
//! repeats anything by itself. What was answered is told by class; what may have happened is never told as having
//! failed. Identity comes from the metadata service of the instance ([`metadata`]), so there is no credential to keep.
//! Custom endpoints ([`Endpoints`]) lead to a fake cloud or a private endpoint by the same code.

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "azure")]
pub mod azure;
pub mod batch;
pub mod http;
pub mod mac;
mod machines;
pub mod metadata;
mod names;
#[cfg(feature = "oci")]
pub mod oci;
pub mod purpose;
pub mod secret;
pub mod settings;
mod underlay;

pub use mac::MacAddress;
pub use secret::Secret;
pub use settings::{Egress, Endpoints, Settings, Timeouts};
