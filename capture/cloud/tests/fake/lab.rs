//! A fake cloud on a loopback port, looked at and disturbed through its own API.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sam_capture::Provider;
use sam_capture::provider::{Entry, Fence, Holder, Observation, Operation, Outcome, ProviderError};
use sam_cloud::Settings;
use sam_cloud::http::{Answer, Call, Client, Method};
use sam_fakecloud::server_thread::ServerThread;
use sam_fakecloud::{Scenario, World, server};
use serde_json::{Value, json};

/// A served scenario; it ends with this value.
pub(crate) struct Lab {
    pub(crate) url: String,
    _server: ServerThread,
}

impl Lab {
    pub(crate) fn serve(scenario: Value) -> Self {
        let scenario: Scenario = serde_json::from_value(scenario).expect("a scenario");
        let world = World::new(&scenario, [0; 32], server::now()).expect("a possible world");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let world = Arc::new(Mutex::new(world));
        let server = ServerThread::start(listener, world).expect("a thread");
        Self {
            url: format!("http://{}", server.address()),
            _server: server,
        }
    }

    /// The settings of an instance whose capture interface has this hardware address.
    pub(crate) fn settings(&self, instance: &str, mac: &str) -> Settings {
        let mut settings = Settings::new(mac.parse().expect("a hardware address"));
        settings.endpoints.api = Some(self.url.clone());
        settings.endpoints.metadata = Some(format!("{}/instances/{instance}", self.url));
        settings
    }

    pub(crate) fn call(&self, call: &Call) -> Answer {
        let settings = self.settings("none", "02:00:00:00:00:00");
        let mut client = Client::new(&settings).expect("a client");
        client.send(call).expect("an answer")
    }

    fn look(&self, what: &str) -> Value {
        let url = format!("{}/fakecloud/{what}", self.url);
        let answer = self.call(&Call::new(Method::Get, url, Duration::from_secs(5)));
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// Orders a fault.
    pub(crate) fn disturb(&self, fault: &Value) {
        let url = format!("{}/fakecloud/faults", self.url);
        let mut call = Call::new(Method::Post, url, Duration::from_secs(5));
        call.body = fault.to_string().into_bytes();
        assert_eq!(self.call(&call).status, 201, "{fault}");
    }

    pub(crate) fn calm(&self) {
        let url = format!("{}/fakecloud/faults", self.url);
        let call = Call::new(Method::Delete, url, Duration::from_secs(5));
        assert_eq!(self.call(&call).status, 204);
    }

    /// How often an operation was called.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        let calls = self.look("calls");
        let calls = calls["entries"].as_array().expect("calls").iter();
        calls.filter(|call| call["operation"] == operation).count()
    }

    /// How many calls there were.
    pub(crate) fn all_calls(&self) -> usize {
        let calls = self.look("calls");
        calls["entries"].as_array().expect("calls").len()
    }

    /// How many changes there were.
    pub(crate) fn changes(&self) -> usize {
        self.ledger().len()
    }

    /// All changes, in their order.
    pub(crate) fn ledger(&self) -> Vec<Value> {
        let ledger = self.look("ledger");
        ledger["entries"].as_array().expect("a ledger").clone()
    }

    /// Changes a NIC as somebody at the console would.
    pub(crate) fn by_hand(&self, nic: &str, change: &Value) {
        let url = format!("{}/fakecloud/nics/{nic}", self.url);
        let mut call = Call::new(Method::Post, url, Duration::from_secs(5));
        call.body = change.to_string().into_bytes();
        assert_eq!(self.call(&call).status, 200, "{change}");
    }

    /// Starts or stops an instance.
    pub(crate) fn run(&self, instance: &str, runs: bool) {
        let action = if runs { "start" } else { "stop" };
        let url = format!("{}/fakecloud/instances/{instance}/{action}", self.url);
        let call = Call::new(Method::Post, url, Duration::from_secs(5));
        assert_eq!(self.call(&call).status, 204, "{instance}");
    }

    /// Whether a NIC carries only packets of its own.
    pub(crate) fn checks_sources(&self, nic: &str) -> bool {
        self.nic(nic)["sourceDestCheck"].as_bool().expect("a flag")
    }

    fn nic(&self, nic: &str) -> Value {
        let state = self.look("state");
        let clouds = state.as_object().expect("clouds").values();
        let nics = clouds.flat_map(|cloud| cloud["nics"].as_array().expect("NICs"));
        let mut found = nics.filter(|known| known["nic"] == nic);
        found.next().expect("the NIC").clone()
    }

