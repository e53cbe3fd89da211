//! Keeps the published forwarding state equal to RIB and configuration.
//!
//! | Happens | Costs | What |
//! |---|---|---|
//! | a path of a prefix changes | the prefix | [`FibSync::follow`] reads the RIB's change feed |
//! | a next hop dies | the groups | [`FibSync::bury`]: all routes turn to their backups, before the RIB is asked |
//! | configuration, LAN, tunnel numbers | all routes | [`FibSync::follow`] reads the feed from its start |
//!
//! A route leads to a group of paths in their order ([`NextHopGroup`]), so that what the RIB finds after a death is what the
//! routes do already. The other way round nothing is in a hurry: a next hop that came back is used once the RIB says so.
//!
//! Of several entries for a prefix the first counts:
//! 1. overlay addresses and the router's own LAN address, which no claim can take away,
//! 2. claims: own addresses to the LAN (to the host where there is no LAN), others' into their tunnel, or nowhere while
//!    that is refused ([`crate::tunnel_fault`]); in a cloud those of our site's other routers to the LAN too, for that is
//!    the subnet of them all: what is under way while it captures elsewhere arrives, from hosts and to them,
//! 3. pools withhold, so that an address that nobody owns is dropped (mobility.md I8).
//!
//! Markers are signals and never installed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::Ipv4Net;
use sam_bgp::{Cursor, News, Path, Speaker};
use sam_capture::{NodeId, Owner};
use sam_dataplane::snapshot::{LanPort, TunPort, Tunnel};
use sam_dataplane::{AddressSet, FibBuilder, NextHop, PortId, Snapshot, TunnelId};

use crate::answer_set::AnswerRules;
use crate::config::Config;
use crate::next_hop_group::{Deaths, NextHopGroup, Way};
use crate::owner_table::OwnerTable;
use crate::policy::FabricPolicy;
use crate::tunnels::TunnelPlan;
use crate::view::RouteOrigin;

/// The TUN port.
pub const TUN_PORT: PortId = PortId(0);
/// The LAN port.
pub const LAN_PORT: PortId = PortId(1);

/// One forwarding entry with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// Where packets go.
    pub(crate) next_hop: NextHop,
    /// Why.
    pub(crate) origin: RouteOrigin,
}

/// What routes and answers follow from, besides paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    asn: u32,
    /// Entries that no claim can take away.
    fixed: BTreeMap<Ipv4Net, Route>,
    /// Entries that any claim takes away.
    pools: BTreeMap<Ipv4Net, Route>,
    /// Where addresses lead that live here.
    own: NextHop,
    /// Where those lead that live with another node.
    ways: BTreeMap<NodeId, NextHop>,
    /// For what to answer on the LAN; `None` where that is done by others.
    answers: Option<AnswerRules>,
}

/// What [`FibSync`] follows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources<'a> {
    /// All paths.
    pub(crate) speaker: &'a Speaker<FabricPolicy>,
    /// The best ones.
    pub(crate) owners: &'a OwnerTable,
}

/// What is published besides routes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    /// LAN ports.
    pub(crate) lans: Vec<LanPort>,
    /// The TUN port.
    pub(crate) tun: Option<TunPort>,
    /// Tunnels by number.
    pub(crate) tunnels: Vec<Tunnel>,
    /// Tunnels through which nothing arrives, as the underlay says.
    pub(crate) unreachable: BTreeSet<TunnelId>,
    /// UDP ports of WireGuard, at any end.
    pub(crate) wireguard_ports: BTreeSet<u16>,
    /// Outer source of tunnels without encryption.
    pub(crate) outer_source: Option<IpAddr>,
}

/// The published forwarding state.
#[derive(Debug, Default)]
pub(crate) struct FibSync {
    terms: Option<Terms>,
    /// All routes. Groups that differ only in what does not matter now need no publication.
    routes: FibBuilder<NextHopGroup>,
    deaths: Deaths,
    /// For what to answer on the LAN.
    answers: AddressSet,
    lives_here: BTreeSet<Ipv4Addr>,
    /// Where the RIB was read up to; `None` has everything read.
    cursor: Option<Cursor>,
    /// Change of the RIB at the last look.
    looked_at: u64,
    /// Whether packets go elsewhere than by what was published last.
    changed: bool,
    ports: Ports,
    snapshot: Arc<Snapshot>,
    /// Prefixes looked at since the start.
    #[cfg(test)]
    pub(crate) work: u64,
}

