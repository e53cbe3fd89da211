//! An executor, what its provider shows, and somebody who answers.

use super::*;

pub(super) struct Case {
    pub(super) executor: Executor,
    pub(super) observation: Observation,
    pub(super) told: Vec<News>,
    pub(super) sequence: u32,
    /// What other NICs have.
    pub(super) elsewhere: BTreeMap<Ipv4Addr, NicId>,
    pub(super) gone: BTreeSet<NodeId>,
    pub(super) restores: bool,
    /// Lists of the subnet show what is on our NIC.
    pub(super) listed: bool,
    pub(super) now: Instant,
}

impl Case {
    #[expect(clippy::disallowed_methods, reason = "time needs a start")]
    pub(super) fn new(mode: Mode) -> Self {
        let now = Instant::now();
        let settings = Settings {
            mode,
            pools: vec![Pool {
                id: 1,
                name: "lan60".into(),
                prefix: "10.77.60.0/24".parse().unwrap(),
                exclude: BTreeSet::new(),
            }],
            nic: Some(NicId("nic-a".into())),
            members: BTreeMap::new(),
            max_captures: None,
            budget: 30,
            patience: Duration::from_secs(30),
            poll: Rhythm::steady(Duration::from_secs(60)),
            inventory: None,
        };
        let capabilities = Capabilities {
            moves: true,
            batch: 50,
            marks: true,
        };
        Self {
            executor: Executor::new(settings, capabilities, Prior::default(), 1, now),
            observation: Observation {
                nic: NicId("nic-a".into()),
                subnet: "10.77.60.0/24".parse().unwrap(),
                version: None,
                forwarding: true,
                entries: [(address(5), entry(true))].into(),
                limit: None,
            },
            told: Vec::new(),
            sequence: 1,
            elsewhere: BTreeMap::new(),
            gone: BTreeSet::new(),
            restores: false,
            listed: false,
            now,
        }
    }

    pub(super) fn want(&mut self, lasts: &[u8]) {
        let sequence = self.sequence;
        self.set(lasts, |address| {
            Want::Capture(PathSignature {
                address,
                owner: NodeId(9),
                site: "hq".into(),
                next_hop: [10, 99, 0, 9].into(),
                sequence,
            })
        });
    }

    pub(super) fn unwanted(&mut self, lasts: &[u8]) {
        self.set(lasts, |_| Want::Absent(Absence::OwnedHere));
    }

    /// Wants an address whose holder cannot be found so many times; returns when it was looked for first.
    pub(super) fn look_in_vain(&mut self, times: usize) -> Instant {
        self.want(&[10]);
        let mut looks = Vec::new();
        while looks.len() < times {
            match self.executor.poll(self.now) {
                Some(order) if matches!(order.operation, Operation::FindHolders(_)) => {
                    looks.push(self.now);
                    self.answer(&order, failed(ErrorClass::Permanent));
                }
                Some(order) => self.look(&order),
                None => self.now = self.executor.poll_timeout(self.now).expect("it goes on"),
            }
        }
        looks[0]
    }

    /// Another router of the site takes them.
    pub(super) fn keep(&mut self, lasts: &[u8]) {
        self.set(lasts, |_| Want::Keep(KeepReason::Sibling(NodeId(1))));
    }

    pub(super) fn set(&mut self, lasts: &[u8], want: impl Fn(Ipv4Addr) -> Want) {
        let wants = lasts
            .iter()
            .map(|last| (address(*last), want(address(*last))));
        let authority = Authority {
            generation: 1,
            wants: wants.collect(),
            gone: self.gone.clone(),
            restores: self.restores,
        };
        self.executor.set_authority(authority, self.now);
    }

    /// Another router of the site has this NIC.
    pub(super) fn sibling(&mut self, nic: &str, node: u32) {
        let mut settings = self.executor.settings.clone();
        settings.members.insert(NicId(nic.into()), NodeId(node));
        self.executor.set_settings(settings, self.now);
    }

