//! Import and export policy: supplied by the user of this crate.
//!
//! Loop detection (RFC 4456) and the limit of prefixes are not policy: they apply before and after it, always.

use std::borrow::Cow;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::speaker::PeerId;
use crate::wire::{PathAttributes, Prefix};

/// Why a route was refused, or is not told; short name as shown to operators and used in counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rejection(pub &'static str);

/// Decides about routes of one family. Must be a pure function of its arguments and its own configuration. Attributes are shared by many
/// routes and borrowed; [`Cow::to_mut`] makes a copy to be changed.
pub trait Policy<N: Prefix = Ipv4Net> {
    /// Accepts or refuses a received route; may change attributes.
    ///
    /// # Errors
    /// The reason for refusing it.
    fn import(
        &self,
        peer: PeerId,
        prefix: N,
        attributes: &mut Cow<'_, PathAttributes<N::NextHop>>,
    ) -> Result<(), Rejection>;

    /// Lets a path be told to `peer`, or not; may change attributes.
    ///
    /// # Errors
    /// The reason for not telling it.
    fn export(
        &self,
        peer: PeerId,
        prefix: N,
        attributes: &mut Cow<'_, PathAttributes<N::NextHop>>,
    ) -> Result<(), Rejection>;
}

/// Decides about routes of all families.
pub trait Policies: Policy<Ipv4Net> + Policy<Ipv6Net> {}

impl<P: Policy<Ipv4Net> + Policy<Ipv6Net>> Policies for P {}
