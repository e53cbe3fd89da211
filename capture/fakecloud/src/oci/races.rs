//! Two careless routers at random: what must hold after each of their calls.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{KEY_ID, USER, read, request, send_as_it_is};
use super::{key, signature};
use crate::{Provider, Response, Scenario, Time, World};

const VNICS: [&str; 2] = ["vnic-a", "vnic-b"];

/// Addresses that are fought over, by their last octets.
const FOUGHT_OVER: std::ops::Range<u8> = 10..14;

/// What a router does next, to an address. With `checked` it says If-Match, with what was read of the address last.
#[derive(Debug, Clone)]
enum Step {
    Read(u8),
    Create {
        last: u8,
        vnic: usize,
    },
    Move {
        last: u8,
        vnic: usize,
        checked: bool,
    },
    Delete {
        last: u8,
        checked: bool,
    },
    Bulk {
        last: u8,
        vnic: usize,
    },
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let last = || FOUGHT_OVER;
    prop_oneof![
        last().prop_map(Step::Read),
        (last(), 0..2usize).prop_map(|(last, vnic)| Step::Create { last, vnic }),
        (last(), 0..2usize, any::<bool>()).prop_map(|(last, vnic, checked)| Step::Move {
            last,
            vnic,
            checked
        }),
        (last(), any::<bool>()).prop_map(|(last, checked)| Step::Delete { last, checked }),
        (last(), 0..2usize).prop_map(|(last, vnic)| Step::Bulk { last, vnic }),
        (1..3000i64).prop_map(Step::Wait),
    ]
}

/// Two VNICs in one subnet with room for two addresses each besides their own; bulk moves take a second.
fn world() -> World {
    let public = STANDARD.encode(key::lab_public_key_der().expect("the lab's key"));
    let instance = |vnic: &str, last: u8| {
        json!({"id": last.to_string(), "type": "lab", "nics": [{
            "id": vnic, "subnet": "subnet", "address": format!("10.0.0.{last}"),
            "mac": format!("02:00:17:00:00:{last:02x}"),
        }]})
    };
    let scenario: Scenario = serde_json::from_value(json!({"oci": {
        "region": "r", "account": "ocid1.tenancy.oc1..lab", "addressLimits": {"lab": 3},
        "latency": {"operationMs": 1000},
        "subnets": [{"id": "subnet", "network": "vcn", "prefix": "10.0.0.0/24"}],
        "roles": {"all": {"allow": ["*"]}},
        "keys": [{"id": USER, "secret": public, "role": "all"}],
        "instances": [instance(VNICS[0], 4), instance(VNICS[1], 5)],
    }}))
    .expect("a scenario");
    World::new(&scenario, [3; 32], Time::UNIX_EPOCH).expect("a world")
}

struct Lab {
    world: World,
    now: Time,
    /// Name and etag of what was read last of each address.
    seen: [(String, String); 14],
}

impl Lab {
    fn call(&mut self, method: &str, path: &str, etag: Option<&str>, body: &Value) -> Response {
        let mut request = request(method, &format!("/20160918/{path}"), body);
        let etag = etag.map(|etag| ("if-match".to_owned(), etag.to_owned()));
        request.headers.extend(etag);
        signature::sign(&mut request, KEY_ID, self.now);
        send_as_it_is(&mut self.world, &request, self.now)
    }

    fn read(&mut self, last: u8) {
        let path = format!("privateIps?subnetId=subnet&ipAddress=10.0.0.{last}");
        let found = read(&self.call("GET", &path, None, &Value::Null));
        let Some(id) = found[0]["id"].as_str() else {
            return;
        };
        let response = self.call("GET", &format!("privateIps/{id}"), None, &Value::Null);
        let etag = response.header("etag").expect("an etag").to_owned();
        self.seen[usize::from(last)] = (id.to_owned(), etag);
    }

    /// Changes what was read of an address. A version that is not the present one loses, and changes nothing.
    fn change(&mut self, method: &str, last: u8, checked: bool, body: &Value) {
        let (id, etag) = self.seen[usize::from(last)].clone();
        if id.is_empty() {
            return;
        }
        let path = format!("privateIps/{id}");
        let present = self.call("GET", &path, None, &Value::Null);
        let stale = present.status == 200 && present.header("etag") != Some(&etag);
        let changes = self.changes();
        let response = self.call(method, &path, checked.then_some(&etag), body);
        let status = response.status;
        let good = [200, 204, 400, 404, 409, 412].contains(&status);
        assert!(good, "{status}");
        assert_eq!(status == 404, present.status == 404);
        if status != 409 {
            assert_eq!(status == 412, checked && stale, "If-Match decides");
        }
        if status > 299 {
            assert_eq!(self.changes(), changes);
        }
    }

    fn changes(&self) -> usize {
        let cloud = self.world.cloud(Provider::Oci).expect("oci");
        cloud.ledger().entries.len()
    }

    fn apply(&mut self, step: &Step) {
        let onto = |vnic: &usize| json!({ "vnicId": VNICS[*vnic] });
        match step {
            Step::Read(last) => self.read(*last),
            Step::Create { last, vnic } => {
                let mut body = onto(vnic);
                body["ipAddress"] = json!(format!("10.0.0.{last}"));
                self.call("POST", "privateIps", None, &body);
            }
            Step::Move {
                last,
                vnic,
                checked,
            } => self.change("PUT", *last, *checked, &onto(vnic)),
            Step::Delete { last, checked } => self.change("DELETE", *last, *checked, &Value::Null),
            Step::Bulk { last, vnic } => {
                let mut body = onto(vnic);
                let (id, _) = &self.seen[usize::from(*last)];
                body["bulkUpdatePrivateIpItem"] = json!([{ "privateIpId": id }]);
                self.call(
                    "POST",
                    "privateIps/actions/bulkUpdatePrivateIps",
                    None,
                    &body,
                );
            }
            Step::Wait(milliseconds) => self.now += TimeDelta::milliseconds(*milliseconds),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn no_address_is_on_two_vnics_and_an_old_version_changes_nothing(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let seen = std::array::from_fn(|_| (String::new(), String::new()));
        let mut lab = Lab { world: world(), now: Time::UNIX_EPOCH, seen };
        for step in &steps {
            lab.apply(step);
            let cloud = lab.world.cloud(Provider::Oci).expect("oci");
            prop_assert_eq!(cloud.check_all(), Ok(()));
            // Each private IP is there once.
            let held = cloud.nics().flat_map(|nic| &nic.latest().addresses);
            let mut names: Vec<&str> = held.map(|held| held.name.as_str()).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            prop_assert_eq!(names.len(), all);
        }
    }
}
