//! Answers of the control socket: the router's views over facts gathered at the moment of the question.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::http::StatusCode;
use ipnet::IpNet;
use sam_capture::{ClaimState, NodeId};
use sam_dataplane::TunnelId;
use sam_router::router::CommandRefusal;
use sam_router::view::{RouteTable, TunnelRow, VersionView};
use sam_router::{Command, Facts, Input, PeerOrder, Router};
use serde::Serialize;
use serde_json::json;
use tokio::sync::oneshot;

use crate::control_loop::{Control, near};
use crate::control_socket::{FamilyName, Reply, Request, View};
use crate::live_trace::wall_seconds;
use crate::monitor;
use crate::path_test::TestPlan;
use crate::pcapng::{Names, Near, PcapngWriter};

/// Captured packets that may wait for a slow reader; the rest waits in the workers, or is missed and counted.
const TAP_QUEUE: usize = 4096;
/// The same for packets that are explained one by one.
const TRACE_QUEUE: usize = 256;

impl Control {
    /// Answers one call.
    pub(crate) async fn answer(&mut self, request: Request, reply: oneshot::Sender<Reply>) {
        let answer = match request {
            Request::View(view) => self.view(view).await,
            Request::Announce(address) => self.command(Command::Announce(address)),
            Request::Withdraw(address) => self.command(Command::Withdraw(address)),
            Request::Drain(on) => self.command(Command::Drain(on)),
            Request::GracefulShutdown(on) => self.command(Command::GracefulShutdown(on)),
            Request::Neighbor(name, orders) => self.order_neighbor(&name, &orders),
            Request::Handover(address, to) => match self.find_node(&to) {
                Some(to) => self.command(Command::Handover { address, to }),
                None => self.no_such_node(&to),
            },
            Request::CancelHandover(address) => self.command(Command::CancelHandover(address)),
            Request::Approve(id) => self.command(Command::Approve(id)),
            Request::Undo(id) => self.command(Command::Undo(id)),
            Request::Release(address, hold) => self.command(Command::Release { address, hold }),
            Request::Fix => self.fix(),
            Request::Reload => match self.reload_now().await {
                Ok(()) => Reply::Json(json!({ "reloaded": true })),
                Err(error) => refused(
                    StatusCode::CONFLICT,
                    error,
                    "the former configuration stays in force; `samctl check FILE` explains",
                ),
            },
            Request::Events => {
                let (kept, receiver) = self.events.subscribe();
                Reply::Events(kept, receiver)
            }
            Request::TableDump => {
                let now = Instant::now();
                Reply::File(self.router.table_dump(wall_seconds(now), now))
            }
            Request::Watch(topic) => Reply::Watch(self.router.watch(topic), self.news.subscribe()),
            Request::Changes(watch) => {
                let (watch, lines) = monitor::read(&self.router, watch);
                Reply::Changes(watch, lines)
            }
            Request::Pcap => self.start_pcap(),
            Request::Trace(filter) => match self.data_plane.tap(TRACE_QUEUE, Some(filter)) {
                Some(captured) => Reply::Trace(captured),
                None => busy(),
            },
            Request::TraceRecord(record) => {
                let (time, now) = (wall_seconds(record.at), Instant::now());
                let facts = Facts::default();
                document(&self.router.trace_live(&record, time, &facts, now))
            }
            Request::TestPlan(node) => self.plan_test(node.as_deref()),
            Request::TestMatrix(own, others) => document(&self.router.test_matrix(*own, others)),
            Request::TestOutcome(outcomes) => {
                let facts = self.gather().await;
                let now = Instant::now();
                document(&self.router.judge_test(&outcomes, &facts, now))
            }
        };
        // A caller that hung up does not want the answer.
        reply.send(answer).ok();
    }

