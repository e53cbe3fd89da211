//! The EC2 wire against moto, a server that others wrote: names of parameters and elements, codes of errors.
//!
//! Only the wire: what moto does with addresses is not what EC2 does. Without it the test is ignored, and the reason
//! printed; `SAM_TEST_PYTHON` names the Python that has it.

#[path = "../fake/stub.rs"]
mod stub;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Trial};
use sam_capture::Provider;
use sam_capture::provider::{
    ErrorClass, Fence, Observation, Operation, Outcome, Permission, ProviderError,
};
use sam_cloud::Settings;
use sam_cloud::aws::Aws;
use serde_json::Value;
use stub::{Stub, respond};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let name = "aws_by_moto";
    let trial = match missing() {
        None => Trial::test(name, || {
            each_call_is_understood();
            Ok(())
        }),
        Some(reason) => {
            Trial::test(format!("{name} ({reason})"), || Ok(())).with_ignored_flag(true)
        }
    };
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

fn python() -> String {
    std::env::var("SAM_TEST_PYTHON").unwrap_or_else(|_| "python3".into())
}

fn missing() -> Option<String> {
    let python = python();
    let probe = [
        "-c",
        "import boto3; from moto.server import ThreadedMotoServer",
    ];
    match Command::new(&python).args(probe).output() {
        Err(error) => Some(format!("{python}: {error}")),
        Ok(output) if output.status.success() => None,
        Ok(_) => Some(format!("{python} has no moto server")),
    }
}

/// moto in a process of its own, which ends with this value.
struct Moto {
    process: Child,
    facts: Value,
}

