//! Endpoint names to addresses, again and again: a node that got a new address is found without a restart.
//!
//! Of several addresses of a name one is in use as long as the name has it and the tunnel carries packets: the order
//! of answers changes from look-up to look-up and means nothing. While the tunnel is down every look-up tries the next.

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
/// Addresses of a name that are tried.
const ADDRESSES: usize = 16;

/// Knows the current address of every node that has an endpoint.
#[derive(Debug)]
pub(crate) struct Resolver {
    known: BTreeMap<NodeId, SocketAddr>,
    next: BTreeMap<NodeId, Instant>,
    /// What was in use before the configuration changed; stays if the name still has it.
    former: BTreeMap<NodeId, SocketAddr>,
    /// One look-up per node at a time; a slow resolver must not gather threads.
    under_way: BTreeSet<NodeId>,
    /// Answers to questions of an earlier configuration are worth nothing.
    epoch: u64,
    answers: mpsc::Receiver<Answer>,
    sender: mpsc::Sender<Answer>,
}

/// What a look-up found, of both families, the resolver's favorite first; perhaps nothing.
#[derive(Debug)]
struct Answer {
    epoch: u64,
    node: NodeId,
    addresses: Vec<SocketAddr>,
}

impl Resolver {
    /// Knows nothing yet.
    pub(crate) fn new() -> Self {
        let (sender, answers) = mpsc::channel(ANSWERS);
        Self {
            known: BTreeMap::new(),
            next: BTreeMap::new(),
            former: BTreeMap::new(),
            under_way: BTreeSet::new(),
            epoch: 0,
            answers,
            sender,
        }
    }

    /// Forgets all addresses, after the configuration changed.
    pub(crate) fn forget(&mut self) {
        self.former.append(&mut self.known);
        self.next.clear();
        self.under_way.clear();
        self.epoch += 1;
    }

    /// Starts due look-ups, takes finished ones, and returns what is known now. `serves` tells whether the tunnel to a
    /// node carries packets.
    pub(crate) fn poll(
        &mut self,
        config: &Config,
        serves: impl Fn(NodeId) -> bool,
    ) -> &BTreeMap<NodeId, SocketAddr> {
        let now = Instant::now();
        self.take_answers(serves);
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

    fn take_answers(&mut self, serves: impl Fn(NodeId) -> bool) {
        while let Ok(answer) = self.answers.try_recv() {
            if answer.epoch != self.epoch {
                continue;
            }
            self.under_way.remove(&answer.node);
            let node = answer.node;
            let current = self.known.get(&node).or_else(|| self.former.get(&node));
            if let Some(address) = choose(&answer.addresses, current, serves(node)) {
                self.known.insert(node, address);
            }
        }
    }

    fn look_up(&self, node: NodeId, name: String, port: u16) {
        let (sender, epoch) = (self.sender.clone(), self.epoch);
        tokio::task::spawn_blocking(move || {
            let addresses = match (name.as_str(), port).to_socket_addrs() {
                Ok(addresses) => addresses.take(ADDRESSES).collect(),
                Err(error) => {
                    debug!(%name, %error, "cannot resolve an endpoint");
                    Vec::new()
                }
            };
            let answer = Answer {
                epoch,
                node,
                addresses,
            };
            // The loop takes answers every second; it is gone only when the program ends.
            sender.blocking_send(answer).ok();
        });
    }
}

/// Chooses the address to use from now on; `None` when nothing was found.
fn choose(
    addresses: &[SocketAddr],
    current: Option<&SocketAddr>,
    serves: bool,
) -> Option<SocketAddr> {
    let position = current.and_then(|current| addresses.iter().position(|a| a == current));
    let index = match position {
        Some(position) if serves => position,
        Some(position) => (position + 1) % addresses.len(),
        None => 0,
    };
    addresses.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_in_use_stays_while_it_serves_and_the_next_is_tried_while_it_does_not() {
        let address = |last: u8| SocketAddr::from(([192, 0, 2, last], 51_820));
        let six = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 51_820));
        let (one, two) = (address(1), address(2));
        let (up, down) = (true, false);
        let table = [
            ("the first of a name", vec![one, two], None, up, Some(one)),
            ("another order", vec![two, one], Some(one), up, Some(one)),
            ("no longer there", vec![two, six], Some(one), up, Some(two)),
            ("nothing found", vec![], Some(one), up, None),
            ("does not serve", vec![one, six], Some(one), down, Some(six)),
            ("the last one", vec![one, six], Some(six), down, Some(one)),
            ("the only one", vec![one], Some(one), down, Some(one)),
            ("nothing, down", vec![], Some(one), down, None),
        ];
        for (case, addresses, current, serves, expected) in table {
            assert_eq!(
                choose(&addresses, current.as_ref(), serves),
                expected,
                "{case}"
            );
        }
    }

    #[test]
    fn while_a_tunnel_is_down_every_look_up_tries_another_address() {
        let mut resolver = Resolver::new();
        let node = NodeId(2);
        let address = |last: u8| SocketAddr::from(([192, 0, 2, last], 51_820));
        let look_up = |resolver: &mut Resolver, serves| {
            let answer = Answer {
                epoch: resolver.epoch,
                node,
                addresses: vec![address(1), address(2)],
            };
            resolver.sender.try_send(answer).expect("room");
            resolver.take_answers(|_| serves);
            resolver.known[&node]
        };
        assert_eq!(look_up(&mut resolver, false), address(1));
        assert_eq!(look_up(&mut resolver, false), address(2));
        assert_eq!(look_up(&mut resolver, false), address(1));
        assert_eq!(look_up(&mut resolver, false), address(2));
        assert_eq!(look_up(&mut resolver, true), address(2));
        resolver.forget();
        assert_eq!(look_up(&mut resolver, true), address(2), "after a reload");
    }

    #[test]
    fn an_answer_of_a_former_configuration_is_ignored() {
        let mut resolver = Resolver::new();
        let node = NodeId(2);
        let answer = |epoch, last: u8| Answer {
            epoch,
            node,
            addresses: vec![SocketAddr::from(([192, 0, 2, last], 51_820))],
        };
        resolver.forget();
        resolver.sender.try_send(answer(1, 1)).expect("room");
        resolver.sender.try_send(answer(0, 2)).expect("room");

        resolver.take_answers(|_| true);

        assert_eq!(
            resolver.known[&node],
            SocketAddr::from(([192, 0, 2, 1], 51_820))
        );
    }
}