    /// Removes from this host what must not be configured on it.
    fn fix(&mut self) -> Reply {
        let which = self.router.drawn_in(Instant::now());
        match self.host.remove_addresses(&which) {
            Ok(removed) => Reply::Json(json!({ "removed": removed })),
            Err(error) => refused(
                StatusCode::CONFLICT,
                error.to_string(),
                "`ip address` shows the addresses of this host; take them off by hand",
            ),
        }
    }

    fn command(&mut self, command: Command) -> Reply {
        if let Err(refusal) = self.router.check_command(&command) {
            return refuse_command(refusal);
        }
        let announced = match &command {
            Command::Announce(address) => Some(*address),
            Command::Withdraw(_)
            | Command::Approve(_)
            | Command::Undo(_)
            | Command::Release { .. }
            | Command::Drain(_)
            | Command::GracefulShutdown(_)
            | Command::Neighbor(..)
            | Command::Handover { .. }
            | Command::CancelHandover(_)
            | Command::Shutdown => None,
        };
        let given = command.clone();
        self.input(Input::Command(command));
        self.drive();
        let mut answer = json!({ "done": true });
        if let Some(address) = announced {
            let state = self.router.claim_on(address);
            let owner = self.router.owner_of(address);
            let nodes = &self.router.config().fabric.nodes;
            answer["state"] = state.map_or("unannounced", ClaimState::name).into();
            answer["owner"] = owner
                .and_then(|owner| nodes.get(&owner))
                .map(|owner| owner.name.as_str())
                .into();
        }
        let siblings = self.router.siblings_to_tell(&given);
        let nodes = &self.router.config().fabric.nodes;
        let siblings = siblings.iter().filter_map(|node| nodes.get(node));
        let siblings: Vec<&str> = siblings.map(|node| node.name.as_str()).collect();
        if !siblings.is_empty() {
            let names = siblings.join(", ");
            answer["warning"] =
                format!("holds at this router only: give the same order to {names}").into();
        }
        if let Some(unsaved) = &self.unsaved {
            answer["warning"] = format!("in force, but a restart forgets it: {unsaved}").into();
        }
        Reply::Json(answer)
    }

    /// Carries orders about a BGP neighbor out, all of them or none.
    fn order_neighbor(&mut self, name: &str, orders: &[PeerOrder]) -> Reply {
        let foreign = || self.router.config().local.foreign.find(name);
        let Some(node) = self.find_node(name).or_else(foreign) else {
            return self.no_such_node(name);
        };
        let commands = orders.iter().map(|order| Command::Neighbor(node, *order));
        let refusal = commands
            .clone()
            .find_map(|command| self.router.check_command(&command).err());
        if let Some(refusal) = refusal {
            return refuse_command(refusal);
        }
        let mut last = None;
        for command in commands {
            last = Some(self.command(command));
        }
        last.unwrap_or_else(|| Reply::Json(json!({ "done": true })))
    }