    /// The addresses on a NIC, as they really are.
    pub(crate) fn addresses(&self, nic: &str) -> Vec<String> {
        let held = self.nic(nic)["addresses"].clone();
        let mut addresses: Vec<String> = serde_json::from_value(held).expect("addresses");
        addresses.sort();
        addresses
    }
}

/// An instance of a scenario.
pub(crate) fn instance(name: &str, kind: &str, nic: &str, octet: u8) -> Value {
    json!({
        "id": name, "type": kind, "role": "router",
        "nics": [{
            "id": nic, "subnet": "subnet-a", "mac": format!("02:00:00:00:0a:{octet:02x}"),
            "address": format!("10.77.60.{octet}"), "tags": {"sam-group": "lab"},
        }],
    })
}

/// The reason holds.
pub(crate) struct Holds;

impl Fence for Holds {
    fn is_current(&self) -> bool {
        true
    }
}

/// The reason has ended.
pub(crate) struct Ended;

impl Fence for Ended {
    fn is_current(&self) -> bool {
        false
    }
}

/// The reason holds so many times.
pub(crate) struct HoldsFor(pub(crate) Cell<u32>);

impl Fence for HoldsFor {
    fn is_current(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

/// The reason holds, and something happens when it is first asked for: directly before a change.
pub(crate) struct Meanwhile<F: Fn()>(pub(crate) Cell<bool>, pub(crate) F);

impl<F: Fn()> Meanwhile<F> {
    pub(crate) fn new(happens: F) -> Self {
        Self(Cell::new(false), happens)
    }
}

impl<F: Fn()> Fence for Meanwhile<F> {
    fn is_current(&self) -> bool {
        if !self.0.replace(true) {
            (self.1)();
        }
        true
    }
}

pub(crate) fn address(octet: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 60, octet)
}

pub(crate) fn addresses(octets: &[u8]) -> BTreeSet<Ipv4Addr> {
    octets.iter().map(|octet| address(*octet)).collect()
}

/// What tests ask a provider.
pub(crate) trait Asking: Provider {
    fn ask(&mut self, operation: &Operation) -> Result<Outcome, ProviderError> {
        self.perform(operation, &Holds)
    }

    fn observed(&mut self) -> Observation {
        match self.ask(&Operation::Observe) {
            Ok(Outcome::Observed(observation)) => observation,
            other => panic!("{other:?}"),
        }
    }

    /// Our own addresses, without the primary.
    fn held(&mut self) -> BTreeSet<Ipv4Addr> {
        let entries = self.observed().entries.into_iter();
        let secondary = entries.filter(|(_, entry)| !entry.primary);
        secondary.map(|(address, _)| address).collect()
    }

    fn holder(&mut self, octet: u8) -> Option<Holder> {
        self.holders(&[octet]).remove(&address(octet))
    }

    fn holders(&mut self, octets: &[u8]) -> BTreeMap<Ipv4Addr, Holder> {
        match self.ask(&Operation::FindHolders(addresses(octets))) {
            Ok(Outcome::Holders(holders)) => holders,
            other => panic!("{other:?}"),
        }
    }

    fn assign(&mut self, octets: &[u8]) -> Result<Outcome, ProviderError> {
        let version = None;
        let addresses = addresses(octets);
        self.ask(&Operation::Assign { addresses, version })
    }

    fn unassign(&mut self, octets: &[u8]) -> Result<Outcome, ProviderError> {
        let observation = self.observed();
        let unknown = Entry {
            primary: false,
            ours: Some(true),
            id: None,
            version: None,
        };
        let entry = |octet: &u8| {
            let known = observation.entries.get(&address(*octet));
            (address(*octet), known.unwrap_or(&unknown).clone())
        };
        let addresses = octets.iter().map(entry).collect();
        let version = observation.version.clone();
        self.ask(&Operation::Unassign { addresses, version })
    }

    fn seize(&mut self, octets: &[u8]) -> Result<Outcome, ProviderError> {
        let held = octets.iter();
        let held = held.map(|octet| (address(*octet), self.holder(*octet).expect("a holder")));
        let addresses = held.collect();
        self.ask(&Operation::Seize { addresses })
    }

    /// What the instance may do, by the provider's names.
    fn granted(&mut self, action: &str) -> Option<bool> {
        match self.ask(&Operation::Preflight) {
            Ok(Outcome::Permissions(permissions)) => {
                let mut found = permissions.iter().filter(|known| known.action == action);
                found.next().expect("an answer about it").granted
            }
            other => panic!("{other:?}"),
        }
    }
}

impl<P: Provider> Asking for P {}
