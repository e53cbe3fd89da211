//! Whatever is known of an address, and by whom: all nodes name one site as its owner's, and those elsewhere the same reason.
//!
//! Of two routers that may own one address in the subnet of their cloud each delivers it, and takes itself for the owner.

use std::collections::BTreeSet;

use sam_capture::ClaimSource;

use super::*;
use crate::config::ArpDiscovery;

/// Something that becomes known of an address, or is ordered about it.
#[derive(Debug, Clone, Copy)]
enum Fact {
    /// An operator has a node own it, or not own it.
    Announce(u32),
    Withdraw(u32),
    /// Its host is heard on the LAN of node 1.
    Heard,
    /// The provider lists a machine that has it, or one that is stopped.
    Machine(bool),
    /// An operator moves it.
    Handover(u32, u32),
    /// A node is drained, or no more.
    Drain(u32, bool),
    /// Nothing, for a while.
    Pass,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn all_nodes_decide_alike_whatever_the_mixture(facts in proptest::collection::vec(fact(), 1..8)) {
        let mut site = mixed();
        for fact in &facts {
            learn(&mut site, *fact);
        }
        site.run(60);

        let at = address(ADDRESS);
        let owner = site.net.owner(1, at).map(place);
        let mut reasons = BTreeSet::new();
        for id in 1..=3 {
            prop_assert_eq!(site.net.owner(id, at).map(place), owner, "node {}", id);
            if Some(place(id)) != owner {
                reasons.insert(site.net.stations[&id].router.owner_rule(at).name);
            }
        }
        prop_assert_eq!(reasons.len(), 1, "{:?}", reasons);
        let claims = |id: &u32| site.net.stations[id].router.claim_on(at);
        let active = (1..=3).filter(|id| claims(id) == Some(ClaimState::Active));
        let active: BTreeSet<_> = active.map(place).collect();
        prop_assert!(active.len() <= 1, "{:?}", active);
    }

    /// The better knowledge wins, in whatever order it comes.
    #[test]
    fn of_order_list_and_hearing_the_first_decides(
        order in any::<bool>(), list in any::<bool>(),
        facts in Just([(0, Fact::Announce(3)), (1, Fact::Machine(true)), (2, Fact::Heard)]).prop_shuffle(),
    ) {
        let mut site = mixed();
        for (kind, fact) in facts {
            if [order, list, true][kind] {
                learn(&mut site, fact);
            }
            site.run(25);
        }
        // Lists are rare by then.
        site.run(300);

        let (expected, at, rules) = match (order, list) {
            (true, _) => (ClaimSource::Configured, CLOUD, [2, 2]),
            (false, true) => (ClaimSource::Provider, CLOUD, [8, 6]),
            (false, false) => (ClaimSource::Observed, 1, [11, 7]),
        };
        for id in 1..=3 {
            let router = &site.net.stations[&id].router;
            let holding = router.owners.holding(address(ADDRESS)).expect("an owner");
            let NodeId(owner) = holding.owner.node;
            prop_assert_eq!(place(owner), at, "node {}", id);
            let is_beside = place(id) == CLOUD && at == CLOUD && owner == id;
            if !is_beside {
                prop_assert_eq!(holding.owner.source, expected, "node {}", id);
                let rule = router.owner_rule(address(ADDRESS)).number;
                prop_assert_eq!(rule, rules[usize::from(owner == id)], "node {}", id);
            }
        }
    }
}

/// The two nodes in the cloud are one place.
const CLOUD: u32 = 2;

fn place(node: u32) -> u32 {
    node.min(CLOUD)
}

/// A LAN that is listened to, and a cloud whose provider is; nothing is captured there, for no provider has an address twice.
fn mixed() -> Site {
    let mut site = Site::with(CaptureMode::Plan, |_, cloud| {
        cloud.discovery = Some(ProviderDiscovery::default());
    });
    reconfigure(&mut site.net, 1, |config| {
        if let Capture::ProxyArp { discovery, .. } = &mut config.local.capture {
            *discovery = Some(ArpDiscovery {
                sweep: 0,
                ..ArpDiscovery::default()
            });
        }
    });
    // Not the only machine: a list without any is not believed for long.
    site.machines = [(99, true)].into();
    site
}

fn fact() -> impl Strategy<Value = Fact> {
    let node = 1_u32..=3;
    prop_oneof![
        node.clone().prop_map(Fact::Announce),
        node.clone().prop_map(Fact::Withdraw),
        Just(Fact::Heard),
        any::<bool>().prop_map(Fact::Machine),
        (node.clone(), node.clone()).prop_map(|(from, to)| Fact::Handover(from, to)),
        (node, any::<bool>()).prop_map(|(node, on)| Fact::Drain(node, on)),
        Just(Fact::Pass),
    ]
}

fn learn(site: &mut Site, fact: Fact) {
    let at = address(ADDRESS);
    match fact {
        Fact::Announce(node) => site.net.command(node, Command::Announce(at)),
        Fact::Withdraw(node) => site.net.command(node, Command::Withdraw(at)),
        Fact::Heard => hear(&mut site.net, 1, ADDRESS, [2, 0, 0, 0, 7, 7]),
        Fact::Machine(runs) => drop(site.machines.insert(ADDRESS, runs)),
        Fact::Handover(from, to) => {
            let to = NodeId(to);
            site.net
                .command(from, Command::Handover { address: at, to });
        }
        Fact::Drain(node, on) => site.net.command(node, Command::Drain(on)),
        Fact::Pass => {}
    }
    site.run(2);
}
