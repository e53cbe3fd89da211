//! What the router wants of its cloud, and that nothing is done there without a reason that holds.
//!
//! Node 1 is a reflector on premises; nodes 2 and 3 capture for the site `cloud`, with the NICs `nic-2` and `nic-3`.

use std::collections::BTreeMap;

use sam_capture::executor::Order;
use sam_capture::provider::{
    Capabilities, Entry, ErrorClass, Holder, NicId, Observation, Operation, Outcome, ProviderError,
};
use sam_capture::{Prior, Want};

use super::*;
use crate::CloudInput;
use crate::config::{
    CaptureMode, CapturePlacement, CloudCapture, CloudEndpoints, CloudKind,
    DEFAULT_CAPTURE_PRIORITY, DEFAULT_RELEASE_HOLD, ProviderDiscovery,
};

mod agreement;
mod machines;
mod readiness;
mod sharing;
mod site;
mod slow;
mod standing;

use self::site::*;

#[test]
fn an_address_of_another_site_comes_on_the_nic_of_one_router() {
    let mut site = Site::new(CaptureMode::Auto);
    site.net.command(1, Command::Announce(address(ADDRESS)));

    site.run(10);

    assert_eq!(site.holder(ADDRESS), Some(2));
    assert!(site.net.station(2).told("captured"));
    let row = &site.captures(2)[0];
    assert_eq!((row.state.as_str(), row.want.as_str()), ("held", "capture"));
    assert!(row.why.contains("node n1 at s1"), "{}", row.why);
    let row = &site.captures(3)[0];
    assert_eq!((row.state.as_str(), row.want.as_str()), ("absent", "keep"));
}

#[test]
fn routes_that_were_there_before_the_provider_count_as_well() {
    let mut site = Site::new(CaptureMode::Auto);
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.run(10);
    site.cloud.clear();

    site.net.input(2, Input::Cloud(ready()));
    site.run(10);

    assert_eq!(site.holder(ADDRESS), Some(2));
}

#[test]
fn before_the_first_routes_are_there_nothing_changes() {
    let mut site = Site::new(CaptureMode::Auto);
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.run(10);
    site.net.kill(1);
    site.net.kill(2);
    site.start(2);

    site.run(100);

    let wants = &site.net.stations[&2].authority.wants;
    assert!(
        wants.values().all(|want| matches!(want, Want::Keep(_))),
        "{wants:?}"
    );
    assert_eq!(site.holder(ADDRESS), Some(2));
}

#[test]
fn the_lan_port_of_a_cloud_forwards_and_answers_no_arp() {
    let mut site = Site::new(CaptureMode::Auto);
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.run(10);

    let lan = &site.net.stations[&2].snapshot.lans[0];
    assert_eq!((lan.answers.len(), lan.gratuitous_arp), (0, false));
    assert_eq!(site.net.tunneled_to(2, address(ADDRESS)), Some(1));
    // What lives in the cloud is announced from there.
    site.net.command(2, Command::Announce(address(20)));
    assert_eq!(site.net.tunneled_to(1, address(20)), Some(2));
}

#[test]
fn what_lives_in_the_cloud_is_claimed_and_delivered_by_both_routers() {
    let mut site = Site::new(CaptureMode::Auto);
    for node in [2, 3] {
        site.net.command(node, Command::Announce(address(20)));
    }

    site.run(100);

    // The best claim is that of node 2; what the provider leads to node 3 must pass there all the same.
    assert_eq!(site.net.tunneled_to(1, address(20)), Some(2));
    assert_eq!(site.net.tunneled_to(3, address(20)), None);
    for node in [1, 2, 3] {
        assert!(!site.net.station(node).told("duplicate-owner"), "{node}");
    }
    site.net.kill(2);
    site.run(100);
    assert_eq!(site.net.tunneled_to(1, address(20)), Some(3));
}

#[test]
fn the_other_router_takes_over_what_a_dead_one_had() {
    let mut site = Site::new(CaptureMode::Auto);
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.run(10);
    assert_eq!(site.holder(ADDRESS), Some(2));

    site.net.kill(2);
    site.run(60);

    assert_eq!(site.holder(ADDRESS), Some(3));
}

