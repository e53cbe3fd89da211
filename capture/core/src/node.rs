//! Identity of a node: explicit, numeric, unique in the fabric (never a hash).

use std::fmt;

/// Identity of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a node runs. Information for operators; travels as large community `asn:7:value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// 1
    Onprem,
    /// 2
    Aws,
    /// 3
    Azure,
    /// 4
    Oci,
    /// 5
    Gcp,
}
