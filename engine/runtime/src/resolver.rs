//! Endpoint names to addresses, again and again: a node that got a new address is found without a restart.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use sam_capture::NodeId;
use sam_router::config::{Config, Host};
use tokio::sync::mpsc;
use tracing::debug;

/// Time between two look-ups of a name.
const INTERVAL: Duration = Duration::from_secs(15);
/// Answers that may wait.
const ANSWERS: usize = 256;

/// Knows the current address of every node that has an endpoint.
#[derive(Debug)]
pub(crate) struct Resolver {
    known: BTreeMap<NodeId, SocketAddr>,
    next: BTreeMap<NodeId, Instant>,
    answers: mpsc::Receiver<(NodeId, SocketAddr)>,
    sender: mpsc::Sender<(NodeId, SocketAddr)>,
}

impl Resolver {
    /// Knows nothing yet.
    pub(crate) fn new() -> Self {
        let (sender, answers) = mpsc::channel(ANSWERS);
        Self {
            known: BTreeMap::new(),
            next: BTreeMap::new(),
            answers,
            sender,
        }
    }

    /// Forgets everything, after the configuration changed.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
        self.next.clear();
        while self.answers.try_recv().is_ok() {}
    }

    /// Starts due look-ups, takes finished ones, and returns what is known now.
    pub(crate) fn poll(&mut self, config: &Config) -> &BTreeMap<NodeId, SocketAddr> {
        let now = Instant::now();
        for node in config.fabric.nodes.values() {
            let Some(endpoint) = &node.endpoint else {
                continue;
            };
            match &endpoint.host {
                Host::Address(address) => {
                    self.known
                        .insert(node.id, SocketAddr::new(*address, endpoint.port));
                }
                Host::Name(name) => {
                    if self.next.get(&node.id).is_some_and(|at| now < *at) {
                        continue;
                    }
                    self.next.insert(node.id, now + INTERVAL);
                    self.look_up(node.id, name.clone(), endpoint.port);
                }
            }
        }
        while let Ok((node, address)) = self.answers.try_recv() {
            self.known.insert(node, address);
        }
        &self.known
    }

    fn look_up(&self, node: NodeId, name: String, port: u16) {
        let sender = self.sender.clone();
        tokio::task::spawn_blocking(move || match (name.as_str(), port).to_socket_addrs() {
            Ok(mut addresses) => {
                if let Some(address) = addresses.next() {
                    // A full queue means that the loop is behind; the next look-up will do.
                    sender.try_send((node, address)).ok();
                }
            }
            Err(error) => debug!(%name, %error, "cannot resolve an endpoint"),
        });
    }
}
