//! What operators are told of captures.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

/// News for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// An address is on our NIC.
    Captured(Ipv4Addr),
    /// An address was given back.
    Released(Ipv4Addr),
    /// An address was taken from our NIC by others; for so long it is left alone, if it was a fight.
    Lost(Ipv4Addr, Option<Duration>),
    /// A change was not sent, or given up: its reason ended.
    Fenced {
        /// What.
        operation: &'static str,
        /// With which addresses.
        addresses: BTreeSet<Ipv4Addr>,
        /// Why.
        why: String,
    },
    /// The provider refused something.
    Refused {
        /// What.
        operation: &'static str,
        /// With which addresses.
        addresses: BTreeSet<Ipv4Addr>,
        /// Class of the error.
        class: &'static str,
        /// The provider's code and message.
        detail: String,
    },
    /// Our NIC has no room for so many wanted addresses.
    NoRoom(usize),
}
