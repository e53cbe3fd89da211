//! Which drop reasons would hit packets to or from an address now.

use sam_dataplane::DropReason;

use super::Subject;
use crate::doctor::Evidence;
use crate::view::{DropRisk, RouteAction};

/// Lists them.
pub(super) fn risks(evidence: &Evidence<'_>, subject: &Subject<'_>) -> Vec<DropRisk> {
    let mut risks = Vec::new();
    let mut add = |reason: DropReason, applies_to: String| {
        risks.push(DropRisk {
            reason: reason.name().into(),
            applies_to,
        });
    };
    let address = subject.address;
    match subject.route.as_ref().map(|route| route.action) {
        None | Some(RouteAction::Unreachable) => {
            add(DropReason::NoRoute, format!("all packets to {address}"));
            add(
                DropReason::SourceNotAllowed,
                format!("all packets from {address}"),
            );
        }
        Some(RouteAction::Withhold | RouteAction::Blackhole) => {
            add(
                DropReason::PoolWithheld,
                format!("all packets to {address}"),
            );
            add(
                DropReason::SourceNotAllowed,
                format!("all packets from {address}"),
            );
        }
        Some(RouteAction::Tunnel) => {
            add(
                DropReason::SourceNotAllowed,
                format!("packets from {address} that do not come by its tunnel"),
            );
        }
        Some(RouteAction::Lan) => {
            add(
                DropReason::SourceNotAllowed,
                format!("packets from {address} that do not come from the LAN"),
            );
            add(
                DropReason::SameInterface,
                format!("packets from the LAN to {address}"),
            );
            let failed = |state: &str| state == "failed";
            if evidence
                .arp
                .neighbors
                .iter()
                .any(|row| row.address == address && failed(&row.state))
            {
                add(
                    DropReason::NeighborFailed,
                    format!("all packets to {address}"),
                );
            }
        }
        Some(RouteAction::Local) => {}
    }
    if let Some(tunnel) = subject.tunnel.filter(|tunnel| tunnel.fault.is_none()) {
        if tunnel.endpoint.is_none() {
            add(
                DropReason::TunnelNoEndpoint,
                format!("all packets to {address}"),
            );
        } else if !tunnel.up {
            add(
                DropReason::TunnelNoSession,
                format!("packets to {address} beyond the staging queue"),
            );
        }
        add(
            DropReason::TooBig,
            format!("packets to {address} over {} bytes with DF set", tunnel.mtu),
        );
    }
    risks
}