#[test]
fn a_drained_router_takes_nothing_and_its_sibling_takes_what_it_has() {
    let mut site = Site::new(CaptureMode::Auto);
    site.net.command(1, Command::Announce(address(10)));
    site.run(10);
    assert_eq!(site.holder(10), Some(2));

    site.net.command(2, Command::Drain(true));
    site.run(20);
    assert_eq!(site.holder(10), Some(3));
    assert!(site.net.station(2).told("drained"));
    assert!(site.net.stations[&2].router.drain().empty);
    site.net.command(1, Command::Announce(address(11)));
    site.run(10);
    assert_eq!(site.holder(11), Some(3), "nothing new either");

    // Nothing is taken back, and with both drained everything stays.
    site.net.command(2, Command::Drain(false));
    site.net.command(2, Command::Drain(true));
    site.net.command(3, Command::Drain(true));
    let changes = site.changes;
    site.run(60);
    assert_eq!((site.holder(10), site.holder(11)), (Some(3), Some(3)));
    assert_eq!(site.changes, changes);
}

#[test]
fn a_drained_router_notices_within_seconds_that_it_holds_nothing_any_more() {
    let mut site = Site::new(CaptureMode::Auto);
    site.net.command(1, Command::Announce(address(10)));
    // Captured a moment ago: looks may still be behind.
    site.run(5);
    assert_eq!(site.holder(10), Some(2));

    site.net.command(2, Command::Drain(true));
    site.run(4);

    assert_eq!(site.holder(10), Some(3));
    assert!(site.net.station(2).told("drained"));
}

#[test]
fn what_a_sibling_owns_is_reached_over_the_subnet_that_they_share() {
    let mut site = Site::new(CaptureMode::Auto);
    for node in [2, 3] {
        site.net.command(node, Command::Announce(address(20)));
    }
    site.net.command(2, Command::Drain(true));
    site.run(10);
    assert_eq!(site.net.tunneled_to(1, address(20)), Some(3));

    // A host goes on to send through the router that is drained until its address is moved.
    let lan = Some(NextHop::Lan(crate::LAN_PORT));
    assert_eq!(site.net.next_hop(2, address(20)), lan);
}

#[test]
fn a_router_that_comes_back_leaves_the_address_where_it_is() {
    let mut site = Site::new(CaptureMode::Auto);
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.run(10);
    site.net.kill(2);
    site.run(60);

    site.start(2);
    site.run(300);

    assert_eq!(site.holder(ADDRESS), Some(3));
    site.net.command(1, Command::Announce(address(11)));
    site.run(10);
    assert_eq!(site.holder(11), Some(3), "whoever has the role keeps it");
    site.net.command(3, Command::Drain(true));
    site.run(20);
    assert_eq!((site.holder(10), site.holder(11)), (Some(2), Some(2)));
    // Its term is over, and the other one's goes on.
    site.net.command(3, Command::Drain(false));
    site.net.command(1, Command::Announce(address(12)));
    site.run(10);
    assert_eq!(site.holder(12), Some(2));
}

#[test]
fn the_router_with_the_higher_priority_is_the_first_to_capture() {
    let mut site = Site::with(CaptureMode::Auto, |id, cloud| {
        cloud.priority = if id == 3 { 150 } else { 100 };
    });
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.run(10);

    assert_eq!(site.holder(ADDRESS), Some(3));
    let row = &site.captures(2)[0];
    assert!(row.why.contains("node n3"), "{}", row.why);
}

#[test]
fn a_router_that_may_change_nothing_is_not_elected() {
    for mode in [CaptureMode::Off, CaptureMode::Observe, CaptureMode::Plan] {
        let mut site = Site::with(CaptureMode::Auto, move |id, cloud| {
            if id == 2 {
                (cloud.mode, cloud.priority) = (mode, 200);
            }
        });
        site.net.command(1, Command::Announce(address(ADDRESS)));
        site.run(10);
        assert_eq!(site.holder(ADDRESS), Some(3), "{mode:?}");
        assert_eq!(site.member(3, 2), "only-plans", "{mode:?}");

        // It says so when the operator changes that, and does not take the role for it.
        reconfigure(&mut site.net, 2, |config| {
            if let Capture::Cloud(cloud) = &mut config.local.capture {
                cloud.mode = CaptureMode::Auto;
            }
        });
        site.run(10);
        assert_eq!(site.member(3, 2), "captures", "{mode:?}");
        site.net.command(3, Command::Drain(true));
        site.run(20);
        assert_eq!(site.holder(ADDRESS), Some(2), "{mode:?}");
    }
}

