//! The demo's address plan: four sites that share one subnet, two routers at each.

use std::net::Ipv4Addr;

use sam_fakecloud::Provider;

/// A site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Site {
    Onprem,
    Aws,
    Azure,
    Oci,
}

impl Site {
    /// All, in the order of their numbers.
    pub(super) const ALL: [Self; 4] = [Self::Onprem, Self::Aws, Self::Azure, Self::Oci];
    /// Those where a provider's fabric delivers.
    pub(super) const CLOUDS: [Self; 3] = [Self::Aws, Self::Azure, Self::Oci];

    /// Name in the configuration; also the role of its nodes, and what the provider is called.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Onprem => "onprem",
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Oci => "oci",
        }
    }

    /// From 1.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Onprem => 1,
            Self::Aws => 2,
            Self::Azure => 3,
            Self::Oci => 4,
        }
    }

    /// Place in lists of all sites.
    pub(super) fn index(self) -> usize {
        usize::from(self.number() - 1)
    }

    /// Whose fabric it is.
    pub(super) const fn provider(self) -> Option<Provider> {
        match self {
            Self::Onprem => None,
            Self::Aws => Some(Provider::Aws),
            Self::Azure => Some(Provider::Azure),
            Self::Oci => Some(Provider::Oci),
        }
    }

    /// The address that lives here.
    pub(super) const fn client(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 60, 9 + self.number())
    }

    /// The client's default gateway: the virtual router on the LAN, the provider's in a cloud.
    pub(super) const fn gateway(self) -> Ipv4Addr {
        match self {
            Self::Onprem => VIRTUAL,
            Self::Aws | Self::Azure | Self::Oci => Ipv4Addr::new(10, 77, 60, 1),
        }
    }

    /// Its two routers.
    pub(super) const fn routers(self) -> [Router; 2] {
        [
            Router {
                site: self,
                second: false,
            },
            Router {
                site: self,
                second: true,
            },
        ]
    }
}

/// A router of a site: `a` or `b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Router {
    /// Where.
    pub site: Site,
    /// Whether it is `b`.
    pub second: bool,
}

impl Router {
    /// All, the first ones of the sites first.
    pub(super) fn all() -> impl Iterator<Item = Self> + Clone {
        [false, true]
            .into_iter()
            .flat_map(|second| Site::ALL.into_iter().map(move |site| Self { site, second }))
    }

    /// Name of its node.
    pub(super) fn name(self) -> String {
        let letter = if self.second { 'b' } else { 'a' };
        format!("{}-{letter}", self.site.name())
    }

    /// Number of its node: 1 to 4 are the first ones, 5 to 8 the second ones.
    pub(super) const fn number(self) -> u8 {
        self.site.number() + if self.second { 4 } else { 0 }
    }

    /// Place in lists of all routers.
    pub(super) fn index(self) -> usize {
        usize::from(self.number() - 1)
    }

    /// The other one of its site.
    pub(super) const fn sibling(self) -> Self {
        Self {
            site: self.site,
            second: !self.second,
        }
    }

    /// Its address in the overlay.
    pub(super) const fn overlay(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, self.number())
    }

    /// Its address on the WAN.
    pub(super) const fn underlay(self) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, 10 + self.number())
    }

    /// Its own address in the site's subnet; providers keep the first four for themselves.
    pub(super) const fn lan(self) -> Ipv4Addr {
        let last = match (self.site, self.second) {
            (Site::Onprem, false) => 2,
            (Site::Onprem, true) => 3,
            (_, false) => 4,
            (_, true) => 5,
        };
        Ipv4Addr::new(10, 77, 60, last)
    }

    /// The provider's name of its interface there.
    pub(super) fn nic(self) -> Option<String> {
        let name = self.name();
        match self.site {
            Site::Onprem => None,
            Site::Aws => Some(format!("eni-{name}")),
            Site::Azure => Some(format!(
                "/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Network/networkInterfaces/\
                 nic-{name}"
            )),
            Site::Oci => Some(format!("vnic-{name}")),
        }
    }

    /// What the fake cloud calls that interface: without the path that Azure puts before it.
    pub(super) fn short_nic(self) -> Option<String> {
        let nic = self.nic()?;
        Some(nic.rsplit('/').next().unwrap_or_default().to_owned())
    }

    /// The provider's name of its machine.
    pub(super) fn instance(self) -> String {
        format!("i-{}", self.name())
    }
}

/// The virtual router's address on the LAN.
pub(super) const VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 254);
/// Addresses of the subnet that are nobody's to move: those of gateways and routers.
pub(super) const EXCLUDED: &str =
    "10.77.60.1, 10.77.60.2, 10.77.60.3, 10.77.60.4, 10.77.60.5, 10.77.60.6, 10.77.60.254";
/// What the guest's interface in AWS has before the guest is there.
pub(super) const WAITING: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 6);
/// The address of the guest, which moves.
pub(super) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 50);
/// Account at Azure.
pub(super) const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";
/// Resource group at Azure.
pub(super) const GROUP: &str = "rg-demo";
