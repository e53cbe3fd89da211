//! Facts from the packet path: what each changes, and which event it becomes.

use std::net::Ipv4Addr;
use std::time::Instant;

use sam_dataplane::notice::Mac;
use sam_dataplane::{Notice, TunnelId};

use crate::Router;
use crate::events::Event;
use crate::view::{NodeRef, mac_text};

impl Router {
    /// Takes in a fact.
    pub(crate) fn on_notice(&mut self, notice: &Notice, now: Instant) {
        let event = match *notice {
            // Behind a closed gate another router answers, as it should.
            Notice::ForeignAnswer { .. } if !self.gate().open => None,
            Notice::ForeignAnswer { address, mac, .. } => {
                self.foreign_answers.push(address, mac, now);
                Some(self.foreign_answer(address, mac))
            }
            Notice::QuestionAnswered { .. } if !self.gate().open => None,
            Notice::QuestionAnswered {
                address,
                mac,
                asked,
                answers,
                ..
            } => {
                self.foreign_answers
                    .count_answers((address, mac), asked, answers, now);
                None
            }
            Notice::AddressProbed { address, mac, .. } => {
                self.probes.push(address, mac, now);
                Some(Event::AddressProbed {
                    address,
                    mac: mac_text(mac),
                })
            }
            Notice::AddressWanted { address } => {
                self.on_address_wanted(address, now);
                None
            }
            Notice::AddressAsked { tunnel, address } => {
                self.on_address_asked(tunnel, address, now);
                None
            }
            // Hosts are taken in before, see `Router::handle_input`.
            Notice::HostSeen { .. } | Notice::NeighborUp { .. } | Notice::NeighborDown { .. } => {
                None
            }
            Notice::SessionUp { tunnel, .. } => self.on_tunnel(tunnel, true),
            Notice::SessionDown { tunnel } => self.on_tunnel(tunnel, false),
            Notice::PathTooNarrow { tunnel, mtu } => {
                if let Some(node) = self.numbering.node(tunnel) {
                    self.on_path_error(node, mtu, now);
                }
                None
            }
            Notice::Undelivered { tunnel, why, by } => self.on_undelivered(tunnel, why, by, now),
            Notice::LongPackets { tunnel } => {
                if let Some(node) = self.numbering.node(tunnel) {
                    self.path_mtus.handle_traffic(node, now);
                }
                None
            }
            Notice::ProbeAnswered { tunnel, id } => {
                if let Some(node) = self.numbering.node(tunnel) {
                    self.path_mtus
                        .handle(node, |prober| prober.handle_answer(id, now));
                    self.stale_hops.handle_answer(node, id, now);
                }
                None
            }
            Notice::EndpointChanged { tunnel, from, to } => {
                self.numbering.node(tunnel).map(|node| {
                    self.host.on_roamed(node, to);
                    self.forwarding_stale = true;
                    // The first packet of a node without configured endpoint is no move.
                    if from.is_some() {
                        let conflict = self.identity.on_roam(node, now);
                        conflict
                            .into_iter()
                            .for_each(|event| self.events.push(event, now));
                    }
                    Event::EndpointMoved { node, from, to }
                })
            }
        };
        event
            .into_iter()
            .for_each(|event| self.events.push(event, now));
    }

    /// What it means that somebody else answers for an address that we answer for.
    fn foreign_answer(&self, address: Ipv4Addr, mac: Mac) -> Event {
        let text = mac_text(mac);
        match self.sibling_at(mac) {
            Some(node) => Event::SplitBrain {
                address,
                by: format!("{} at {text}", NodeRef::new(&self.config, node).name),
                verdict: "both answer, until one hears the other's advertisement".to_owned(),
            },
            None => Event::ForeignAnswer { address, mac: text },
        }
    }

    /// Takes in whether a tunnel carries packets; returns the event, if that is news.
    fn on_tunnel(&mut self, tunnel: TunnelId, up: bool) -> Option<Event> {
        let node = self.numbering.node(tunnel)?;
        // The last words of a session may come when the node is already reached without.
        let has_session = self.config.transport_to(node).encapsulation.is_encrypted();
        if !has_session || !self.host.on_tunnel(node, up) {
            return None;
        }
        self.next_hops_stale = true;
        Some(if up {
            Event::TunnelUp { node }
        } else {
            Event::TunnelDown { node }
        })
    }
}
