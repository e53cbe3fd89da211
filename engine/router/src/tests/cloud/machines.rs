//! Machines that the provider lists, and who claims them.

use super::*;

#[test]
fn machines_that_the_provider_lists_are_owned_by_one_router_of_the_site() {
    let mut site = Site::with(CaptureMode::Auto, |_, cloud| {
        cloud.discovery = Some(ProviderDiscovery::default());
    });
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.machines = [(30, true), (31, false)].into();
    // Left behind by a router that is gone for good, and no machine's.
    site.cloud.insert((nic(9), address(ADDRESS)));
    site.run(60);

    let owner = |site: &Site, last| site.net.owner(1, address(last));
    assert_eq!(owner(&site, 30), Some(2));
    let holding = *site
        .net
        .station(1)
        .router
        .owners
        .holding(address(30))
        .unwrap();
    assert_eq!(holding.owner.source, sam_capture::ClaimSource::Provider);
    assert_eq!(owner(&site, 31), None, "it is stopped");
    assert_eq!(owner(&site, ADDRESS), Some(1));
    assert!(!site.net.station(1).told("duplicate-owner"));
    assert_eq!(site.net.tunneled_to(1, address(30)), Some(2));

    // Another router of the site goes on at once.
    site.net.kill(2);
    site.run(20);
    assert_eq!(owner(&site, 30), Some(3));
    site.machines = [(30, false), (31, true)].into();
    site.run(30);
    assert_eq!((owner(&site, 30), owner(&site, 31)), (None, Some(3)));
    // What is captured is nobody's home here.
    site.net.command(1, Command::Announce(address(11)));
    site.run(60);
    assert_eq!((site.holder(11), owner(&site, 11)), (Some(3), Some(1)));
}

#[test]
fn a_new_machine_is_looked_for_when_somebody_wants_it() {
    let mut site = Site::with(CaptureMode::Auto, |_, cloud| {
        cloud.discovery = Some(ProviderDiscovery::default());
    });
    site.machines = [(30, true)].into();
    site.run(3600);
    assert_eq!(site.net.owner(1, address(30)), Some(2));
    site.machines.insert(31, true);
    let asked = |last| Notice::AddressAsked {
        tunnel: TunnelId(0),
        address: address(last),
    };
    // Of what somebody owns it is known where it lives.
    site.net.input(2, Input::Notice(asked(30)));
    site.run(1);
    assert_eq!(
        site.net.owner(1, address(31)),
        None,
        "lists are rare by now"
    );

    site.net.input(2, Input::Notice(asked(31)));
    site.run(121);

    assert_eq!(site.net.owner(1, address(31)), Some(2));
    assert!(
        !site.net.stations[&2].kinds.contains(&"ask"),
        "no LAN is asked"
    );
}

#[test]
fn machines_keep_their_owner_until_another_router_of_the_site_claims_them() {
    for both in [false, true] {
        let mut site = Site::with(CaptureMode::Auto, move |id, cloud| {
            cloud.discovery = (both || id == 2).then(ProviderDiscovery::default);
        });
        site.machines = [(30, true)].into();
        site.run(60);
        assert_eq!(site.net.owner(1, address(30)), Some(2));

        site.net.command(2, Command::Drain(true));
        site.run(60);

        let follower = if both { 3 } else { 2 };
        assert_eq!(site.net.owner(1, address(30)), Some(follower));
        // What stops meanwhile is nobody's, whoever claims it; lists are rare by then.
        site.machines = [(30, false)].into();
        site.run(300);
        assert_eq!(site.net.owner(1, address(30)), None);
    }
}

#[test]
fn machines_of_a_router_that_may_change_nothing_any_more_keep_their_owner() {
    let mut site = Site::with(CaptureMode::Auto, |id, cloud| {
        cloud.discovery = (id == 2).then(ProviderDiscovery::default);
    });
    site.machines = [(30, true)].into();
    site.run(60);
    site.denied.insert(2);
    site.net.command(1, Command::Announce(address(ADDRESS)));

    site.run(60);

    assert_eq!(site.holder(ADDRESS), Some(3), "another one is elected");
    assert_eq!(site.net.owner(1, address(30)), Some(2));
}
