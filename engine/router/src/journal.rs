//! Run-time state that survives a restart: what operators ordered, the sequence of each owned address, and who was there.
//!
//! The router hands out the whole state with every change ([`crate::Output::Journal`], before the news leaves by
//! BGP) and takes the restored one in [`crate::Router::new`]. It is small: one entry per address ever owned here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use sam_capture::{Enrollment, NodeId};
use sam_dataplane::notice::Mac;
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// State that is not configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeState {
    /// Addresses owned by order of an operator.
    pub announced: BTreeSet<Ipv4Addr>,
    /// Configured addresses not owned by order of an operator.
    pub withdrawn: BTreeSet<Ipv4Addr>,
    /// Sequence of the last acquisition of each address.
    pub sequences: BTreeMap<Ipv4Addr, u32>,
    /// Nodes with which a BGP session was up, or whose routes were kept: whom to wait for after a restart.
    pub sessions: BTreeSet<NodeId>,
    /// Whether this router is to be emptied.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drained: bool,
    /// Whether neighbors of other ASes are asked to use other ways (RFC 8326).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub graceful_shutdown: bool,
    /// Addresses that are offered to another node, until it has them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub handovers: BTreeMap<Ipv4Addr, NodeId>,
    /// Addresses that another node offered and this one took, until that one claims them no more.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub accepted: BTreeMap<Ipv4Addr, NodeId>,
    /// Addresses owned here by configuration or order that another site was found to hold by order, because its LAN gave them
    /// away while this router was not there: claimed only if nobody else does.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub given_away: BTreeSet<Ipv4Addr>,
    /// Addresses not owned here by configuration or order that the acting router of our LAN was seen to own by order, because
    /// they were handed to the LAN while this router was not there.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub inherited: BTreeSet<Ipv4Addr>,
    /// Addresses that this router claimed in full by order, where it stands alone on its LAN: it says so when it begins again.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub held: BTreeSet<Ipv4Addr>,
    /// MACs of the other routers of our LAN: what they say there is about no host, also before BGP tells them again.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub router_macs: BTreeMap<NodeId, Mac>,
}

impl RuntimeState {
    /// Names of everything that this version saves. Others are of another version, and skipped.
    pub const FIELDS: [&str; 12] = [
        "announced",
        "withdrawn",
        "sequences",
        "sessions",
        "drained",
        "graceful_shutdown",
        "handovers",
        "accepted",
        "given_away",
        "inherited",
        "held",
        "router_macs",
    ];

    /// Returns what this router is told to own: (configured ∪ announced) − withdrawn, and what it inherited, as far as it may.
    #[must_use]
    pub fn owned(&self, config: &Config, enrollment: &Enrollment) -> BTreeSet<Ipv4Addr> {
        let mut told = self.told(config);
        told.retain(|address| enrollment.admit(config.local.node, *address).is_ok());
        told
    }

    /// The same, whether it may or not.
    fn told(&self, config: &Config) -> BTreeSet<Ipv4Addr> {
        let told = config.local.owned.union(&self.announced).copied();
        told.filter(|address| !self.withdrawn.contains(address))
            .chain(self.inherited.iter().copied())
            .collect()
    }

    /// Tells whether there are neighbors of other ASes that are to use other ways: by order, or because this router is
    /// emptied.
    #[must_use]
    pub fn is_leaving(&self, config: &Config) -> bool {
        !config.local.foreign.is_empty() && (self.graceful_shutdown || self.drained)
    }

    /// Notes the order to own an address.
    pub fn announce(&mut self, config: &Config, address: Ipv4Addr) {
        self.handovers.remove(&address);
        self.accepted.remove(&address);
        self.given_away.remove(&address);
        self.inherited.remove(&address);
        self.withdrawn.remove(&address);
        if !config.local.owned.contains(&address) {
            self.announced.insert(address);
        }
    }

    /// Notes the order not to own an address.
    pub fn withdraw(&mut self, config: &Config, address: Ipv4Addr) {
        self.handovers.remove(&address);
        self.accepted.remove(&address);
        self.given_away.remove(&address);
        self.inherited.remove(&address);
        self.announced.remove(&address);
        if config.local.owned.contains(&address) {
            self.withdrawn.insert(address);
        }
    }

    /// Forgets orders that the configuration has caught up with: an address that is configured needs no order to be
    /// owned, one that is not configured needs none not to be. So an edited file has the last word.
    pub fn follow(&mut self, config: &Config) {
        let configured = &config.local.owned;
        self.announced
            .retain(|address| !configured.contains(address));
        self.withdrawn
            .retain(|address| configured.contains(address));
        let (announced, withdrawn) = (&self.announced, &self.withdrawn);
        self.inherited
            .retain(|address| !configured.contains(address) || withdrawn.contains(address));
        let inherited = &self.inherited;
        self.given_away.retain(|address| {
            [configured, announced, inherited]
                .into_iter()
                .any(|told| told.contains(address))
        });
        let told = self.told(config);
        let is_alone = !config.has_sibling();
        self.held
            .retain(|address| is_alone && told.contains(address));
        self.router_macs
            .retain(|node, _| config.shares_lan_with(*node));
        self.sessions
            .retain(|node| config.fabric.nodes.contains_key(node));
        self.handovers
            .retain(|_, node| config.fabric.nodes.contains_key(node));
        self.accepted
            .retain(|_, node| config.fabric.nodes.contains_key(node));
    }

