//! Routers of a site that share what is captured, or take what another one has no room for.

use super::*;
use crate::view::CheckStatus;

/// Addresses of which node 2 weighs most for `LEFT` and node 3 for `RIGHT`.
const LEFT: [u8; 5] = [11, 16, 17, 18, 19];
const RIGHT: [u8; 5] = [10, 12, 13, 14, 15];

#[test]
fn each_takes_its_share_and_what_the_dead_one_had_as_far_as_it_has_room() {
    let mut site = sharing(Some(7));
    announce(&mut site, 10..20);
    site.run(20);
    assert_eq!(
        (held(&site, 2), held(&site, 3)),
        (LEFT.into(), RIGHT.into())
    );
    assert_eq!(rule(&site, 2, 11), (2, "incumbent"));
    assert_eq!(rule(&site, 2, 10), (3, "incumbent"));
    let group = site.group(3);
    assert_eq!(group.placement, "active-active");
    let members = group.members.iter();
    let members: Vec<_> = members
        .map(|row| (row.node.id.0, row.held, row.capacity))
        .collect();
    assert_eq!(members, [(2, 5, Some(7)), (3, 5, Some(7))]);

    site.net.kill(2);
    site.run(60);

    let mut all = RIGHT.to_vec();
    all.extend([11, 16]);
    assert_eq!(held(&site, 3), all.into_iter().collect());
    // What it has no room for is still where it was, and told by name.
    assert_eq!(held(&site, 2), [17, 18, 19].into());
    let without: Vec<_> = site.view(3).without_room().collect();
    assert_eq!(without, [17, 18, 19].map(address));
    let facts = crate::Facts::default();
    let doctor = site.net.stations[&3].router.doctor(&facts, site.net.now);
    let mut rooms = doctor.checks.iter().filter(|check| check.name == "room");
    let room = rooms.next().expect("a check of the room");
    assert_eq!(room.status, CheckStatus::Warn);
    let detail = room.detail.as_deref().expect("which");
    assert_eq!(detail, "10.77.60.17, 10.77.60.18, 10.77.60.19");
    assert!(site.net.station(3).told("capture-no-room"));
}

#[test]
fn nothing_moves_when_a_router_comes_back_and_what_is_new_is_shared() {
    let mut site = sharing(None);
    announce(&mut site, 10..16);
    site.run(20);
    site.net.kill(2);
    site.run(60);
    assert_eq!(held(&site, 3).len(), 6);
    let changes = site.changes;

    site.start(2);
    site.run(120);
    assert_eq!(held(&site, 3).len(), 6);
    // Its interface forwards already.
    assert_eq!(site.changes, changes);
    announce(&mut site, 16..20);
    site.run(20);

    assert_eq!(held(&site, 2), [16, 17, 18, 19].into());
}

#[test]
fn a_standby_takes_what_the_active_router_has_no_room_for() {
    let mut site = Site::with(CaptureMode::Auto, |_, cloud| cloud.max_captures = Some(2));
    announce(&mut site, 10..15);

    site.run(20);

    assert_eq!(held(&site, 2), [10, 11].into());
    assert_eq!(held(&site, 3), [12, 13].into());
    let row = &site.captures(2)[4];
    assert_eq!((row.state.as_str(), row.want.as_str()), ("no-room", "keep"));
    assert_eq!(site.group(2).placement, "active-standby");
    // One that leaves makes room.
    site.net.command(1, Command::Withdraw(address(10)));
    site.run(140);
    assert_eq!(held(&site, 2), [11, 14].into());
}

#[test]
fn the_provider_may_leave_less_room_than_the_operator() {
    let mut site = sharing(Some(9));
    site.limits = [(2, 3)].into();
    site.run(100);
    announce(&mut site, 10..20);

    site.run(20);

    assert_eq!(held(&site, 2).len(), 2, "and its primary address");
    assert_eq!(held(&site, 3).len(), 8);
    assert_eq!(rule(&site, 2, 18), (3, "incumbent"));
    assert_eq!(site.group(3).members[0].capacity, Some(2));
}

