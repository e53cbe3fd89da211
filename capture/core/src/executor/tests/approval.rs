//! What waits for somebody's word, and what that word covers.

use super::*;

#[test]
fn an_action_waits_for_its_approval_and_expires_with_its_reason() {
    let mut case = Case::new(Mode::Approve);
    case.want(&[10]);
    assert_eq!(case.change_within(Duration::from_secs(200)), None);
    assert_eq!(case.state(10), State::AwaitsApproval);
    let [action] = &case.executor.actions()[..] else {
        panic!("{:?}", case.executor.actions())
    };
    let (id, step) = (action.id, action.step.clone());
    assert!(matches!(step, Some(Operation::Assign { .. })), "{step:?}");
    case.sequence += 1;
    case.want(&[10]);
    assert!(!case.executor.approve(id), "the route is another one");

    let id = case.executor.actions()[0].id;
    assert!(!case.executor.approve(id), "nobody knows yet what it takes");
    case.run(Duration::from_secs(1));
    assert!(case.executor.approve(id));

    assert!(case.change().is_some());
    assert!(!case.executor.approve(id), "once is enough");
}

#[test]
fn what_is_approved_is_one_change_and_not_what_it_comes_to_later() {
    for moves in [true, false] {
        let mut case = Case::new(Mode::Approve);
        case.executor.capabilities.moves = moves;
        case.sibling("nic-b", 2);
        case.want(&[10]);
        case.run(Duration::from_secs(5));
        let id = case.executor.actions()[0].id;
        assert!(case.executor.approve(id));
        // Before it is sent, the other router of the site has the address; it dies.
        case.elsewhere(10, "nic-b");
        case.gone = [NodeId(2)].into();
        case.want(&[10]);

        assert_eq!(case.change_within(Duration::from_secs(200)), None);

        assert!(!case.executor.approve(id), "nobody was shown this change");
        let [action] = &case.executor.actions()[..] else {
            panic!("{:?}", case.executor.actions())
        };
        let name = action.step.as_ref().map(Operation::name);
        assert_eq!(name, Some(if moves { "seize" } else { "strip" }));
        assert!(case.executor.approve(action.id));
        let order = case.change().expect("an order");
        assert_eq!(Some(order.operation.name()), name);

        // What follows needs a word of its own.
        case.elsewhere.clear();
        case.answer(&order, done());
        if !moves {
            assert_eq!(case.change_within(Duration::from_secs(200)), None);
            let id = case.executor.actions()[0].id;
            assert!(case.executor.approve(id));
            let order = case.change().expect("an order");
            assert_eq!(order.operation.name(), "assign");
        }
    }
}

#[test]
fn a_part_of_what_was_approved_is_approved() {
    let mut case = Case::new(Mode::Approve);
    case.want(&[10, 11]);
    case.run(Duration::from_secs(5));
    let id = case.executor.actions()[0].id;
    assert!(case.executor.approve(id));
    let order = case.change().expect("an order");

    case.answer(&order, failed(ErrorClass::LocalOwner));

    let order = case.change().expect("half of it");
    assert_eq!(addresses_of(&order.operation).len(), 1);
}
