//! `samctl lab fakecloud`: what it serves, and what it says of a scenario that is wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use samctl::exit::Exit;
use serde_json::Value;

use crate::run::{Scratch, binary, folder, run};

#[test]
fn the_example_is_served_and_ends_at_a_signal() {
    let mut lab = Lab::start(&folder("configs/lab/fakecloud.yaml"));

    let state = lab.ask("GET /fakecloud/state", "");
    let first = &state["aws"]["nics"][0];
    assert_eq!(first["nic"], "eni-0a");
    assert_eq!(first["addresses"][1], "10.77.60.10");
    assert_eq!(state["azure"]["nics"][0]["nic"], "nic-a");
    let vnic = &state["oci"]["nics"][0];
    assert_eq!(vnic["nic"], "ocid1.vnic.oc1.eu-frankfurt-1.a");
    assert_eq!(vnic["sourceDestCheck"], false);
    let faults = lab.ask("GET /fakecloud/faults", "");
    assert_eq!(faults[0]["fault"]["effect"], "loseAnswer");
    let wrong = lab.ask("POST /fakecloud/faults", r#"{"effect": "explode"}"#);
    assert!(
        wrong["error"]
            .as_str()
            .is_some_and(|text| text.contains("explode"))
    );
    assert!(wrong["remedy"].is_string());
    let refused = lab.ask("POST /", "Action=DescribeSubnets");
    assert_eq!(refused, Value::Null, "unsigned, and XML");
    let calls = lab.ask("GET /fakecloud/calls", "");
    assert_eq!(calls["entries"][0]["code"], "MissingAuthenticationToken");
    let refused = lab.ask("GET /20160918/vnics/x", "");
    assert_eq!(refused["code"], "NotAuthenticated");

    assert!(lab.end(), "exit code 0");
}

#[test]
fn every_mistake_of_a_scenario_has_its_place_and_a_remedy() {
    let scenario = "aws:
  region: eu-central-1
  account: \"1\"
  subnets: [{id: subnet-0a, network: vpc-0a, prefix: 10.77.60.0/24}]
  keys: [{id: AKIALAB, secret: lab-secret, role: router}]
  instances:
    - id: i-0a
      role: routers
      nics:
        - {id: eni-0a, subnet: subnet-0a, mac: \"02:00:00:00:0a:0a\", address: 10.77.61.4}
        - {id: eni-0b, subnet: subnet-0b, mac: \"02:00:00:00:0a\", address: 10.77.60.4}
";
    let file = Scratch::new("wrong", scenario);
    let path = file.path();
    let printed = run(&["lab", "fakecloud", "-o", "json", "-c", &path]);
    let text = printed.stdout + &printed.stderr;
    assert_eq!(printed.exit, Exit::Usage, "{text}");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let list = report.as_array().expect("a list");
    let mut found: Vec<(u64, &str)> = list
        .iter()
        .map(|entry| {
            assert!(entry["help"].is_string(), "{entry}");
            let message = entry["message"].as_str().unwrap_or_default();
            (entry["line"].as_u64().unwrap_or_default(), message)
        })
        .collect();
    let expected = [
        (5, "there is no role router"),
        (8, "there is no role routers"),
        (10, "the subnet does not give out 10.77.61.4"),
        (11, "'02:00:00:00:0a' is no hardware address"),
        (11, "there is no subnet subnet-0b"),
    ];
    found.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn a_key_that_is_unknown_or_missing_is_refused_at_its_line() {
    for (scenario, words) in [
        ("aws:\n  colour: red\n", "unknown field"),
        ("azure:\n  region: westeurope\n", "missing field"),
        ("seed: 1\n", "no provider"),
        ("aws: [\n", "shape.yaml:"),
        (NO_KEY, "public RSA key"),
    ] {
        let file = Scratch::new("shape", scenario);
        let path = file.path();
        let printed = run(&["lab", "fakecloud", "-c", &path]);
        let text = printed.stdout + &printed.stderr;
        assert_eq!(printed.exit, Exit::Usage, "{text}");
        assert!(text.contains(words), "{scenario}: {text}");
    }
}

/// The secret of OCI's key is the public half, and this is none.
const NO_KEY: &str = "oci:
  region: eu-frankfurt-1
  account: tenancy
  subnets: []
  instances: []
  roles: {router: {allow: []}}
  keys: [{id: user/fingerprint, secret: lab-secret, role: router}]
";

/// A running fake.
struct Lab {
    child: Child,
    address: String,
}

impl Lab {
    fn start(scenario: &std::path::Path) -> Self {
        let mut command: Command =
            binary(&["lab", "fakecloud", "-o", "json", "--listen", "127.0.0.1:0"]);
        command.arg("-c").arg(scenario).stdout(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let stdout = child.stdout.take().expect("piped");
        let mut text = String::new();
        for line in BufReader::new(stdout).lines() {
            text.push_str(&line.expect("text"));
            if serde_json::from_str::<Value>(&text).is_ok() {
                break;
            }
        }
        let said: Value = serde_json::from_str(&text).expect("JSON");
        let url = said["url"].as_str().expect("a URL");
        let address = url.trim_start_matches("http://").to_owned();
        Self { child, address }
    }

    /// Sends a request, and returns the JSON of the answer.
    fn ask(&self, line: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(&self.address).expect("connected");
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nhost: fake\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).unwrap_or_default()
    }

    /// Ends it, and tells whether it went well.
    fn end(&mut self) -> bool {
        let id = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &id]).status();
        assert!(killed.expect("kill").success());
        self.child.wait().expect("ended").success()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
