//! What the other routers of the site are told of our NIC.

use super::*;
use crate::placement::Load;

#[test]
fn the_nic_may_have_what_its_other_addresses_leave_and_the_operator_allows() {
    let mut case = Case::new(Mode::Auto);
    limit(&mut case, Some(7));
    assert_eq!(load(&case).capacity, Some(7), "nothing was seen yet");
    // By hand, and outside of all pools.
    let other = Ipv4Addr::new(10, 77, 61, 9);
    case.observation.entries.insert(other, entry(false));
    case.hold(10);
    case.run(Duration::from_secs(1));
    assert_eq!(load(&case).capacity, Some(7));
    assert_eq!(load(&case).held, [address(10)].into());

    case.observation.limit = Some(6);
    case.run(Duration::from_secs(61));

    assert_eq!(
        load(&case).capacity,
        Some(4),
        "with two that are no captures"
    );
    limit(&mut case, Some(3));
    assert_eq!(load(&case).capacity, Some(3));
}

#[test]
fn a_nic_is_full_while_the_provider_says_so() {
    let mut case = Case::new(Mode::Auto);
    case.hold(11);
    case.want(&[10, 11]);
    assert_eq!(load(&case).capacity, None);

    let order = case.change().expect("an order");
    case.answer(&order, failed(ErrorClass::Capacity));

    assert_eq!(load(&case).capacity, Some(1));
    case.now += Duration::from_secs(120);
    assert_eq!(load(&case).capacity, None);
}

#[test]
fn what_is_refused_takes_no_room() {
    let mut case = Case::new(Mode::Auto);
    case.elsewhere(10, "nic-x");
    case.want(&[10, 11]);

    let order = case.change().expect("an order");

    assert_eq!(addresses_of(&order.operation), [address(11)].into());
    assert_eq!(load(&case).refused, [address(10)].into());
    case.want(&[11]);
    assert_eq!(load(&case).refused, [].into());
}

#[test]
fn what_is_not_looked_at_is_not_known() {
    let mut case = Case::new(Mode::Auto);
    case.hold(10);
    case.run(Duration::from_secs(1));
    let primary = case.observation.entries.remove(&address(5)).unwrap();
    let start = case.now;
    while case.now < start + Duration::from_secs(120) {
        let able = case.executor.is_able(case.now);
        assert_eq!(load(&case).held.contains(&address(10)), able);
        case.run(Duration::from_secs(1));
    }
    assert_eq!(load(&case).held, [].into(), "blind for too long");
    case.observation.entries.insert(address(5), primary);
    case.run(Duration::from_secs(120));
    assert_eq!(load(&case).held, [address(10)].into());

    mode(&mut case, Mode::Off);
    assert_eq!(load(&case).held, [].into());
    case.observation.entries.remove(&address(10));
    mode(&mut case, Mode::Auto);
    assert!(!case.executor.is_able(case.now), "nothing was seen yet");
    assert_eq!(load(&case).held, [].into());
    case.run(Duration::from_secs(1));
    assert!(case.executor.is_able(case.now));
}

fn mode(case: &mut Case, mode: Mode) {
    let settings = Settings {
        mode,
        ..case.executor.settings.clone()
    };
    case.executor.set_settings(settings, case.now);
}

fn limit(case: &mut Case, max_captures: Option<usize>) {
    let settings = Settings {
        max_captures,
        ..case.executor.settings.clone()
    };
    case.executor.set_settings(settings, case.now);
}

fn load(case: &Case) -> Load {
    case.executor.load(case.now)
}
