//! Foreign BGP daemons behind one face: how each is configured, asked and told, in terms of RFC 4271.

mod bird;
mod exabgp;
mod frr;
mod gobgp;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::Result;
use ipnet::IpNet;
use sam_net::Namespace;

use crate::fabric::ASN;
use crate::world::Place;

/// Which daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// BIRD 2.
    Bird,
    /// FRR bgpd, without zebra.
    Frr,
    /// GoBGP.
    Gobgp,
    /// ExaBGP, which has no RIB and cannot reflect.
    Exabgp,
}

/// Where and with whom a daemon runs.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Where it runs.
    pub(crate) namespace: Namespace,
    /// Its files.
    pub(crate) folder: PathBuf,
    /// Its log.
    pub(crate) log: PathBuf,
    /// Its node: identifier, session address and next hop.
    pub(crate) own: Place,
    /// Its peers.
    pub(crate) neighbors: Vec<Place>,
    /// Whether its peers are its clients.
    pub(crate) reflector: bool,
    /// Whether it does graceful restart in full: its own routes are to be kept too.
    pub(crate) graceful: bool,
    /// Whether it is told that it was restarted.
    pub(crate) restarted: bool,
    /// Whether it is told to receive and send several paths to a prefix (RFC 7911).
    pub(crate) add_path: bool,
    /// Whether it exchanges routes of IPv6 too.
    pub(crate) ipv6: bool,
}

/// A route that a daemon is told to originate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announcement {
    /// Destination.
    pub(crate) prefix: IpNet,
    /// LOCAL_PREF.
    pub(crate) local_pref: u32,
    /// MULTI_EXIT_DISC.
    pub(crate) med: u32,
    /// Communities, as `asn:value`.
    pub(crate) communities: Vec<String>,
    /// Large communities, as `asn:function:value`.
    pub(crate) large_communities: Vec<String>,
}

/// A learned route as a daemon shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenRoute {
    /// Destination.
    pub(crate) prefix: IpNet,
    /// NEXT_HOP, or that of MP_REACH_NLRI.
    pub(crate) next_hop: IpAddr,
    /// LOCAL_PREF.
    pub(crate) local_pref: Option<u32>,
    /// MULTI_EXIT_DISC; some show 0 for none.
    pub(crate) med: Option<u32>,
    /// Communities, as `asn:value`.
    pub(crate) communities: Vec<String>,
    /// Large communities, as `asn:function:value`, sorted.
    pub(crate) large_communities: Vec<String>,
    /// ORIGINATOR_ID.
    pub(crate) originator: Option<Ipv4Addr>,
    /// CLUSTER_LIST.
    pub(crate) cluster_list: Vec<Ipv4Addr>,
}

/// A running daemon; dropping it stops it in order.
pub(crate) trait Daemon {
    /// Whether its session with a neighbor is Established, as the daemon sees it.
    fn established(&self, neighbor: Place) -> Result<bool>;

    /// Routes learned from any neighbor.
    fn routes(&self) -> Result<Vec<SeenRoute>>;

    /// Originates a route, or replaces its attributes.
    fn announce(&mut self, route: &Announcement) -> Result<()>;

    /// Stops originating a route.
    fn withdraw(&mut self, prefix: IpNet) -> Result<()>;

    /// Asks a neighbor for its routes (RFC 2918).
    fn ask_refresh(&mut self, neighbor: Place) -> Result<()>;

    /// Closes the session by administrative order; tells `text` (RFC 9003) if the daemon can.
    fn shut_down(&mut self, neighbor: Place, text: &str) -> Result<()>;

    /// Allows the session again.
    fn reopen(&mut self, neighbor: Place) -> Result<()>;

    /// Whether the daemon shows that the neighbor closed by administrative shutdown.
    fn saw_shutdown(&self, neighbor: Place) -> Result<bool>;

    /// Ends it without a word.
    fn kill(&mut self) -> Result<()>;
}

impl Kind {
    /// All daemons.
    pub(crate) const ALL: [Self; 4] = [Self::Bird, Self::Frr, Self::Gobgp, Self::Exabgp];

