//! Fills the views of BGP from the speaker.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use sam_bgp::mrt::DumpHead;
use sam_bgp::session::SessionState;
use sam_bgp::speaker::{ErrorView, FamilyView, PathView, PeerView, RejectedView};
use sam_bgp::wire::{AddPathFamily, Capability, GracefulRestart};
use sam_bgp::{
    AddPathDirection, DecisionStep, Family, Nlri, Path, PathAttributes, PathId, PathSource, PeerId,
    PeerRole, Policy, Prefix, RibView, TimerName,
};
use sam_capture::{NodeId, RouteTags};

use super::bgp_table::{as_path, hex, origin_name, texts};
use super::{
    BgpNeighborView, BgpNeighborsView, BgpRibView, BgpRouteRow, BgpWhyView, ComparisonView,
    ErrorRow, FamilyRow, LadderRow, MessageCounts, NeighborSummary, NodeRef, NotificationView,
    PathRow, RejectedRow, RestartingView, RibEntry, StepView, TimerRow, seconds_ago, seconds_until,
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
            graceful_shutdown: self.graceful_shutdown().map(String::from),
            restarting: self.speaker.restarting().map(|restart| RestartingView {
                awaited: restart
                    .awaited
                    .into_iter()
                    .map(|peer| NodeRef::new(&self.config, node_of(peer)))
                    .collect(),
                remaining_s: seconds_until(restart.until, now),
            }),
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
        let (ipv4, ipv6) = (self.speaker.ipv4(), self.speaker.ipv6());
        let errors = self.speaker.errors(id);
        let mut routes = NeighborRoutes::read(&ipv4, id);
        routes.extend(NeighborRoutes::read(&ipv6, id));
        Some(BgpNeighborView {
            summary: self.neighbor_summary(&peer, now),
            router_id: peer.router_id,
            proposed_hold_time_s: peer.proposed_hold_time.as_secs_f64(),
            hold_time_s: peer.hold_time.map(|hold| hold.as_secs_f64()),
            keepalive_s: peer.hold_time.map(|hold| hold.as_secs_f64() / 3.0),
            add_path: add_path(&peer.ipv4).into(),
            extended_messages: directions(peer.extended_receive, peer.extended_send).into(),
            foreign: self.foreign_view(&peer),
            timers: peer
                .timers
                .iter()
                .map(|(name, due)| TimerRow {
                    name: timer_name(*name).into(),
                    due_s: due.saturating_duration_since(now).as_secs_f64(),
                })
                .collect(),
            bfd: self.bfd_row(node, peer.address, facts, now),
            end_of_rib: peer.ipv4.end_of_rib,
            capabilities_sent: peer.capabilities_sent.iter().map(capability_text).collect(),
            capabilities_received: peer
                .capabilities_received
                .iter()
                .map(capability_text)
                .collect(),
            messages_received: message_counts(peer.messages_received),
            messages_sent: message_counts(peer.messages_sent),
            last_sent: peer.last_sent.as_ref().map(NotificationView::from),
            last_received: peer.last_received.as_ref().map(NotificationView::from),
            errors: errors.iter().map(|it| error_row(it, now)).collect(),
            routes_accepted: routes.accepted,
            routes_rejected: routes.rejected,
            routes_advertised: routes.advertised,
        })
    }

    /// `samctl bgp rib`: of one family, or of all.
    #[must_use]
    pub fn bgp_rib(&self, family: Option<Family>, now: Instant) -> BgpRibView {
        let wanted = |it| family.is_none_or(|family| family == it);
        let mut entries = Vec::new();
        if wanted(Family::Ipv4Unicast) {
            entries.extend(self.rib_entries(&self.speaker.ipv4(), now));
        }
        if wanted(Family::Ipv6Unicast) {
            entries.extend(self.rib_entries(&self.speaker.ipv6(), now));
        }
        BgpRibView { entries }
    }

    fn rib_entries<N: Prefix>(
        &self,
        rib: &RibView<'_, impl Policy<N>, N>,
        now: Instant,
    ) -> impl Iterator<Item = RibEntry> {
        rib.prefixes().into_iter().map(move |prefix| {
            let paths = rib.paths(prefix);
            RibEntry {
                prefix: prefix.into(),
                paths: paths.iter().map(|path| self.path_row(path, now)).collect(),
            }
        })
    }

    /// `samctl bgp mrt dump`: all paths as TABLE_DUMP_V2 (RFC 6396); `time` is `now` in seconds since the Unix epoch.
    #[must_use]
    pub fn table_dump(&self, time: f64, now: Instant) -> Vec<u8> {
        // MRT counts seconds in 32 bits.
        let time = Duration::try_from_secs_f64(time).unwrap_or_default();
        self.speaker.table_dump(DumpHead {
            view: &self.config.fabric.name,
            time: u32::try_from(time.as_secs()).unwrap_or(u32::MAX),
            now,
        })
    }

    /// `samctl bgp why PREFIX`
    #[must_use]
    pub fn bgp_why(&self, prefix: IpNet, now: Instant) -> BgpWhyView {
        match prefix {
            IpNet::V4(prefix) => self.why(&self.speaker.ipv4(), prefix, now),
            IpNet::V6(prefix) => self.why(&self.speaker.ipv6(), prefix, now),
        }
    }

    fn why<N: Prefix>(
        &self,
        rib: &RibView<'_, impl Policy<N>, N>,
        prefix: N,
        now: Instant,
    ) -> BgpWhyView {
        let paths = rib.paths(prefix);
        let best = paths.iter().find(|view| view.best);
        let comparison = |winner: &PathView<_>, other: &PathView<_>| ComparisonView {
            loser: self.path_row(other, now),
            instead: (!winner.best).then(|| self.path_row(winner, now)),
            step: other.step.into(),
            ladder: ladder(winner, other),
        };
        let others = paths.iter().filter(|view| best.is_some() && !view.best);
        let comparisons =
            others.filter_map(|other| Some(comparison(paths.get(other.rival)?, other)));
        let rejected = self.speaker.peers().into_iter().flat_map(|peer| {
            let node = NodeRef::new(&self.config, node_of(peer.id));
            let refused = rib.rejected(peer.id);
            let refused = refused
                .into_iter()
                .filter(|refused| refused.prefix == prefix);
            refused
                .map(|refused| (node.clone(), rejected_row(&refused)))
                .collect::<Vec<_>>()
        });
        BgpWhyView {
            prefix: prefix.into(),
            best: best.map(|best| self.path_row(best, now)),
            unusable: paths
                .iter()
                .filter(|_| best.is_none())
                .map(|path| self.path_row(path, now))
                .collect(),
            comparisons: comparisons.collect(),
            rejected: rejected.collect(),
        }
    }

    fn neighbor_summary(&self, peer: &PeerView, now: Instant) -> NeighborSummary {
        NeighborSummary {
            node: NodeRef::new(&self.config, node_of(peer.id)),
            asn: Some(peer.role.asn(self.config.fabric.asn)),
            range: peer.range,
            address: peer.address,
            state: state_text(peer.state).into(),
            disabled: peer.disabled,
            since_s: seconds_ago(peer.since, now),
            role: role_name(peer.role).into(),
            received: peer.ipv4.received,
            accepted: peer.ipv4.accepted,
            max_prefixes: Some(peer.max_prefixes),
            advertised: peer.ipv4.advertised,
            refusals: peer
                .refusals
                .iter()
                .map(|(reason, count)| ((*reason).to_owned(), *count))
                .collect(),
            stale: peer.ipv4.stale,
            stale_remaining_s: peer.ipv4.stale_until.map(|until| seconds_until(until, now)),
            ipv6: peer.ipv6.as_ref().map(|ipv6| family_row(ipv6, now)),
            degraded: is_degraded(peer).then(|| "no-addpath".into()),
            established_count: peer.established_count,
            last_down: peer.last_down.clone(),
        }
    }

    pub(super) fn path_row<A: Copy + Into<IpAddr>>(
        &self,
        view: &PathView<A>,
        now: Instant,
    ) -> PathRow {
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
            path_id: view.path.path_id.map(|PathId(id)| id),
            node: tags.map(|tags| NodeRef::new(&self.config, tags.node)),
            kind: tags.map(|tags| tags.kind.name().into()),
            state: claim.map(|claim| claim.state.name().into()),
            sequence: claim.map(|claim| claim.sequence),
            next_hop: attributes.next_hop.into(),
            local_pref: attributes.preference(),
            as_path: as_path(attributes),
            origin: origin_name(attributes.origin).into(),
            med: attributes.med,
            originator_id: attributes.originator_id,
            cluster_list: attributes.cluster_list.clone(),
            communities: attributes
                .communities
                .iter()
                .map(|value| community_text(*value))
                .collect(),
            large_communities: texts(attributes.large_communities.iter()),
            age_s: seconds_ago(view.path.learned_at, now),
            stale: view.path.stale,
            ineligible: view.ineligible.map(String::from),
            step: view.step.into(),
        }
    }
}