#[test]
fn a_router_without_credentials_leaves_the_site_to_the_other_one() {
    let mut site = Site::new(CaptureMode::Auto);
    site.denied.insert(2);
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.run(10);
    assert_eq!(site.holder(ADDRESS), Some(3));
    let seen = |site: &Site, of| [2, 3].map(|id| site.member(id, of));
    assert_eq!(seen(&site, 2), ["denied", "denied"]);

    let reason = "this build has no client".to_owned();
    site.net
        .input(3, Input::Cloud(CloudInput::Unavailable { reason }));
    site.denied.clear();
    site.run(1000);
    assert_eq!(seen(&site, 3), ["no-provider", "no-provider"]);
    assert_eq!(seen(&site, 2), ["captures", "captures"]);
    site.net.command(1, Command::Announce(address(11)));
    site.run(10);
    assert_eq!(site.holder(11), Some(2), "it has tried again by then");
}

#[test]
fn an_address_that_comes_to_this_site_is_given_back_at_once() {
    let mut site = Site::new(CaptureMode::Auto);
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.run(10);
    site.net.command(1, Command::Withdraw(address(ADDRESS)));
    site.net.command(2, Command::Announce(address(ADDRESS)));

    site.run(5);

    assert_eq!(site.holder(ADDRESS), None);
    assert!(site.net.station(2).told("released"));
}

#[test]
fn a_route_that_is_gone_is_waited_for() {
    let mut site = Site::new(CaptureMode::Auto);
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.run(10);
    site.net.command(1, Command::Withdraw(address(ADDRESS)));

    site.run(100);
    assert_eq!(site.holder(ADDRESS), Some(2));
    site.run(30);

    assert_eq!(site.holder(ADDRESS), None);
}

#[test]
fn an_isolated_router_changes_nothing() {
    let mut site = Site::new(CaptureMode::Auto);
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.run(10);
    site.net.kill(1);
    site.net.kill(2);

    site.run(400);

    assert_eq!(site.holder(ADDRESS), Some(2), "nobody knows who is there");
    let wants = &site.net.stations[&3].authority.wants;
    let captures = wants.values().any(|want| matches!(want, Want::Capture(_)));
    assert!(!captures, "{wants:?}");
}

#[test]
fn what_a_stranger_has_is_not_taken() {
    let mut site = Site::new(CaptureMode::Auto);
    site.cloud.insert((nic(9), address(ADDRESS)));
    site.net.command(1, Command::Announce(address(ADDRESS)));

    site.run(200);

    assert_eq!(site.holder(ADDRESS), Some(9));
    let row = &site.captures(2)[0];
    assert_eq!(
        (row.state.as_str(), row.holder.clone()),
        ("waiting", Some(nic(9)))
    );
}

#[test]
fn mode_plan_says_what_it_would_do_and_sends_nothing() {
    let mut site = Site::new(CaptureMode::Plan);
    site.net.command(1, Command::Announce(address(ADDRESS)));

    site.run(200);

    assert_eq!(site.changes, 0);
    let actions = site.net.stations[&2].router.actions(site.net.now);
    let open: Vec<_> = actions
        .open
        .iter()
        .map(|row| (row.kind.as_str(), row.state.as_str()))
        .collect();
    assert_eq!(open, [("forward", "planned"), ("capture", "planned")]);
    assert_eq!(actions.open[1].step.as_deref(), Some("assign"));
}

#[test]
fn mode_approve_does_what_is_approved() {
    let mut site = Site::new(CaptureMode::Approve);
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.run(5);
    assert_eq!(site.changes, 0);

    for _ in 0..2 {
        let now = site.net.now;
        let open = site.net.stations[&2].router.actions(now).open;
        let waiting = open.iter().find(|row| row.state == "awaits-approval");
        let id = waiting.expect("an action waits").id;
        site.net.command(2, Command::Approve(id));
        let again = site.net.stations[&2]
            .router
            .check_command(&Command::Approve(id));
        assert_eq!(again, Err(CommandRefusal::NotAwaited));
        site.run(5);
    }

    assert_eq!(site.holder(ADDRESS), Some(2));
}

