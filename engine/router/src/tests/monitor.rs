//! What those who watch are told.

use ipnet::IpNet;

use super::*;
use crate::view::{MonitorView, Topic};

#[test]
fn a_watcher_of_routes_gets_the_snapshot_then_changes_each_once() {
    let mut net = Net::new(3, FULL_MESH);
    net.command(2, Command::Announce(address(11)));
    let router = &net.stations[&1].router;
    let mut watch = router.watch(Topic::Rib);
    let snapshot = router.changes(&mut watch, usize::MAX, net.now);
    assert!(matches!(
        snapshot.last(),
        Some(MonitorView::SnapshotComplete { .. })
    ));
    assert!(paths(&snapshot, 11) == Some(1) && paths(&snapshot, 10).is_none());
    let count = router.change_count();

    for _ in 0..3 {
        net.command(2, Command::Withdraw(address(11)));
        net.command(2, Command::Announce(address(11)));
    }
    net.command(2, Command::Withdraw(address(11)));
    net.command(3, Command::Announce(address(10)));

    let router = &net.stations[&1].router;
    assert!(router.change_count() > count);
    let changes = router.changes(&mut watch, usize::MAX, net.now);
    assert_eq!(
        (paths(&changes, 11), paths(&changes, 10)),
        (Some(0), Some(1))
    );
    assert_eq!(changes.len(), 2, "{changes:?}");
    let causes = changes.iter().filter_map(|change| match change {
        MonitorView::Route { cause, .. } => cause.as_deref(),
        MonitorView::Neighbor { .. }
        | MonitorView::Owner { .. }
        | MonitorView::SnapshotComplete { .. }
        | MonitorView::Resync => None,
    });
    assert_eq!(causes.collect::<Vec<_>>(), ["withdrawn", "announced"]);
    assert_eq!(router.changes(&mut watch, usize::MAX, net.now), []);
}

#[test]
fn a_watcher_of_owners_hears_of_a_move_and_of_the_end() {
    let mut net = Net::new(3, FULL_MESH);
    let mut watch = net.stations[&1].router.watch(Topic::Owners);
    let mut owners = |net: &Net| -> Vec<Option<String>> {
        let changes = net.stations[&1]
            .router
            .changes(&mut watch, usize::MAX, net.now);
        let owner = |change| {
            let MonitorView::Owner { owner, .. } = change else {
                return None;
            };
            Some(owner.and_then(|row| row.owner))
        };
        let owners = changes.into_iter().filter_map(owner);
        owners.map(|owner| owner.map(|node| node.name)).collect()
    };
    assert_eq!(owners(&net), []);
    net.command(2, Command::Announce(address(ADDRESS)));
    assert_eq!(owners(&net), [Some("n2".to_owned())]);
    net.command(3, Command::Announce(address(ADDRESS)));
    net.command(2, Command::Withdraw(address(ADDRESS)));
    assert_eq!(owners(&net), [Some("n3".to_owned())]);
    net.command(3, Command::Withdraw(address(ADDRESS)));
    assert_eq!(owners(&net), [None]);
}

#[test]
fn a_watcher_of_neighbors_hears_when_one_dies() {
    let mut net = Net::new(3, FULL_MESH);
    let mut watch = net.stations[&1].router.watch(Topic::Neighbors);
    let mut states = |net: &Net| -> Vec<(u32, String)> {
        let changes = net.stations[&1]
            .router
            .changes(&mut watch, usize::MAX, net.now);
        let state = |change| {
            let MonitorView::Neighbor { node, neighbor, .. } = change else {
                return None;
            };
            Some((node.id.0, neighbor?.state))
        };
        changes.into_iter().filter_map(state).collect()
    };
    let mut before = states(&net);
    before.sort();
    assert_eq!(
        before,
        [(2, "established".into()), (3, "established".into())]
    );
    net.kill(3);
    net.run(1);
    let after = states(&net);
    assert_eq!(after.len(), 1, "{after:?}");
    assert!(after[0].0 == 3 && after[0].1 != "established", "{after:?}");
}

/// How many paths the watcher was told that an address has; `None` when it was told nothing.
fn paths(changes: &[MonitorView], last: u8) -> Option<usize> {
    let wanted = Ipv4Net::from(address(last));
    changes.iter().find_map(|change| {
        let MonitorView::Route { prefix, paths, .. } = change else {
            return None;
        };
        (*prefix == IpNet::V4(wanted)).then_some(paths.len())
    })
}
