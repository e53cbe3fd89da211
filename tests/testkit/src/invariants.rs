//! What must hold at every moment (mobility.md section 8.2), checked after every step; a breach panics with its number.
//!
//! | | meaning here | where |
//! |---|---|---|
//! | I1 | one answer to an ARP request per LAN, and one router that would give it | [`Watch::on_answer`], [`Watch::on_answerers`] |
//! | I3, I4 | a router never claims an address that it owns, or that it heard on its LAN | [`check_claim`], [`Watch`] |
//! | I5 | no router of a LAN, and nobody who is forged, is ever taken for a host that lives there | [`check_homes`] |
//! | I6 | who was not elected does not act on the LAN | [`check_role`] |
//! | I8 | nobody's address: no route, no answer | [`check_forwarding`], [`check_claim`] |
//! | I9 | only /32 of a pool and markers, in every RIB and on every wire | [`check_rib`], [`check_message`] |
//! | I10 | a route names its node, with that node's next hop; nobody honest is accused | [`check_message`], [`Drain`] |
//! | I11 | who is drained claims nothing at the usual rank, anybody else nothing unless elected | [`check_message`], [`check_role`] |
//! | I12, I13 | nothing of a packet changes but TTL (once per router) and header checksum | [`check_delivery`] |
//! | R6 | journal, then forwarding state, then BGP | [`Drain`] |
//! | RIB = FIB | every address is forwarded to the owner that the router names | [`check_forwarding`] |
//! | truth | while all routers agree, nothing leaves for a LAN that is not the owner's | `World` |
//!
//! I14 (nothing is left after a stop) and I16 (an equal configuration changes nothing) have scenarios of their own.
//! The other invariants are about what this release does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use sam_bgp::wire::{Message, frame};
use sam_capture::{ClaimState, RouteTags};
use sam_dataplane::arp_responder::OBSERVATION_TIME;
use sam_dataplane::{NextHop, Snapshot};
use sam_router::config::Config;
use sam_router::{Event, LAN_PORT, Output};

use crate::forgery::CONTEXT;
use crate::host::Host;
use crate::operations::FORGED;
use crate::packet::{Arp, Mac, aged};
use crate::site::Site;
use crate::topology::{
    ADVERTISEMENT_INTERVAL, ASN, GATEWAY, SECOND_GATEWAY, VIRTUAL, name, node_id, router_mac,
};
use crate::traffic::Part;

/// Two answers within this time answer the same request.
const SAME_REQUEST: Duration = Duration::from_millis(1);
/// Two routers may take themselves for the one that acts while an advertisement is on its way, there and back.
const SWITCH_WINDOW: Duration = Duration::from_millis(6);
/// After a partition, until the next advertisement besides.
const HEALING: Duration = ADVERTISEMENT_INTERVAL.saturating_add(SWITCH_WINDOW);

/// Checks the order of the outputs of one mutation (R6), and that nobody honest is accused (I10).
#[derive(Debug, Default)]
pub(crate) struct Drain {
    spoken: bool,
    called: bool,
}

impl Drain {
    pub(crate) fn check(&mut self, output: &Output) {
        match output {
            Output::Journal(_) => {
                // Routes may have left a dead next hop by then, of which nothing is saved.
                assert!(!self.spoken, "R6: the journal knows before the peers");
            }
            Output::Publish(_) | Output::WireGuardPeers(_) => {
                assert!(!self.spoken, "R6: the FIB knows before the peers");
            }
            Output::Bgp(_) => {
                assert!(!self.called, "the peers know before the provider");
                self.spoken = true;
            }
            Output::CaptureRecord(_) | Output::Cloud(_) => self.called = true,
            Output::BfdPeers(_)
            | Output::Foreign(_)
            | Output::Vrrp(_)
            | Output::Authority(_)
            | Output::Probe(_)
            | Output::AskLan(_)
            | Output::AskFabric(_)
            | Output::Event(_) => {}
        }
    }
}

/// Tells whether an event accuses somebody, which must not happen among honest routers.
pub(crate) fn is_accusation(event: &Event) -> bool {
    // Equals that call each other at once keep one of two connections (RFC 4271 section 6.8); who stops takes none.
    if let Event::ConnectionRefused { reason, .. } = event {
        return !["collision", "shut down"].contains(&reason.as_str());
    }
    matches!(
        event,
        Event::RouteRejected { .. }
            | Event::AttributeMalformed { .. }
            | Event::IdentityConflict { .. }
            | Event::EndpointMoved { .. }
            | Event::ConfigRefused { .. }
    )
}

