//! A change of the best path of a prefix: the only thing that leaves the RIB.
//!
//! Told once per prefix and batch of input, and only if source or attributes differ.

use ipnet::Ipv4Net;

use super::decision::DecisionStep;
use super::path::Path;
use crate::wire::Prefix;

/// A change of the best path of a prefix: the only thing that leaves the RIB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BestPathChange<N: Prefix = Ipv4Net> {
    /// The prefix.
    pub prefix: N,
    /// Former best path.
    pub old: Option<Path<N::NextHop>>,
    /// New best path.
    pub new: Option<Path<N::NextHop>>,
    /// What decided: the step at which the new best path beat the second, [`DecisionStep::OnlyPath`] without second,
    /// [`DecisionStep::Eligible`] when paths are left but none may be chosen.
    pub step: DecisionStep,
}
