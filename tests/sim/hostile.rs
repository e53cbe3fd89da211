//! An enrolled router that lies: it has a key, a session and a voice, and nobody believes it (I9, I10).

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use sam_bgp::wire::Update;
use sam_capture::{NodeId, RouteKind, RouteTags};
use sam_testkit::topology::{ASN, home, node_id, overlay};
use sam_testkit::world::NOBODY;
use sam_testkit::{Forgery, World};

use crate::{come_up, converge, for_seeds, pick};

/// The router that lies.
const LIAR: usize = 3;
/// Whom it wants to rob.
const VICTIM: usize = 2;
/// What it announces, so that there is something to forge.
const BAIT: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 90);

#[test]
fn whatever_a_router_forges_nobody_is_robbed() {
    type Lie = fn(&mut Update);
    let lies: &[(&str, Lie)] = &[
        ("node-id-not-peer", |update| {
            speak_for(update, node_id(VICTIM))
        }),
        ("node-id-is-ours", |update| speak_for(update, node_id(0))),
        ("node-id-unknown", |update| speak_for(update, NodeId(77))),
        ("next-hop-not-nodes", |update| {
            set_next_hop(update, overlay(VICTIM))
        }),
        ("next-hop-not-nodes", |update| {
            set_next_hop(update, Ipv4Addr::new(192, 0, 2, 1))
        }),
        ("originator-not-node", |update| {
            attributes(update).originator_id = Some(overlay(VICTIM));
        }),
        ("not-a-host-route", |update| {
            announce(update, "10.77.60.0/24")
        }),
        ("not-a-host-route", |update| announce(update, "0.0.0.0/0")),
        ("not-a-host-route", |update| {
            announce(update, "10.77.60.12/31")
        }),
        ("outside-pool", |update| announce(update, "192.0.2.7/32")),
        ("outside-pool", |update| announce(update, "10.99.0.3/32")),
        ("excluded-address", |update| {
            announce(update, "10.77.60.1/32")
        }),
        ("node-id-missing", |update| {
            attributes(update).large_communities.clear()
        }),
    ];
    for_seeds(52, |seed| {
        let (reason, lie) = lies[pick(seed, lies.len())];
        let mut world = come_up(World::new(4, seed));
        // The liar takes part for a while before it lies.
        world.discord = true;
        world.sites[LIAR].forgery = Some(Forgery::new(move |update| {
            if update
                .announced
                .iter()
                .any(|route| route.prefix == BAIT.into())
            {
                // It wants the victim's address, at any price.
                update.announced = vec![Ipv4Net::from(home(VICTIM)).into()];
                attributes(update).local_pref = Some(u32::MAX);
                lie(update);
            }
        }));

        world.announce(LIAR, BAIT);
        world.run_for(Duration::from_secs(1));

        assert!(accused(&world, reason), "nobody tells about {reason}");
        for site in 0..3 {
            assert_eq!(
                world.owner_at(site, home(VICTIM)),
                Some(VICTIM),
                "site {site}, {reason}"
            );
            assert_eq!(world.owner_at(site, NOBODY), None, "site {site}, {reason}");
        }
        let id = world.ping(home(1), home(VICTIM));
        world.run_for(Duration::from_secs(1));
        assert!(world.answered.contains(&id), "{reason}");
    });
}

#[test]
fn a_router_that_claims_an_address_in_its_own_name_is_seen_as_duplicate() {
    for_seeds(10, |seed| {
        let mut world = come_up(World::new(4, seed));

        // No lie in the sense of BGP: it may own any address of the pool. The victim's lower router id wins.
        world.announce(LIAR, home(VICTIM));

        converge(&mut world, Duration::from_secs(2));
        world.run_for(Duration::from_secs(3));
        assert_eq!(world.owner_at(1, home(VICTIM)), Some(VICTIM));
        let told =
            |event: &sam_router::Event| matches!(event, sam_router::Event::DuplicateOwner { .. });
        assert!(world.sites[LIAR].events.iter().any(told));
    });
}

#[test]
fn a_host_with_a_stolen_source_address_is_not_forwarded() {
    for_seeds(10, |seed| {
        let mut world = come_up(World::new(4, seed));
        let mut thief = sam_testkit::Host::new(home(VICTIM));
        thief.mac = [2, 0xBA, 0xD0, 0, 0, 1];
        drop(world.unplug(home(VICTIM)));
        world.plug(thief, LIAR);

        let id = world.probe(home(VICTIM), home(1));
        world.run_for(Duration::from_secs(2));

        assert!(
            !world.delivered.contains_key(&id),
            "I12: a stolen source was forwarded"
        );
    });
}

fn speak_for(update: &mut Update, node: NodeId) {
    let attributes = attributes(update);
    let mut tags = RouteTags::parse(ASN, &attributes.large_communities).expect("our own tags");
    tags.node = node;
    assert!(
        matches!(tags.kind, RouteKind::Owner(_)),
        "only claims are forged"
    );
    tags.apply(ASN, attributes);
}

fn set_next_hop(update: &mut Update, next_hop: Ipv4Addr) {
    attributes(update).next_hop = next_hop;
}

fn announce(update: &mut Update, prefix: &str) {
    let prefix: Ipv4Net = prefix.parse().expect("literal");
    update.announced = vec![prefix.into()];
}

fn attributes(update: &mut Update) -> &mut sam_bgp::PathAttributes {
    update
        .attributes
        .as_mut()
        .expect("an announcement has attributes")
}

/// Tells whether the reflector, or a leaf to which it passed the route on, refused a route for this reason.
fn accused(world: &World, wanted: &str) -> bool {
    let refused = |event: &sam_router::Event| matches!(event, sam_router::Event::RouteRejected { reason, .. } if reason == wanted);
    world
        .sites
        .iter()
        .any(|site| site.events.iter().any(refused))
}