/// Lists the steps from the first to the one that decided, with both paths' values.
fn ladder<A>(best: &PathView<A>, other: &PathView<A>) -> Vec<LadderRow> {
    let decided = other.step;
    let from = |view: &PathView<A>| view.path.attributes.neighboring_as();
    let comparable = from(best) == from(other);
    let row = |step: DecisionStep| LadderRow {
        step: step.into(),
        best: step_value(step, best),
        other: step_value(step, other),
        decides: step == decided,
        unused: (step == DecisionStep::Med && !comparable)
            .then(|| "told by different ASes, which do not measure alike".into()),
    };
    let last = STEPS.iter().position(|step| *step == decided);
    let taken = &STEPS[..=last.unwrap_or(STEPS.len() - 1)];
    let mut rows: Vec<LadderRow> = taken.iter().map(|step| row(*step)).collect();
    let passed = rows.last().map_or(0, |row| row.step.number);
    let (step, why) = StepView::unused();
    rows.extend((step.number < passed).then(|| LadderRow {
        step,
        best: String::new(),
        other: String::new(),
        decides: false,
        unused: Some(why.into()),
    }));
    rows.sort_by_key(|row| row.step.number);
    rows
}

/// The steps in order, those of section 5.5 that are used.
const STEPS: [DecisionStep; 12] = [
    DecisionStep::Eligible,
    DecisionStep::Steady,
    DecisionStep::LocalPref,
    DecisionStep::LocalOrigin,
    DecisionStep::AsPathLength,
    DecisionStep::Origin,
    DecisionStep::Med,
    DecisionStep::External,
    DecisionStep::RouterId,
    DecisionStep::ClusterListLength,
    DecisionStep::PeerAddress,
    DecisionStep::PathId,
];

