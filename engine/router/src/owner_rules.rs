//! Why an address has the owner that it has: the thirteen rules of mobility.md section 2.5 as a table, the first that
//! holds decides.
//!
//! Who the owner is says BGP, on all nodes alike: the state of the claim (LOCAL_PREF), how its node knows (MED), the
//! lowest overlay address. The rules name the reason, as this node sees it: what is local to one is remote to others.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sam_bgp::PathSource;
use sam_capture::{ClaimSource, ClaimState, NodeId, Owner};

use crate::Router;

/// What the rules look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// The owner by best path.
    pub(crate) winner: Option<Winner>,
    /// Other nodes that actively claim the address and know as well as the owner.
    pub(crate) equals: usize,
    /// It is this router's own address on its LAN.
    pub(crate) own_address: bool,
    /// It is the address that moves with the master of a LAN.
    pub(crate) virtual_address: bool,
    /// Its pool excludes it.
    pub(crate) excluded: bool,
    /// This router answers for it.
    pub(crate) answered: bool,
}

/// The owner by best path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Winner {
    pub(crate) node: NodeId,
    pub(crate) state: ClaimState,
    pub(crate) source: ClaimSource,
    /// This router is the owner.
    pub(crate) local: bool,
    /// The claim is only remembered: nobody has upheld it since a session ended.
    pub(crate) stale: bool,
}

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) number: u8,
    pub(crate) name: &'static str,
    /// What it says of the owner, for people.
    pub(crate) text: &'static str,
    holds: fn(&Evidence) -> bool,
}

/// All rules in their order.
pub(crate) const RULES: [Rule; 13] = [
    Rule {
        number: 1,
        name: "duplicate-provider-home",
        text: "several clouds confirm it: the owner with the lowest overlay address has it",
        holds: |e| e.equals > 0 && e.upheld(|w| w.source == ClaimSource::Provider),
    },
    Rule {
        number: 2,
        name: "static-owner",
        text: "it is configured or ordered at its owner",
        holds: |e| e.upheld(|w| w.source == ClaimSource::Configured && !w.moves()),
    },
    Rule {
        number: 3,
        name: "static-handover",
        text: "it is being moved on purpose",
        holds: |e| e.upheld(|w| w.moves()),
    },
    Rule {
        number: 4,
        name: "self-captured",
        text: "the routers of the LAN hold it themselves",
        holds: |e| e.virtual_address,
    },
    Rule {
        number: 5,
        name: "router-self",
        text: "it is this router's own address on its LAN",
        holds: |e| e.own_address,
    },
    Rule {
        number: 6,
        name: "provider-local-home",
        text: "the cloud of this site confirms it",
        holds: |e| e.upheld(|w| w.local && w.source == ClaimSource::Provider),
    },
    Rule {
        number: 7,
        name: "local-ownership-event",
        text: "its host is heard on the LAN of this router",
        holds: |e| e.upheld(|w| w.local),
    },
    Rule {
        number: 8,
        name: "remote-provider-home",
        text: "the cloud of its owner confirms it",
        holds: |e| e.upheld(|w| w.source == ClaimSource::Provider),
    },
    Rule {
        number: 9,
        name: "confirmed-capture",
        text: "its host is heard at its owner, and this router draws its packets in",
        holds: |e| e.answered && e.upheld(|_| true),
    },
    Rule {
        number: 10,
        name: "self-private-address",
        text: "its pool excludes it: it is the address of a router",
        holds: |e| e.excluded,
    },
    Rule {
        number: 11,
        name: "bgp-home-owner",
        text: "its host is heard at its owner",
        holds: |e| e.upheld(|_| true),
    },
    Rule {
        number: 12,
        name: "stale-capture",
        text: "its owner is only remembered, since a BGP session ended",
        holds: |e| e.winner.is_some(),
    },
    Rule {
        number: 13,
        name: "unknown",
        text: "nobody claims it",
        holds: |_| true,
    },
];

impl Evidence {
    /// Returns the rule that decides.
    pub(crate) fn rule(&self) -> &'static Rule {
        let [.., last] = &RULES;
        RULES.iter().find(|rule| (rule.holds)(self)).unwrap_or(last)
    }

    /// Tells whether a claim that somebody upholds wins, and is like this.
    fn upheld(&self, like: impl Fn(&Winner) -> bool) -> bool {
        self.winner
            .is_some_and(|winner| !winner.stale && like(&winner))
    }
}

impl Winner {
    fn moves(&self) -> bool {
        matches!(self.state, ClaimState::Handover | ClaimState::Draining)
    }
}

