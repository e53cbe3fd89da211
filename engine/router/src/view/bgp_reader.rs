//! Fills the views of BGP from the speaker.

use std::time::Instant;

use ipnet::Ipv4Net;
use sam_bgp::session::SessionState;
use sam_bgp::speaker::{PathView, PeerView, RejectedView};
use sam_bgp::wire::{Capability, Notification, Origin, code, subcode};
use sam_bgp::{DecisionStep, Path, PathAttributes, PathSource, PeerRole};
use sam_capture::{NodeId, RouteTags};

use super::{
    BgpNeighborView, BgpNeighborsView, BgpRibView, BgpRouteRow, BgpWhyView, ComparisonView,
    LadderRow, MessageCounts, NeighborSummary, NodeRef, NotificationView, PathRow, RejectedRow,
    RibEntry, seconds_ago,
};
use crate::Router;
use crate::facts::Facts;
use crate::peers::{node_of, peer_of};

impl Router {
    /// `samctl bgp neighbors`
    #[must_use]
    pub fn bgp_neighbors(&self, now: Instant) -> BgpNeighborsView {
        let peers = self.speaker.peers();
        BgpNeighborsView {
            asn: self.config.fabric.asn,
            router_id: self.config.own_node().overlay,
            neighbors: peers
                .iter()
                .map(|peer| self.neighbor_summary(peer, now))
                .collect(),
        }
    }

    /// `samctl bgp neighbor NODE`; `None` when the node is no BGP peer.
    #[must_use]
    pub fn bgp_neighbor(
        &self,
        node: NodeId,
        facts: &Facts,
        now: Instant,
    ) -> Option<BgpNeighborView> {
        let id = peer_of(node);
        let peer = self
            .speaker
            .peers()
            .into_iter()
            .find(|peer| peer.id == id)?;
        let accepted = self.speaker.accepted(id);
        Some(BgpNeighborView {
            summary: self.neighbor_summary(&peer, now),
            router_id: peer.router_id,
            hold_time_s: peer.hold_time.map(|hold| hold.as_secs_f64()),
            keepalive_s: peer.hold_time.map(|hold| hold.as_secs_f64() / 3.0),
            bfd: self.bfd_row(node, peer.address, facts, now),
            end_of_rib: peer.end_of_rib,
            capabilities_sent: peer.capabilities_sent.iter().map(capability_text).collect(),
            capabilities_received: peer
                .capabilities_received
                .iter()
                .map(capability_text)
                .collect(),
            messages_received: message_counts(peer.messages_received),
            messages_sent: message_counts(peer.messages_sent),
            last_sent: peer.last_sent.as_ref().map(notification_view),
            last_received: peer.last_received.as_ref().map(notification_view),
            routes_accepted: accepted
                .iter()
                .map(|(prefix, path)| route_row(*prefix, &path.attributes))
                .collect(),
            routes_rejected: self.speaker.rejected(id).iter().map(rejected_row).collect(),
            routes_advertised: self
                .speaker
                .advertised(id)
                .iter()
                .map(|(prefix, attributes)| route_row(*prefix, attributes))
                .collect(),
        })
    }

    /// `samctl bgp rib`
    #[must_use]
    pub fn bgp_rib(&self, now: Instant) -> BgpRibView {
        let entry = |prefix| {
            let paths = self.speaker.paths(prefix);
            RibEntry {
                prefix,
                paths: paths.iter().map(|path| self.path_row(path, now)).collect(),
            }
        };
        BgpRibView {
            entries: self.speaker.prefixes().into_iter().map(entry).collect(),
        }
    }

