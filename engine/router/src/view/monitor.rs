//! `samctl bgp monitor`: what is there, then what changes, from the change feeds of routes, neighbors and owners.
//!
//! A reader asks for so many lines at a time and keeps its place itself, so a slow one costs nothing; see
//! [`sam_bgp::feed`]. Each line tells the whole present state of one thing.

use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::IpNet;
use sam_bgp::{Cursor, News, Policy, Prefix, RibView};
use sam_capture::NodeId;
use serde::{Deserialize, Serialize};

use super::{NeighborSummary, NodeRef, OwnerRow, PathRow};
use crate::Router;
use crate::peers::node_of;

/// What can be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// All paths of each prefix of IPv4 unicast.
    #[default]
    Rib,
    /// The same of IPv6 unicast.
    RibIpv6,
    /// The state of each session.
    Neighbors,
    /// Who owns each address.
    Owners,
}

/// A reader's place.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    topic: Topic,
    cursor: Cursor,
}

/// One line of `samctl bgp monitor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "snake_case"
)]
pub enum MonitorView {
    /// The paths of a prefix.
    Route {
        /// Number of the change; they grow.
        generation: u64,
        /// The prefix.
        prefix: IpNet,
        /// Its paths, best first, ineligible ones last; none when it is gone.
        paths: Vec<PathRow>,
        /// What made it change, the last time: `announced`, `withdrawn`, `session-ended`, `stale-removed`, `refreshed`,
        /// `next-hop`, `policy`, `local`, `room`. Unknown of older routers.
        #[serde(default)]
        cause: Option<String>,
    },
    /// The state of a session.
    Neighbor {
        /// Number of the change; they grow.
        generation: u64,
        /// The peer.
        node: NodeRef,
        /// Its state; `None` when it is no peer any more.
        neighbor: Option<NeighborSummary>,
    },
    /// Who owns an address.
    Owner {
        /// Number of the change; they grow.
        generation: u64,
        /// The address.
        address: Ipv4Addr,
        /// Its owner and all claims; `None` when nobody owns it.
        owner: Option<OwnerRow>,
    },
    /// All that was there has been told; changes follow.
    SnapshotComplete {
        /// Number of the latest change at that time.
        generation: u64,
    },
    /// The reader was too slow to be told of everything that is gone: what it knows is void, a snapshot follows.
    Resync,
}

impl Router {
    /// Begins to watch.
    #[must_use]
    pub fn watch(&self, topic: Topic) -> Watch {
        let cursor = match topic {
            Topic::Rib => self.speaker.rib_feed().subscribe(),
            Topic::RibIpv6 => self.speaker.ipv6().feed().subscribe(),
            Topic::Neighbors => self.speaker.peer_feed().subscribe(),
            Topic::Owners => self.owners.feed().subscribe(),
        };
        Watch { topic, cursor }
    }

    /// Reads on, `most` lines at most; none when there is nothing new.
    pub fn changes(&self, watch: &mut Watch, most: usize, now: Instant) -> Vec<MonitorView> {
        let next = || {
            let cursor = &mut watch.cursor;
            match watch.topic {
                Topic::Rib => self.next_route(&self.speaker.ipv4(), cursor, now),
                Topic::RibIpv6 => self.next_route(&self.speaker.ipv6(), cursor, now),
                Topic::Neighbors => {
                    let news = self.speaker.peer_feed().next(cursor)?;
                    Some(line(news, |generation, peer, ()| {
                        self.neighbor_line(generation, node_of(peer), now)
                    }))
                }
                Topic::Owners => {
                    let news = self.owners.feed().next(cursor)?;
                    Some(line(news, |generation, address, ()| {
                        self.owner_line(generation, address, now)
                    }))
                }
            }
        };
        std::iter::from_fn(next).take(most).collect()
    }

    /// A number that grows with every change that can be watched.
    #[must_use]
    pub fn change_count(&self) -> u64 {
        let (rib, peers) = (self.speaker.rib_feed(), self.speaker.peer_feed());
        let ipv6 = self.speaker.ipv6();
        let routes = rib.generation() + ipv6.feed().generation();
        routes + peers.generation() + self.owners.feed().generation()
    }

    fn next_route<N: Prefix>(
        &self,
        rib: &RibView<'_, impl Policy<N>, N>,
        cursor: &mut Cursor,
        now: Instant,
    ) -> Option<MonitorView> {
        let news = rib.feed().next(cursor)?;
        Some(line(news, |generation, prefix, cause| {
            let paths = rib.paths(prefix);
            MonitorView::Route {
                generation,
                prefix: prefix.into(),
                paths: paths.iter().map(|path| self.path_row(path, now)).collect(),
                cause: Some(cause.name().into()),
            }
        }))
    }

    fn neighbor_line(&self, generation: u64, node: NodeId, now: Instant) -> MonitorView {
        let summaries = self.bgp_neighbors(now).neighbors;
        MonitorView::Neighbor {
            generation,
            node: NodeRef::new(&self.config, node),
            neighbor: summaries.into_iter().find(|row| row.node.id == node),
        }
    }

    fn owner_line(&self, generation: u64, address: Ipv4Addr, now: Instant) -> MonitorView {
        let configured = self.told_to_own().contains(&address);
        let owned = self.owners.holding(address);
        MonitorView::Owner {
            generation,
            address,
            owner: owned.and_then(|_| self.owner_row(address, configured, now)),
        }
    }
}

fn line<K, C>(news: News<K, C>, changed: impl FnOnce(u64, K, C) -> MonitorView) -> MonitorView {
    match news {
        News::Changed {
            generation,
            key,
            cause,
        } => changed(generation, key, cause),
        News::Complete { generation } => MonitorView::SnapshotComplete { generation },
        News::Resync => MonitorView::Resync,
    }
}