/// Returns what a step looks at.
fn step_value<A>(step: DecisionStep, view: &PathView<A>) -> String {
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
        DecisionStep::Origin => origin_name(attributes.origin).into(),
        DecisionStep::Med => attributes.med.unwrap_or(0).to_string(),
        DecisionStep::External => if view.path.source.is_external() {
            "external"
        } else {
            "internal"
        }
        .into(),
        DecisionStep::RouterId => router_id(&view.path),
        DecisionStep::ClusterListLength => attributes.cluster_list.len().to_string(),
        DecisionStep::PeerAddress => match view.path.source {
            PathSource::Local => "local".into(),
            PathSource::Peer { address, .. } => address.to_string(),
        },
        DecisionStep::PathId => view
            .path
            .path_id
            .map_or_else(|| "none".into(), |PathId(id)| id.to_string()),
        DecisionStep::OnlyPath | DecisionStep::Identical => String::new(),
    }
}

fn router_id<A>(path: &Path<A>) -> String {
    match (path.attributes.originator_id, path.source) {
        (Some(originator), _) => originator.to_string(),
        (None, PathSource::Peer { router_id, .. }) => router_id.to_string(),
        (None, PathSource::Local) => "local".into(),
    }
}

fn directions(receive: bool, send: bool) -> &'static str {
    match (receive, send) {
        (true, true) => "both",
        (true, false) => "receive",
        (false, true) => "send",
        (false, false) => "none",
    }
}

/// Every router of a fabric offers both directions; one that does not is another program or an older version.
fn is_degraded(peer: &PeerView) -> bool {
    peer.state == SessionState::Established
        && !peer.role.is_external()
        && !(peer.ipv4.add_path_receive && peer.ipv4.add_path_send)
}

fn add_path(family: &FamilyView) -> &'static str {
    directions(family.add_path_receive, family.add_path_send)
}

fn error_row(error: &ErrorView, now: Instant) -> ErrorRow {
    ErrorRow {
        ago_s: seconds_ago(error.at, now),
        count: error.count,
        attribute: error.attribute,
        reason: error.reason.clone(),
        length: error.length,
        sample_hex: hex(&error.sample),
    }
}

fn family_row(family: &FamilyView, now: Instant) -> FamilyRow {
    FamilyRow {
        negotiated: family.negotiated,
        add_path: add_path(family).into(),
        received: family.received,
        accepted: family.accepted,
        advertised: family.advertised,
        end_of_rib: family.end_of_rib,
        stale: family.stale,
        stale_remaining_s: family.stale_until.map(|until| seconds_until(until, now)),
    }
}

/// The routes of a neighbor.
struct NeighborRoutes {
    accepted: Vec<BgpRouteRow>,
    rejected: Vec<RejectedRow>,
    advertised: Vec<BgpRouteRow>,
}

impl NeighborRoutes {
    fn read<N: Prefix>(rib: &RibView<'_, impl Policy<N>, N>, peer: PeerId) -> Self {
        let accepted = rib.accepted(peer).into_iter();
        let accepted = accepted.map(|(prefix, path)| {
            let path_id = path.path_id;
            route_row(Nlri { prefix, path_id }, &path.attributes)
        });
        let advertised = rib.advertised(peer).into_iter();
        Self {
            accepted: accepted.collect(),
            rejected: rib.rejected(peer).iter().map(rejected_row).collect(),
            advertised: advertised
                .map(|(route, attributes)| route_row(route, &attributes))
                .collect(),
        }
    }

    fn extend(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        self.rejected.extend(other.rejected);
        self.advertised.extend(other.advertised);
    }
}