/// Checks the UPDATEs that a router sends (I9, I10, I11).
pub(crate) fn check_message(site: &Site, mut bytes: &[u8]) {
    let (index, config) = (site.index, &site.config);
    while let Some(len) = frame(bytes, CONTEXT).expect("a router sends well-formed messages") {
        let (message, rest) = bytes.split_at(len);
        bytes = rest;
        let Message::Update(update) =
            Message::decode(message, CONTEXT).expect("a router sends well-formed messages")
        else {
            continue;
        };
        for route in update.announced.iter().chain(&update.withdrawn) {
            let prefix = route.prefix;
            assert!(
                is_mobile(config, prefix),
                "I9: site {index} speaks of {prefix}"
            );
        }
        let Some(attributes) = update.attributes else {
            continue;
        };
        let tags = RouteTags::parse(ASN, &attributes.large_communities);
        let node = tags.map(|tags| tags.node).unwrap_or_else(|error| {
            panic!(
                "I10: site {index} announces {:?}: {error:?}",
                update.announced
            )
        });
        if node == config.local.node
            && let Some(route) = update
                .announced
                .iter()
                .find(|route| is_claim(config, route.prefix))
        {
            let prefix = route.prefix;
            // Who is drained keeps its claims, as the last choice, until the next master has made its own.
            let elected = !site.election.is_held() || site.gate_open();
            let active = attributes.local_pref == Some(ClaimState::Active.local_pref());
            let permitted = if site.state.drained { !active } else { elected };
            assert!(
                permitted,
                "I11: site {index} claims {prefix}, elected {elected}, drained {}",
                site.state.drained
            );
        }
        let next_hop = config.fabric.nodes.get(&node).map(|node| node.overlay);
        assert_eq!(
            Some(attributes.next_hop),
            next_hop,
            "I10: site {index}, {node:?}"
        );
        let reflector = config
            .fabric
            .bgp
            .route_reflectors
            .contains(&config.local.node);
        assert!(
            node == config.local.node || reflector,
            "I10: site {index} speaks for {node:?}"
        );
    }
}

/// Checks what a router believes (I9).
pub(crate) fn check_rib(site: &Site) {
    for prefix in site.router.rib_prefixes() {
        assert!(
            is_mobile(&site.config, prefix),
            "I9: site {} holds {prefix}",
            site.index
        );
    }
}

/// Checks that forwarding and ARP follow the owner that the router names, for one address (RIB = FIB, I3, I8).
pub(crate) fn check_forwarding(site: &Site, address: Ipv4Addr, now: Instant) {
    let Site {
        index, snapshot, ..
    } = site;
    if snapshot.generation == 0 {
        return;
    }
    let owner = site.router.owner_of(address);
    let next_hop = snapshot.fib.lookup(address);
    let answered = snapshot.lans.iter().any(|lan| lan.is_answered(address));
    match owner {
        None => {
            assert_eq!(
                next_hop,
                Some(NextHop::Withhold),
                "I8: site {index}, {address}"
            );
            assert!(
                !answered,
                "I8: site {index} answers for {address}, which nobody owns"
            );
        }
        Some(owner) if owner == node_id(*index) => {
            assert_eq!(
                next_hop,
                Some(NextHop::Lan(LAN_PORT)),
                "FIB of site {index}, {address}"
            );
            assert!(!answered, "I3: site {index} answers for its own {address}");
        }
        Some(owner) => {
            let far = (0..).find(|far| node_id(*far) == owner).map(name);
            assert_eq!(
                tunnel_name(snapshot, next_hop),
                far,
                "FIB of site {index}, {address}"
            );
        }
    }
    if answered && site.told.contains(&address) {
        // A host of the LAN that nobody told of is its own once it has claimed it: a dispute makes it forget, and while it
        // asks (`seizing`) it answers for the former owner.
        let homes = site.router.discovery(now).homes;
        let is_claimed = |claim: &str| claim != "seizing";
        let is_known = homes
            .iter()
            .any(|home| home.address == address && home.claim.as_deref().is_some_and(is_claimed));
        let is_ordered = site.config.local.owned.contains(&address);
        assert!(
            !is_known && !is_ordered,
            "I4: site {index} answers for {address}, which is its own"
        );
    }
}

