//! What foreign neighbors may tell us and are told: rules that no configuration can switch off around those that it gives.
//!
//! An address of a pool, an overlay address or a tag of the fabric is believed from nobody but its nodes (ARCHITECTURE.md
//! I9, I10); markers and tags are told to nobody else. Without a policy nothing passes (RFC 8212).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use sam_bgp::rules::{AnyCommunity, NO_POLICY};
use sam_bgp::wire::Community;
use sam_bgp::{PathAttributes, Prefix, Rejection};
use sam_capture::Enrollment;

use crate::foreign::Terms;

/// An address of a pool, or the pool.
pub(crate) const POOL_ADDRESS: Rejection = Rejection("pool-address");
/// A pool, or a part of it that is more than an address.
pub(crate) const POOL: Rejection = Rejection("pool");
/// The overlay address of a node.
pub(crate) const OVERLAY_ADDRESS: Rejection = Rejection("overlay-address");
/// A large community in the name of the fabric.
pub(crate) const FABRIC_TAG: Rejection = Rejection("fabric-tag");
/// A next hop that is a node, or an address of a pool other than the neighbor's own.
pub(crate) const FABRIC_NEXT_HOP: Rejection = Rejection("fabric-next-hop");

/// A next hop that is an address of this router: what it told would come back to it.
pub(crate) const OWN_NEXT_HOP: Rejection = Rejection("own-next-hop");

/// Names of the rejections which mean that a foreign neighbor speaks in the fabric's name.
pub(crate) const INTRUSION_REASONS: [&str; 4] = [
    POOL_ADDRESS.0,
    OVERLAY_ADDRESS.0,
    FABRIC_TAG.0,
    FABRIC_NEXT_HOP.0,
];

/// One neighbor, and what stands between it and the fabric.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Border<'a> {
    /// What is agreed with it.
    pub(crate) terms: &'a Terms,
    /// Its address.
    pub(crate) neighbor: Ipv4Addr,
    /// What belongs to the fabric.
    pub(crate) enrollment: &'a Enrollment,
    /// Addresses of this router outside of the fabric.
    pub(crate) own: &'a BTreeSet<IpAddr>,
    /// Whether the way through this router goes away soon.
    pub(crate) leaving: bool,
}

impl Border<'_> {
    /// Accepts a route of the neighbor, or not.
    ///
    /// 1. What belongs to the fabric is refused.
    /// 2. The policy of the neighbor decides.
    /// 3. A path that goes away soon, on its side or ours, is the last choice (RFC 8326 section 4).
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn import<N: Prefix>(
        self,
        prefix: N,
        attributes: &mut PathAttributes<N::NextHop>,
    ) -> Result<(), Rejection> {
        if is_of_pool(self.enrollment, prefix.into()) {
            return Err(POOL_ADDRESS);
        }
        if is_overlay(self.enrollment, prefix.into()) {
            return Err(OVERLAY_ADDRESS);
        }
        let mut tags = attributes.large_communities.iter();
        if tags.any(|tag| tag.global == self.enrollment.asn) {
            return Err(FABRIC_TAG);
        }
        let next_hop: IpAddr = attributes.next_hop.into();
        let next_hop = next_hop.to_canonical();
        if self.own.contains(&next_hop) {
            return Err(OWN_NEXT_HOP);
        }
        // A host of the site that speaks BGP names itself, and whoever speaks to it can reach it.
        let is_neighbor = next_hop == IpAddr::from(self.neighbor);
        let next_hop = IpNet::from(next_hop);
        let is_of_fabric =
            is_of_pool(self.enrollment, next_hop) || is_overlay(self.enrollment, next_hop);
        if is_of_fabric && !is_neighbor {
            return Err(FABRIC_NEXT_HOP);
        }
        let rules = self.terms.import.as_ref().ok_or(NO_POLICY)?;
        rules.apply(self.neighbor, prefix, attributes)?;
        if self.is_leaving() {
            GOES_AWAY.add_to(attributes);
        }
        if attributes
            .communities
            .contains(&Community::GRACEFUL_SHUTDOWN.0)
        {
            attributes.local_pref = Some(0);
        }
        Ok(())
    }

    /// Lets the neighbor be told a route, and makes of it what it is told.
    ///
    /// 1. Markers, and pools as a whole, are not told.
    /// 2. The policy decides; it sees the tags of the fabric, which are then removed.
    /// 3. A neighbor that shall prefer other ways is asked to (RFC 8326 section 4.2).
    ///
    /// # Errors
    /// Why it is not told.
    pub(crate) fn export<N: Prefix>(
        self,
        prefix: N,
        attributes: &mut PathAttributes<N::NextHop>,
    ) -> Result<(), Rejection> {
        if is_of_pool(self.enrollment, prefix.into()) && prefix.bits() != 32 {
            return Err(POOL);
        }
        if is_overlay(self.enrollment, prefix.into()) {
            return Err(OVERLAY_ADDRESS);
        }
        let rules = self.terms.export.as_ref().ok_or(NO_POLICY)?;
        rules.apply(self.neighbor, prefix, attributes)?;
        attributes
            .large_communities
            .retain(|tag| tag.global != self.enrollment.asn);
        attributes.local_pref = None;
        if self.is_leaving() {
            GOES_AWAY.add_to(attributes);
        }
        Ok(())
    }

    fn is_leaving(self) -> bool {
        self.leaving || self.terms.graceful_shutdown
    }
}