fn route_row<N: Prefix>(route: Nlri<N>, attributes: &PathAttributes<N::NextHop>) -> BgpRouteRow {
    BgpRouteRow {
        prefix: route.prefix.into(),
        path_id: route.path_id.map(|PathId(id)| id),
        next_hop: attributes.next_hop.into(),
        local_pref: attributes.local_pref,
        originator_id: attributes.originator_id,
        large_communities: texts(attributes.large_communities.iter()),
    }
}

fn rejected_row<N: Prefix>(rejected: &RejectedView<N>) -> RejectedRow {
    let (prefix, path_id) = (rejected.prefix, rejected.path_id);
    RejectedRow {
        route: route_row(Nlri { prefix, path_id }, &rejected.attributes),
        reason: rejected.reason.into(),
    }
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

/// Names what a peer is to us.
pub(super) const fn role_name(role: PeerRole) -> &'static str {
    match role {
        PeerRole::Client => "client",
        PeerRole::NonClient => "non-client",
        PeerRole::External(_) => "external",
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

fn timer_name(timer: TimerName) -> &'static str {
    match timer {
        TimerName::ConnectRetry => "connect-retry",
        TimerName::IdleHold => "idle-hold",
        TimerName::Hold => "hold",
        TimerName::Keepalive => "keepalive",
        TimerName::Collision => "collision",
        TimerName::Refresh => "refresh",
        TimerName::Restart => "restart",
        TimerName::Stale => "stale",
        TimerName::Recall => "recall",
    }
}

fn capability_text(capability: &Capability) -> String {
    match capability {
        Capability::Multiprotocol { afi, safi } => {
            format!("multiprotocol {}", family_text(*afi, *safi))
        }
        Capability::RouteRefresh => "route-refresh".into(),
        Capability::ExtendedMessage => "extended-message".into(),
        Capability::GracefulRestart(restart) => restart_text(restart),
        Capability::FourOctetAs(asn) => format!("four-octet-as {asn}"),
        Capability::AddPath(families) => {
            let families: Vec<String> = families.iter().map(add_path_text).collect();
            format!("add-path {}", families.join(" "))
        }
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

/// Says what a speaker offers, e.g. `graceful-restart 120 s, restarted, notification, ipv4-unicast (forwarding)`.
fn restart_text(restart: &GracefulRestart) -> String {
    let mut text = format!("graceful-restart {} s", restart.restart_time_s);
    if restart.restarted {
        text.push_str(", restarted");
    }
    if restart.notification {
        text.push_str(", notification");
    }
    for family in &restart.families {
        text.push_str(", ");
        text.push_str(&family_text(family.afi, family.safi));
        if family.forwarding {
            text.push_str(" (forwarding)");
        }
    }
    text
}

fn add_path_text(family: &AddPathFamily) -> String {
    let direction = match family.direction {
        AddPathDirection::Receive => "receive",
        AddPathDirection::Send => "send",
        AddPathDirection::Both => "both",
    };
    let family = family_text(family.afi, family.safi);
    format!("{family}:{direction}")
}

/// Names a family; one that we do not speak by its numbers.
fn family_text(afi: u16, safi: u8) -> String {
    let family = Family::from_wire(afi, safi);
    family.map_or_else(|| format!("{afi}/{safi}"), |family| family.name().into())
}

/// Names capabilities that other speakers offer and this one does not use (IANA, Capability Codes).
const fn capability_name(code: u8) -> Option<&'static str> {
    Some(match code {
        5 => "extended-next-hop",
        6 => "extended-message",
        9 => "role",
        69 => "add-path",
        71 => "long-lived-graceful-restart",
        128 => "route-refresh-cisco",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sam_bgp::wire::RestartFamily;

    #[test]
    fn capabilities_of_others_are_shown_by_name_and_value() {
        let unused = |code, value: &[u8]| Capability::Unknown {
            code,
            value: value.to_vec(),
        };

        assert_eq!(
            capability_text(&unused(71, &[0x40, 0x78])),
            "long-lived-graceful-restart (4078)"
        );
        assert_eq!(capability_text(&unused(6, &[])), "extended-message");
        assert_eq!(capability_text(&unused(239, &[1])), "unknown 239 (01)");
    }

    #[test]
    fn graceful_restart_is_shown_in_words() {
        let family = |afi, forwarding| RestartFamily {
            afi,
            safi: 1,
            forwarding,
        };
        let restart = GracefulRestart {
            restarted: true,
            notification: true,
            restart_time_s: 120,
            families: vec![family(1, true), family(2, false), family(25, false)],
        };
        assert_eq!(
            capability_text(&Capability::GracefulRestart(restart)),
            "graceful-restart 120 s, restarted, notification, ipv4-unicast (forwarding), ipv6-unicast, 25/1"
        );
    }
}