    async fn view(&mut self, view: View) -> Reply {
        let facts = self.gather().await;
        let now = Instant::now();
        match view {
            View::Status => document(&self.router.status(&facts, now)),
            View::Owners => document(&self.router.owners(now)),
            View::Routes => document(&self.router.routes()),
            View::BgpNeighbors => document(&self.router.bgp_neighbors(now)),
            View::BgpNeighbor(name) => {
                self.of_neighbor(&name, |router, node| router.bgp_neighbor(node, &facts, now))
            }
            View::BgpTable(name, table, family) => match RouteTable::by_name(&table) {
                Some(table) => self.of_neighbor(&name, |router, node| {
                    router.bgp_table(node, table, family.map(Into::into), now)
                }),
                None => missing(
                    format!("a neighbor has no table '{table}'"),
                    &format!(
                        "tables: {}",
                        RouteTable::ALL.map(RouteTable::name).join(", ")
                    ),
                ),
            },
            View::Captures => document(&self.router.captures(now)),
            View::Actions(None) => document(&self.router.actions(now)),
            View::Actions(Some(id)) => match self.router.action(id, now) {
                Some(view) => document(&view),
                None => missing(
                    format!("no action has the number {id}"),
                    "`samctl actions` lists those that wait and the last ones that ended",
                ),
            },
            View::Vrrp => document(&self.router.vrrp(&facts, now)),
            View::Bfd => document(&self.router.bfd(&facts, now)),
            View::BgpRib(prefix, family) => self.rib(prefix.as_deref(), family, now),
            View::BgpWhy(prefix) => match parse_prefix(&prefix) {
                Some(prefix) => document(&self.router.bgp_why(prefix, now)),
                None => not_a_prefix(&prefix),
            },
            View::BgpPolicy => document(&self.router.bgp_policy()),
            View::BgpPolicyTest(prefix, neighbor) => match parse_prefix(&prefix) {
                Some(prefix) => self.policy_test(prefix, neighbor.as_deref()),
                None => not_a_prefix(&prefix),
            },
            View::Tunnels => document(&self.router.tunnels(&facts, now)),
            View::Arp => document(&self.router.arp(&facts, now)),
            View::Discovery => document(&self.router.discovery(now)),
            View::Explain(address) => document(&self.router.explain(address, &facts, now)),
            View::Trace(query) => match self.router.trace(&query, &facts, now) {
                Ok(view) => document(&view),
                Err(refusal) => refused(
                    StatusCode::BAD_REQUEST,
                    refusal.to_string(),
                    &refusal.remedy(),
                ),
            },
            View::Doctor(area) => self.doctor(area.as_deref(), &facts, now),
            View::Drain => document(&self.router.drain()),
            View::Handovers => document(&self.router.handovers()),
            View::Counters => document(&self.router.counters(&facts)),
            View::Version => document(&VersionView::new(env!("CARGO_PKG_VERSION"))),
        }
    }

    /// Shows something of a BGP peer.
    fn of_neighbor<V: Serialize>(
        &self,
        name: &str,
        view: impl FnOnce(&Router, NodeId) -> Option<V>,
    ) -> Reply {
        let foreign = || self.router.config().local.foreign.find(name);
        let Some(node) = self.find_node(name).or_else(foreign) else {
            return self.no_such_node(name);
        };
        match view(&self.router, node) {
            Some(view) => document(&view),
            None => missing(
                format!("node '{name}' is no BGP peer of this router"),
                "`samctl bgp neighbors` lists the peers; others are reached by a reflector",
            ),
        }
    }

    fn policy_test(&self, prefix: IpNet, neighbor: Option<&str>) -> Reply {
        match neighbor {
            Some(name) => self.of_neighbor(name, |router, node| {
                router.bgp_policy_test(prefix, Some(node))
            }),
            None => document(&self.router.bgp_policy_test(prefix, None)),
        }
    }

    fn rib(&self, prefix: Option<&str>, family: Option<FamilyName>, now: Instant) -> Reply {
        let mut view = self.router.bgp_rib(family.map(Into::into), now);
        if let Some(text) = prefix {
            let Some(wanted) = parse_prefix(text) else {
                return not_a_prefix(text);
            };
            view.entries.retain(|entry| wanted.contains(&entry.prefix));
        }
        document(&view)
    }

    fn doctor(&self, area: Option<&str>, facts: &Facts, now: Instant) -> Reply {
        let view = self.router.doctor(facts, now);
        match area {
            Some(area) => match view.area(area) {
                Some(view) => document(&view),
                None => missing(
                    format!("doctor has no area '{area}'"),
                    &format!("areas: {}", view.areas().join(", ")),
                ),
            },
            None => document(&view),
        }
    }

    async fn gather(&mut self) -> Facts {
        let report = self.data_plane.report().await;
        let bfd = self.bfd.report().await;
        let vrrp = self.vrrp.report().await;
        let uptime = self.uptime();
        let facts = self
            .facts
            .gather(&report, uptime, &mut self.host, self.router.config());
        Facts { bfd, vrrp, ..facts }
    }