#[test]
fn an_order_under_way_loses_its_permission_before_anything_else_happens() {
    let mut site = Site::new(CaptureMode::Auto);
    site.net.command(1, Command::Announce(address(ADDRESS)));
    let ticket = loop {
        let order = site.next_order(2);
        match order.ticket.clone() {
            Some(ticket) if matches!(order.operation, Operation::Assign { .. }) => break ticket,
            _ => site.answer(2, &order),
        }
    };
    let now = site.net.now;
    assert_eq!(site.net.stations[&2].authority.check(&ticket, now), Ok(()));
    site.net.station(2).kinds.clear();

    site.net.command(1, Command::Withdraw(address(ADDRESS)));

    assert!(site.net.stations[&2].authority.check(&ticket, now).is_err());
    let kinds = &site.net.stations[&2].kinds;
    let position = |kind| kinds.iter().position(|found| *found == kind);
    assert!(position("authority") < position("publish"), "{kinds:?}");
}

#[test]
fn another_configuration_ends_the_permission_and_an_equal_one_says_nothing() {
    let mut site = Site::new(CaptureMode::Auto);
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.run(10);
    let generation = site.net.stations[&2].authority.generation;
    site.net.station(2).kinds.clear();

    reconfigure(&mut site.net, 2, |_| {});
    assert_eq!(site.net.stations[&2].kinds, [""; 0]);
    reconfigure(&mut site.net, 2, |config| {
        config.local.owned.insert(address(30));
    });

    assert!(site.net.stations[&2].authority.generation > generation);
}

#[test]
fn a_provider_that_cannot_be_called_is_a_matter_for_doctor_and_not_for_routes() {
    let mut site = Site::new(CaptureMode::Auto);
    let reason = "this build has no client".to_owned();
    site.net
        .input(2, Input::Cloud(CloudInput::Unavailable { reason }));
    site.net.command(1, Command::Announce(address(ADDRESS)));
    site.run(10);

    assert_eq!(site.net.tunneled_to(2, address(ADDRESS)), Some(1));
    let facts = crate::Facts::default();
    let doctor = site.net.stations[&2].router.doctor(&facts, site.net.now);
    let check = doctor.checks.iter().find(|check| check.area == "capture");
    let check = check.expect("checks of the area");
    assert_eq!(check.status, crate::view::CheckStatus::Fail);
    assert_eq!(check.detail.as_deref(), Some("this build has no client"));
}

#[test]
fn what_is_given_back_by_order_is_left_alone_for_a_while() {
    let mut site = Site::new(CaptureMode::Auto);
    let hold = std::time::Duration::from_secs(300);
    site.net.command(1, Command::Announce(address(10)));
    site.net.command(1, Command::Announce(address(11)));
    site.run(10);
    let release = |last| Command::Release {
        address: last,
        hold,
    };
    site.net.command(2, release(Some(address(10))));
    site.run(10);
    assert_eq!((site.holder(10), site.holder(11)), (None, Some(2)));
    let row = &site.captures(2)[0];
    assert!(row.why.contains("by order"), "{}", row.why);
    site.run(290);
    assert_eq!(site.holder(10), Some(2), "the time is over");

    site.net.command(2, release(None));
    site.run(20);
    assert_eq!((site.holder(10), site.holder(11)), (None, None));
    assert!(!site.forwarding[&2], "as before the router");
    site.net.command(
        2,
        Command::Release {
            address: None,
            hold: std::time::Duration::ZERO,
        },
    );
    site.run(20);
    assert_eq!((site.holder(10), site.forwarding[&2]), (Some(2), true));
}

