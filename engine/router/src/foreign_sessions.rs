//! Sessions with foreign neighbors, as the control core sees them: news, what is shown.
//!
//! They are no nodes: no journal waits for them, and what their policy refuses is no news.

use std::net::Ipv4Addr;
use std::time::Instant;

use sam_bgp::speaker::{Event as BgpEvent, PeerView};

use crate::Router;
use crate::events::Event;
use crate::foreign::Authentication;
use crate::foreign_policy::INTRUSION_REASONS;
use crate::peers::{is_node, node_of};
use crate::view::ForeignView;

impl Router {
    /// Tells whether an event is one of a foreign neighbor.
    pub(crate) fn is_foreign(&self, event: &BgpEvent) -> bool {
        let peer = match event {
            BgpEvent::Established { peer }
            | BgpEvent::Down { peer, .. }
            | BgpEvent::AttemptFailed { peer, .. }
            | BgpEvent::Retained { peer, .. }
            | BgpEvent::StaleRemoved { peer, .. }
            | BgpEvent::Rejected { peer, .. }
            | BgpEvent::LimitNear { peer, .. }
            | BgpEvent::Malformed { peer, .. } => peer,
            BgpEvent::RestartOver { .. } | BgpEvent::ConnectionRefused { .. } => return false,
        };
        let address = Ipv4Addr::from(peer.0);
        !is_node(&self.config, *peer) && self.config.local.foreign.terms(address).is_some()
    }

    /// Counts what a foreign neighbor was refused, and tells what is news.
    pub(crate) fn on_foreign_event(&mut self, event: BgpEvent, now: Instant) {
        let mut news = true;
        if let BgpEvent::Rejected { peer, reason, .. } = &event {
            let address = Ipv4Addr::from(peer.0);
            // Those of ranges come and go; they are counted with the session.
            if self.config.local.foreign.neighbors.contains_key(&address) {
                *self
                    .rejections
                    .entry((node_of(*peer), *reason))
                    .or_default() += 1;
            }
            news = INTRUSION_REASONS.contains(reason);
        }
        if news {
            self.events.push(Event::from(event), now);
        }
    }

    /// What is agreed with a peer that is no node.
    pub(crate) fn foreign_view(&self, peer: &PeerView) -> Option<ForeignView> {
        if !peer.role.is_external() {
            return None;
        }
        let (_, terms) = self.config.local.foreign.terms(peer.address)?;
        let (ttl, ttl_least) = terms.reach.hop_limits();
        let authentication = terms.authentication.as_ref().map(|how| match how {
            Authentication::Md5(_) => "md5".into(),
            Authentication::TcpAo { .. } => "tcp-ao".into(),
        });
        Some(ForeignView {
            local_address: terms.local_address,
            local_address_ipv6: terms.local_address_ipv6,
            interface: terms.interface.clone(),
            ttl,
            ttl_least,
            authentication,
            import_rules: terms.import.as_ref().map(|rules| rules.0.len()),
            export_rules: terms.export.as_ref().map(|rules| rules.0.len()),
            graceful_shutdown: terms.graceful_shutdown || self.graceful_shutdown().is_some(),
        })
    }
}
