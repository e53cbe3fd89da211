//! Two speakers with a bad cable: whatever arrives instead of what was sent, once the cable is good again and the
//! sessions are new, both know what the other told them, and elect the same owners.
//!
//! The input is a list of steps: a kind, an argument, and for some kinds more bytes. The fuzz target
//! `bgp_propagation` searches for inputs that break this; `fuzzed.rs` replays its seeds.

use std::collections::BTreeMap;

use sam_bgp::PathAttributes;
use sam_bgp::session::SessionState;

use crate::fabric::Fabric;
use crate::vocabulary::{millis, peer, peer_config, prefix, route, router, seconds};

/// Steps of one input that are carried out; more would only be slow.
const STEPS: usize = 48;
/// Prefixes that are originated.
const PREFIXES: u8 = 4;

/// Carries out the steps that `data` stands for.
///
/// # Panics
/// When the speakers do not agree in the end.
pub(crate) fn check(data: &[u8]) {
    let mut run = Run::new();
    let mut input = data;
    for _ in 0..STEPS {
        let Some(([kind, argument], rest)) = input.split_first_chunk() else {
            break;
        };
        input = rest;
        run.step(*kind, *argument, &mut input);
        run.no_route_outlives_its_session();
    }
    run.aftermath();
}

struct Run {
    fabric: Fabric,
    /// LOCAL_PREF of every originated route, by prefix and router.
    claims: BTreeMap<(u8, u8), u32>,
    spoiled: bool,
}

impl Run {
    fn new() -> Self {
        let mut fabric = Fabric::new(|| millis(5));
        fabric.add(1, 1, vec![peer_config(2)]);
        fabric.add(2, 2, vec![peer_config(1)]);
        Self {
            fabric,
            claims: BTreeMap::new(),
            spoiled: false,
        }
    }

    fn step(&mut self, kind: u8, argument: u8, input: &mut &[u8]) {
        let host = 1 + argument % 2;
        let number = argument / 2 % PREFIXES;
        match kind % 10 {
            0..=2 => {
                // Unequal for different routers, so that there is one owner.
                let local_pref = 2 * u32::from(argument / 8) + u32::from(host);
                self.claims.insert((number, host), local_pref);
                self.fabric.with(host, |speaker, now| {
                    speaker.originate(prefix(number), route(host, local_pref), now);
                });
            }
            3 => {
                self.claims.remove(&(number, host));
                self.fabric
                    .with(host, |speaker, now| speaker.withdraw(prefix(number), now));
            }
            4 | 5 => self.fabric.run_for(millis(20 * u64::from(argument))),
            6 | 7 => {
                if let Some(([at, bits], rest)) = input.split_first_chunk() {
                    *input = rest;
                    self.spoiled = true;
                    self.fabric.spoil_next(host, usize::from(*at), *bits);
                }
            }
            8 => {
                let (bytes, rest) = input.split_at(input.len().min(argument.into()));
                *input = rest;
                self.spoiled |= !bytes.is_empty();
                self.fabric.inject(3 - host, host, bytes);
            }
            _ => self.fabric.set_cut(1, 2, argument.is_multiple_of(2)),
        }
    }

    fn aftermath(&mut self) {
        self.fabric.spoil_nothing();
        if self.spoiled {
            // Nobody can tell that a byte of an address was changed; what was heard lives as long as the session.
            self.fabric.set_cut(1, 2, true);
            self.fabric.run_for(seconds(30));
        }
        self.fabric.set_cut(1, 2, false);
        self.fabric.run_for(seconds(150));

        for (host, other) in [(1, 2), (2, 1)] {
            assert_eq!(
                self.fabric.view(host, other).state,
                SessionState::Established
            );
            assert_eq!(
                self.told(host, other),
                self.heard(other, host),
                "{host} to {other}"
            );
            for number in 0..PREFIXES {
                let claims =
                    [1, 2].map(|host| Some((self.claims.get(&(number, host))?, router(host))));
                let owner = claims.into_iter().flatten().max().map(|(_, owner)| owner);
                let best = self.fabric.nodes[&host].speaker.best(prefix(number));
                assert_eq!(
                    best.map(|best| best.attributes.next_hop),
                    owner,
                    "{host} about {number}"
                );
            }
        }
        self.no_route_outlives_its_session();
    }

    fn told(&self, host: u8, to: u8) -> Vec<(ipnet::Ipv4Net, PathAttributes)> {
        let advertised = self.fabric.nodes[&host].speaker.advertised(peer(to));
        advertised
            .into_iter()
            .map(|(route, attributes)| (route.prefix, attributes))
            .collect()
    }

    fn heard(&self, host: u8, of: u8) -> Vec<(ipnet::Ipv4Net, PathAttributes)> {
        let accepted = self.fabric.nodes[&host]
            .speaker
            .accepted(peer(of))
            .into_iter();
        accepted
            .map(|(prefix, path)| (prefix, (*path.attributes).clone()))
            .collect()
    }

    fn no_route_outlives_its_session(&self) {
        for (host, node) in &self.fabric.nodes {
            let other = 3 - host;
            let established = self.fabric.view(*host, other).state == SessionState::Established;
            let mut paths = node
                .speaker
                .prefixes()
                .into_iter()
                .flat_map(|prefix| node.speaker.paths(prefix));
            assert!(
                established || paths.all(|path| path.path.source.peer().is_none()),
                "{host}"
            );
        }
    }
}
