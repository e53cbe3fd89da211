//! Reads the tables of one family.
//!
//! Up to date once the outputs of the speaker are drained.

use std::net::Ipv4Addr;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::config::PeerId;
use crate::feed::Feed;
use crate::policy::Rejection;
use crate::rib::{Alternatives, Cause, NeighborIdentity, Path, ReceivedRoute, Tables, Tried};
use crate::speaker::Speaker;
use crate::view::{self, PathView, PeerView, ReceivedView, RejectedView, WithheldView};
use crate::wire::{Family, Nlri, PathAttributes, Prefix};
use crate::{Policies, Policy};

/// The tables of one family, to be read.
#[derive(Debug)]
pub struct RibView<'a, P, N: Prefix = Ipv4Net>(&'a Tables<P, N>);

impl<P: Policies> Speaker<P> {
    /// Reads the tables of IPv4 unicast.
    pub fn ipv4(&self) -> RibView<'_, P> {
        RibView(&self.tables)
    }

    /// Reads the tables of IPv6 unicast.
    pub fn ipv6(&self) -> RibView<'_, P, Ipv6Net> {
        RibView(&self.ipv6)
    }

    /// As [`RibView::best`], of IPv4 unicast.
    pub fn best(&self, prefix: Ipv4Net) -> Option<Path> {
        self.ipv4().best(prefix)
    }

    /// As [`RibView::paths`], of IPv4 unicast.
    pub fn paths(&self, prefix: Ipv4Net) -> Vec<PathView> {
        self.ipv4().paths(prefix)
    }

    /// Returns the paths of an IPv4 prefix that may be chosen, now or once others are gone.
    pub fn alternatives(&self, prefix: Ipv4Net) -> Alternatives {
        Alternatives::of(self.tables.loc_rib().candidates(prefix))
    }

    /// As [`RibView::prefixes`], of IPv4 unicast.
    pub fn prefixes(&self) -> Vec<Ipv4Net> {
        self.ipv4().prefixes()
    }

    /// As [`RibView::feed`], of IPv4 unicast.
    pub fn rib_feed(&self) -> &Feed<Ipv4Net, Cause> {
        self.tables.loc_rib().feed()
    }

    /// As [`RibView::received`], of IPv4 unicast.
    pub fn received(&self, peer: PeerId) -> Vec<ReceivedView> {
        self.ipv4().received(peer)
    }

    /// As [`RibView::rejected`], of IPv4 unicast.
    pub fn rejected(&self, peer: PeerId) -> Vec<RejectedView> {
        self.ipv4().rejected(peer)
    }

    /// As [`RibView::accepted`], of IPv4 unicast.
    pub fn accepted(&self, peer: PeerId) -> Vec<(Ipv4Net, Path)> {
        self.ipv4().accepted(peer)
    }

    /// As [`RibView::advertised`], of IPv4 unicast.
    pub fn advertised(&self, peer: PeerId) -> Vec<(Nlri, PathAttributes<Ipv4Addr>)> {
        self.ipv4().advertised(peer)
    }

    /// As [`RibView::withheld`], of IPv4 unicast.
    pub fn withheld(&self, peer: PeerId) -> Vec<WithheldView> {
        self.ipv4().withheld(peer)
    }
}

impl<'a, P: Policy<N>, N: Prefix> RibView<'a, P, N> {
    /// Returns the best path of a prefix.
    #[must_use]
    pub fn best(&self, prefix: N) -> Option<Path<N::NextHop>> {
        self.0.loc_rib().best(prefix)
    }

    /// Returns all paths of a prefix, best first; ineligible ones last.
    #[must_use]
    pub fn paths(&self, prefix: N) -> Vec<PathView<N::NextHop>> {
        view::paths(&self.0.loc_rib().candidates(prefix))
    }

    /// Lists all prefixes with at least one path, in order.
    #[must_use]
    pub fn prefixes(&self) -> Vec<N> {
        self.0.loc_rib().prefixes().collect()
    }