impl FibSync {
    /// Takes in what changed: in the RIB, of `terms`, among next hops, of which the RIB knows, and who lives here.
    pub(crate) fn follow(
        &mut self,
        sources: Sources<'_>,
        terms: Terms,
        deaths: Deaths,
        lives_here: BTreeSet<Ipv4Addr>,
    ) {
        let former = std::mem::replace(&mut self.deaths, deaths);
        let moved = &self.lives_here ^ &lives_here;
        self.lives_here = lives_here;
        if self.terms.as_ref() != Some(&terms) {
            self.terms = Some(terms);
            self.cursor = None;
        }
        let feed = sources.speaker.rib_feed();
        self.looked_at = feed.generation();
        let mut cursor = self.cursor.take().unwrap_or_else(|| {
            self.begin();
            feed.subscribe()
        });
        while let Some(news) = feed.next(&mut cursor) {
            match news {
                News::Resync => self.begin(),
                News::Complete { .. } => {}
                News::Changed { key, .. } => {
                    self.review(key, sources.speaker, &former);
                    self.review_answer(key.addr(), sources.owners);
                }
            }
        }
        for address in moved {
            self.review_answer(address, sources.owners);
        }
        self.cursor = Some(cursor);
        self.note_turned(&former);
    }

    /// Tells whether paths changed since [`Self::follow`] was called.
    #[must_use]
    pub(crate) fn is_behind(&self, speaker: &Speaker<FabricPolicy>) -> bool {
        self.looked_at != speaker.rib_feed().generation()
    }

    /// Takes next hops out of use at once, in addition to those that are; returns what is to be published, if any route led
    /// there.
    pub(crate) fn bury(&mut self, deaths: Deaths) -> Option<Arc<Snapshot>> {
        let former = self.deaths.clone();
        if !self.deaths.add(deaths) {
            return None;
        }
        self.note_turned(&former);
        self.publish(self.ports.clone())
    }

    /// Publishes routes and ports, if anything differs from what was published last.
    pub(crate) fn publish(&mut self, ports: Ports) -> Option<Arc<Snapshot>> {
        if self.generation() > 0 && !self.changed && ports == self.ports {
            return None;
        }
        self.changed = false;
        self.ports = ports;
        let Ports {
            lans,
            tun,
            tunnels,
            unreachable,
            wireguard_ports,
            outer_source,
        } = self.ports.clone();
        self.snapshot = Arc::new(Snapshot {
            generation: self.generation() + 1,
            fib: self
                .routes
                .build_by(|group| Some(group.next_hop(&self.deaths))),
            lans,
            tun,
            tunnels,
            unreachable,
            wireguard_ports,
            outer_source,
        });
        Some(Arc::clone(&self.snapshot))
    }

    /// Returns for what to answer on the LAN.
    #[must_use]
    pub(crate) fn answers(&self) -> &AddressSet {
        &self.answers
    }

    /// Returns the ports that were published last.
    #[must_use]
    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Returns what the packet path was given last.
    #[must_use]
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns the generation of what was published last.
    #[must_use]
    pub(crate) fn generation(&self) -> u64 {
        self.snapshot.generation
    }

    /// Lists all entries in prefix order.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (Ipv4Net, Route)> {
        let routes = self.routes.routes();
        routes.map(|(prefix, group)| (prefix, self.route(prefix, group)))
    }

    /// Returns how many entries there are.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.routes.len()
    }

    /// Returns the entry that a packet to `address` takes.
    #[must_use]
    pub(crate) fn lookup(&self, address: Ipv4Addr) -> Option<(Ipv4Net, Route)> {
        let (prefix, group) = self.routes.longest_match(address)?;
        Some((prefix, self.route(prefix, group)))
    }

    fn route(&self, prefix: Ipv4Net, group: &NextHopGroup) -> Route {
        let terms = self.terms.as_ref();
        let way = group.way(&self.deaths);
        let origin = match terms.and_then(|terms| terms.origin(prefix)) {
            Some(origin) => origin,
            None if way.is_some_and(|way| way.node.is_none()) => RouteOrigin::Owned,
            None => RouteOrigin::Bgp,
        };
        Route {
            next_hop: group.next_hop(&self.deaths),
            origin,
        }
    }

    /// Forgets all routes but those that need no paths.
    fn begin(&mut self) {
        self.routes = FibBuilder::default();
        self.answers = AddressSet::default();
        self.changed = true;
        let terms = self.terms.iter();
        for (prefix, route) in terms.flat_map(|terms| terms.pools.iter().chain(&terms.fixed)) {
            self.routes
                .insert(*prefix, NextHopGroup::fixed(route.next_hop));
        }
    }

    /// Makes the route of a prefix that of its paths. `former` is what was known of next hops when it was published.
    fn review(&mut self, prefix: Ipv4Net, speaker: &Speaker<FabricPolicy>, former: &Deaths) {
        #[cfg(test)]
        {
            self.work += 1;
        }
        let Some(terms) = self.terms.as_ref() else {
            return;
        };
        let group = terms.group(prefix, speaker);
        let known = self.routes.get(prefix);
        if known == group.as_ref() {
            return;
        }
        let leads =
            |group: Option<&NextHopGroup>, deaths| group.map(|group| group.next_hop(deaths));
        self.changed |= leads(known, former) != leads(group.as_ref(), &self.deaths);
        match group {
            Some(group) => self.routes.insert(prefix, group),
            None => drop(self.routes.remove(prefix)),
        }
    }

    /// Decides whether to answer for an address.
    fn review_answer(&mut self, address: Ipv4Addr, owners: &OwnerTable) {
        let rules = self.terms.as_ref().and_then(|terms| terms.answers.as_ref());
        let admitted = rules.is_some_and(|rules| {
            let holding = owners.holding(address);
            holding.is_some_and(|holding| rules.admit(&holding.owner, &self.lives_here))
        });
        self.answers.set(address, admitted);
    }

    /// Notes whether routes turned because next hops died or came back.
    fn note_turned(&mut self, former: &Deaths) {
        if *former != self.deaths {
            let mut groups = self.routes.groups();
            self.changed |=
                groups.any(|group| group.next_hop(former) != group.next_hop(&self.deaths));
        }
    }
}

