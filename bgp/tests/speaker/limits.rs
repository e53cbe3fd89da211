//! The limit of prefixes: never exceeded, and always used up, whatever comes, goes or is refused meanwhile.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sam_bgp::speaker::PeerConfig;

use crate::bench::Bench;
use crate::vocabulary::{Rules, peer, peer_config, prefix, route};

const LIMIT: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Announce(u8, u32),
    Withdraw(u8),
    Refuse(Vec<u8>),
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn as_many_acceptable_routes_are_accepted_as_the_limit_allows(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let config = PeerConfig { max_prefixes: LIMIT, ..peer_config(2) };
        let (mut bench, connections) = Bench::established(vec![config]);
        let mut heard: BTreeSet<u8> = BTreeSet::new();
        let mut refused: Vec<u8> = Vec::new();
        for step in steps {
            match step {
                Step::Announce(number, local_pref) => {
                    heard.insert(number);
                    bench.announce(connections[0], &[prefix(number)], route(2, local_pref));
                }
                Step::Withdraw(number) => {
                    heard.remove(&number);
                    bench.withdraw(connections[0], &[prefix(number)]);
                }
                Step::Refuse(numbers) => {
                    let refuse = numbers.iter().copied().map(prefix).collect();
                    refused = numbers;
                    bench.speaker.set_policy(Rules { refuse, ..Rules::default() }, bench.now);
                    bench.drain();
                }
            }
            let acceptable = heard.iter().filter(|number| !refused.contains(number)).count();
            let view = bench.view(2);
            prop_assert_eq!(view.ipv4.accepted, acceptable.min(LIMIT));
            prop_assert_eq!(view.ipv4.received, heard.len());
            prop_assert_eq!(bench.speaker.accepted(peer(2)).len(), view.ipv4.accepted);
            prop_assert_eq!(bench.speaker.prefixes().len(), view.ipv4.accepted);
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let number = || 0..6_u8;
    prop_oneof![
        6 => (number(), 100..103_u32).prop_map(|(number, local_pref)| Step::Announce(number, local_pref)),
        3 => number().prop_map(Step::Withdraw),
        1 => proptest::sample::subsequence(vec![0, 1, 2, 3, 4, 5], 0..4).prop_map(Step::Refuse),
    ]
}
