//! A fabric with a site in a cloud, and the cloud.

use super::*;

/// What is different at a router.
pub(super) type Edit = Box<dyn Fn(u32, &mut CloudCapture)>;

/// The fabric and its cloud.
pub(super) struct Site {
    pub(super) net: Net,
    pub(super) mode: CaptureMode,
    pub(super) edit: Edit,
    /// Of the routers.
    pub(super) reflectors: &'static [u32],
    /// Machines of the cloud, and whether they run.
    pub(super) machines: BTreeMap<u8, bool>,
    /// Routers that may change nothing.
    pub(super) denied: std::collections::BTreeSet<u32>,
    /// Routers whose provider does not answer.
    pub(super) blind: std::collections::BTreeSet<u32>,
    pub(super) cloud: std::collections::BTreeSet<(NicId, Ipv4Addr)>,
    pub(super) forwarding: BTreeMap<u32, bool>,
    /// Most addresses of routers whose provider has a limit.
    pub(super) limits: BTreeMap<u32, usize>,
    pub(super) changes: usize,
}

impl Site {
    pub(super) fn new(mode: CaptureMode) -> Self {
        Self::with(mode, |_, _| {})
    }

    pub(super) fn with(mode: CaptureMode, edit: impl Fn(u32, &mut CloudCapture) + 'static) -> Self {
        let mut site = Self::empty(mode, edit);
        (1..=3).for_each(|id| site.start(id));
        site.run(10);
        site
    }

    /// Makes one in which no router runs yet.
    pub(super) fn empty(
        mode: CaptureMode,
        edit: impl Fn(u32, &mut CloudCapture) + 'static,
    ) -> Self {
        Self {
            net: Net::empty(),
            mode,
            edit: Box::new(edit),
            reflectors: &[1],
            machines: BTreeMap::new(),
            denied: std::collections::BTreeSet::new(),
            blind: std::collections::BTreeSet::new(),
            cloud: std::collections::BTreeSet::new(),
            forwarding: BTreeMap::new(),
            limits: BTreeMap::new(),
            changes: 0,
        }
    }

    pub(super) fn start(&mut self, id: u32) {
        let mut config = fixture::config(id, 3, self.reflectors);
        for cloud in [2, 3] {
            let node = config.fabric.nodes.get_mut(&NodeId(cloud)).expect("there");
            node.site = "cloud".into();
            node.nic = Some(nic(cloud));
        }
        if id > 1 {
            let mut cloud = CloudCapture {
                provider: CloudKind::Aws,
                interface: "eth1".into(),
                mode: self.mode,
                priority: DEFAULT_CAPTURE_PRIORITY,
                placement: CapturePlacement::ActiveStandby,
                max_captures: None,
                discovery: None,
                release_hold: DEFAULT_RELEASE_HOLD,
                changes_per_minute: 30,
                journal_file: None,
                endpoints: CloudEndpoints::default(),
            };
            (self.edit)(id, &mut cloud);
            config.local.capture = Capture::Cloud(cloud);
        }
        self.net.start(id, config, RuntimeState::default());
        if id > 1 {
            self.net.input(id, Input::Cloud(ready()));
        }
    }

    pub(super) fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 4 {
            self.serve();
            self.net.run_for(std::time::Duration::from_millis(250));
        }
        self.serve();
    }

    /// Answers all calls, and those that follow.
    pub(super) fn serve(&mut self) {
        for id in [2, 3] {
            while let Some(order) = self.pending(id) {
                self.answer(id, &order);
            }
        }
    }

    pub(super) fn pending(&mut self, id: u32) -> Option<Order> {
        let station = self.net.stations.get_mut(&id)?;
        let order = station.orders.pop();
        assert!(station.orders.is_empty(), "one order at a time");
        order
    }

    pub(super) fn next_order(&mut self, id: u32) -> Order {
        for _ in 0..1000 {
            if let Some(order) = self.pending(id) {
                return order;
            }
            self.net.run_for(std::time::Duration::from_millis(10));
        }
        panic!("no order comes")
    }

    pub(super) fn answer(&mut self, id: u32, order: &Order) {
        let now = self.net.now;
        let authority = &self.net.stations[&id].authority;
        let current = order
            .ticket
            .as_ref()
            .is_none_or(|ticket| authority.check(ticket, now).is_ok());
        let denied = order.operation.is_change() && self.denied.contains(&id);
        let refused = |class: ErrorClass| {
            Err(ProviderError {
                code: class.name().into(),
                class,
                message: "the cloud says so".into(),
                request_id: None,
                unclassified: false,
            })
        };
        let answer = match current {
            true if self.blind.contains(&id) => refused(ErrorClass::Unavailable),
            true if denied => refused(ErrorClass::Denied),
            true => Ok(self.perform(id, &order.operation)),
            false => refused(ErrorClass::Fenced),
        };
        let order = order.id;
        self.net
            .input(id, Input::Cloud(CloudInput::Answer { order, answer }));
    }

    pub(super) fn perform(&mut self, id: u32, operation: &Operation) -> Outcome {
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
                    limit: self.limits.get(&id).copied(),
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
            Operation::Inventory => Outcome::Inventory(self.inventory()),
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

    /// Machines, and addresses of routers, also of one that the fabric knows no more.
    pub(super) fn inventory(&self) -> BTreeMap<Ipv4Addr, Holder> {
        let holder = |nic, primary, running| Holder {
            nic,
            nic_version: None,
            entry: Entry {
                ours: None,
                ..entry(primary)
            },
            running: Some(running),
        };
        let machines = self.machines.iter().map(|(last, running)| {
            let holder = holder(NicId("nic-machine".into()), true, *running);
            (address(*last), holder)
        });
        let held = self.cloud.iter();
        let held = held.map(|(nic, address)| (*address, holder(nic.clone(), false, true)));
        machines.chain(held).collect()
    }

    /// Which NIC has an address.
    pub(super) fn holder(&self, last: u8) -> Option<u32> {
        let mut held = self.cloud.iter().filter(|(_, held)| *held == address(last));
        let (holder, _) = held.next()?;
        holder.0.strip_prefix("nic-")?.parse().ok()
    }

    pub(super) fn captures(&self, id: u32) -> Vec<crate::view::CaptureRow> {
        self.view(id).captures
    }

    pub(super) fn group(&self, id: u32) -> crate::view::CaptureGroup {
        self.view(id).group.expect("a site in a cloud")
    }

    /// How router `of` stands, as router `id` shows it.
    pub(super) fn member(&self, id: u32, of: u32) -> String {
        let members = self.group(id).members.into_iter();
        let mut members = members.filter(|member| member.node.id == NodeId(of));
        members.next().expect("a member").state
    }

    pub(super) fn view(&self, id: u32) -> crate::view::CapturesView {
        self.net.stations[&id].router.captures(self.net.now)
    }
}

pub(super) fn ready() -> CloudInput {
    CloudInput::Ready {
        capabilities: Capabilities {
            moves: true,
            batch: 50,
            marks: true,
        },
        prior: Prior::default(),
    }
}

pub(super) fn entry(primary: bool) -> Entry {
    Entry {
        primary,
        ours: (!primary).then_some(true),
        id: None,
        version: None,
    }
}

pub(super) fn nic(number: u32) -> NicId {
    NicId(format!("nic-{number}"))
}
