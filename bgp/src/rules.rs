//! A small policy: ordered rules, each a match and what follows; what no rule matches is refused (RFC 8212).
//!
//! Pure: the same attributes give the same answer. Whoever supplies [`crate::Policy`] decides where rules apply.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use crate::policy::Rejection;
use crate::wire::{Community, LargeCommunity, PathAttributes, Prefix};

/// There is no policy for this direction of the session (RFC 8212).
pub const NO_POLICY: Rejection = Rejection("no-policy");
/// No rule of the policy matches.
pub const NO_RULE: Rejection = Rejection("no-matching-rule");
/// A rule of the policy refuses it.
pub const REFUSED: Rejection = Rejection("refused-by-rule");

/// Rules in their order; the first that matches decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules(pub Vec<Rule>);

/// What is matched and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which routes.
    pub matches: Match,
    /// What is changed on an accepted one.
    pub set: Changes,
    /// Whether it is accepted.
    pub verdict: Verdict,
}

/// What a rule makes of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes, changed.
    Accept,
    /// It does not.
    Reject,
}

/// Conditions, all of which must hold; an empty one always does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Match {
    /// The prefix is in one of these.
    pub prefixes: Vec<PrefixRange>,
    /// The other end of the session is in one of these.
    pub neighbors: Vec<Ipv4Net>,
    /// It carries all of these.
    pub communities: Vec<AnyCommunity>,
    /// Its AS_PATH has at most so many numbers.
    pub path_length_max: Option<usize>,
    /// The last number of its AS_PATH is one of these: who originated it.
    pub origin_asns: Vec<u32>,
}

/// Changes of attributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// LOCAL_PREF; has no effect towards external peers.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// Communities to be taken away, before others are added.
    pub remove: Vec<AnyCommunity>,
    /// Communities to be added.
    pub add: Vec<AnyCommunity>,
}

/// Prefixes inside of one, of certain lengths; none of another family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixRange {
    /// The covering prefix.
    pub prefix: IpNet,
    /// Shortest length.
    pub least: u8,
    /// Longest length.
    pub most: u8,
}

/// A community of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnyCommunity {
    /// RFC 1997.
    Standard(Community),
    /// RFC 8092.
    Large(LargeCommunity),
}

impl PrefixRange {
    /// Tells whether a prefix is in the range.
    #[must_use]
    pub fn contains(&self, prefix: impl Into<IpNet>) -> bool {
        let prefix = prefix.into();
        (self.least..=self.most).contains(&prefix.prefix_len()) && self.prefix.contains(&prefix)
    }
}

impl AnyCommunity {
    fn is_on<A>(self, attributes: &PathAttributes<A>) -> bool {
        match self {
            Self::Standard(Community(value)) => attributes.communities.contains(&value),
            Self::Large(value) => attributes.large_communities.contains(&value),
        }
    }

    /// Puts the community on a route, at its place in the order of the set.
    pub fn add_to<A>(self, attributes: &mut PathAttributes<A>) {
        match self {
            Self::Standard(Community(value)) => insert(&mut attributes.communities, value),
            Self::Large(value) => insert(&mut attributes.large_communities, value),
        }
    }

    fn remove_from<A>(self, attributes: &mut PathAttributes<A>) {
        match self {
            Self::Standard(Community(value)) => {
                attributes.communities.retain(|other| *other != value);
            }
            Self::Large(value) => attributes.large_communities.retain(|other| *other != value),
        }
    }
}

impl Rules {
    /// Returns the place of the rule that decides about a route; `None` if none matches.
    #[must_use]
    pub fn deciding<N: Prefix>(
        &self,
        neighbor: Ipv4Addr,
        prefix: N,
        attributes: &PathAttributes<N::NextHop>,
    ) -> Option<usize> {
        let mut rules = self.0.iter();
        rules.position(|rule| rule.matches.holds(neighbor, prefix, attributes))
    }

    /// Judges a route at the session with `neighbor`, and changes it as the rule says.
    ///
    /// # Errors
    /// Why it does not pass.
    pub fn apply<N: Prefix>(
        &self,
        neighbor: Ipv4Addr,
        prefix: N,
        attributes: &mut PathAttributes<N::NextHop>,
    ) -> Result<(), Rejection> {
        let found = self.deciding(neighbor, prefix, attributes);
        let rule = found.and_then(|place| self.0.get(place)).ok_or(NO_RULE)?;
        match rule.verdict {
            Verdict::Accept => rule.set.apply(attributes),
            Verdict::Reject => return Err(REFUSED),
        }
        Ok(())
    }
}

impl Match {
    fn holds<N: Prefix>(
        &self,
        neighbor: Ipv4Addr,
        prefix: N,
        attributes: &PathAttributes<N::NextHop>,
    ) -> bool {
        let mut path = attributes.as_path.iter().flat_map(|segment| &segment.0);
        let length = path.clone().count();
        let origin = path.next_back();
        any_or_empty(&self.prefixes, |range| range.contains(prefix))
            && any_or_empty(&self.neighbors, |range| range.contains(&neighbor))
            && any_or_empty(&self.origin_asns, |asn| origin == Some(asn))
            && self.path_length_max.is_none_or(|most| length <= most)
            && self.communities.iter().all(|one| one.is_on(attributes))
    }
}

impl Changes {
    fn apply<A>(&self, attributes: &mut PathAttributes<A>) {
        attributes.local_pref = self.local_pref.or(attributes.local_pref);
        attributes.med = self.med.or(attributes.med);
        for community in &self.remove {
            community.remove_from(attributes);
        }
        for community in &self.add {
            community.add_to(attributes);
        }
    }
}

