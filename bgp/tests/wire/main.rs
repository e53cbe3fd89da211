//! Wire conformance: RFC tables, messages of other implementations, mutations, splitting.

mod bytes;
mod encode_split;
mod fault_matrix;
mod fixed_point;
mod ipv6;
mod message_errors;
mod mutation;
mod real_messages;
mod rfc7606;
mod two_octet_peer;