    pub(super) fn elsewhere(&mut self, last: u8, nic: &str) {
        self.elsewhere.insert(address(last), NicId(nic.into()));
    }

    pub(super) fn hold(&mut self, last: u8) {
        self.observation.entries.insert(address(last), entry(false));
    }

    /// Answers all looks until a change is ordered.
    pub(super) fn change(&mut self) -> Option<Order> {
        self.change_within(Duration::from_secs(700))
    }

    pub(super) fn change_within(&mut self, time: Duration) -> Option<Order> {
        let end = self.now + time;
        while self.now <= end {
            while let Some(order) = self.executor.poll(self.now) {
                if order.ticket.is_some() {
                    return Some(order);
                }
                self.look(&order);
            }
            let due = self.executor.poll_timeout(self.now)?;
            assert!(due > self.now, "nothing is done at {due:?}");
            self.now = due;
        }
        self.now = end;
        None
    }

    pub(super) fn run(&mut self, time: Duration) {
        assert_eq!(self.change_within(time), None);
    }

    pub(super) fn look(&mut self, order: &Order) {
        let outcome = match &order.operation {
            Operation::Observe => Outcome::Observed(self.observation.clone()),
            Operation::FindHolders(addresses) => {
                let holders = self.own_holders();
                let holders = holders.filter(|(address, _)| addresses.contains(address));
                let others = self.elsewhere.iter();
                let others = others.filter(|(address, _)| addresses.contains(address));
                let others = others.map(|(address, nic)| {
                    let holder = Holder {
                        nic: nic.clone(),
                        nic_version: None,
                        entry: entry(false),
                        running: None,
                    };
                    (*address, holder)
                });
                Outcome::Holders(holders.chain(others).collect())
            }
            Operation::Preflight => Outcome::Permissions(Vec::new()),
            Operation::Inventory if self.listed => Outcome::Inventory(self.own_holders().collect()),
            Operation::Inventory => Outcome::Inventory(BTreeMap::new()),
            Operation::Assign { .. }
            | Operation::Seize { .. }
            | Operation::Strip { .. }
            | Operation::Unassign { .. }
            | Operation::SetForwarding { .. } => panic!("{order:?} is no look"),
        };
        self.answer(order, Ok(outcome));
    }

    fn own_holders(&self) -> impl Iterator<Item = (Ipv4Addr, Holder)> {
        let entries = self.observation.entries.iter();
        entries.map(|(address, entry)| {
            let holder = Holder {
                nic: self.observation.nic.clone(),
                nic_version: None,
                entry: entry.clone(),
                running: None,
            };
            (*address, holder)
        })
    }

    pub(super) fn answer(&mut self, order: &Order, answer: Result<Outcome, ProviderError>) {
        self.executor.handle_answer(order.id, answer, self.now);
        while let Some(news) = self.executor.poll_news() {
            self.told.push(news);
        }
    }

    pub(super) fn records(&mut self) -> Vec<Record> {
        std::iter::from_fn(|| self.executor.poll_record()).collect()
    }

    pub(super) fn state(&self, last: u8) -> State {
        self.executor.address(address(last), self.now).state
    }
}

pub(super) fn done() -> Result<Outcome, ProviderError> {
    Ok(Outcome::Done { request_id: None })
}

pub(super) fn failed(class: ErrorClass) -> Result<Outcome, ProviderError> {
    Err(ProviderError {
        code: class.name().to_owned(),
        class,
        message: "as ordered".to_owned(),
        request_id: None,
        unclassified: false,
    })
}

pub(super) fn entry(primary: bool) -> Entry {
    Entry {
        primary,
        ours: Some(!primary),
        id: None,
        version: None,
    }
}

pub(super) fn address(last: u8) -> Ipv4Addr {
    [10, 77, 60, last].into()
}
