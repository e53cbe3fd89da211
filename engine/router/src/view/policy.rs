//! `samctl bgp policy show` and `policy test`: what may pass between us and each neighbor, and which term decides.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sam_bgp::rules::{
    AnyCommunity, Changes, Match, NO_RULE, PrefixRange, REFUSED, Rule, Rules, Verdict,
};
use sam_bgp::speaker::PeerView;
use sam_bgp::wire::AsPathSegment;
use sam_bgp::{PathAttributes, PathSource, Policy, Prefix, Rejection, RibView};
use sam_capture::NodeId;
use serde::{Deserialize, Serialize};

use super::{AttributesView, NodeRef};
use crate::Router;
use crate::peers::{node_of, peer_of};

/// `samctl bgp policy show`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyView {
    /// Neighbors, by node id.
    pub neighbors: Vec<PolicyRow>,
}

/// The policies of one neighbor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyRow {
    /// The neighbor.
    pub node: NodeRef,
    /// `client`, `non-client` or `external`.
    pub role: String,
    /// Rules for what it tells, in order; `None` without a policy.
    pub import: Option<Vec<String>>,
    /// Rules for what it is told, likewise.
    pub export: Option<Vec<String>>,
}

/// `samctl bgp policy test PREFIX [NEIGHBOR]`: nothing is sent and nothing changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyTestView {
    /// Destination.
    pub prefix: IpNet,
    /// Verdicts, by neighbor.
    pub verdicts: Vec<PolicyVerdict>,
}

/// What becomes of one route at one neighbor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyVerdict {
    /// The neighbor.
    pub node: NodeRef,
    /// `import` or `export`.
    pub direction: String,
    /// Which route: `received`, `path` (one of the RIB), or `assumed`: a plain one, because there is none.
    pub route: String,
    /// Of a path: who told it; `None` when originated here.
    pub from: Option<NodeRef>,
    /// Whether it passes.
    pub passes: bool,
    /// Reason's name, if it does not.
    pub reason: Option<String>,
    /// The term that decides.
    pub term: String,
    /// The attributes with which it passes.
    pub attributes: Option<AttributesView>,
}

impl Router {
    /// `samctl bgp policy show`
    #[must_use]
    pub fn bgp_policy(&self) -> PolicyView {
        let row = |peer: &PeerView| {
            let (import, export) = self.rules_of(peer);
            PolicyRow {
                node: NodeRef::new(&self.config, node_of(peer.id)),
                role: super::bgp_reader::role_name(peer.role).into(),
                import: import.map(rule_texts),
                export: export.map(rule_texts),
            }
        };
        PolicyView {
            neighbors: self.speaker.peers().iter().map(row).collect(),
        }
    }

    /// `samctl bgp policy test PREFIX [NEIGHBOR]`; `None` when the neighbor is no BGP peer.
    #[must_use]
    pub fn bgp_policy_test(&self, prefix: IpNet, only: Option<NodeId>) -> Option<PolicyTestView> {
        let mut peers = self.speaker.peers();
        if let Some(node) = only {
            peers.retain(|peer| peer.id == peer_of(node));
            peers.first()?;
        }
        let verdicts = peers.iter().flat_map(|peer| match prefix {
            IpNet::V4(prefix) => self.try_ipv4(peer, prefix),
            IpNet::V6(prefix) => self.try_ipv6(peer, prefix),
        });
        Some(PolicyTestView {
            prefix,
            verdicts: verdicts.collect(),
        })
    }

    fn try_ipv4(&self, peer: &PeerView, prefix: Ipv4Net) -> Vec<PolicyVerdict> {
        let next_hops = (peer.address, self.config.own_node().overlay);
        self.try_at(&self.speaker.ipv4(), peer, prefix, next_hops)
    }

    fn try_ipv6(&self, peer: &PeerView, prefix: Ipv6Net) -> Vec<PolicyVerdict> {
        let own = self.config.own_node().overlay;
        let next_hops = (peer.address.to_ipv6_mapped(), own.to_ipv6_mapped());
        self.try_at(&self.speaker.ipv6(), peer, prefix, next_hops)
    }

