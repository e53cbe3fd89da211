//! What goes to the packet path: WireGuard peers, tunnels, ports and routes, put together from all parts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use sam_capture::NodeId;
use sam_dataplane::TunnelId;
use sam_dataplane::snapshot::{LanPort, TunPort};

use crate::Router;
use crate::answer_set::AnswerRules;
use crate::config::Capture;
use crate::fib_sync::{LAN_PORT, Ports, Sources, TUN_PORT, Terms};
use crate::output::Output;
use crate::peers::other_nodes;
use crate::tunnels::{TunnelPlan, plan, tunnel_table, wireguard_peers};

impl Router {
    /// Publishes tunnels, and then the routes into them, as far as they changed.
    pub(crate) fn publish(&mut self, now: Instant) {
        let mut plans = plan(&self.config, &self.numbering, &self.host);
        self.tell_faults(&plans, now);
        self.path_mtus.follow(&plans);
        self.path_mtus.limit(&mut plans);
        self.complaints.follow(&plans);
        let peers = wireguard_peers(&self.config, &plans, &self.host);
        if self.wireguard.as_ref() != Some(&peers) {
            self.wireguard = Some(peers.clone());
            self.outputs.push_back(Output::WireGuardPeers(peers));
        }
        let terms = self.terms(&plans);
        let (deaths, lives_here) = (self.deaths(), self.lives_here());
        let sources = Sources {
            speaker: &self.speaker,
            owners: &self.owners,
        };
        self.fib.follow(sources, terms, deaths, lives_here);
        let ports = self.ports(&plans);
        self.outputs
            .extend(self.fib.publish(ports).map(Output::Publish));
    }

    /// What routes and answers follow from, besides paths.
    pub(crate) fn terms(&self, plans: &BTreeMap<NodeId, TunnelPlan>) -> Terms {
        let (lan_address, lan_present) = (self.lan_address(), self.host.lan.is_some());
        // In a cloud frames for captured addresses come by our MAC: the provider answers for all.
        let answers_arp = matches!(self.config.local.capture, Capture::ProxyArp { .. });
        let answers =
            (answers_arp && lan_present).then(|| AnswerRules::new(&self.config, lan_address));
        Terms::new(&self.config, plans, lan_address, lan_present, answers)
    }

    /// Our address on the LAN.
    fn lan_address(&self) -> Option<Ipv4Addr> {
        let lan = self.host.lan.as_ref()?;
        lan.address.map(|net| net.addr())
    }

    fn ports(&self, plans: &BTreeMap<NodeId, TunnelPlan>) -> Ports {
        Ports {
            lans: self.lan_port().into_iter().collect(),
            tun: self.host.tun.map(|tun| TunPort {
                id: TUN_PORT,
                name: self.config.local.tun.clone(),
                interface: tun.index,
                address: self.config.own_node().overlay,
                mtu: tun.mtu,
            }),
            tunnels: tunnel_table(&self.config, plans),
            unreachable: self.unreachable_tunnels(plans),
            wireguard_ports: self.wireguard_ports(),
            outer_source: self.host.outer_source,
        }
    }

    /// Ports that WireGuard is configured to have here and elsewhere. What NATs make of them on the way is not known to any
    /// host that could send from behind us.
    fn wireguard_ports(&self) -> BTreeSet<u16> {
        let endpoints = self.config.fabric.nodes.values();
        let endpoints = endpoints.filter_map(|node| node.endpoint.as_ref());
        let ports = endpoints.map(|endpoint| endpoint.port);
        ports.chain([self.config.local.listen_port]).collect()
    }

    /// The address that the master answers for; not where the host has it and answers by itself.
    fn virtual_address(&self) -> Option<Ipv4Addr> {
        let settings = &self.config.vrrp()?.settings;
        let own = self.host.lan.as_ref()?.address?.addr();
        let is_ours = own != settings.address && !settings.owns_address();
        is_ours.then_some(settings.address)
    }

    /// The tunnels to the other routers of our LAN.
    fn beside(&self) -> Vec<TunnelId> {
        let others = other_nodes(&self.config);
        let beside = others.filter(|node| self.config.shares_lan_with(node.id));
        beside
            .filter_map(|node| self.numbering.tunnel(node.id))
            .collect()
    }

    fn lan_port(&self) -> Option<LanPort> {
        let capture = &self.config.local.capture;
        let interface = capture.interface()?.to_owned();
        let gratuitous_arp = match capture {
            Capture::None => return None,
            Capture::ProxyArp { gratuitous_arp, .. } => *gratuitous_arp,
            Capture::Cloud(_) => false,
        };
        let lan = self.host.lan.as_ref()?;
        // Without an address of the kernel, the LAN is the pool's.
        let subnet = lan
            .address
            .or_else(|| self.config.fabric.pools.first().map(|pool| pool.prefix))?;
        Some(LanPort {
            id: LAN_PORT,
            name: interface,
            interface: lan.index,
            mac: lan.mac,
            address: self.lan_address(),
            subnet: subnet.trunc(),
            pools: self
                .config
                .fabric
                .pools
                .iter()
                .map(|pool| pool.prefix)
                .collect(),
            mtu: lan.mtu,
            answers: self.fib.answers().clone(),
            virtual_address: self.virtual_address(),
            gate_open: self.gate().open,
            conflicts: self.lan_role.conflicts(),
            siblings: self.sibling_macs(),
            beside: self.beside(),
            gratuitous_arp,
            discovers: self.config.local.capture.discovery().is_some(),
            asks: self.config.local.capture.can_ask(),
        })
    }
}
