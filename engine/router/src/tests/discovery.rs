//! Addresses that are heard on a LAN, against those that others know of.

use sam_capture::ClaimSource;

use super::*;
use crate::config::ArpDiscovery;

const HOST: Mac = [2, 0, 0, 0, 9, 9];

#[test]
fn a_host_that_is_heard_and_answers_is_owned_and_the_others_know_how() {
    let mut net = discovering(3);
    hear(&mut net, 2, ADDRESS, HOST);
    net.run(1);

    for id in 1..=3 {
        assert_eq!(net.owner(id, address(ADDRESS)), Some(2));
    }
    let holding = *net
        .station(1)
        .router
        .owners
        .holding(address(ADDRESS))
        .unwrap();
    assert_eq!(holding.owner.source, ClaimSource::Observed);
    assert!(net.answers(1, address(ADDRESS)) && !net.answers(2, address(ADDRESS)));
    assert!(net.station(2).told("home-learned"));
}

#[test]
fn an_address_that_changes_its_mac_is_a_warning_for_a_while() {
    let mut net = discovering(2);
    hear(&mut net, 1, ADDRESS, HOST);
    net.run(1);
    assert!(!warns(&net, 1, "changed-host"));

    hear(&mut net, 1, ADDRESS, [2, 0, 0, 0, 8, 8]);
    hear(&mut net, 1, ADDRESS, [2, 0, 0, 0, 8, 8]);
    net.run(2);
    assert!(net.station(1).told("mac-changed"));
    assert!(warns(&net, 1, "changed-host"));
    assert!(
        !warns(&net, 1, "duplicate-host"),
        "the former one is silent"
    );

    net.run(300);
    assert!(!warns(&net, 1, "changed-host"));
}

#[test]
fn two_sites_that_hear_a_host_at_once_do_not_wait_for_each_other() {
    let mut net = discovering(3);
    hear(&mut net, 2, ADDRESS, HOST);
    net.run(1);
    assert_eq!(net.owner(1, address(ADDRESS)), Some(2));

    // The host is at the first site; its frames come to the third one as well.
    hear(&mut net, 1, ADDRESS, HOST);
    hear(&mut net, 3, ADDRESS, HOST);
    for tenth in 0..200 {
        // It answers whenever it is asked.
        hear(&mut net, 1, ADDRESS, HOST);
        if tenth < 50 {
            hear(&mut net, 3, ADDRESS, HOST);
        }
        net.run_for(std::time::Duration::from_millis(100));
        if tenth == 30 {
            assert_eq!(net.owner(2, address(ADDRESS)), Some(1), "after 3 s");
        }
    }
    assert_eq!(net.owner(2, address(ADDRESS)), Some(1));
    assert_eq!(net.station(3).router.claim_on(address(ADDRESS)), None);
}

#[test]
fn what_is_configured_outranks_what_is_heard_whoever_came_first() {
    let mut net = discovering(3);
    hear(&mut net, 1, ADDRESS, HOST);
    net.run(1);
    net.command(3, Command::Announce(address(ADDRESS)));
    net.run(1);
    assert_eq!(
        net.owner(2, address(ADDRESS)),
        Some(3),
        "though 1 has the lower overlay address"
    );

    net.run(10);
    assert_eq!(net.station(1).router.claim_on(address(ADDRESS)), None);
    hear(&mut net, 1, ADDRESS, HOST);
    net.run(1);
    assert_eq!(net.owner(2, address(ADDRESS)), Some(3));
    assert!(net.station(1).told("discovery-refused"));
}

#[test]
fn an_order_makes_a_heard_address_a_configured_one() {
    let mut net = discovering(2);
    hear(&mut net, 1, ADDRESS, HOST);
    net.command(1, Command::Announce(address(ADDRESS)));
    net.run(1);

    let holding = *net
        .station(2)
        .router
        .owners
        .holding(address(ADDRESS))
        .unwrap();
    assert_eq!(holding.owner.source, ClaimSource::Configured);
    assert_eq!(sequence(&net, 2, ADDRESS), 1, "nobody acquired anything");
    assert_eq!(net.station(1).router.discovery.homes().len(), 0);
}

