//! Why an advertisement does not count, and what is odd about one that does.

use crate::packet::Malformed;

/// Why an advertisement does not count (RFC 9568 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Refusal {
    /// It crossed a router: its TTL is not 255.
    Ttl,
    /// It is none.
    Malformed(Malformed),
    /// Of another version than configured.
    Version,
    /// Of another virtual router.
    Vrid,
    /// From our own address.
    OwnAddress,
    /// Peers are configured, and the sender is none of them.
    Stranger,
    /// This router owns the addresses: nobody outranks it.
    AddressOwner,
    /// Version 2: the interval is not ours (RFC 3768 section 7.1).
    Interval,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Ttl,
        Self::Malformed(Malformed::Length),
        Self::Malformed(Malformed::Version),
        Self::Malformed(Malformed::Type),
        Self::Malformed(Malformed::Checksum),
        Self::Malformed(Malformed::Authentication),
        Self::Malformed(Malformed::Vrid),
        Self::Malformed(Malformed::Count),
        Self::Malformed(Malformed::Interval),
        Self::Version,
        Self::Vrid,
        Self::OwnAddress,
        Self::Stranger,
        Self::AddressOwner,
        Self::Interval,
    ];

    /// Returns the short name for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Malformed(Malformed::Length) => "length",
            Self::Malformed(Malformed::Version) => "unknown-version",
            Self::Malformed(Malformed::Type) => "type",
            Self::Malformed(Malformed::Checksum) => "checksum",
            Self::Malformed(Malformed::Authentication) => "authentication",
            Self::Malformed(Malformed::Vrid) => "no-vrid",
            Self::Malformed(Malformed::Count) => "no-address",
            Self::Malformed(Malformed::Interval) => "no-interval",
            Self::Version => "other-version",
            Self::Vrid => "other-vrid",
            Self::OwnAddress => "own-address",
            Self::Stranger => "stranger",
            Self::AddressOwner => "address-owner",
            Self::Interval => "other-interval",
        }
    }

    /// Returns the meaning in words for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ttl => "crossed a router: the TTL is not 255",
            Self::Malformed(Malformed::Length) => "too short",
            Self::Malformed(Malformed::Version) => "neither version 2 nor 3",
            Self::Malformed(Malformed::Type) => "not an advertisement",
            Self::Malformed(Malformed::Checksum) => "the checksum is wrong",
            Self::Malformed(Malformed::Authentication) => "with authentication",
            Self::Malformed(Malformed::Vrid) => "virtual router zero",
            Self::Malformed(Malformed::Count) => "without an address",
            Self::Malformed(Malformed::Interval) => "an interval of zero",
            Self::Version => "another version of VRRP than configured here",
            Self::Vrid => "another virtual router",
            Self::OwnAddress => "from this router's own address",
            Self::Stranger => "not from one of the configured peers",
            Self::AddressOwner => "this router owns the address (priority 255)",
            Self::Interval => "version 2, and not the interval configured here",
        }
    }
}

/// What is odd about an advertisement that counts: both routers go on, and an operator should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Remark {
    /// It lists other addresses than ours.
    Addresses,
    /// Version 3: its interval is not ours; the master's holds.
    Interval,
    /// It came as a copy, and the packet itself did not.
    CopyOnly,
    /// Its sender is no router of our make, and nobody named it.
    UnknownSender,
}

impl Remark {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Addresses,
        Self::Interval,
        Self::CopyOnly,
        Self::UnknownSender,
    ];

    /// Returns the short name for counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Addresses => "addresses-differ",
            Self::Interval => "interval-differs",
            Self::CopyOnly => "by-arp-only",
            Self::UnknownSender => "unknown-sender",
        }
    }

    /// Returns the meaning in words for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Addresses => "accepted, but with another virtual address than configured here",
            Self::Interval => "accepted, but with another interval than configured here",
            Self::CopyOnly => "accepted, but it came in an ARP frame only: its own packet was lost",
            Self::UnknownSender => {
                "accepted, but from no router of this make, and nobody named its sender"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Refusal::ALL.iter().map(|refusal| refusal.name()).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
        let remarks = Remark::ALL.map(Remark::name);
        assert!(remarks.iter().all(|name| !names.contains(name)));
    }
}
