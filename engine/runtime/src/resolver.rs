//! Endpoint names to addresses, again and again: a node that got a new address is found without a restart.

use std::collections::{BTreeMap, BTreeSet};
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
    /// One look-up per node at a time; a slow resolver must not gather threads.
    under_way: BTreeSet<NodeId>,
    /// Answers to questions of an earlier configuration are worth nothing.
    epoch: u64,
    answers: mpsc::Receiver<Answer>,
    sender: mpsc::Sender<Answer>,
}

/// What a look-up found, perhaps nothing.
#[derive(Debug)]
struct Answer {
    epoch: u64,
    node: NodeId,
    address: Option<SocketAddr>,
}

impl Resolver {
    /// Knows nothing yet.
    pub(crate) fn new() -> Self {
        let (sender, answers) = mpsc::channel(ANSWERS);
        Self {
            known: BTreeMap::new(),
            next: BTreeMap::new(),
            under_way: BTreeSet::new(),
            epoch: 0,
            answers,
            sender,
        }
    }

    /// Forgets everything, after the configuration changed.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
        self.next.clear();
        self.under_way.clear();
        self.epoch += 1;
    }

    /// Starts due look-ups, takes finished ones, and returns what is known now.
    pub(crate) fn poll(&mut self, config: &Config) -> &BTreeMap<NodeId, SocketAddr> {
        let now = Instant::now();
        self.take_answers();
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
                    if self.next.get(&node.id).is_some_and(|at| now < *at)
                        || !self.under_way.insert(node.id)
                    {
                        continue;
                    }
                    self.next.insert(node.id, now + INTERVAL);
                    self.look_up(node.id, name.clone(), endpoint.port);
                }
            }
        }
        &self.known
    }

    fn take_answers(&mut self) {
        while let Ok(answer) = self.answers.try_recv() {
            if answer.epoch != self.epoch {
                continue;
            }
            self.under_way.remove(&answer.node);
            if let Some(address) = answer.address {
                self.known.insert(answer.node, address);
            }
        }
    }

    fn look_up(&self, node: NodeId, name: String, port: u16) {
        let (sender, epoch) = (self.sender.clone(), self.epoch);
        tokio::task::spawn_blocking(move || {
            let address = match (name.as_str(), port).to_socket_addrs() {
                Ok(mut addresses) => addresses.next(),
                Err(error) => {
                    debug!(%name, %error, "cannot resolve an endpoint");
                    None
                }
            };
            let answer = Answer {
                epoch,
                node,
                address,
            };
            // The loop takes answers every second; it is gone only when the program ends.
            sender.blocking_send(answer).ok();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_a_former_configuration_is_ignored() {
        let mut resolver = Resolver::new();
        let node = NodeId(2);
        let answer = |epoch, last: u8| Answer {
            epoch,
            node,
            address: Some(SocketAddr::from(([192, 0, 2, last], 51_820))),
        };
        resolver.forget();
        resolver.sender.try_send(answer(1, 1)).expect("room");
        resolver.sender.try_send(answer(0, 2)).expect("room");

        resolver.take_answers();

        assert_eq!(
            resolver.known[&node],
            SocketAddr::from(([192, 0, 2, 1], 51_820))
        );
    }
}
