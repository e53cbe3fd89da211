//! What the router as a whole must do, seen from outside: outputs, snapshots, and what its neighbors learn.
//!
//! Node N owns nothing at first, has overlay 10.99.0.N and a LAN in 10.77.60.0/24; `address(n)` is 10.77.60.n.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use proptest::prelude::*;
use sam_bgp::wire::{Message, Update};
use sam_bgp::{DecisionStep, PathAttributes};
use sam_capture::{ClaimState, NodeId};
use sam_dataplane::notice::{Heard, Mac};
use sam_dataplane::{NextHop, Notice, PortId, TunnelId};

use crate::CommandRefusal;
use crate::config::{Capture, Config, Host, TunnelMtu};
use crate::events::Event;
use crate::fixture::{self, address, overlay};
use crate::input::{Command, HostEvent, Input};
use crate::journal::RuntimeState;
use crate::testnet::Net;
use crate::view::{BgpTableView, RouteAction, RouteOrigin, RouteTable};

const FULL_MESH: &[u32] = &[];
const ADDRESS: u8 = 10;

mod bfd;
mod cloud;
mod configuration;
mod convergence;
mod discovery;
mod drain;
mod graceful_restart;
mod graceful_shutdown;
mod handover;
mod identity;
mod lan_orders;
mod monitor;
mod neighbor_orders;
mod next_hops;
mod ownership;
mod pair;
mod paths;
mod tracked;
mod transports;
mod views;
pub(crate) mod vrrp;

fn reconfigure(net: &mut Net, id: u32, change: impl FnOnce(&mut Config)) {
    let mut config = net.station(id).router.config().clone();
    change(&mut config);
    net.input(id, Input::Config(Box::new(config)));
}

/// Whether `doctor` warns by a check of this name.
fn warns(net: &Net, id: u32, check: &str) -> bool {
    let router = &net.stations[&id].router;
    let doctor = router.doctor(&crate::Facts::default(), net.now);
    let mut found = doctor.checks.iter().filter(|row| row.name == check);
    found.any(|row| row.status == crate::view::CheckStatus::Warn)
}

fn sequence(net: &Net, id: u32, last: u8) -> u32 {
    net.stations[&id]
        .router
        .owners
        .holding(address(last))
        .unwrap()
        .owner
        .sequence
}

fn mtu(net: &Net) -> u16 {
    net.stations[&1].snapshot.tunnels[0].mtu
}

/// Lets a host be heard, and answer.
fn hear(net: &mut Net, id: u32, last: u8, mac: Mac) {
    for heard in [Heard::Overheard, Heard::Answered] {
        let (port, address) = (PortId(1), address(last));
        let seen = Notice::HostSeen {
            port,
            address,
            mac,
            heard,
        };
        net.input(id, Input::Notice(seen));
    }
}