    /// Counts an acquisition: higher than our last one and than `seen`, the highest in the RIB.
    pub fn acquire(&mut self, address: Ipv4Addr, seen: u32) -> u32 {
        let sequence = self.sequences.entry(address).or_default();
        *sequence = (*sequence).max(seen).saturating_add(1);
        *sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ActiveWhen, Capture};
    use crate::fixture::{self, address};
    use crate::policy::FabricPolicy;
    use crate::tests::vrrp::vrrp;

    #[test]
    fn orders_override_the_configuration() {
        let mut config = fixture::config(1, 2, &[]);
        config.local.owned = [address(10), address(11)].into();
        let mut state = RuntimeState::default();

        state.withdraw(&config, address(10));
        state.announce(&config, address(12));
        state.announce(&config, address(11));

        assert_eq!(owned(&state, &config), [address(11), address(12)].into());
        state.announce(&config, address(10));
        state.withdraw(&config, address(12));
        assert_eq!(state, RuntimeState::default());
    }

    #[test]
    fn an_edited_configuration_undoes_the_orders_that_it_has_caught_up_with() {
        let mut config = fixture::config(1, 2, &[]);
        config.local.owned = [address(10), address(11)].into();
        let mut state = RuntimeState::default();
        state.withdraw(&config, address(10));
        state.announce(&config, address(12));
        state.announce(&config, address(13));

        state.given_away = [address(10), address(11), address(13)].into();

        config.local.owned = [address(11), address(12)].into();
        state.follow(&config);

        assert_eq!(state.given_away, [address(11), address(13)].into());
        assert_eq!(state.announced, [address(13)].into());
        assert_eq!(state.withdrawn, BTreeSet::new());
        config.local.owned = [address(10)].into();
        state.follow(&config);
        assert_eq!(owned(&state, &config), [address(10), address(13)].into());
    }

    #[test]
    fn what_was_inherited_is_owned_until_an_order_or_a_file_says_what_this_router_is_told_itself() {
        let mut config = fixture::config(1, 2, &[]);
        config.local.owned = [address(10), address(11)].into();
        let mut state = RuntimeState::default();
        state.withdraw(&config, address(10));
        state.withdraw(&config, address(11));
        state.inherited = [10, 11, 12, 13, 14].map(address).into();
        assert_eq!(owned(&state, &config), state.inherited);

        state.announce(&config, address(13));
        state.withdraw(&config, address(14));
        config.local.owned.insert(address(12));
        state.follow(&config);

        assert_eq!(state.inherited, [address(10), address(11)].into());
        let all = [10, 11, 12, 13].map(address).into();
        assert_eq!(owned(&state, &config), all);
    }

    #[test]
    fn what_was_held_is_forgotten_with_the_order_to_own_it_and_beside_another_router() {
        let mut config = fixture::config(1, 2, &[]);
        config.local.owned = [address(10), address(11)].into();
        let mut state = RuntimeState::default();
        state.withdraw(&config, address(11));
        state.announce(&config, address(12));
        state.held = [10, 11, 12, 13].map(address).into();
        state.follow(&config);
        assert_eq!(state.held, [address(10), address(12)].into());

        for node in config.fabric.nodes.values_mut() {
            node.site = "s1".into();
        }
        config.local.capture = Capture::ProxyArp {
            interface: "eth1".into(),
            gratuitous_arp: true,
            active_when: ActiveWhen::Vrrp(vrrp()),
            discovery: None,
        };
        state.follow(&config);
        assert_eq!(state.held, BTreeSet::new());
    }

    #[test]
    fn a_restored_order_outside_the_pools_is_ignored() {
        let config = fixture::config(1, 2, &[]);
        let announced = [Ipv4Addr::new(192, 0, 2, 1), address(1), address(12)].into();
        let state = RuntimeState {
            announced,
            ..RuntimeState::default()
        };

        assert_eq!(owned(&state, &config), [address(12)].into());
    }

    #[test]
    fn all_that_is_saved_has_its_name_in_the_list() {
        let addresses: BTreeSet<Ipv4Addr> = [address(10)].into();
        let state = RuntimeState {
            announced: addresses.clone(),
            withdrawn: addresses.clone(),
            sequences: [(address(10), 1)].into(),
            sessions: [NodeId(2)].into(),
            drained: true,
            graceful_shutdown: true,
            handovers: [(address(10), NodeId(2))].into(),
            accepted: [(address(10), NodeId(2))].into(),
            given_away: addresses.clone(),
            inherited: addresses.clone(),
            held: addresses,
            router_macs: [(NodeId(2), [2; 6])].into(),
        };

        let saved = serde_json::to_value(&state).unwrap();

        let names = saved.as_object().unwrap().keys();
        let names: BTreeSet<&str> = names.map(String::as_str).collect();
        assert_eq!(names, RuntimeState::FIELDS.into());
    }

    #[test]
    fn a_sequence_exceeds_everything_seen() {
        let mut state = RuntimeState::default();

        assert_eq!(state.acquire(address(10), 0), 1);
        assert_eq!(state.acquire(address(10), 0), 2);
        assert_eq!(state.acquire(address(10), 7), 8);
        assert_eq!(state.acquire(address(10), u32::MAX), u32::MAX);
    }

    fn owned(state: &RuntimeState, config: &Config) -> BTreeSet<Ipv4Addr> {
        state.owned(config, FabricPolicy::new(config, false).enrollment())
    }
}
