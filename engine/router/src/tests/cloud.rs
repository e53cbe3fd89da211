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
use crate::config::{CaptureMode, CloudCapture, CloudEndpoints, CloudKind, DEFAULT_RELEASE_HOLD};

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
    assert_eq!(site.holder(11), Some(2), "it takes what is new");
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

/// The fabric and its cloud.
struct Site {
    net: Net,
    mode: CaptureMode,
    cloud: std::collections::BTreeSet<(NicId, Ipv4Addr)>,
    forwarding: BTreeMap<u32, bool>,
    changes: usize,
}

impl Site {
    fn new(mode: CaptureMode) -> Self {
        let mut site = Self {
            net: Net::empty(),
            mode,
            cloud: std::collections::BTreeSet::new(),
            forwarding: BTreeMap::new(),
            changes: 0,
        };
        (1..=3).for_each(|id| site.start(id));
        site.run(10);
        site
    }

    fn start(&mut self, id: u32) {
        let mut config = fixture::config(id, 3, &[1]);
        for cloud in [2, 3] {
            let node = config.fabric.nodes.get_mut(&NodeId(cloud)).expect("there");
            node.site = "cloud".into();
            node.nic = Some(nic(cloud));
        }
        if id > 1 {
            config.local.capture = Capture::Cloud(CloudCapture {
                provider: CloudKind::Aws,
                interface: "eth1".into(),
                mode: self.mode,
                release_hold: DEFAULT_RELEASE_HOLD,
                changes_per_minute: 30,
                journal_file: None,
                endpoints: CloudEndpoints::default(),
            });
        }
        self.net.start(id, config, RuntimeState::default());
        if id > 1 {
            self.net.input(id, Input::Cloud(ready()));
        }
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 4 {
            self.serve();
            self.net.run_for(std::time::Duration::from_millis(250));
        }
        self.serve();
    }

    /// Answers all calls, and those that follow.
    fn serve(&mut self) {
        for id in [2, 3] {
            while let Some(order) = self.pending(id) {
                self.answer(id, &order);
            }
        }
    }

    fn pending(&mut self, id: u32) -> Option<Order> {
        let station = self.net.stations.get_mut(&id)?;
        let order = station.orders.pop();
        assert!(station.orders.is_empty(), "one order at a time");
        order
    }

    fn next_order(&mut self, id: u32) -> Order {
        for _ in 0..1000 {
            if let Some(order) = self.pending(id) {
                return order;
            }
            self.net.run_for(std::time::Duration::from_millis(10));
        }
        panic!("no order comes")
    }

    fn answer(&mut self, id: u32, order: &Order) {
        let now = self.net.now;
        let authority = &self.net.stations[&id].authority;
        let current = order
            .ticket
            .as_ref()
            .is_none_or(|ticket| authority.check(ticket, now).is_ok());
        let answer = match current {
            true => Ok(self.perform(id, &order.operation)),
            false => Err(ProviderError {
                class: ErrorClass::Fenced,
                code: "fenced".into(),
                message: "its reason ended".into(),
                request_id: None,
            }),
        };
        let order = order.id;
        self.net
            .input(id, Input::Cloud(CloudInput::Answer { order, answer }));
    }

    fn perform(&mut self, id: u32, operation: &Operation) -> Outcome {
        self.changes += usize::from(operation.is_change());
        let done = Outcome::Done { request_id: None };
        match operation {
            Operation::Observe => {
                let primary = address(200 + u8::try_from(id).expect("few"));
                let mine = self.cloud.iter().filter(|(held, _)| *held == nic(id));
                let entries = mine.map(|(_, address)| (*address, entry(false)));
                Outcome::Observed(Observation {
                    nic: nic(id),
                    subnet: "10.77.60.0/24".parse().expect("a prefix"),
                    version: None,
                    forwarding: self.forwarding.get(&id).copied().unwrap_or(false),
                    entries: entries.chain([(primary, entry(true))]).collect(),
                    limit: None,
                })
            }
            Operation::FindHolders(addresses) => {
                let held = self
                    .cloud
                    .iter()
                    .filter(|(_, address)| addresses.contains(address));
                let holders = held.map(|(nic, address)| {
                    let holder = Holder {
                        nic: nic.clone(),
                        nic_version: None,
                        entry: entry(false),
                        running: None,
                    };
                    (*address, holder)
                });
                Outcome::Holders(holders.collect())
            }
            Operation::Inventory => Outcome::Inventory(BTreeMap::new()),
            Operation::Preflight => Outcome::Permissions(Vec::new()),
            Operation::Assign { addresses, .. } => {
                for address in addresses {
                    assert!(!self.cloud.iter().any(|(_, held)| held == address));
                    self.cloud.insert((nic(id), *address));
                }
                done
            }
            Operation::Seize { addresses } => {
                for (address, holder) in addresses {
                    assert!(self.cloud.remove(&(holder.nic.clone(), *address)));
                    self.cloud.insert((nic(id), *address));
                }
                done
            }
            Operation::Strip { .. } => panic!("this cloud moves addresses"),
            Operation::Unassign { addresses, .. } => {
                for address in addresses.keys() {
                    assert!(self.cloud.remove(&(nic(id), *address)));
                }
                done
            }
            Operation::SetForwarding { enabled, .. } => {
                self.forwarding.insert(id, *enabled);
                done
            }
        }
    }

    /// Which NIC has an address.
    fn holder(&self, last: u8) -> Option<u32> {
        let mut held = self.cloud.iter().filter(|(_, held)| *held == address(last));
        let (holder, _) = held.next()?;
        holder.0.strip_prefix("nic-")?.parse().ok()
    }

    fn captures(&self, id: u32) -> Vec<crate::view::CaptureRow> {
        self.net.stations[&id]
            .router
            .captures(self.net.now)
            .captures
    }
}

fn ready() -> CloudInput {
    CloudInput::Ready {
        capabilities: Capabilities {
            moves: true,
            batch: 50,
            marks: true,
        },
        prior: Prior::default(),
    }
}

fn entry(primary: bool) -> Entry {
    Entry {
        primary,
        ours: (!primary).then_some(true),
        id: None,
        version: None,
    }
}

fn nic(number: u32) -> NicId {
    NicId(format!("nic-{number}"))
}