    /// Tries a prefix at one neighbor, both ways. Plain routes are assumed of neighbors of other ASes only: those of nodes
    /// carry tags.
    fn try_at<N: Prefix>(
        &self,
        rib: &RibView<'_, impl Policy<N>, N>,
        peer: &PeerView,
        prefix: N,
        (theirs, ours): (N::NextHop, N::NextHop),
    ) -> Vec<PolicyVerdict> {
        let (import, export) = self.rules_of(peer);
        let import = Terms {
            peer,
            rules: import,
        };
        let export = Terms {
            peer,
            rules: export,
        };
        let external = peer.role.is_external();
        let mut verdicts = Vec::new();
        for route in rib.received_to(peer.id, prefix) {
            let tried = rib.try_import(peer, prefix, &route.attributes);
            let term = import.term(prefix, &route.attributes, &tried);
            verdicts.push(self.verdict(peer, ("import", "received"), &tried, term));
        }
        if verdicts.is_empty() && external {
            let plain = PathAttributes {
                as_path: vec![AsPathSegment(vec![peer.role.asn(self.config.fabric.asn)])],
                ..PathAttributes::local(theirs)
            };
            let tried = rib.try_import(peer, prefix, &plain);
            let term = import.term(prefix, &plain, &tried);
            verdicts.push(self.verdict(peer, ("import", "assumed"), &tried, term));
        }
        let paths = rib.try_export(peer, prefix);
        for (path, tried) in &paths {
            let term = export.term(prefix, &path.attributes, tried);
            let mut verdict = self.verdict(peer, ("export", "path"), tried, term);
            if let PathSource::Peer { peer, .. } = path.source {
                verdict.from = Some(NodeRef::new(&self.config, node_of(peer)));
            }
            verdicts.push(verdict);
        }
        if paths.is_empty() && external {
            let plain = PathAttributes::local(ours);
            let tried = rib.try_originating(peer, prefix, &plain);
            let term = export.term(prefix, &plain, &tried);
            verdicts.push(self.verdict(peer, ("export", "assumed"), &tried, term));
        }
        verdicts
    }

    fn verdict<A: Copy + Into<IpAddr>>(
        &self,
        peer: &PeerView,
        (direction, route): (&str, &str),
        tried: &Result<PathAttributes<A>, Rejection>,
        term: String,
    ) -> PolicyVerdict {
        PolicyVerdict {
            node: NodeRef::new(&self.config, node_of(peer.id)),
            direction: direction.into(),
            route: route.into(),
            from: None,
            passes: tried.is_ok(),
            reason: tried.as_ref().err().map(|reason| reason.0.into()),
            term,
            attributes: tried.as_ref().ok().map(AttributesView::from),
        }
    }

    /// Returns the configured rules of a neighbor, import and export.
    fn rules_of(&self, peer: &PeerView) -> (Option<&Rules>, Option<&Rules>) {
        if !peer.role.is_external() {
            return (None, None);
        }
        let terms = self.config.local.foreign.terms(peer.address);
        terms.map_or((None, None), |(_, terms)| {
            (terms.import.as_ref(), terms.export.as_ref())
        })
    }
}

/// What decides in one direction.
struct Terms<'a> {
    peer: &'a PeerView,
    rules: Option<&'a Rules>,
}

impl Terms<'_> {
    /// Names the term that decided about a route with these attributes before policy. What no configuration can change
    /// decides before the rules do, so a route that got as far as them was judged by the first that matches.
    fn term<N: Prefix>(
        &self,
        prefix: N,
        attributes: &PathAttributes<N::NextHop>,
        tried: &Result<PathAttributes<N::NextHop>, Rejection>,
    ) -> String {
        let Some(Rules(rules)) = self.rules else {
            return "fixed: what the fabric demands".into();
        };
        let by_rules = match tried {
            Ok(_) | Err(REFUSED) => self.deciding(prefix, attributes),
            Err(NO_RULE) => return format!("none of {} rules matches", rules.len()),
            Err(_) => None,
        };
        match by_rules.and_then(|place| Some((place, rules.get(place)?))) {
            Some((place, rule)) => {
                let (number, count) = (place + 1, rules.len());
                format!("rule {number} of {count}: {}", rule_text(rule))
            }
            None => "fixed: before any rule".into(),
        }
    }

    fn deciding<N: Prefix>(
        &self,
        prefix: N,
        attributes: &PathAttributes<N::NextHop>,
    ) -> Option<usize> {
        self.rules?.deciding(self.peer.address, prefix, attributes)
    }
}