#[test]
fn no_router_is_learned_whatever_it_says() {
    let mut net = discovering(2);
    let mac = |last| [2, 0, 0, 0, 0, last];
    net.host(
        2,
        HostEvent::Lan {
            interface: "eth1".into(),
            index: 2,
            mac: mac(2),
            address: Some("10.77.60.2/24".parse().unwrap()),
            mtu: 1500,
            up: true,
        },
    );
    net.run(1);
    for (last, mac) in [
        (ADDRESS, mac(1)),
        (ADDRESS, mac(2)),
        (ADDRESS, [0, 0, 0x5e, 0, 1, 60]),
        (1, HOST),
        (254, [2, 0, 0, 0, 8, 8]),
        (ADDRESS, [2, 0, 0, 0, 8, 8]),
    ] {
        hear(&mut net, 1, last, mac);
    }

    assert_eq!(net.station(1).router.discovery.homes().len(), 0);
    let counters = net.station(1).router.discovery.counters().clone();
    assert_eq!((counters["router-mac"], counters["router-address"]), (6, 2));
    assert_eq!(
        (counters["excluded"], counters["speaks-for-router"]),
        (2, 2)
    );
}

#[test]
fn a_bound_address_is_that_of_its_mac_only() {
    let mut net = discovering(2);
    reconfigure(&mut net, 1, |config| {
        if let Capture::ProxyArp {
            discovery: Some(discovery),
            ..
        } = &mut config.local.capture
        {
            discovery.bindings.insert(address(ADDRESS), HOST);
        }
    });
    hear(&mut net, 1, ADDRESS, [2, 0, 0, 0, 8, 8]);
    assert_eq!(net.owner(1, address(ADDRESS)), None);
    hear(&mut net, 1, ADDRESS, HOST);
    assert_eq!(net.owner(1, address(ADDRESS)), Some(1));
}

#[test]
fn another_node_is_asked_for_a_wanted_address_and_asks_its_lan() {
    let mut net = discovering(2);
    let tunnel = TunnelId(0);
    let first = true;
    net.input(1, Input::Notice(Notice::SessionUp { tunnel, first }));
    net.station(1).kinds.clear();
    for _ in 0..100 {
        let address = address(ADDRESS);
        net.input(1, Input::Notice(Notice::AddressWanted { address }));
    }
    net.run(1);
    let kinds = &net.stations[&1].kinds;
    let asked = kinds.iter().filter(|kind| **kind == "ask").count();
    assert_eq!(
        asked,
        1 + 20,
        "the LAN once, the other node as often as it may be"
    );
    let counters = net.stations[&1].router.discovery.counters();
    assert_eq!(
        (counters["asked-nodes"], counters["asked-too-often"]),
        (20, 80)
    );

    net.station(2).kinds.clear();
    let address = address(ADDRESS);
    net.input(2, Input::Notice(Notice::AddressAsked { tunnel, address }));
    net.run(1);
    assert!(net.station(2).kinds.contains(&"ask"));
    assert_eq!(
        net.station(2).router.discovery.counters()["asked-by-nodes"],
        1
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whoever knows of an address, and in whatever order: all nodes name one owner, and the same reason.
    #[test]
    fn all_nodes_decide_alike(
        knowledge in proptest::collection::vec((1_u32..=4, any::<bool>(), any::<bool>()), 1..6),
    ) {
        let mut net = discovering(4);
        let mut configured = std::collections::BTreeSet::new();
        for (node, heard, wait) in knowledge {
            if heard {
                hear(&mut net, node, ADDRESS, [2, 0, 0, 0, 7, u8::try_from(node).unwrap()]);
            } else if configured.insert(node) {
                net.command(node, Command::Announce(address(ADDRESS)));
            }
            if wait {
                net.run(1);
            }
        }
        net.run(12);

        let owner = net.owner(1, address(ADDRESS));
        let expected = configured.first().copied();
        prop_assert!(expected.is_none() || owner == expected, "{owner:?} for {configured:?}");
        let active = (1..=4).filter(|id| {
            net.stations[id].router.claim_on(address(ADDRESS)) == Some(ClaimState::Active)
        });
        prop_assert!(active.count() <= 1);
        let mut rules = std::collections::BTreeSet::new();
        for id in 1..=4 {
            prop_assert_eq!(net.owner(id, address(ADDRESS)), owner);
            if Some(id) != owner {
                rules.insert(net.stations[&id].router.owner_rule(address(ADDRESS)).name);
            }
        }
        prop_assert_eq!(rules.len(), 1, "{:?}", rules);
    }
}

/// Routers that listen to their LANs and ask for nobody.
pub(super) fn discovering(nodes: u32) -> Net {
    let mut net = Net::new(nodes, FULL_MESH);
    for id in 1..=nodes {
        reconfigure(&mut net, id, |config| {
            if let Capture::ProxyArp { discovery, .. } = &mut config.local.capture {
                *discovery = Some(ArpDiscovery {
                    sweep: 0,
                    ..ArpDiscovery::default()
                });
            }
        });
    }
    net.run(1);
    net
}