impl Moto {
    fn start() -> Self {
        let mut process = Command::new(python())
            .args(["-c", include_str!("server.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let output = process.stdout.take().expect("its output");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let facts = lines.find_map(|line| serde_json::from_str(&line).ok());
        let facts = facts.expect("moto tells what there is");
        Self { process, facts }
    }

    fn fact(&self, name: &str) -> String {
        self.facts[name].as_str().expect(name).to_owned()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().expect("moto ends with its input");
    }
}

/// What the metadata service would say of moto's instance.
fn metadata(facts: &Value) -> Stub {
    let fact = |name: &str| facts[name].as_str().expect(name).to_owned();
    let mac = fact("mac");
    let interface = |name: &str| format!("meta-data/network/interfaces/macs/{mac}/{name}");
    let document = serde_json::json!({
        "region": "eu-central-1", "accountId": "123456789012", "availabilityZone": "eu-central-1a",
        "instanceId": fact("instance"), "instanceType": "t3.medium",
    });
    let credentials = r#"{"Code": "Success", "AccessKeyId": "ASIAX", "SecretAccessKey": "s", "Token": "t",
        "Expiration": "2999-01-01T00:00:00Z"}"#;
    let known = BTreeMap::from([
        ("api/token".to_owned(), "token".to_owned()),
        (
            "dynamic/instance-identity/document".to_owned(),
            document.to_string(),
        ),
        (
            "meta-data/network/interfaces/macs/".to_owned(),
            format!("{mac}/"),
        ),
        (interface("interface-id"), fact("nic")),
        (interface("subnet-id"), fact("subnet")),
        (interface("vpc-id"), fact("vpc")),
        (
            interface("subnet-ipv4-cidr-block"),
            "10.77.60.0/24".to_owned(),
        ),
        (
            "meta-data/iam/security-credentials/".to_owned(),
            "role".to_owned(),
        ),
        (
            "meta-data/iam/security-credentials/role".to_owned(),
            credentials.to_owned(),
        ),
    ]);
    Stub::serve(move |head, stream| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        match known.get(path.trim_start_matches("/latest/")) {
            Some(text) => respond(stream, "200 OK", text),
            None => respond(stream, "404 Not Found", ""),
        }
    })
}

struct Holds;

impl Fence for Holds {
    fn is_current(&self) -> bool {
        true
    }
}

fn ask(aws: &mut Aws, operation: &Operation) -> Result<Outcome, ProviderError> {
    aws.perform(operation, &Holds)
}

fn observe(aws: &mut Aws) -> Observation {
    match ask(aws, &Operation::Observe) {
        Ok(Outcome::Observed(observation)) => observation,
        other => panic!("{other:?}"),
    }
}

fn each_call_is_understood() {
    let moto = Moto::start();
    let metadata = metadata(&moto.facts);
    let mut settings = Settings::new(moto.fact("mac").parse().expect("an address"));
    settings.endpoints.metadata = Some(metadata.url());
    settings.endpoints.api = Some(moto.fact("url"));
    let mut aws = Aws::new(&settings).expect("a client");
    let own: Ipv4Addr = moto.fact("address").parse().expect("an address");
    let [first, second] = [Ipv4Addr::new(10, 77, 60, 30), Ipv4Addr::new(10, 77, 60, 31)];

    let before = observe(&mut aws);
    assert_eq!(before.nic.0, moto.fact("nic"));
    assert!(before.entries[&own].primary && !before.forwarding);
    assert_eq!(
        before.limit,
        Some(6),
        "DescribeInstanceTypes: what a t3.medium has"
    );

    let addresses = [first, second].into();
    let done = ask(
        &mut aws,
        &Operation::Assign {
            addresses,
            version: None,
        },
    );
    assert!(
        matches!(
            done,
            Ok(Outcome::Done {
                request_id: Some(_)
            })
        ),
        "{done:?}"
    );
    let entries = observe(&mut aws).entries;
    assert!(!entries[&first].primary && !entries[&second].primary);

    let holder = ask(&mut aws, &Operation::FindHolders([own].into()));
    let Ok(Outcome::Holders(holders)) = holder else {
        panic!("{holder:?}");
    };
    assert_eq!(holders[&own].nic, before.nic);
    let Ok(Outcome::Inventory(inventory)) = ask(&mut aws, &Operation::Inventory) else {
        panic!("no inventory");
    };
    assert_eq!(
        inventory[&Ipv4Addr::new(10, 77, 60, 20)].nic.0,
        moto.fact("other")
    );
    assert_eq!(inventory[&second].nic, before.nic);
    assert_eq!(inventory[&own].running, Some(true));

    let one = [(first, entries[&first].clone())].into();
    ask(
        &mut aws,
        &Operation::Unassign {
            addresses: one,
            version: None,
        },
    )
    .expect("given back");
    assert!(!observe(&mut aws).entries.contains_key(&first));
    for enabled in [true, false] {
        ask(
            &mut aws,
            &Operation::SetForwarding {
                enabled,
                version: None,
            },
        )
        .expect("switched");
        assert_eq!(observe(&mut aws).forwarding, enabled);
    }
    check_permissions(&ask(&mut aws, &Operation::Preflight));
    check_unknown_nic(&moto, &settings);
}

/// moto has DryRun of the one call that has it.
fn check_permissions(answer: &Result<Outcome, ProviderError>) {
    let Ok(Outcome::Permissions(permissions)) = answer else {
        panic!("{answer:?}");
    };
    let granted = |action: &str| {
        let named = |known: &&Permission| known.action == action;
        permissions.iter().find(named).expect(action).granted
    };
    assert_eq!(granted("ec2:DescribeNetworkInterfaces"), Some(true));
    assert_eq!(granted("ec2:ModifyNetworkInterfaceAttribute"), Some(true));
}

/// The error of a NIC that is gone, and that the client asks anew who it is.
fn check_unknown_nic(moto: &Moto, settings: &Settings) {
    let mut facts = moto.facts.clone();
    facts["nic"] = "eni-0123456789abcdef0".into();
    let metadata = metadata(&facts);
    let mut settings = settings.clone();
    settings.endpoints.metadata = Some(metadata.url());
    let mut aws = Aws::new(&settings).expect("a client");
    let refused = ask(&mut aws, &Operation::Observe).expect_err("no such NIC");
    assert_eq!(refused.class, ErrorClass::PreconditionLost, "{refused}");
    assert_eq!(refused.code, "InvalidNetworkInterfaceID.NotFound");
    let asked = metadata.requests.try_iter().count();
    ask(&mut aws, &Operation::Observe).expect_err("still not");
    assert!(
        metadata.requests.try_iter().count() > 1,
        "asked again after {asked}"
    );
}