    /// `samctl bgp why PREFIX`
    #[must_use]
    pub fn bgp_why(&self, prefix: Ipv4Net, now: Instant) -> BgpWhyView {
        let paths = self.speaker.paths(prefix);
        let best = paths.iter().find(|view| view.best);
        let comparison = |best: &PathView, other: &PathView| ComparisonView {
            loser: self.path_row(other, now),
            step: other.step.into(),
            ladder: ladder(best, other),
        };
        let others = paths.iter().filter(|view| !view.best);
        let comparisons = others.filter_map(|other| best.map(|best| comparison(best, other)));
        let rejected = self.speaker.peers().into_iter().flat_map(|peer| {
            let node = NodeRef::new(&self.config, node_of(peer.id));
            let refused = self.speaker.rejected(peer.id);
            let refused = refused
                .into_iter()
                .filter(|refused| refused.prefix == prefix);
            refused
                .map(|refused| (node.clone(), rejected_row(&refused)))
                .collect::<Vec<_>>()
        });
        BgpWhyView {
            prefix,
            best: best.map(|best| self.path_row(best, now)),
            comparisons: comparisons.collect(),
            rejected: rejected.collect(),
        }
    }

    fn neighbor_summary(&self, peer: &PeerView, now: Instant) -> NeighborSummary {
        NeighborSummary {
            node: NodeRef::new(&self.config, node_of(peer.id)),
            address: peer.address,
            state: state_text(peer.state).into(),
            since_s: seconds_ago(peer.since, now),
            role: match peer.role {
                PeerRole::Client => "client".into(),
                PeerRole::NonClient => "non-client".into(),
            },
            received: peer.received,
            accepted: peer.accepted,
            advertised: peer.advertised,
            established_count: peer.established_count,
            last_down: peer.last_down.clone(),
        }
    }

    fn path_row(&self, view: &PathView, now: Instant) -> PathRow {
        let attributes = &view.path.attributes;
        let tags = RouteTags::parse(self.config.fabric.asn, &attributes.large_communities).ok();
        let claim = tags.and_then(|tags| tags.claim());
        let from = match view.path.source {
            PathSource::Local => None,
            PathSource::Peer { peer, .. } => Some(NodeRef::new(&self.config, node_of(peer))),
        };
        PathRow {
            best: view.best,
            from,
            node: tags.map(|tags| NodeRef::new(&self.config, tags.node)),
            kind: tags.map(|tags| tags.kind.name().into()),
            state: claim.map(|claim| claim.state.name().into()),
            sequence: claim.map(|claim| claim.sequence),
            next_hop: attributes.next_hop,
            local_pref: attributes.preference(),
            as_path: attributes
                .as_path
                .iter()
                .flat_map(|segment| segment.0.clone())
                .collect(),
            origin: origin_text(attributes.origin).into(),
            med: attributes.med,
            originator_id: attributes.originator_id,
            cluster_list: attributes.cluster_list.clone(),
            communities: attributes
                .communities
                .iter()
                .map(|value| community_text(*value))
                .collect(),
            large_communities: large_communities(attributes),
            age_s: seconds_ago(view.path.learned_at, now),
            ineligible: view.ineligible.map(String::from),
            step: view.step.into(),
        }
    }
}

/// Lists the steps from the first to the one that decided, with both paths' values.
fn ladder(best: &PathView, other: &PathView) -> Vec<LadderRow> {
    const STEPS: [DecisionStep; 10] = [
        DecisionStep::Eligible,
        DecisionStep::Steady,
        DecisionStep::LocalPref,
        DecisionStep::LocalOrigin,
        DecisionStep::AsPathLength,
        DecisionStep::Origin,
        DecisionStep::Med,
        DecisionStep::RouterId,
        DecisionStep::ClusterListLength,
        DecisionStep::PeerAddress,
    ];
    let decided = other.step;
    let row = |step: DecisionStep| LadderRow {
        step: step.into(),
        best: step_value(step, best),
        other: step_value(step, other),
        decides: step == decided,
    };
    let last = STEPS
        .iter()
        .position(|step| *step == decided)
        .unwrap_or(STEPS.len() - 1);
    STEPS[..=last].iter().map(|step| row(*step)).collect()
}