fn any_or_empty<T>(conditions: &[T], holds: impl Fn(&T) -> bool) -> bool {
    conditions.is_empty() || conditions.iter().any(holds)
}

fn insert<T: Ord>(set: &mut Vec<T>, value: T) {
    if let Err(place) = set.binary_search(&value) {
        set.insert(place, value);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use ipnet::Ipv6Net;

    use super::*;
    use crate::testing::router;
    use crate::wire::AsPathSegment;

    #[test]
    fn what_no_rule_matches_is_refused_and_so_is_what_a_rule_refuses() {
        let rules = Rules(vec![
            rule(within("10.1.0.0/16", 16, 24), Verdict::Reject),
            rule(within("10.0.0.0/8", 8, 24), Verdict::Accept),
        ]);
        for (prefix, verdict) in [
            ("10.2.0.0/16", Ok(())),
            ("10.0.0.0/8", Ok(())),
            ("10.1.2.0/24", Err(REFUSED)),
            ("10.1.2.0/25", Err(NO_RULE)),
            ("11.0.0.0/8", Err(NO_RULE)),
            ("0.0.0.0/0", Err(NO_RULE)),
        ] {
            let given = rules.apply(router(2), net(prefix), &mut route());
            assert_eq!(given, verdict, "{prefix}");
        }
        let given = Rules::default().apply(router(2), ANY, &mut route());
        assert_eq!(given, Err(NO_RULE));
    }

    #[test]
    fn a_prefix_matches_within_its_own_family_only() {
        let any = |text| rule(within(text, 0, 128), Verdict::Accept);
        let ipv6: Ipv6Net = "2001:db8:1::/48".parse().unwrap();
        let mut attributes = PathAttributes::local("2001:db8::1".parse::<Ipv6Addr>().unwrap());
        for (rules, verdict) in [
            (vec![any("::/0")], Ok(())),
            (vec![any("0.0.0.0/0")], Err(NO_RULE)),
            (
                vec![
                    rule(within("2001:db8::/32", 48, 48), Verdict::Reject),
                    any("::/0"),
                ],
                Err(REFUSED),
            ),
        ] {
            assert_eq!(
                Rules(rules).apply(router(2), ipv6, &mut attributes),
                verdict
            );
        }
        let given = Rules(vec![any("::/0")]).apply(router(2), ANY, &mut route());
        assert_eq!(given, Err(NO_RULE));
    }

    #[test]
    fn every_condition_must_hold() {
        let standard = AnyCommunity::Standard(Community(0x0001_0002));
        let large = AnyCommunity::Large(LARGE);
        let absent = AnyCommunity::Standard(Community(9));
        let table: [(Match, bool); 10] = [
            (Match::default(), true),
            (with(|it| it.neighbors = vec![net("10.0.0.0/24")]), true),
            (with(|it| it.neighbors = vec![net("10.0.1.0/24")]), false),
            (with(|it| it.communities = vec![standard, large]), true),
            (with(|it| it.communities = vec![standard, absent]), false),
            (with(|it| it.path_length_max = Some(2)), true),
            (with(|it| it.path_length_max = Some(1)), false),
            (with(|it| it.origin_asns = vec![1, 65002]), true),
            (with(|it| it.origin_asns = vec![65001]), false),
            (
                with(|it| {
                    it.origin_asns = vec![65002];
                    it.path_length_max = Some(1);
                }),
                false,
            ),
        ];
        for (matches, holds) in table {
            assert_eq!(
                matches.holds(router(2), ANY, &route()),
                holds,
                "{matches:?}"
            );
        }
    }

    #[test]
    fn an_accepted_route_is_changed_as_the_rule_says() {
        let mut changing = rule(Match::default(), Verdict::Accept);
        changing.set = Changes {
            local_pref: Some(50),
            med: Some(7),
            remove: vec![AnyCommunity::Large(LARGE)],
            add: vec![
                AnyCommunity::Standard(Community(3)),
                AnyCommunity::Standard(Community(0x0001_0002)),
            ],
        };
        let mut changed = route();

        Rules(vec![changing])
            .apply(router(2), ANY, &mut changed)
            .unwrap();

        let expected = PathAttributes {
            local_pref: Some(50),
            med: Some(7),
            communities: vec![3, 0x0001_0002],
            large_communities: Vec::new(),
            ..route()
        };
        assert_eq!(changed, expected);
    }

    const ANY: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 2, 0), 24);
    const LARGE: LargeCommunity = LargeCommunity {
        global: 65001,
        local1: 2,
        local2: 3,
    };

    fn route() -> PathAttributes {
        PathAttributes {
            as_path: vec![AsPathSegment(vec![65001, 65002])],
            communities: vec![0x0001_0002],
            large_communities: vec![LARGE],
            ..PathAttributes::local(router(2))
        }
    }

    fn rule(matches: Match, verdict: Verdict) -> Rule {
        Rule {
            matches,
            set: Changes::default(),
            verdict,
        }
    }

    fn with(change: impl Fn(&mut Match)) -> Match {
        let mut matches = Match::default();
        change(&mut matches);
        matches
    }

    fn within(prefix: &str, least: u8, most: u8) -> Match {
        let prefix = prefix.parse().unwrap();
        with(|it| {
            it.prefixes = vec![PrefixRange {
                prefix,
                least,
                most,
            }];
        })
    }

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }
}
