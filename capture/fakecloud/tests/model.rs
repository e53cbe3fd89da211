//! The model under random calls of two careless routers at each provider: what must hold after each of them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use chrono::TimeDelta;
use proptest::prelude::*;
use sam_fakecloud::{Delivery, Provider, Request, Scenario, Snapshot, Time, World};
use serde_json::{Value, json};

/// What a router does next at Azure: it reads a NIC, or replaces it by what it read last with other addresses.
#[derive(Debug, Clone)]
enum Step {
    Read(usize),
    Replace {
        nic: usize,
        addresses: Vec<u8>,
        checked: bool,
    },
    Move {
        from: usize,
        to: usize,
        address: u8,
    },
    Wait(i64),
}

const NICS: [&str; 2] = ["nic-a", "nic-b"];
const TOKEN: &str = "lab-token";

fn step() -> impl Strategy<Value = Step> {
    let addresses = prop::collection::vec(8u8..14, 0..4);
    prop_oneof![
        (0..2usize).prop_map(Step::Read),
        (0..2usize, addresses, any::<bool>()).prop_map(|(nic, addresses, checked)| {
            Step::Replace {
                nic,
                addresses,
                checked,
            }
        }),
        (0..2usize, 0..2usize, 8u8..14).prop_map(|(from, to, address)| Step::Move {
            from,
            to,
            address
        }),
        (1..3000i64).prop_map(Step::Wait),
    ]
}

/// Two NICs in one subnet; what is accepted takes a second.
fn world() -> World {
    let instance = |name: &str, nic: &str, last: u8| {
        json!({"id": name, "nics": [{
            "id": nic, "subnet": "default", "mac": format!("00:0d:3a:00:00:{last:02x}"),
            "address": format!("10.0.0.{last}"),
        }]})
    };
    let scenario: Scenario = serde_json::from_value(json!({"azure": {
        "region": "westeurope", "account": "sub", "group": "rg", "atomicMove": true,
        "latency": {"operationMs": 1000}, "addressLimits": {"": 4},
        "subnets": [{"id": "default", "network": "vnet", "prefix": "10.0.0.0/24"}],
        "roles": {"all": {"allow": ["*"]}},
        "keys": [{"id": "lab", "secret": TOKEN, "role": "all"}],
        "instances": [instance("a", "nic-a", 4), instance("b", "nic-b", 5)],
    }}))
    .expect("a scenario");
    World::new(&scenario, [3; 32], Time::UNIX_EPOCH).expect("a world")
}

/// The world, the time, and what was read last of each NIC.
struct Lab {
    world: World,
    now: Time,
    seen: [Value; 2],
}

impl Lab {
    fn call(&mut self, method: &str, path: &str, etag: Option<&str>, body: &Value) -> (u16, Value) {
        let mut headers = vec![
            ("authorization".to_owned(), format!("Bearer {TOKEN}")),
            ("host".to_owned(), "fake".to_owned()),
        ];
        headers.extend(etag.map(|etag| ("if-match".to_owned(), etag.to_owned())));
        let request = Request {
            method: method.into(),
            path: format!(
                "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.Network/{path}"
            ),
            query: "api-version=2025-09-01".into(),
            headers,
            body: body.to_string().into_bytes(),
            peer: None,
        };
        let admission = self.world.admit(&request, self.now);
        match self.world.answer(&request, &admission, self.now).delivery {
            Delivery::Answer(response) => (
                response.status,
                serde_json::from_slice(&response.body).unwrap_or_default(),
            ),
            Delivery::Cut(_) | Delivery::Closed | Delivery::Silence => panic!("no answer"),
        }
    }