/// Returns what a step looks at.
fn step_value(step: DecisionStep, view: &PathView) -> String {
    let attributes = &view.path.attributes;
    match step {
        DecisionStep::Eligible => view.ineligible.unwrap_or("yes").into(),
        DecisionStep::Steady => if view.unsteady { "lately" } else { "yes" }.into(),
        DecisionStep::LocalPref => attributes.preference().to_string(),
        DecisionStep::LocalOrigin => match view.path.source {
            PathSource::Local => "local".into(),
            PathSource::Peer { .. } => "learned".into(),
        },
        DecisionStep::AsPathLength => attributes
            .as_path
            .iter()
            .map(|segment| segment.0.len())
            .sum::<usize>()
            .to_string(),
        DecisionStep::Origin => origin_text(attributes.origin).into(),
        DecisionStep::Med => attributes.med.unwrap_or(0).to_string(),
        DecisionStep::RouterId => router_id(&view.path),
        DecisionStep::ClusterListLength => attributes.cluster_list.len().to_string(),
        DecisionStep::PeerAddress => match view.path.source {
            PathSource::Local => "local".into(),
            PathSource::Peer { address, .. } => address.to_string(),
        },
        DecisionStep::OnlyPath | DecisionStep::Identical => String::new(),
    }
}

fn router_id(path: &Path) -> String {
    match (path.attributes.originator_id, path.source) {
        (Some(originator), _) => originator.to_string(),
        (None, PathSource::Peer { router_id, .. }) => router_id.to_string(),
        (None, PathSource::Local) => "local".into(),
    }
}

fn route_row(prefix: Ipv4Net, attributes: &PathAttributes) -> BgpRouteRow {
    BgpRouteRow {
        prefix,
        next_hop: attributes.next_hop,
        local_pref: attributes.local_pref,
        originator_id: attributes.originator_id,
        large_communities: large_communities(attributes),
    }
}

fn rejected_row(rejected: &RejectedView) -> RejectedRow {
    RejectedRow {
        route: route_row(rejected.prefix, &rejected.attributes),
        reason: rejected.reason.into(),
    }
}

fn large_communities(attributes: &PathAttributes) -> Vec<String> {
    attributes
        .large_communities
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn community_text(value: u32) -> String {
    format!("{}:{}", value >> 16, value & 0xffff)
}

fn message_counts(
    [open, update, notification, keepalive, route_refresh]: [u64; 5],
) -> MessageCounts {
    MessageCounts {
        open,
        update,
        notification,
        keepalive,
        route_refresh,
    }
}

fn origin_text(origin: Origin) -> &'static str {
    match origin {
        Origin::Igp => "igp",
        Origin::Egp => "egp",
        Origin::Incomplete => "incomplete",
    }
}

fn state_text(state: SessionState) -> &'static str {
    match state {
        SessionState::Idle => "idle",
        SessionState::Connect => "connect",
        SessionState::Active => "active",
        SessionState::OpenSent => "open-sent",
        SessionState::OpenConfirm => "open-confirm",
        SessionState::Established => "established",
    }
}

fn capability_text(capability: &Capability) -> String {
    match capability {
        Capability::Multiprotocol { afi: 1, safi: 1 } => "multiprotocol ipv4-unicast".into(),
        Capability::Multiprotocol { afi, safi } => format!("multiprotocol {afi}/{safi}"),
        Capability::RouteRefresh => "route-refresh".into(),
        Capability::FourOctetAs(asn) => format!("four-octet-as {asn}"),
        Capability::EnhancedRouteRefresh => "enhanced-route-refresh".into(),
        Capability::Fqdn { host, domain } if domain.is_empty() => format!("fqdn {host}"),
        Capability::Fqdn { host, domain } => format!("fqdn {host}.{domain}"),
        Capability::Unknown { code, value } => {
            let name =
                capability_name(*code).map_or_else(|| format!("unknown {code}"), str::to_owned);
            if value.is_empty() {
                name
            } else {
                format!("{name} ({})", hex(value))
            }
        }
    }
}