impl Terms {
    /// Works out what routes follow from.
    pub(crate) fn new(
        config: &Config,
        tunnels: &BTreeMap<NodeId, TunnelPlan>,
        lan_address: Option<Ipv4Addr>,
        lan_present: bool,
        answers: Option<AnswerRules>,
    ) -> Self {
        let own = match (config.local.capture.interface(), lan_present) {
            (None, _) => NextHop::Local,
            (Some(_), true) => NextHop::Lan(LAN_PORT),
            (Some(_), false) => NextHop::Unreachable,
        };
        let tunnels = tunnels.iter().map(|(node, plan)| match plan.fault {
            None => (*node, NextHop::Tunnel(plan.tunnel)),
            Some(_) => (*node, NextHop::Unreachable),
        });
        let tunnels: BTreeMap<NodeId, NextHop> = tunnels.collect();
        let mut fixed = BTreeMap::new();
        let mut fix = |address, next_hop, origin| {
            fixed.insert(Ipv4Net::from(address), Route { next_hop, origin });
        };
        for node in config.fabric.nodes.values() {
            if let Some(next_hop) = tunnels.get(&node.id) {
                fix(node.overlay, *next_hop, RouteOrigin::Overlay);
            }
        }
        let overlay = config.own_node().overlay;
        fix(overlay, NextHop::Local, RouteOrigin::OwnOverlay);
        if let Some(address) = lan_address {
            fix(address, NextHop::Local, RouteOrigin::LanAddress);
        }
        let withhold = Route {
            next_hop: NextHop::Withhold,
            origin: RouteOrigin::Pool,
        };
        let pools = config.fabric.pools.iter();
        let mut ways = tunnels;
        for (node, way) in &mut ways {
            // It is in our own subnet; the provider may lead its packets to either router.
            if lan_present && config.share_cloud(config.local.node, *node) {
                *way = own;
            }
        }
        Self {
            asn: config.fabric.asn,
            fixed,
            pools: pools.map(|pool| (pool.prefix.trunc(), withhold)).collect(),
            own,
            ways,
            answers,
        }
    }

    /// Says why an entry exists that is not made by claims.
    fn origin(&self, prefix: Ipv4Net) -> Option<RouteOrigin> {
        let route = self.fixed.get(&prefix).or_else(|| self.pools.get(&prefix));
        route.map(|route| route.origin)
    }

    /// Returns where a prefix leads; `None` if there is no entry for it.
    fn group(&self, prefix: Ipv4Net, speaker: &Speaker<FabricPolicy>) -> Option<NextHopGroup> {
        if let Some(route) = self.fixed.get(&prefix) {
            return Some(NextHopGroup::fixed(route.next_hop));
        }
        let claimed =
            NextHopGroup::of(&speaker.alternatives(prefix), |path| self.way(prefix, path));
        claimed.or_else(|| {
            let pool = self.pools.get(&prefix)?;
            Some(NextHopGroup::fixed(pool.next_hop))
        })
    }

    /// Returns where a path leads, if it is a claim. Those of other ASes are none.
    fn way(&self, prefix: Ipv4Net, path: &Path) -> Option<Way> {
        if !path.attributes.as_path.is_empty() {
            return None;
        }
        let owner = Owner::from_path(self.asn, prefix, path)?;
        let way = if owner.local {
            Way {
                next_hop: self.own,
                node: None,
            }
        } else {
            let way = self.ways.get(&owner.node).copied();
            Way {
                // Without a way it is not reached, whoever else claims it.
                next_hop: way.unwrap_or(NextHop::Withhold),
                node: Some(owner.node),
            }
        };
        Some(way)
    }
}