    fn find_node(&self, name: &str) -> Option<NodeId> {
        let nodes = self.router.config().fabric.nodes.values();
        nodes
            .into_iter()
            .find(|node| node.name == name || node.overlay.to_string() == name)
            .map(|node| node.id)
    }

    fn no_such_node(&self, name: &str) -> Reply {
        let nodes = self.router.config().fabric.nodes.values();
        let names: Vec<&str> = nodes.map(|node| node.name.as_str()).collect();
        missing(
            format!("no node is called '{name}', and no node has that overlay address"),
            &format!("nodes: {}", names.join(", ")),
        )
    }

    fn plan_test(&self, name: Option<&str>) -> Reply {
        let own = self.router.config().local.node;
        let only = match name.map(|name| (name, self.find_node(name))) {
            None => None,
            Some((name, None)) => return self.no_such_node(name),
            Some((name, Some(node))) if node == own => {
                return missing(
                    format!("'{name}' is this router itself"),
                    "name another node, or none for all",
                );
            }
            Some((_, node)) => node,
        };
        match Arc::clone(&self.test_turn).try_acquire_owned() {
            Ok(turn) => Reply::TestPlan(TestPlan {
                targets: self.router.test_targets(only),
                near: near(self.router.config()),
                turn,
            }),
            Err(_) => refused(
                StatusCode::CONFLICT,
                "another `samctl test` runs".to_owned(),
                "wait until it ends",
            ),
        }
    }

    fn start_pcap(&mut self) -> Reply {
        let Some(captured) = self.data_plane.tap(TAP_QUEUE, None) else {
            return busy();
        };
        let near = Near {
            address: self.host.underlay_address(),
            wireguard_port: self.router.config().local.listen_port,
        };
        Reply::Pcap(PcapngWriter::new(self.names(), near), captured)
    }

    /// Names for the places of a capture.
    fn names(&self) -> Names {
        let local = &self.router.config().local;
        let mut lans = BTreeMap::new();
        if let Some(interface) = local.capture.interface() {
            lans.insert(sam_router::LAN_PORT, interface.to_owned());
        }
        let view = self.router.tunnels(&Facts::default(), Instant::now());
        let rows = view.tunnels.iter();
        let endpoint = |row: &TunnelRow| Some((row.endpoint?.ip(), TunnelId(row.tunnel)));
        Names {
            lans,
            tun: local.tun.clone(),
            nodes: rows
                .clone()
                .map(|row| (TunnelId(row.tunnel), row.node.name.clone()))
                .collect(),
            endpoints: rows.filter_map(endpoint).collect(),
        }
    }
}

/// Packets are copied for one reader at a time.
fn busy() -> Reply {
    refused(
        StatusCode::CONFLICT,
        "another capture or live trace runs".to_owned(),
        "end the other `samctl pcap` or `samctl trace --live`, or use its output",
    )
}

fn document(view: &impl Serialize) -> Reply {
    match serde_json::to_value(view) {
        Ok(value) => Reply::Json(value),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), ""),
    }
}

fn refused(status: StatusCode, error: String, remedy: &str) -> Reply {
    let remedy = (!remedy.is_empty()).then(|| remedy.to_owned());
    Reply::Refused {
        status,
        error,
        remedy,
    }
}

fn missing(error: String, remedy: &str) -> Reply {
    refused(StatusCode::NOT_FOUND, error, remedy)
}

fn not_a_prefix(text: &str) -> Reply {
    refused(
        StatusCode::BAD_REQUEST,
        format!("'{text}' is no prefix"),
        "give an address such as 10.77.60.10 or a prefix such as 10.77.60.0/24",
    )
}

fn refuse_command(refusal: CommandRefusal) -> Reply {
    refused(StatusCode::CONFLICT, refusal.to_string(), refusal.remedy())
}

/// An address alone means itself.
fn parse_prefix(text: &str) -> Option<IpNet> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}