    /// Prefixes whose paths changed, any of them.
    #[must_use]
    pub fn feed(&self) -> &'a Feed<N, Cause> {
        self.0.loc_rib().feed()
    }

    /// Routes received from a peer, by prefix: before policy, refused ones included.
    #[must_use]
    pub fn received(&self, peer: PeerId) -> Vec<ReceivedView<N>> {
        let routes = self.0.received(peer).into_iter();
        routes.map(received_view).collect()
    }

    /// Routes to a prefix received from a peer, by path identifier: before policy, refused ones included.
    #[must_use]
    pub fn received_to(&self, peer: PeerId, prefix: N) -> Vec<ReceivedView<N>> {
        let routes = self.0.received_to(peer, prefix).into_iter();
        routes.map(received_view).collect()
    }

    /// Routes refused from a peer, by prefix.
    #[must_use]
    pub fn rejected(&self, peer: PeerId) -> Vec<RejectedView<N>> {
        let neighbor = self.0.neighbor(peer).into_iter();
        neighbor
            .flat_map(|neighbor| neighbor.adj_rib_in.refused())
            .map(|(route, refused)| RejectedView {
                prefix: route.prefix,
                path_id: route.path_id,
                attributes: (*refused.received.attributes).clone(),
                reason: refused.reason.0,
            })
            .collect()
    }

    /// Routes accepted from a peer, by prefix.
    #[must_use]
    pub fn accepted(&self, peer: PeerId) -> Vec<(N, Path<N::NextHop>)> {
        self.0.accepted(peer)
    }

    /// Routes advertised to a peer, by prefix.
    #[must_use]
    pub fn advertised(&self, peer: PeerId) -> Vec<(Nlri<N>, PathAttributes<N::NextHop>)> {
        let routes = self.0.advertised(peer).into_iter();
        routes
            .map(|(route, attributes)| (route, (*attributes).clone()))
            .collect()
    }

    /// Tells what import would make of a route of a peer, whether its session is up or not. Limits are not tried.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn try_import(
        &self,
        peer: &PeerView,
        prefix: N,
        attributes: &PathAttributes<N::NextHop>,
    ) -> Result<PathAttributes<N::NextHop>, Rejection> {
        self.0.try_import((peer.id, peer.role), prefix, attributes)
    }

    /// Tells for each path to a prefix, best first, what a peer would be told, or why it would not.
    #[must_use]
    pub fn try_export(
        &self,
        peer: &PeerView,
        prefix: N,
    ) -> Vec<(Path<N::NextHop>, Tried<N::NextHop>)> {
        self.0.try_export(identity::<N>(peer), prefix)
    }

    /// Tells what a peer would be told of a route if we originated it.
    ///
    /// # Errors
    /// Why it would not be told.
    pub fn try_originating(
        &self,
        peer: &PeerView,
        prefix: N,
        attributes: &PathAttributes<N::NextHop>,
    ) -> Result<PathAttributes<N::NextHop>, Rejection> {
        self.0
            .try_originating(identity::<N>(peer), prefix, attributes)
    }

    /// Paths that a peer is not told, by prefix, each with the reason; worked out at the question.
    #[must_use]
    pub fn withheld(&self, peer: PeerId) -> Vec<WithheldView<N>> {
        let withheld = self.0.withheld(peer).into_iter();
        withheld
            .map(|(prefix, path, reason)| WithheldView {
                prefix,
                path,
                reason: reason.0,
            })
            .collect()
    }
}

fn received_view<N: Prefix>((route, received, reason): ReceivedRoute<N>) -> ReceivedView<N> {
    ReceivedView {
        prefix: route.prefix,
        path_id: route.path_id,
        attributes: received.attributes,
        learned_at: received.learned_at,
        rejected: reason.map(|reason| reason.0),
    }
}

/// Who a peer is, as far as it is known without a session, where it is about a family.
fn identity<N: Prefix>(peer: &PeerView) -> NeighborIdentity {
    let family = match N::FAMILY {
        Family::Ipv4Unicast => Some(&peer.ipv4),
        Family::Ipv6Unicast => peer.ipv6.as_ref(),
    };
    NeighborIdentity {
        peer: peer.id,
        router_id: peer.router_id.unwrap_or(peer.address),
        address: peer.address,
        role: peer.role,
        max_prefixes: peer.max_prefixes,
        reflector: false,
        all_paths: family.is_some_and(|family| family.add_path_send),
    }
}
