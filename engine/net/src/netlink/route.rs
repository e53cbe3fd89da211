//! Routes of the main table, and the kernel's answer to "which way to this address".

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric,
    RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::{Context, NetError};
use crate::netlink::{Netlink, malformed, tolerate};

/// A route of the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub destination: IpNet,
    /// Index of the link that it leaves by.
    pub interface: u32,
    /// Next hop, or `None` when the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Source address for packets of this host.
    pub source: Option<IpAddr>,
    /// Largest packet of this host, where smaller than the link's.
    pub mtu: Option<u32>,
    /// Preference, lower wins; 0 is the kernel's default.
    pub priority: u32,
}

impl Route {
    /// Makes a route without next hop and options.
    #[must_use]
    pub fn on_link(destination: IpNet, interface: u32) -> Self {
        Self {
            destination,
            interface,
            gateway: None,
            source: None,
            mtu: None,
            priority: 0,
        }
    }
}

/// How the kernel would send a packet of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteAnswer {
    /// Index of the link that it leaves by.
    pub interface: u32,
    /// The source address that it would carry.
    pub source: Option<IpAddr>,
    /// Next hop, or `None` when the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Whether the destination is this host itself.
    pub local: bool,
    /// Largest packet, in bytes: of the route where one is configured, else of the link. What ICMP errors told the kernel
    /// does not count.
    pub mtu: u32,
}

impl Netlink {
    /// Adds a route; `Ok(false)` when one to the same destination with the same priority exists.
    ///
    /// # Errors
    /// ENETUNREACH for a gateway that is not on the link, ENETDOWN, EPERM.
    pub fn add_route(&mut self, route: &Route) -> Result<bool, NetError> {
        let message = RouteNetlinkMessage::NewRoute(message_for(route));
        let result = self.change(message, NLM_F_CREATE | NLM_F_EXCL);
        tolerate(result, &[libc::EEXIST]).context("add route", &described(route))
    }

    /// Adds a route, or replaces the one to the same destination with the same priority.
    ///
    /// # Errors
    /// As [`Netlink::add_route`].
    pub fn replace_route(&mut self, route: &Route) -> Result<(), NetError> {
        let message = RouteNetlinkMessage::NewRoute(message_for(route));
        self.change(message, NLM_F_CREATE | NLM_F_REPLACE)
            .context("replace route", &described(route))
    }

    /// Removes a route; `Ok(false)` when there is no such route, or its link is gone and took it along.
    ///
    /// # Errors
    /// EPERM.
    pub fn remove_route(&mut self, route: &Route) -> Result<bool, NetError> {
        let result = self.change(RouteNetlinkMessage::DelRoute(message_for(route)), 0);
        tolerate(result, &[libc::ESRCH, libc::ENODEV]).context("remove route", &described(route))
    }

    /// Asks which way a packet of this host would take.
    ///
    /// # Errors
    /// ENETUNREACH and EHOSTUNREACH when there is no way.
    pub fn route_to(&mut self, destination: IpAddr) -> Result<RouteAnswer, NetError> {
        let mut message = RouteMessage::default();
        message.header.address_family = family_of(destination);
        message.header.destination_prefix_length = if destination.is_ipv4() { 32 } else { 128 };
        message
            .attributes
            .push(RouteAttribute::Destination(destination.into()));
        let (mut answer, mtu) = self
            .ask(RouteNetlinkMessage::GetRoute(message))
            .and_then(|answer| as_answer(&answer).ok_or_else(|| malformed("netlink: no route")))
            .context("find route to", &destination.to_string())?;
        answer.mtu = match mtu {
            Some(mtu) => mtu,
            None => self.link_by_index(answer.interface)?.mtu,
        };
        Ok(answer)
    }
}

fn described(route: &Route) -> String {
    format!("{} by link {}", route.destination, route.interface)
}

fn message_for(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let destination = route.destination.trunc();
    message.header.address_family = family_of(destination.addr());
    message.header.destination_prefix_length = destination.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    message.header.scope = match (route.gateway, destination) {
        (None, IpNet::V4(_)) => RouteScope::Link,
        _ => RouteScope::Universe,
    };
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Destination(destination.addr().into()));
    attributes.push(RouteAttribute::Oif(route.interface));
    attributes.extend(
        route
            .gateway
            .map(|gateway| RouteAttribute::Gateway(gateway.into())),
    );
    attributes.extend(
        route
            .source
            .map(|source| RouteAttribute::PrefSource(source.into())),
    );
    attributes.extend(
        route
            .mtu
            .map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])),
    );
    if route.priority != 0 {
        attributes.push(RouteAttribute::Priority(route.priority));
    }
    message
}

fn family_of(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

/// Reads the answer to a lookup, and its own MTU beside it.
fn as_answer(message: &RouteNetlinkMessage) -> Option<(RouteAnswer, Option<u32>)> {
    let RouteNetlinkMessage::NewRoute(message) = message else {
        return None;
    };
    let local = message.header.kind == RouteType::Local;
    let mut answer = RouteAnswer {
        interface: 0,
        source: None,
        gateway: None,
        local,
        mtu: 0,
    };
    // An MTU that expires is what some ICMP error told; the underlay's own is that of the link then.
    let (mut mtu, mut expires) = (None, false);
    let is_learnt = message.header.flags.contains(RouteFlags::Cloned);
    for attribute in &message.attributes {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "a few of some forty attributes"
        )]
        match attribute {
            RouteAttribute::Oif(index) => answer.interface = *index,
            RouteAttribute::Gateway(gateway) => answer.gateway = as_ip(gateway),
            RouteAttribute::PrefSource(source) => answer.source = as_ip(source),
            RouteAttribute::Metrics(metrics) => mtu = metrics.iter().find_map(as_mtu),
            RouteAttribute::CacheInfo(info) => expires = info.expires > 0,
            _ => {}
        }
    }
    let mtu = mtu.filter(|_| !(is_learnt && expires));
    (answer.interface != 0).then_some((answer, mtu))
}

fn as_mtu(metric: &RouteMetric) -> Option<u32> {
    if let RouteMetric::Mtu(mtu) = metric {
        Some(*mtu)
    } else {
        None
    }
}

fn as_ip(address: &RouteAddress) -> Option<IpAddr> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others are no IP addresses"
    )]
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}