/// Checks that only who was elected acts on the LAN (I6), and that nobody else goes on to claim what lives there (I11):
/// to say nothing new is not enough.
pub(crate) fn check_role(site: &Site, addresses: &BTreeSet<Ipv4Addr>) {
    let unelected = site.election.is_held() && !site.election.is_witness();
    assert!(
        !(unelected && site.gate_open()),
        "I6: site {} acts on its LAN without a role",
        site.index
    );
    // Who is drained keeps its claims, as the last choice, until the next master has made its own.
    if site.election.is_held() && !site.gate_open() && !site.state.drained {
        let claimed = addresses.iter().find_map(|address| {
            let state = site.router.claim_on(*address)?;
            Some((address, state))
        });
        assert_eq!(claimed, None, "I11: site {} stands by", site.index);
    }
}

/// Checks that nobody takes a router for a host of the LAN, nor who does not exist (I5).
pub(crate) fn check_homes(site: &Site, now: Instant) {
    if !site.snapshot.lans.iter().any(|lan| lan.discovers) {
        return;
    }
    for home in site.router.discovery(now).homes {
        let is_router = (0..MOST_ROUTERS).any(|at| mac_text(router_mac(at)) == home.mac);
        let [first, second, third] = FORGED;
        let is_forged = home
            .mac
            .starts_with(&format!("{first:02x}:{second:02x}:{third:02x}:"));
        assert!(
            !is_router && !is_forged,
            "I5: site {} takes {} for the host of {}",
            site.index,
            home.mac,
            home.address
        );
    }
}

/// Checks an ARP frame that a router sends; `hosts` are those of its LAN.
pub(crate) fn check_claim(site: &Site, hosts: &[Host], arp: &Arp) {
    let index = site.index;
    let (mac, address) = arp.sender;
    assert_eq!(
        mac,
        router_mac(index),
        "I1: site {index} lends {address} another MAC"
    );
    if [GATEWAY, SECOND_GATEWAY, VIRTUAL].contains(&address) {
        return;
    }
    assert!(
        !site.told.contains(&address),
        "I3: site {index} claims its own {address}"
    );
    let robbed = hosts
        .iter()
        .any(|host| (host.mac, host.address) == (arp.target.0, address));
    assert!(!robbed, "I3: site {index} tells {address} that it is taken");
    assert!(
        !site.stopping,
        "I14: site {index} claims {address} while it stops"
    );
    let owner = site.router.owner_of(address);
    assert!(
        owner.is_some(),
        "I8: site {index} claims {address}, which nobody owns"
    );
}

/// Checks a packet that reached a host, against what was sent: `hops` routers lay between.
pub(crate) fn check_delivery(sent: &[u8], arrived: &[u8], hops: u8) {
    assert_eq!(arrived, aged(sent, hops), "I12, I13: after {hops} routers");
}

/// What has to be remembered to judge ARP.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Last answer per LAN and address.
    answers: BTreeMap<(usize, Part, Ipv4Addr), (Mac, Instant)>,
    /// When a host last spoke ARP on a LAN in the router's hearing.
    heard: BTreeMap<(usize, Ipv4Addr), Instant>,
    /// What somebody claimed on a LAN in the router's hearing, host or not.
    claimed: BTreeSet<(usize, Ipv4Addr)>,
    /// Addresses answered by the forwarding state last seen, by site.
    answered: BTreeMap<usize, Vec<Ipv4Addr>>,
    /// Disputes in the forwarding state last seen, by site.
    disputes: BTreeMap<usize, u64>,
    /// When two routers of a LAN would last have answered.
    overlaps: BTreeMap<usize, Overlap>,
    /// When the parts of a LAN were joined last.
    healed: BTreeMap<usize, Instant>,
}

/// A time in which two routers of a LAN would have answered the same question.
#[derive(Debug)]
struct Overlap {
    since: Instant,
    until: Instant,
    /// It is not over.
    lasts: bool,
}

impl Watch {
    /// Takes in an ARP reply on a LAN (I1).
    pub(crate) fn on_answer(&mut self, lan: usize, part: Part, arp: &Arp, now: Instant) {
        let (mac, address) = arp.sender;
        let last = self.answers.insert((lan, part, address), (mac, now));
        // How long two routers may act is checked where it begins.
        let overlap = self.overlaps.get(&lan);
        let excused = overlap.is_some_and(|overlap| now - overlap.until <= SAME_REQUEST);
        // Two hosts with one address are their own fault.
        let accused = last.filter(|(other, _)| !excused && (is_router(mac) || is_router(*other)));
        if let Some((other, at)) = accused {
            assert!(
                other == mac || now - at > SAME_REQUEST,
                "I1: {mac:x?} and {other:x?} answer for {address} on LAN {lan}"
            );
        }
    }

