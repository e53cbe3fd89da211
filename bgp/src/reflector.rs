//! The rules of route reflection as pure functions (RFC 4456 sections 6 and 8).
//!
//! NEXT_HOP, MULTI_EXIT_DISC, LOCAL_PREF and AS_PATH of a reflected route are never touched (section 10).

use std::net::Ipv4Addr;

use crate::config::PeerRole;
use crate::external;
use crate::policy::Rejection;
use crate::rib::PathSource;
use crate::wire::{Community, PathAttributes, Prefix};

/// The route was made by us and came back.
pub(crate) const ORIGINATOR_LOOP: Rejection = Rejection("originator-loop");
/// The route passed our cluster already.
pub(crate) const CLUSTER_LOOP: Rejection = Rejection("cluster-loop");

/// The next hop can be no host: unspecified, loopback or multicast (RFC 4271 section 6.3).
pub(crate) const NO_HOST: Rejection = Rejection("no-host-next-hop");

/// The route may be told to nobody (RFC 1997).
pub(crate) const NO_ADVERTISE: Rejection = Rejection("no-advertise");
/// A route of a peer that is no client is for clients only (RFC 4456 section 6).
pub(crate) const NOT_REFLECTED: Rejection = Rejection("not-reflected");
/// The peer told the route, or brought it into the AS.
pub(crate) const SPLIT_HORIZON: Rejection = Rejection("split-horizon");

/// Names of the rejections of routes that came back to where they had been. They are no fault: a reflector may send a
/// route to its originator too, which is to ignore it (RFC 4456 section 8).
pub const LOOP_REASONS: [&str; 2] = [ORIGINATOR_LOOP.0, CLUSTER_LOOP.0];

/// Who a reflector is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reflector {
    /// Our BGP identifier.
    pub(crate) router_id: Ipv4Addr,
    /// Our cluster.
    pub(crate) cluster_id: Ipv4Addr,
}

/// Who a route would be sent to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// Its BGP identifier.
    pub(crate) router_id: Ipv4Addr,
    /// Its role.
    pub(crate) role: PeerRole,
}

/// Returns the router that brought a path into the AS: its ORIGINATOR_ID, else its sender; `None` if that is us.
pub(crate) fn originator<A>(
    attributes: &PathAttributes<A>,
    source: PathSource,
) -> Option<Ipv4Addr> {
    match source {
        PathSource::Local => None,
        PathSource::Peer { router_id, .. } => Some(attributes.originator_id.unwrap_or(router_id)),
    }
}

impl Reflector {
    /// Refuses a received route that leads nowhere, has been here before, or that its sender cannot have.
    ///
    /// # Errors
    /// Why.
    pub(crate) fn check<N: Prefix>(
        self,
        attributes: &PathAttributes<N::NextHop>,
        sender: PeerRole,
    ) -> Result<(), Rejection> {
        if !N::is_host(attributes.next_hop) {
            return Err(NO_HOST);
        }
        if let PeerRole::External(peer) = sender {
            return external::check::<N>(attributes, peer);
        }
        if attributes.originator_id == Some(self.router_id) {
            return Err(ORIGINATOR_LOOP);
        }
        if attributes.cluster_list.contains(&self.cluster_id) {
            return Err(CLUSTER_LOOP);
        }
        Ok(())
    }

    /// Returns the attributes with which a path from `source` is sent to `target`. `source_role` is the role of the peer
    /// that the path came from.
    ///
    /// # Errors
    /// Why it is not sent.
    pub(crate) fn export<N: Prefix>(
        self,
        attributes: &PathAttributes<N::NextHop>,
        (source, source_role): (PathSource, Option<PeerRole>),
        target: Target,
    ) -> Result<PathAttributes<N::NextHop>, Rejection> {
        // RFC 1997: what was received with it is told to nobody.
        let confined = attributes.communities.contains(&Community::NO_ADVERTISE.0);
        if confined && source != PathSource::Local {
            return Err(NO_ADVERTISE);
        }
        if let PeerRole::External(peer) = target.role {
            return external::export::<N>(attributes, peer);
        }
        let mut exported = match (source, source_role) {
            // What comes from outside goes to everybody inside, and is not reflected: it was not inside before.
            (PathSource::Local, _) | (PathSource::Peer { .. }, Some(PeerRole::External(_))) => {
                attributes.clone()
            }
            (PathSource::Peer { router_id, .. }, role) => {
                self.reflect(attributes, router_id, role.ok_or(NOT_REFLECTED)?, target)?
            }
        };
        // RFC 4271 section 5.1.5 wants LOCAL_PREF towards internal peers. Absent means 100, so this says the same.
        exported.local_pref = Some(exported.preference());
        Ok(exported)
    }

