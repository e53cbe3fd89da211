//! The clients against the fake cloud, which judges signatures, tokens, etags and roles, and keeps a ledger.

mod aws;
mod azure;
mod crash;
mod http;
mod lab;
mod oci;
mod steady;
mod stub;
mod tls;