    /// Takes in whether two routers of a LAN would answer the same question at this moment (I1).
    pub(crate) fn on_answerers(&mut self, lan: usize, overlap: bool, now: Instant) {
        let former = self.overlaps.get(&lan).filter(|former| former.lasts);
        let since = former.map_or(now, |former| former.since);
        if let Some(ended) = self.overlaps.get_mut(&lan).filter(|_| !overlap) {
            ended.lasts = false;
        }
        if overlap {
            let (until, lasts) = (now, true);
            let ongoing = Overlap {
                since,
                until,
                lasts,
            };
            self.overlaps.insert(lan, ongoing);
            let healed = self.healed.get(&lan);
            let heals = healed.is_some_and(|at| since - *at <= HEALING);
            let allowed = if heals { HEALING } else { SWITCH_WINDOW };
            assert!(
                now - since <= allowed,
                "I1: two routers act on LAN {lan} for {:?}",
                now - since
            );
        }
    }

    /// Takes in that a router may not hear any more whom it heard on its LAN.
    pub(crate) fn on_cut_off(&mut self, site: usize) {
        self.heard.retain(|(at, _), _| *at != site);
    }

    /// Takes in that the parts of a LAN were joined.
    pub(crate) fn on_healed(&mut self, lan: usize, now: Instant) {
        self.healed.insert(lan, now);
    }

    /// Takes in that the router of `site` heard ARP of an address; `lives` tells whether a host with it is there.
    pub(crate) fn on_heard(&mut self, site: usize, address: Ipv4Addr, lives: bool, now: Instant) {
        self.claimed.insert((site, address));
        if lives {
            self.heard.insert((site, address), now);
        }
    }

    /// Tells whether somebody claimed an address in the hearing of the router of `site`.
    pub(crate) fn was_claimed(&self, site: usize, address: Ipv4Addr) -> bool {
        self.claimed.contains(&(site, address))
    }

    /// Takes in that a host left its LAN.
    pub(crate) fn on_left(&mut self, address: Ipv4Addr) {
        self.heard.retain(|(_, heard), _| *heard != address);
    }

    /// Takes in a forwarding state: what is newly answered has moved, and was heard in vain; so was everything that was
    /// heard before another router was found to take itself for the one that answers.
    pub(crate) fn on_snapshot(&mut self, site: usize, snapshot: &Snapshot) {
        let disputes = snapshot.lans.iter().map(|lan| lan.conflicts).sum();
        let former = self.disputes.insert(site, disputes);
        if former.is_some_and(|former| former != disputes) {
            self.on_cut_off(site);
        }
        let answers = snapshot.lans.iter().filter(|lan| lan.gate_open);
        let answers: Vec<_> = answers.flat_map(|lan| lan.answers.iter()).collect();
        let former = self.answered.entry(site).or_default();
        for address in answers.iter().filter(|address| !former.contains(address)) {
            self.heard.remove(&(site, *address));
        }
        *former = answers;
    }

    /// Checks that a router does not claim an address that it heard on its LAN (I3).
    pub(crate) fn check_heard(&self, site: &Site, address: Ipv4Addr, now: Instant) {
        let heard = self.heard.get(&(site.index, address));
        assert!(
            heard.is_none_or(|at| now - *at >= OBSERVATION_TIME),
            "I3: site {} talks over {address}, which lives on its LAN and was heard {:?} ago",
            site.index,
            heard.map(|at| now - *at)
        );
    }
}

/// Tells whether a prefix is an address of a pool.
fn is_claim(config: &Config, prefix: Ipv4Net) -> bool {
    config.pool_of(prefix.addr()).is_some()
}

/// As in the views.
fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn is_router(mac: Mac) -> bool {
    (0..MOST_ROUTERS).any(|at| router_mac(at) == mac)
}

/// Most routers of a simulation.
const MOST_ROUTERS: usize = 8;

/// Tells whether a prefix may be in a RIB: a host of a pool, or the overlay address of a node.
fn is_mobile(config: &Config, prefix: Ipv4Net) -> bool {
    let address = prefix.addr();
    let marker = config
        .fabric
        .nodes
        .values()
        .any(|node| node.overlay == address);
    prefix.prefix_len() == 32 && (marker || config.pool_of(address).is_some())
}

fn tunnel_name(snapshot: &Snapshot, next_hop: Option<NextHop>) -> Option<String> {
    match next_hop {
        Some(NextHop::Tunnel(tunnel)) => snapshot.tunnel(tunnel).map(|tunnel| tunnel.name.clone()),
        _ => None,
    }
}