/// Names capabilities that other speakers offer and this one does not use (IANA, Capability Codes).
const fn capability_name(code: u8) -> Option<&'static str> {
    Some(match code {
        5 => "extended-next-hop",
        6 => "extended-message",
        9 => "role",
        64 => "graceful-restart",
        69 => "add-path",
        71 => "long-lived-graceful-restart",
        128 => "route-refresh-cisco",
        _ => return None,
    })
}

fn notification_view(notification: &Notification) -> NotificationView {
    NotificationView {
        code: notification.code,
        subcode: notification.subcode,
        text: notification_text(notification),
        data_hex: hex(&notification.data),
    }
}

/// Says what a NOTIFICATION means, with the far operator's words if there are any (RFC 9003).
fn notification_text(notification: &Notification) -> String {
    let name = notification_name(notification.code, notification.subcode);
    match notification.shutdown_text() {
        // Quoted, because it is somebody else's text: nothing in it reaches the terminal unescaped.
        Some(text) => format!("{name}: {text:?}"),
        None => name.into(),
    }
}

/// Names code and subcode (RFC 4271 section 6, RFC 4486, RFC 9384).
fn notification_name(error: u8, detail: u8) -> &'static str {
    match error {
        code::HEADER => "message header error",
        code::OPEN => match detail {
            subcode::BAD_PEER_AS => "OPEN error: bad peer AS",
            subcode::BAD_BGP_IDENTIFIER => "OPEN error: bad BGP identifier",
            subcode::UNACCEPTABLE_HOLD_TIME => "OPEN error: unacceptable hold time",
            subcode::UNSUPPORTED_CAPABILITY => "OPEN error: unsupported capability",
            _ => "OPEN error",
        },
        code::UPDATE => "UPDATE error",
        code::HOLD_TIMER => "hold timer expired",
        code::FSM => "finite state machine error",
        code::CEASE => match detail {
            subcode::MAX_PREFIXES => "cease: too many prefixes",
            subcode::ADMIN_SHUTDOWN => "cease: administrative shutdown",
            subcode::PEER_DECONFIGURED => "cease: peer removed from the configuration",
            subcode::ADMIN_RESET => "cease: administrative reset",
            subcode::CONNECTION_REJECTED => "cease: connection rejected",
            subcode::CONFIG_CHANGE => "cease: configuration change",
            subcode::COLLISION => "cease: connection collision",
            subcode::OUT_OF_RESOURCES => "cease: out of resources",
            subcode::BFD_DOWN => "cease: BFD down",
            _ => "cease",
        },
        code::ROUTE_REFRESH => "ROUTE-REFRESH error",
        _ => "unknown error",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_of_others_are_shown_by_name_and_value() {
        let unused = |code, value: &[u8]| Capability::Unknown {
            code,
            value: value.to_vec(),
        };

        assert_eq!(
            capability_text(&unused(64, &[0x40, 0x78])),
            "graceful-restart (4078)"
        );
        assert_eq!(capability_text(&unused(6, &[])), "extended-message");
        assert_eq!(capability_text(&unused(239, &[1])), "unknown 239 (01)");
    }

    #[test]
    fn a_shutdown_shows_what_the_far_operator_wrote() {
        let plain = Notification::new(code::CEASE, subcode::ADMIN_SHUTDOWN);
        let told = Notification::cease_with_text(subcode::ADMIN_SHUTDOWN, "back at\nnoon\u{1b}[2J");

        assert_eq!(
            notification_view(&plain).text,
            "cease: administrative shutdown"
        );
        assert_eq!(
            notification_view(&told).text,
            r#"cease: administrative shutdown: "back at\nnoon\u{1b}[2J""#
        );
    }
}
