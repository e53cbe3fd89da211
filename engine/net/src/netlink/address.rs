//! Addresses of links.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::{Context, NetError};
use crate::netlink::{Netlink, tolerate};

/// An address that the kernel holds, with the prefix of its subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Index of the link that holds it.
    pub interface: u32,
    /// The address and its prefix length; host bits are kept.
    pub network: IpNet,
}

impl Netlink {
    /// Returns every address of the namespace, loopback included, ordered by link.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn local_addresses(&mut self) -> Result<Vec<Address>, NetError> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let answers = self.dump(&request).context("list", "addresses")?;
        let mut addresses: Vec<Address> = answers.iter().filter_map(as_address).collect();
        addresses.sort_unstable();
        Ok(addresses)
    }

    /// Returns the addresses of one link.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn addresses(&mut self, interface: u32) -> Result<Vec<IpNet>, NetError> {
        let all = self.local_addresses()?;
        let of_link = all.iter().filter(|address| address.interface == interface);
        Ok(of_link.map(|address| address.network).collect())
    }

    /// Adds an address to a link; `Ok(false)` when the link has it.
    ///
    /// # Errors
    /// EPERM, ENODEV.
    pub fn add_address(&mut self, interface: u32, network: IpNet) -> Result<bool, NetError> {
        let message = RouteNetlinkMessage::NewAddress(message_for(interface, network));
        let result = self.change(message, NLM_F_CREATE | NLM_F_EXCL);
        tolerate(result, &[libc::EEXIST]).context("add address", &network.to_string())
    }

    /// Removes an address from a link; `Ok(false)` when the link has no such address.
    ///
    /// # Errors
    /// EPERM, ENODEV.
    pub fn remove_address(&mut self, interface: u32, network: IpNet) -> Result<bool, NetError> {
        let message = RouteNetlinkMessage::DelAddress(message_for(interface, network));
        let result = self.change(message, 0);
        tolerate(result, &[libc::EADDRNOTAVAIL]).context("remove address", &network.to_string())
    }
}

fn message_for(interface: u32, network: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = interface;
    message.header.prefix_len = network.prefix_len();
    message.header.family = match network {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    message
        .attributes
        .push(AddressAttribute::Local(network.addr()));
    message
        .attributes
        .push(AddressAttribute::Address(network.addr()));
    if let IpNet::V4(network) = network
        && network.prefix_len() < 31
    {
        message
            .attributes
            .push(AddressAttribute::Broadcast(network.broadcast()));
    }
    message
}

fn as_address(message: &RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = message else {
        return None;
    };
    let (mut local, mut other): (Option<IpAddr>, Option<IpAddr>) = (None, None);
    for attribute in &message.attributes {
        #[expect(clippy::wildcard_enum_match_arm, reason = "two of some ten attributes")]
        match attribute {
            // On a point-to-point link LOCAL is ours and ADDRESS is the far end; IPv6 has ADDRESS alone.
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => other = Some(*address),
            _ => {}
        }
    }
    let network = IpNet::new(local.or(other)?, message.header.prefix_len).ok()?;
    Some(Address {
        interface: message.header.index,
        network,
    })
}
