//! Whether the host of a frame may have its home here: a table of conditions, the first that does not hold decides.
//!
//! What the RIB and the configuration know outranks what is heard. So no router and no captured address is ever
//! learned, whoever speaks for it.

use std::net::Ipv4Addr;
use std::time::Instant;

use sam_capture::ClaimSource;
use sam_dataplane::notice::Mac;

use crate::Router;

/// Why a host that was heard gets no home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal {
    /// The address is that of a router, or a virtual one.
    RouterAddress,
    /// The pool excludes the address: it is that of a router, and the MAC is.
    Excluded,
    /// The MAC is that of this router or, as it told by BGP, of another, or the virtual one of a VRRP router.
    RouterMac,
    /// The MAC speaks for a router's address too.
    SpeaksForRouter,
    /// The address lives here by configuration or order.
    Configured,
    /// This node may not own the address.
    NotPermitted,
    /// The address is bound to another MAC.
    OtherMacBound,
    /// Another node owns the address, and knows better than by hearing, or has just shown that it still has it.
    OwnedElsewhere,
    /// The MAC has as many addresses as one may have.
    TooManyOfMac,
    /// There are too many homes, or too many new ones at once.
    TooMany,
}

impl Refusal {
    pub(crate) const ALL: [Self; 10] = [
        Self::RouterAddress,
        Self::Excluded,
        Self::RouterMac,
        Self::SpeaksForRouter,
        Self::Configured,
        Self::NotPermitted,
        Self::OtherMacBound,
        Self::OwnedElsewhere,
        Self::TooManyOfMac,
        Self::TooMany,
    ];

    /// Returns what the counter says.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::RouterAddress => "Frames refused: the address is that of a router",
            Self::Excluded => "Frames refused: the pool excludes the address",
            Self::RouterMac => {
                "Frames refused: the MAC is that of a router of the fabric, or a virtual one"
            }
            Self::SpeaksForRouter => "Frames refused: the MAC speaks for an excluded address too",
            Self::Configured => "Frames of hosts that live here by configuration or order",
            Self::NotPermitted => "Frames refused: this node may not own the address",
            Self::OtherMacBound => "Frames refused: the address is bound to another MAC",
            Self::OwnedElsewhere => {
                "Frames refused: another node owns the address and knows better"
            }
            Self::TooManyOfMac => "Frames refused: the MAC has as many addresses as one may have",
            Self::TooMany => "Frames refused: too many hosts, or too many new ones at once",
        }
    }

    /// Returns the name used in events and counters.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RouterAddress => "router-address",
            Self::Excluded => "excluded",
            Self::RouterMac => "router-mac",
            Self::SpeaksForRouter => "speaks-for-router",
            Self::Configured => "configured",
            Self::NotPermitted => "not-permitted",
            Self::OtherMacBound => "other-mac-bound",
            Self::OwnedElsewhere => "owned-elsewhere",
            Self::TooManyOfMac => "too-many-of-mac",
            Self::TooMany => "too-many",
        }
    }

    /// Tells whether the frame is that of a host which may have the address, wherever it has its home.
    pub(crate) fn is_about_host(self) -> bool {
        !matches!(
            self,
            Self::RouterAddress
                | Self::Excluded
                | Self::RouterMac
                | Self::SpeaksForRouter
                | Self::OtherMacBound
        )
    }

    /// Tells whether operators should know; the others are ordinary.
    pub(crate) fn is_news(self) -> bool {
        matches!(
            self,
            Self::NotPermitted
                | Self::OtherMacBound
                | Self::OwnedElsewhere
                | Self::TooManyOfMac
                | Self::TooMany
        )
    }
}

/// The first three bytes and more of the MACs that VRRP routers share (RFC 9568 section 7.3).
const VRRP_MAC: [u8; 5] = [0, 0, 0x5e, 0, 1];

impl Router {
    /// Checks whether the host may live here.
    pub(super) fn admit_home(
        &self,
        address: Ipv4Addr,
        mac: Mac,
        now: Instant,
    ) -> Result<(), Refusal> {
        let lan = self.host.lan.as_ref();
        // 1. It has no address of a router.
        if lan
            .and_then(|lan| lan.address)
            .is_some_and(|net| net.addr() == address)
            || self
                .config
                .vrrp()
                .is_some_and(|vrrp| vrrp.settings.address == address)
        {
            return Err(Refusal::RouterAddress);
        }
        if self.config.pool_of(address).is_none() {
            return Err(Refusal::Excluded);
        }
        // 2. It is no router.
        let is_node = self.router_macs.values().any(|other| *other == mac);
        if is_node || lan.is_some_and(|lan| lan.mac == mac) || mac.starts_with(&VRRP_MAC) {
            return Err(Refusal::RouterMac);
        }
        if self.discovery.is_router(mac, now) {
            return Err(Refusal::SpeaksForRouter);
        }
        // 3. Nobody has to learn what is configured.
        if self.told_to_own().contains(&address) {
            return Err(Refusal::Configured);
        }
        // 4. This node may own the address.
        let enrollment = self.speaker.policy().enrollment();
        if enrollment.admit(self.config.local.node, address).is_err() {
            return Err(Refusal::NotPermitted);
        }
        // 5. It is the host that the address is bound to.
        let settings = self.config.local.capture.discovery();
        let bound = settings.and_then(|settings| settings.bindings.get(&address));
        if bound.is_some_and(|bound| *bound != mac) {
            return Err(Refusal::OtherMacBound);
        }
        // 6. No other node knows better. One that has heard the host too is asked by our claim.
        let owner = self.owners.holding(address).map(|holding| holding.owner);
        let elsewhere = owner
            .filter(|owner| !owner.local && !self.config.shares_lan_with(owner.node))
            .filter(|owner| owner.source < ClaimSource::Observed);
        match elsewhere {
            Some(_) => Err(Refusal::OwnedElsewhere),
            None => Ok(()),
        }
    }
}