    fn read(&mut self, nic: usize) {
        let path = format!("networkInterfaces/{}", NICS[nic]);
        let (status, document) = self.call("GET", &path, None, &Value::Null);
        assert_eq!(status, 200);
        self.seen[nic] = document;
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Read(nic) => self.read(*nic),
            Step::Wait(milliseconds) => self.now += TimeDelta::milliseconds(*milliseconds),
            Step::Replace {
                nic,
                addresses,
                checked,
            } => self.replace(*nic, addresses, *checked),
            Step::Move { from, to, address } => {
                let id = |nic: usize| json!({"id": format!("/networkInterfaces/{}/ipConfigurations/sam-{address}", NICS[nic])});
                let item =
                    json!({"sourceIpConfiguration": id(*from), "targetIpConfiguration": id(*to)});
                let body = json!({"moveIpConfigurationItems": [item]});
                let path = "virtualNetworks/vnet/moveIpConfigurations";
                self.call("POST", path, None, &body);
            }
        }
    }

    fn replace(&mut self, nic: usize, addresses: &[u8], checked: bool) {
        let mut document = self.seen[nic].clone();
        let etag = document["etag"].as_str().unwrap_or_default().to_owned();
        let own = document["properties"]["ipConfigurations"][0].clone();
        let subnet = own["properties"]["subnet"].clone();
        let further = addresses.iter().map(|last| {
            json!({"name": format!("sam-{last}"), "properties": {
                "privateIPAddress": format!("10.0.0.{last}"), "subnet": subnet, "primary": false,
            }})
        });
        let list: Vec<Value> = std::iter::once(own).chain(further).collect();
        document["properties"]["ipConfigurations"] = json!(list);
        let path = format!("networkInterfaces/{}", NICS[nic]);
        let stale = {
            let before = self.current_etag(nic);
            before != etag
        };
        let (status, _) = self.call("PUT", &path, checked.then_some(&etag), &document);
        assert!([200, 400, 412].contains(&status), "{status}");
        assert_eq!(status == 412, checked && stale, "If-Match decides");
    }

    fn current_etag(&mut self, nic: usize) -> String {
        let path = format!("networkInterfaces/{}", NICS[nic]);
        let (_, document) = self.call("GET", &path, None, &Value::Null);
        document["etag"].as_str().unwrap_or_default().to_owned()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn no_address_is_on_two_nics_and_the_ledger_tells_all(steps in prop::collection::vec(step(), 1..40)) {
        let mut lab = Lab { world: world(), now: Time::UNIX_EPOCH, seen: [Value::Null, Value::Null] };
        lab.read(0);
        lab.read(1);
        for step in &steps {
            lab.apply(step);
            let cloud = lab.world.cloud(Provider::Azure).expect("azure");
            prop_assert_eq!(cloud.check_all(), Ok(()));
        }
        // Who replays the ledger gets what is there.
        let cloud = lab.world.cloud(Provider::Azure).expect("azure");
        let mut replayed: BTreeMap<&str, Vec<Ipv4Addr>> = BTreeMap::from([
            ("nic-a", vec![Ipv4Addr::new(10, 0, 0, 4)]),
            ("nic-b", vec![Ipv4Addr::new(10, 0, 0, 5)]),
        ]);
        for record in &cloud.ledger().entries {
            prop_assert_eq!(&replayed[record.nic.as_str()], &record.before.addresses);
            replayed.insert(&record.nic, record.after.addresses.clone());
        }
        for nic in cloud.nics() {
            let held: Vec<Ipv4Addr> = nic.latest().addresses.iter().map(|held| held.address).collect();
            prop_assert_eq!(&replayed[nic.id.as_str()], &held);
            prop_assert!(nic.latest().primary().is_some());
        }
    }
}

#[test]
fn a_ledger_says_who_what_before_and_after() {
    let mut lab = Lab {
        world: world(),
        now: Time::UNIX_EPOCH,
        seen: [Value::Null, Value::Null],
    };
    lab.read(0);
    lab.apply(&Step::Replace {
        nic: 0,
        addresses: vec![9],
        checked: true,
    });
    assert!(
        lab.world
            .cloud(Provider::Azure)
            .expect("azure")
            .ledger()
            .entries
            .is_empty()
    );
    lab.apply(&Step::Wait(1000));
    lab.read(0);
    let cloud = lab.world.cloud(Provider::Azure).expect("azure");
    let record = &cloud.ledger().entries[0];
    assert_eq!(
        record.at,
        Time::UNIX_EPOCH + TimeDelta::seconds(1),
        "when it was due"
    );
    assert_eq!(record.principal, "lab");
    assert_eq!(record.operation, "PutNetworkInterface");
    let addresses = |snapshot: &Snapshot| snapshot.addresses.len();
    assert_eq!(
        (addresses(&record.before), addresses(&record.after)),
        (1, 2)
    );
    assert!(!record.after.source_dest_check || record.before.source_dest_check);
}