/// The way goes away soon (RFC 8326).
const GOES_AWAY: AnyCommunity = AnyCommunity::Standard(Community::GRACEFUL_SHUTDOWN);

fn is_of_pool(enrollment: &Enrollment, prefix: IpNet) -> bool {
    let mut pools = enrollment.pools.iter();
    pools.any(|pool| IpNet::from(pool.prefix).contains(&prefix))
}

fn is_overlay(enrollment: &Enrollment, prefix: IpNet) -> bool {
    let mut nodes = enrollment.nodes.values();
    prefix.prefix_len() == 32 && nodes.any(|node| node.overlay == prefix.addr())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::time::Duration;

    use ipnet::{Ipv4Net, Ipv6Net};
    use sam_bgp::rules::{Changes, Match, NO_RULE, Rule, Rules, Verdict};
    use sam_bgp::wire::LargeCommunity;

    use super::*;
    use crate::fixture;
    use crate::foreign::Reach;
    use crate::policy::FabricPolicy;

    #[test]
    fn what_belongs_to_the_fabric_is_refused_whatever_the_policy_says() {
        let all = terms(Some(everything()), None);
        for (prefix, verdict) in [
            ("10.77.60.10/32", Err(POOL_ADDRESS)),
            ("10.77.60.0/24", Err(POOL_ADDRESS)),
            ("10.77.60.128/25", Err(POOL_ADDRESS)),
            ("10.99.0.2/32", Err(OVERLAY_ADDRESS)),
            ("10.99.0.9/32", Ok(())),
            ("10.77.0.0/16", Ok(())),
            ("198.51.100.0/24", Ok(())),
        ] {
            assert_eq!(taken(&all, prefix, route()), verdict, "{prefix}");
        }
        let tagged = PathAttributes {
            large_communities: vec![tag()],
            ..route()
        };
        assert_eq!(taken(&all, "198.51.100.0/24", tagged), Err(FABRIC_TAG));
    }

    /// RFC 4271 section 5.1.3: a third router on the link; but neither one of the fabric nor this one.
    #[test]
    fn the_next_hop_may_be_a_third_router_and_neither_of_the_fabric_nor_this_one() {
        let all = terms(Some(everything()), None);
        for (next_hop, verdict) in [
            ([192, 0, 2, 77], Ok(())),
            ([10, 99, 0, 2], Err(FABRIC_NEXT_HOP)),
            ([10, 77, 60, 10], Err(FABRIC_NEXT_HOP)),
            ([192, 0, 2, 8], Err(OWN_NEXT_HOP)),
        ] {
            let route = PathAttributes::local(next_hop.into());
            assert_eq!(
                taken(&all, "198.51.100.0/24", route),
                verdict,
                "{next_hop:?}"
            );
        }
    }

    #[test]
    fn a_neighbor_with_an_address_of_a_pool_may_name_itself_and_no_other_address_of_it() {
        let all = terms(Some(everything()), None);
        let (enrollment, own) = (enrollment(), own());
        let border = Border {
            neighbor: Ipv4Addr::new(10, 77, 60, 40),
            ..border(&all, &enrollment, &own)
        };
        for (next_hop, verdict) in [
            ([10, 77, 60, 40], Ok(())),
            ([10, 77, 60, 10], Err(FABRIC_NEXT_HOP)),
        ] {
            let mut route = PathAttributes::local(next_hop.into());
            let outcome = border.import(prefix("198.51.100.0/24"), &mut route);
            assert_eq!(outcome, verdict, "{next_hop:?}");
        }
    }

    #[test]
    fn without_a_policy_nothing_passes() {
        let none = terms(None, None);
        assert_eq!(taken(&none, "198.51.100.0/24", route()), Err(NO_POLICY));
        assert_eq!(told(&none, "10.77.60.10/32", route()), Err(NO_POLICY));
        let empty = terms(Some(Rules::default()), Some(Rules::default()));
        assert_eq!(taken(&empty, "198.51.100.0/24", route()), Err(NO_RULE));
        assert_eq!(told(&empty, "10.77.60.10/32", route()), Err(NO_RULE));
    }

    #[test]
    fn addresses_are_told_without_tags_and_neither_markers_nor_pools_are() {
        let all = terms(None, Some(everything()));
        let tagged = PathAttributes {
            large_communities: vec![tag()],
            local_pref: Some(400),
            ..route()
        };
        assert_eq!(told(&all, "10.77.60.10/32", tagged.clone()), Ok(route()));
        for (prefix, reason) in [("10.77.60.0/24", POOL), ("10.99.0.2/32", OVERLAY_ADDRESS)] {
            assert_eq!(told(&all, prefix, tagged.clone()), Err(reason), "{prefix}");
        }
    }

    /// RFC 8212, in IPv6 as in IPv4.
    #[test]
    fn routes_of_ipv6_pass_by_policy_alone() {
        let enrollment = enrollment();
        let prefix: Ipv6Net = "2001:db8::/32".parse().unwrap();
        let mut route = PathAttributes::local(Ipv6Addr::LOCALHOST);
        for (rules, verdict) in [
            (None, Err(NO_POLICY)),
            (Some(Rules::default()), Err(NO_RULE)),
            (Some(everything()), Ok(())),
        ] {
            let terms = terms(rules.clone(), rules);
            let own = own();
            let border = border(&terms, &enrollment, &own);
            assert_eq!(border.import(prefix, &mut route), verdict);
            assert_eq!(border.export(prefix, &mut route), verdict);
        }
    }

    /// RFC 8326 section 4.
    #[test]
    fn a_graceful_shutdown_is_heard_and_asked_for() {
        let leaving = PathAttributes {
            communities: vec![Community::GRACEFUL_SHUTDOWN.0],
            ..route()
        };
        let mut preferring = everything();
        preferring.0[0].set.local_pref = Some(500);
        let mut terms = terms(Some(preferring), Some(everything()));
        let mut heard = leaving.clone();
        let prefix: Ipv4Net = "198.51.100.0/24".parse().unwrap();
        let enrollment = enrollment();
        border(&terms, &enrollment, &own())
            .import(prefix, &mut heard)
            .unwrap();
        assert_eq!(heard.local_pref, Some(0));

        terms.graceful_shutdown = true;
        assert_eq!(told(&terms, "10.77.60.10/32", route()), Ok(leaving));
    }

    const US: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

    fn taken(terms: &Terms, text: &str, mut route: PathAttributes) -> Result<(), Rejection> {
        border(terms, &enrollment(), &own()).import(prefix(text), &mut route)
    }

    fn told(
        terms: &Terms,
        text: &str,
        mut route: PathAttributes,
    ) -> Result<PathAttributes, Rejection> {
        let told = border(terms, &enrollment(), &own()).export(prefix(text), &mut route);
        told.map(|()| route)
    }

    fn border<'a>(
        terms: &'a Terms,
        enrollment: &'a Enrollment,
        own: &'a BTreeSet<IpAddr>,
    ) -> Border<'a> {
        Border {
            terms,
            neighbor: US,
            enrollment,
            own,
            leaving: false,
        }
    }

    fn prefix(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn own() -> BTreeSet<IpAddr> {
        [IpAddr::from([192, 0, 2, 8])].into()
    }

    fn enrollment() -> Enrollment {
        FabricPolicy::new(&fixture::config(1, 3, &[]), false)
            .enrollment()
            .clone()
    }

    fn tag() -> LargeCommunity {
        LargeCommunity {
            global: 64_577,
            local1: 1,
            local2: 2,
        }
    }

    fn route() -> PathAttributes {
        PathAttributes::local(US)
    }

    fn everything() -> Rules {
        Rules(vec![Rule {
            matches: Match::default(),
            set: Changes::default(),
            verdict: Verdict::Accept,
        }])
    }

    fn terms(import: Option<Rules>, export: Option<Rules>) -> Terms {
        Terms {
            asn: 65_001,
            local_address: US,
            local_address_ipv6: None,
            interface: None,
            reach: Reach::Link,
            authentication: None,
            bfd: None,
            hold_time: Duration::from_secs(90),
            connect_retry: Duration::from_secs(10),
            max_prefixes: 100,
            extended_messages: true,
            import,
            export,
            graceful_shutdown: false,
        }
    }
}