impl Router {
    /// Finds the rule that decides about an address.
    pub(crate) fn owner_rule(&self, address: Ipv4Addr) -> &'static Rule {
        self.owner_evidence(address).rule()
    }

    fn owner_evidence(&self, address: Ipv4Addr) -> Evidence {
        let prefix = Ipv4Net::from(address);
        let paths = self.speaker.paths(prefix);
        let claim = |path| Owner::from_path(self.config.fabric.asn, prefix, path);
        let best = paths.iter().find(|view| view.best);
        let winner = best.and_then(|view| {
            let owner = claim(&view.path)?;
            Some(Winner {
                node: owner.node,
                state: owner.state,
                source: owner.source,
                local: view.path.source == PathSource::Local,
                stale: view.path.stale,
            })
        });
        let equals = paths.iter().filter_map(|view| claim(&view.path));
        let equals = equals.filter(|other| {
            winner.is_some_and(|winner| {
                (other.source, other.state) == (winner.source, ClaimState::Active)
                    && other.node != winner.node
                    && !self.config.share_cloud(other.node, winner.node)
            })
        });
        let lan_address = self.host.lan.as_ref().and_then(|lan| lan.address);
        let vrrp = self.config.vrrp();
        let pools = &self.config.fabric.pools;
        Evidence {
            winner,
            equals: equals.count(),
            own_address: lan_address.is_some_and(|net| net.addr() == address),
            virtual_address: vrrp.is_some_and(|vrrp| vrrp.settings.address == address),
            excluded: pools.iter().any(|pool| pool.exclude.contains(&address)),
            answered: self.gate().open && self.fib.answers().contains(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_rule_decides_about_something() {
        let winner = |source, local| Winner {
            node: NodeId(1),
            state: ClaimState::Active,
            source,
            local,
            stale: false,
        };
        let of = |winner| Evidence {
            winner: Some(winner),
            ..Evidence::default()
        };
        use ClaimSource::{Configured, Observed, Provider};
        let cases = [
            Evidence {
                equals: 1,
                ..of(winner(Provider, false))
            },
            of(winner(Configured, true)),
            of(Winner {
                state: ClaimState::Handover,
                ..winner(Configured, false)
            }),
            Evidence {
                virtual_address: true,
                excluded: true,
                ..Evidence::default()
            },
            Evidence {
                own_address: true,
                excluded: true,
                ..Evidence::default()
            },
            of(winner(Provider, true)),
            of(winner(Observed, true)),
            of(winner(Provider, false)),
            Evidence {
                answered: true,
                ..of(winner(Observed, false))
            },
            Evidence {
                excluded: true,
                ..Evidence::default()
            },
            of(winner(Observed, false)),
            Evidence {
                answered: true,
                ..of(Winner {
                    stale: true,
                    ..winner(Configured, false)
                })
            },
            Evidence::default(),
        ];
        for (case, rule) in cases.iter().zip(&RULES) {
            assert_eq!(case.rule().name, rule.name, "{case:?}");
        }
    }

    #[test]
    fn rules_are_numbered_in_their_order_and_have_names_of_their_own() {
        let numbers = RULES.iter().map(|rule| rule.number);
        assert!(numbers.eq(1..=13));
        for rule in &RULES {
            let same = RULES.iter().filter(|other| other.name == rule.name);
            assert_eq!(same.count(), 1);
        }
    }

    #[test]
    fn the_readme_lists_them_in_their_words() {
        let readme = include_str!("../../../README.md");
        let rows =
            RULES.map(|rule| format!("| {} | `{}` | {} |\n", rule.number, rule.name, rule.text));
        assert!(readme.contains(&rows.concat()), "{}", rows.concat());
    }

    proptest! {
        /// Where the same claim wins, all nodes name the same rule, but for what is local to them.
        #[test]
        fn nodes_differ_only_in_what_is_local(
            source in 0_usize..3, state in 0_usize..5, equals in 0_usize..3, stale in any::<bool>(),
            answered in any::<bool>(), excluded in any::<bool>(),
        ) {
            let source = [ClaimSource::Configured, ClaimSource::Provider, ClaimSource::Observed][source];
            let states = [
                ClaimState::Active,
                ClaimState::Standby,
                ClaimState::Seizing,
                ClaimState::Draining,
                ClaimState::Handover,
            ];
            let seen = |local, answered| Evidence {
                winner: Some(Winner { node: NodeId(1), state: states[state], source, local, stale }),
                equals,
                answered,
                excluded,
                ..Evidence::default()
            };
            let (here, there) = (seen(true, false).rule(), seen(false, answered).rule());
            let pair = (here.number, there.number);
            prop_assert!(here.number == there.number || [(6, 8), (7, 9), (7, 10), (7, 11)].contains(&pair), "{:?}", pair);
        }
    }
}