#[test]
fn one_captures_while_not_all_share() {
    let mut site = Site::with(CaptureMode::Auto, |id, cloud| {
        if id == 2 {
            cloud.placement = CapturePlacement::ActiveActive;
        }
    });
    announce(&mut site, 10..16);

    site.run(20);

    assert_eq!(held(&site, 2).len(), 6);
    let group = site.group(2);
    assert_eq!(group.placement, "active-standby");
    let told = group.members.iter();
    let told: Vec<_> = told
        .filter_map(|member| member.placement.as_deref())
        .collect();
    assert_eq!(told, ["active-active", "active-standby"]);
    assert_eq!(site.group(3), group);
    for id in [2, 3] {
        let facts = crate::Facts::default();
        let doctor = site.net.stations[&id].router.doctor(&facts, site.net.now);
        let mut rows = doctor.checks.iter();
        let row = rows.find(|check| check.name == "placement");
        assert_eq!(row.expect("a check").status, CheckStatus::Warn);
    }
}

#[test]
fn a_drained_router_gives_its_share_away() {
    let mut site = sharing(None);
    announce(&mut site, 10..20);
    site.run(20);

    site.net.command(2, Command::Drain(true));
    site.run(30);

    assert_eq!(held(&site, 3).len(), 10);
    assert!(site.net.station(2).told("drained"));
    site.net.command(2, Command::Drain(false));
    site.run(60);
    assert_eq!(held(&site, 3).len(), 10, "nothing is taken back");
}

#[test]
fn who_stands_by_says_why() {
    let mut site = sharing(Some(9));
    announce(&mut site, 10..12);
    site.run(20);

    let why = |site: &Site, id: u32, last: u8| {
        let rows = site.captures(id);
        let row = rows.iter().find(|row| row.address == address(last));
        row.expect("a row").why.clone()
    };

    assert_eq!(why(&site, 2, 10), "node n3 of this site has it");
    let explained =
        site.net.stations[&2]
            .router
            .explain(address(10), &crate::Facts::default(), site.net.now);
    let text = format!("{explained:?}");
    assert!(
        text.contains("to be captured by n3, rule incumbent: node n3 of this site has it"),
        "{text}"
    );
}

#[test]
fn who_has_captured_more_than_a_route_can_list_one_by_one_is_still_there() {
    let mut site = Site::new(CaptureMode::Auto);
    announce(&mut site, 10..130);

    site.run(60);

    assert_eq!(held(&site, 2), (10..130).collect());
    let members = site.group(3).members;
    assert_eq!(members[0].held, 120, "{members:?}");
    // Its routes count as well.
    site.net.command(2, Command::Announce(address(200)));
    assert_eq!(site.net.tunneled_to(1, address(200)), Some(2));
}

#[test]
fn who_is_alone_at_its_site_tells_nobody_what_it_has() {
    let told = |site: &Site| {
        let marker = site.net.stations[&1].router.marker(NodeId(2));
        marker.expect("it is there").capacity
    };
    let mut site = sharing(Some(7));
    assert_eq!(told(&site), Some(7));
    let mut config = site.net.stations[&2].router.config().clone();
    let sibling = config.fabric.nodes.get_mut(&NodeId(3)).expect("there");
    sibling.nic = None;

    site.net.kill(2);
    site.net.start(2, config, RuntimeState::default());
    site.net.input(2, Input::Cloud(ready()));
    site.run(120);

    assert_eq!(told(&site), None);
}

fn sharing(max_captures: Option<usize>) -> Site {
    Site::with(CaptureMode::Auto, move |_, cloud| {
        cloud.placement = CapturePlacement::ActiveActive;
        cloud.max_captures = max_captures;
    })
}

fn announce(site: &mut Site, lasts: std::ops::Range<u8>) {
    for last in lasts {
        site.net.command(1, Command::Announce(address(last)));
    }
}

fn held(site: &Site, id: u32) -> std::collections::BTreeSet<u8> {
    let held = site.cloud.iter().filter(|(held, _)| *held == nic(id));
    held.map(|(_, address)| address.octets()[3]).collect()
}

/// Where an address is to be, as node `id` sees it.
fn rule(site: &Site, id: u32, last: u8) -> (u32, &'static str) {
    let rules = ["incumbent", "elected", "rendezvous", "overflow"];
    let rows = site.captures(id);
    let row = rows.iter().find(|row| row.address == address(last));
    let place = row.and_then(|row| row.place.as_ref()).expect("a place");
    let rule = rules.into_iter().find(|rule| *rule == place.rule);
    (place.node.id.0, rule.expect("a known rule"))
}