fn rule_texts(rules: &Rules) -> Vec<String> {
    rules.0.iter().map(rule_text).collect()
}

/// Says on one line what a rule matches and what follows.
fn rule_text(rule: &Rule) -> String {
    let conditions = conditions(&rule.matches);
    let conditions = if conditions.is_empty() {
        "anything".to_owned()
    } else {
        conditions.join(" and ")
    };
    let mut follows = changes(&rule.set);
    follows.push(match rule.verdict {
        Verdict::Accept => "accept".into(),
        Verdict::Reject => "reject".into(),
    });
    format!("{conditions}: {}", follows.join(", "))
}

fn conditions(matches: &Match) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |what: &str, values: Vec<String>| {
        if !values.is_empty() {
            all.push(format!("{what} {}", values.join(" or ")));
        }
    };
    add("prefix", matches.prefixes.iter().map(range_text).collect());
    add("neighbor", words(&matches.neighbors));
    add("origin AS", words(&matches.origin_asns));
    let communities = matches.communities.iter().map(community_text);
    all.extend(communities.map(|community| format!("community {community}")));
    let most = matches.path_length_max;
    all.extend(most.map(|most| format!("at most {most} ASes")));
    all
}

fn changes(set: &Changes) -> Vec<String> {
    let remove = set.remove.iter().map(community_text);
    let mut all: Vec<String> = remove.map(|it| format!("remove {it}")).collect();
    let add = set.add.iter().map(community_text);
    all.extend(add.map(|it| format!("add {it}")));
    all.extend(set.local_pref.map(|value| format!("LOCAL_PREF {value}")));
    all.extend(set.med.map(|value| format!("MED {value}")));
    all
}

fn words<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn community_text(community: &AnyCommunity) -> String {
    match community {
        AnyCommunity::Standard(community) => community.to_string(),
        AnyCommunity::Large(community) => community.to_string(),
    }
}

fn range_text(range: &PrefixRange) -> String {
    let length = range.prefix.prefix_len();
    let longest = match range.prefix {
        IpNet::V4(_) => 32,
        IpNet::V6(_) => 128,
    };
    let mut text = range.prefix.to_string();
    if range.least != length {
        text += &format!(" ge {}", range.least);
    }
    let implied = if range.least == length {
        length
    } else {
        longest
    };
    if range.most != implied {
        text += &format!(" le {}", range.most);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn rules_are_told_on_a_line() {
        let range = |text: &str, least, most| PrefixRange {
            prefix: text.parse().unwrap(),
            least,
            most,
        };
        let matches = Match {
            prefixes: vec![range("198.18.0.0/15", 15, 32), range("10.0.0.0/8", 24, 32)],
            neighbors: vec![Ipv4Net::from(Ipv4Addr::new(192, 0, 2, 1))],
            communities: vec![AnyCommunity::Standard(sam_bgp::wire::Community(
                0x0001_0002,
            ))],
            path_length_max: Some(3),
            origin_asns: vec![65_001, 65_002],
        };
        let set = Changes {
            local_pref: Some(50),
            med: Some(7),
            ..Changes::default()
        };
        let rule = Rule {
            matches,
            set,
            verdict: Verdict::Accept,
        };
        assert_eq!(
            rule_text(&rule),
            "prefix 198.18.0.0/15 le 32 or 10.0.0.0/8 ge 24 and neighbor 192.0.2.1/32 and origin AS 65001 or 65002 \
             and community 1:2 and at most 3 ASes: LOCAL_PREF 50, MED 7, accept"
        );
        let rest = Rule {
            matches: Match::default(),
            set: Changes::default(),
            verdict: Verdict::Reject,
        };
        assert_eq!(rule_text(&rest), "anything: reject");
        assert_eq!(range_text(&range("10.0.0.0/8", 8, 8)), "10.0.0.0/8");
        assert_eq!(
            range_text(&range("10.0.0.0/8", 16, 24)),
            "10.0.0.0/8 ge 16 le 24"
        );
    }
}