    /// Name in tests and files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bird => "bird",
            Self::Frr => "frr",
            Self::Gobgp => "gobgp",
            Self::Exabgp => "exabgp",
        }
    }

    /// Programs that it needs.
    pub(crate) fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Bird => &["bird", "birdc"],
            Self::Frr => &["bgpd", "vtysh"],
            Self::Gobgp => &["gobgpd", "gobgp"],
            Self::Exabgp => &["exabgp"],
        }
    }

    /// Whether it can be a route reflector.
    pub(crate) fn reflects(self) -> bool {
        self != Self::Exabgp
    }

    /// Whether graceful restart covers the end of the hold time, too; BIRD 2 does not offer the N bit (RFC 8538).
    pub(crate) fn survives_silence(self) -> bool {
        self != Self::Bird
    }

    /// Whether it can tell the text of RFC 9003 with a shutdown.
    pub(crate) fn tells_why(self) -> bool {
        self != Self::Exabgp
    }

    /// Directions of several paths as samctl names them; FRR receives them unless told otherwise.
    pub(crate) fn add_path(self, told: bool) -> &'static str {
        match (self, told) {
            (_, true) => "both",
            (Self::Frr, false) => "send",
            (_, false) => "none",
        }
    }

    /// Whether it asks for routes again when told to; GoBGP keeps what it heard and looks at that again.
    pub(crate) fn asks_refresh(self) -> bool {
        self != Self::Gobgp
    }

    /// Whether it says where a refresh begins and ends (RFC 7313). ExaBGP 4.2 agrees to, and fails over the first mark that it
    /// has to write.
    pub(crate) fn marks_refreshes(self) -> bool {
        matches!(self, Self::Bird | Self::Frr)
    }

    /// Whether it can be asked for its routes again.
    pub(crate) fn answers_refresh(self) -> bool {
        self != Self::Exabgp
    }

    /// CLUSTER_LIST and ORIGINATOR_ID are for reflected routes (RFC 4456 section 8); GoBGP as a reflector puts itself
    /// into both on routes of its own as well.
    pub(crate) fn reflects_its_own(self) -> bool {
        self == Self::Gobgp
    }

    /// Whether a session that it closed stays closed until told otherwise.
    pub(crate) fn stays_closed(self) -> bool {
        matches!(self, Self::Bird | Self::Frr)
    }

    /// Starts it.
    pub(crate) fn start(self, setup: &Setup) -> Result<Box<dyn Daemon>> {
        Ok(match self {
            Self::Bird => Box::new(bird::Bird::start(setup)?),
            Self::Frr => Box::new(frr::Frr::start(setup)?),
            Self::Gobgp => Box::new(gobgp::Gobgp::start(setup)?),
            Self::Exabgp => Box::new(exabgp::Exabgp::start(setup)?),
        })
    }
}

impl Setup {
    /// Returns the path of one of its files.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl SeenRoute {
    /// A route whose attributes are still to be read.
    fn empty(prefix: IpNet) -> Self {
        Self {
            prefix,
            next_hop: Ipv4Addr::UNSPECIFIED.into(),
            local_pref: None,
            med: None,
            communities: Vec::new(),
            large_communities: Vec::new(),
            originator: None,
            cluster_list: Vec::new(),
        }
    }
}

impl Announcement {
    /// A claim of `claimant` on a client's address, tagged as samctl tags its own (sequence 7, observed), announced with a
    /// standard community and a MED that must survive.
    pub(crate) fn claim(address: Place, claimant: u32) -> Self {
        let tags = [(1, claimant), (2, 1), (3, 1), (4, 7), (5, 1), (9, 3)];
        Self {
            prefix: address.client_route(),
            local_pref: 400,
            // That of its source: what is only heard.
            med: 20,
            communities: vec![format!("{ASN}:77")],
            large_communities: tags
                .iter()
                .map(|(function, value)| format!("{ASN}:{function}:{value}"))
                .collect(),
        }
    }

    /// A route of IPv6, which claims nothing.
    pub(crate) fn ipv6(from: Place) -> Self {
        Self {
            prefix: from.ipv6_route(),
            local_pref: 150,
            med: 20,
            communities: vec![format!("{ASN}:77")],
            large_communities: vec![format!("{ASN}:99:1")],
        }
    }

    /// The same claim in case that the active owner fails.
    pub(crate) fn standby(address: Place, claimant: u32) -> Self {
        let active = Self::claim(address, claimant);
        let state = |tag: String| tag.replace(&format!("{ASN}:3:1"), &format!("{ASN}:3:2"));
        Self {
            local_pref: 300,
            large_communities: active.large_communities.into_iter().map(state).collect(),
            ..active
        }
    }

    /// The same without any tag.
    #[must_use]
    pub(crate) fn untagged(mut self) -> Self {
        self.large_communities.clear();
        self
    }
}
