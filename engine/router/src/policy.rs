//! What BGP believes and tells: the import rules of `sam_capture` behind `sam_bgp::Policy`.
//!
//! A peer's BGP id number is its node id, so that no table stands between session and identity; that of a foreign neighbor
//! is its address.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use sam_bgp::{PathAttributes, PeerId, Policy, Rejection};
use sam_capture::{EnrolledNode, Enrollment, ImportRejection, NodeId};

use crate::config::Config;
use crate::foreign::Foreign;
use crate::foreign_policy::Border;

/// Import and export rules of a fabric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FabricPolicy {
    enrollment: Enrollment,
    foreign: Foreign,
    /// Addresses of this router outside of the fabric.
    outside: BTreeSet<IpAddr>,
    /// What nodes may tell of IPv6 unicast: prefixes inside of these.
    ipv6: Vec<Ipv6Net>,
    /// Whether neighbors of other ASes are to use other ways.
    leaving: bool,
}

impl FabricPolicy {
    /// Makes the rules for a configuration; `leaving` asks neighbors of other ASes to use other ways (RFC 8326).
    #[must_use]
    pub(crate) fn new(config: &Config, leaving: bool) -> Self {
        let fabric = &config.fabric;
        let nodes = fabric.nodes.values().map(|node| {
            let reflector = fabric.bgp.route_reflectors.contains(&node.id);
            let may = node.may.clone();
            (
                node.id,
                EnrolledNode {
                    overlay: node.overlay,
                    reflector,
                    may,
                },
            )
        });
        Self {
            enrollment: Enrollment {
                asn: fabric.asn,
                own: config.local.node,
                nodes: nodes.collect(),
                pools: fabric.pools.clone(),
            },
            foreign: config.local.foreign.clone(),
            outside: config.addresses_outside(),
            ipv6: fabric.bgp.ipv6.clone(),
            leaving,
        }
    }

    /// Returns the border towards a peer that is no node.
    fn border(&self, peer: PeerId) -> Option<Border<'_>> {
        if self.enrollment.nodes.contains_key(&NodeId(peer.0)) {
            return None;
        }
        let neighbor = Ipv4Addr::from(peer.0);
        let (_, terms) = self.foreign.terms(neighbor)?;
        Some(Border {
            terms,
            neighbor,
            enrollment: &self.enrollment,
            own: &self.outside,
            leaving: self.leaving,
        })
    }

    /// Returns what the rules are checked against.
    #[must_use]
    pub(crate) fn enrollment(&self) -> &Enrollment {
        &self.enrollment
    }
}

impl Policy for FabricPolicy {
    fn import(
        &self,
        peer: PeerId,
        prefix: Ipv4Net,
        attributes: &mut Cow<'_, PathAttributes>,
    ) -> Result<(), Rejection> {
        if let Some(border) = self.border(peer) {
            return border.import(prefix, attributes.to_mut());
        }
        match self.enrollment.check(NodeId(peer.0), prefix, attributes) {
            Ok(_) => Ok(()),
            Err(rejection) => Err(Rejection(rejection.name())),
        }
    }

    /// Everything in the RIB passed `import` or comes from `Origination`; the host-route rule is checked once more,
    /// because a leaked pool prefix would draw in every address of the pool. Routes of other ASes are not for the fabric.
    fn export(
        &self,
        peer: PeerId,
        prefix: Ipv4Net,
        attributes: &mut Cow<'_, PathAttributes>,
    ) -> Result<(), Rejection> {
        match self.border(peer) {
            Some(border) => border.export(prefix, attributes.to_mut()),
            None if prefix.prefix_len() != 32 => {
                Err(Rejection(ImportRejection::NotAHostRoute.name()))
            }
            None if !attributes.as_path.is_empty() => {
                Err(Rejection(ImportRejection::AsPathNotEmpty.name()))
            }
            None => Ok(()),
        }
    }
}

/// No such prefix is exchanged within the fabric.
const NOT_A_FABRIC_PREFIX: Rejection = Rejection("not-a-fabric-prefix");

/// IPv6 unicast is only passed on: nobody owns its prefixes, and no packet follows them. What nodes may tell is configured,
/// and what they were told by other ASes is not for the fabric, as in IPv4.
impl Policy<Ipv6Net> for FabricPolicy {
    fn import(
        &self,
        peer: PeerId,
        prefix: Ipv6Net,
        attributes: &mut Cow<'_, PathAttributes<Ipv6Addr>>,
    ) -> Result<(), Rejection> {
        if let Some(border) = self.border(peer) {
            return border.import(prefix, attributes.to_mut());
        }
        if !self.ipv6.iter().any(|range| range.contains(&prefix)) {
            return Err(NOT_A_FABRIC_PREFIX);
        }
        if !attributes.as_path.is_empty() {
            return Err(Rejection(ImportRejection::AsPathNotEmpty.name()));
        }
        Ok(())
    }

    fn export(
        &self,
        peer: PeerId,
        prefix: Ipv6Net,
        attributes: &mut Cow<'_, PathAttributes<Ipv6Addr>>,
    ) -> Result<(), Rejection> {
        match self.border(peer) {
            Some(border) => border.export(prefix, attributes.to_mut()),
            None if !attributes.as_path.is_empty() => {
                Err(Rejection(ImportRejection::AsPathNotEmpty.name()))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use sam_bgp::wire::AsPathSegment;

    use super::*;
    use crate::fixture;

    #[test]
    fn of_ipv6_nodes_tell_what_the_configuration_names_and_nothing_of_other_ases() {
        let named = policy(&["2001:db8::/32", "3fff::/20"]);
        let from_outside = vec![AsPathSegment(vec![65_001])];
        for (policy, prefix, as_path, verdict) in [
            (&named, "2001:db8:1::/48", Vec::new(), None),
            (&named, "3fff::/20", Vec::new(), None),
            (&named, "2001::/16", Vec::new(), Some("not-a-fabric-prefix")),
            (&named, "::/0", Vec::new(), Some("not-a-fabric-prefix")),
            (
                &named,
                "2001:db8::/48",
                from_outside,
                Some("as-path-not-empty"),
            ),
            (
                &policy(&[]),
                "2001:db8::/48",
                Vec::new(),
                Some("not-a-fabric-prefix"),
            ),
        ] {
            let attributes = PathAttributes {
                as_path,
                ..PathAttributes::local(Ipv6Addr::LOCALHOST)
            };
            let mut attributes = Cow::Borrowed(&attributes);
            let given = policy.import(PeerId(2), net(prefix), &mut attributes);
            assert_eq!(given.err().map(|it| it.0), verdict, "{prefix}");
        }
    }

    fn policy(ipv6: &[&str]) -> FabricPolicy {
        let mut config = fixture::config(1, 3, &[]);
        config.fabric.bgp.ipv6 = ipv6.iter().map(|text| net(text)).collect();
        FabricPolicy::new(&config, false)
    }

    fn net(text: &str) -> Ipv6Net {
        text.parse().unwrap()
    }
}