#[test]
fn an_order_says_where_else_it_has_to_be_given() {
    let release = |last: Option<u8>| Command::Release {
        address: last.map(address),
        hold: std::time::Duration::from_secs(300),
    };
    let tell = |site: &Site, id: u32, last| {
        let siblings = site.net.stations[&id]
            .router
            .siblings_to_tell(&release(last));
        siblings.into_iter().map(|node| node.0).collect::<Vec<_>>()
    };
    let mut site = Site::with(CaptureMode::Auto, |_, cloud| cloud.max_captures = Some(1));
    for last in [10, 11] {
        site.net.command(1, Command::Announce(address(last)));
    }
    site.run(20);
    assert_eq!((site.holder(10), site.holder(11)), (Some(2), Some(3)));
    assert_eq!(tell(&site, 2, Some(10)), [0; 0]);
    assert_eq!(tell(&site, 2, Some(11)), [3], "not the elected one has it");
    assert_eq!(tell(&site, 3, Some(10)), [2]);
    assert_eq!(
        (tell(&site, 2, None), tell(&site, 3, None)),
        (vec![], vec![2])
    );

    let mut site = Site::with(CaptureMode::Auto, |_, cloud| {
        cloud.placement = CapturePlacement::ActiveActive;
    });
    for last in [10, 11] {
        site.net.command(1, Command::Announce(address(last)));
    }
    site.run(20);
    assert_eq!((site.holder(10), site.holder(11)), (Some(3), Some(2)));
    assert_eq!(
        (tell(&site, 2, Some(10)), tell(&site, 2, Some(11))),
        (vec![3], vec![])
    );
    assert_eq!(
        (tell(&site, 2, None), tell(&site, 3, None)),
        (vec![3], vec![2])
    );
    assert_eq!(
        site.net.stations[&2]
            .router
            .siblings_to_tell(&Command::Drain(true)),
        [].into()
    );
}

#[test]
fn what_an_action_captured_can_be_undone() {
    let mut site = Site::new(CaptureMode::Auto);
    site.net.command(1, Command::Announce(address(10)));
    site.run(10);
    let ended = |site: &Site, operation: &str| {
        let actions = site.net.stations[&2].router.actions(site.net.now);
        let done = actions.ended.into_iter();
        let mut done = done.filter(|row| row.operation == operation);
        done.next().expect("it was done").id
    };
    let refusal = |site: &Site, id| {
        let router = &site.net.stations[&2].router;
        router.check_command(&Command::Undo(id)).err()
    };
    let forwarding = ended(&site, "set-forwarding");
    let needed = Some(CommandRefusal::ForwardingNeeded);
    assert_eq!(refusal(&site, forwarding), needed);
    assert_eq!(refusal(&site, 999), Some(CommandRefusal::NotDone));

    let assign = ended(&site, "assign");
    site.net.command(2, Command::Undo(assign));
    site.run(10);
    assert_eq!(site.holder(10), None);
    let unassign = ended(&site, "unassign");
    site.net.command(2, Command::Undo(unassign));
    site.run(10);

    assert_eq!(site.holder(10), Some(2));
    assert_eq!(refusal(&site, unassign), Some(CommandRefusal::NotUndoable));
}

#[test]
fn a_router_that_may_change_nothing_gives_nothing_back_by_order() {
    let site = Site::new(CaptureMode::Plan);
    let release = Command::Release {
        address: None,
        hold: std::time::Duration::from_secs(1),
    };
    let refusal = |id: u32| site.net.stations[&id].router.check_command(&release).err();
    assert_eq!(refusal(2), Some(CommandRefusal::ChangesNothing));
    assert_eq!(refusal(1), Some(CommandRefusal::NoCloud));
}

#[test]
fn a_sibling_to_which_packets_pass_is_taken_for_gone_later() {
    for (passes, hold) in [(false, 1), (true, 3)] {
        let mut site = Site::new(CaptureMode::Auto);
        site.net.command(1, Command::Announce(address(ADDRESS)));
        site.run(10);
        if passes {
            bfd::Session::up(&mut site.net, 3, 2);
        }
        site.net.kill(2);
        let since = site.net.now;
        while !site.net.stations[&3].authority.gone.contains(&NodeId(2)) {
            site.net.run_for(std::time::Duration::from_millis(10));
            assert!(site.net.now < since + std::time::Duration::from_secs(20));
        }
        assert_eq!((site.net.now - since).as_secs(), hold, "{passes}");
    }
}