    fn reflect<A: Clone>(
        self,
        attributes: &PathAttributes<A>,
        source: Ipv4Addr,
        source_role: PeerRole,
        target: Target,
    ) -> Result<PathAttributes<A>, Rejection> {
        // 1 A route of a non-client goes to clients only (section 6).
        if source_role == PeerRole::NonClient && target.role == PeerRole::NonClient {
            return Err(NOT_REFLECTED);
        }
        // 2 Neither its sender nor its originator gets it back.
        let originator = attributes.originator_id.unwrap_or(source);
        if target.router_id == source || target.router_id == originator {
            return Err(SPLIT_HORIZON);
        }
        // 3 ORIGINATOR_ID is set once, our cluster id is prepended (section 8).
        let mut reflected = attributes.clone();
        reflected.originator_id = Some(originator);
        reflected.cluster_list.insert(0, self.cluster_id);
        Ok(reflected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ExternalPeer;
    use crate::rib::Path;
    use crate::testing::{attributes, learned, router, start};
    use ipnet::Ipv4Net;
    use std::sync::Arc;

    #[test]
    fn routes_that_were_here_before_are_refused() {
        let originated = PathAttributes {
            originator_id: Some(router(1)),
            ..attributes(2, 100)
        };
        let passed = PathAttributes {
            cluster_list: vec![router(7), router(8)],
            ..attributes(2, 100)
        };
        let check = |attributes| US.check::<Ipv4Net>(attributes, PeerRole::Client);
        assert_eq!(check(&originated), Err(ORIGINATOR_LOOP));
        assert_eq!(check(&passed), Err(CLUSTER_LOOP));
        assert_eq!(check(&attributes(2, 100)), Ok(()));
    }

    #[test]
    fn who_gets_what_follows_the_roles() {
        use PeerRole::{Client, NonClient};
        let path = learned(2, attributes(2, 100));
        let table = [
            (Client, Client, None),
            (Client, NonClient, None),
            (NonClient, Client, None),
            (NonClient, NonClient, Some(NOT_REFLECTED)),
        ];
        for (from, to, refused) in table {
            let target = Target {
                router_id: router(3),
                role: to,
            };
            assert_eq!(
                export(&path, Some(from), target).err(),
                refused,
                "{from:?} {to:?}"
            );
        }
    }

    #[test]
    fn a_reflected_route_gets_originator_and_cluster_and_nothing_else() {
        let original = PathAttributes {
            med: Some(7),
            ..attributes(2, 321)
        };
        let path = learned(2, original.clone());
        let reflected = export(&path, Some(PeerRole::Client), client(3)).unwrap();
        let expected = PathAttributes {
            originator_id: Some(router(2)),
            cluster_list: vec![router(8)],
            ..original
        };
        assert_eq!(reflected, expected);
    }

    #[test]
    fn a_second_reflector_keeps_the_originator_and_prepends_its_cluster() {
        let once = PathAttributes {
            originator_id: Some(router(5)),
            cluster_list: vec![router(9)],
            ..attributes(5, 100)
        };
        let twice = export(&learned(2, once), Some(PeerRole::NonClient), client(3)).unwrap();
        assert_eq!(twice.originator_id, Some(router(5)));
        assert_eq!(twice.cluster_list, [router(8), router(9)]);
    }

    #[test]
    fn what_is_not_to_be_advertised_stays_here() {
        let confined = PathAttributes {
            communities: vec![Community::NO_ADVERTISE.0],
            ..attributes(2, 100)
        };
        let path = learned(2, confined);
        let sent = export(&path, Some(PeerRole::Client), client(3));
        assert_eq!(sent, Err(NO_ADVERTISE));
    }

    #[test]
    fn neither_sender_nor_originator_get_a_route_back() {
        let from_five = PathAttributes {
            originator_id: Some(router(5)),
            ..attributes(5, 100)
        };
        let path = learned(2, from_five);
        for host in [2, 5] {
            let sent = export(&path, Some(PeerRole::Client), client(host));
            assert_eq!(sent, Err(SPLIT_HORIZON), "{host}");
        }
    }

    #[test]
    fn a_route_from_outside_goes_to_everybody_inside_as_it_came() {
        let outside = PeerRole::External(ExternalPeer {
            asn: 65001,
            local_asn: 64512,
            next_hop: router(1),
            next_hop_ipv6: None,
        });
        let path = learned(2, attributes(2, 100));
        for role in [PeerRole::Client, PeerRole::NonClient] {
            let target = Target {
                router_id: router(2),
                role,
            };
            let sent = export(&path, Some(outside), target);
            assert_eq!(sent, Ok(attributes(2, 100)), "{role:?}");
        }
    }

    #[test]
    fn local_routes_go_to_everybody_with_an_explicit_local_pref() {
        let path = Path {
            source: PathSource::Local,
            path_id: None,
            attributes: Arc::new(PathAttributes::local(router(1))),
            learned_at: start(),
            stale: false,
        };
        let target = Target {
            router_id: router(3),
            role: PeerRole::NonClient,
        };
        let sent = export(&path, None, target).unwrap();
        assert_eq!(sent, attributes(1, 100));
    }

    fn export(
        path: &Path,
        from: Option<PeerRole>,
        target: Target,
    ) -> Result<PathAttributes, Rejection> {
        US.export::<Ipv4Net>(&path.attributes, (path.source, from), target)
    }

    const US: Reflector = Reflector {
        router_id: Ipv4Addr::new(10, 0, 0, 1),
        cluster_id: Ipv4Addr::new(10, 0, 0, 8),
    };

    fn client(host: u8) -> Target {
        Target {
            router_id: router(host),
            role: PeerRole::Client,
        }
    }
}
