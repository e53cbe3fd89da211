//! Links: what an interface is and does, and how to make, join, move and remove one.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    GreIOFlags, InfoData, InfoGre, InfoGre6, InfoIpTunnel, InfoKind, InfoVeth, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage, State,
};

use crate::error::{Context, NetError};
use crate::netlink::{Netlink, malformed, tolerate};

/// Operational state of a link (RFC 2863).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperState {
    /// Ready to carry packets.
    Up,
    /// Not ready, for this or a lower layer.
    Down,
    /// The driver does not say; TUN devices and loopback are always in this state.
    Unknown,
}

/// What the kernel says about an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Interface index, unique in its network namespace.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// Largest IP packet, in bytes.
    pub mtu: u32,
    /// Ethernet address; absent on TUN devices.
    pub mac: Option<[u8; 6]>,
    /// Whether it was set up by the administrator.
    pub up: bool,
    /// Whether its cable carries.
    pub carrier: bool,
    /// Whether it receives frames for everyone.
    pub promiscuous: bool,
    /// Operational state.
    pub state: OperState,
    /// Packets that may wait for transmission.
    pub tx_queue_length: u32,
    /// Index of the bridge (or other controller) that it belongs to.
    pub controller: Option<u32>,
    /// Kind of virtual link, such as `veth`, `bridge`, `tun`.
    pub kind: Option<String>,
    /// What it takes and where it leads, if it is a tunnel of GRE or IP in IP.
    pub tunnel: Option<TunnelEnds>,
}

/// Ends of a tunnel of the kernel, and what tells it from others between the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TunnelEnds {
    /// Our address; `None`: any.
    pub local: Option<IpAddr>,
    /// The far one; `None`: any.
    pub remote: Option<IpAddr>,
    /// Key of GRE packets that it takes (RFC 2890); `None`: those without.
    pub key: Option<u32>,
}

impl Netlink {
    /// Returns all links of the namespace, by index.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn links(&mut self) -> Result<Vec<Link>, NetError> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = self.dump(&request).context("list", "links")?;
        let mut links: Vec<Link> = answers.iter().filter_map(as_link).collect();
        links.sort_by_key(|link| link.index);
        Ok(links)
    }

    /// Returns the link of this name.
    ///
    /// # Errors
    /// ENODEV when there is none.
    pub fn link(&mut self, name: &str) -> Result<Link, NetError> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        self.one_link(message, name)
    }

    /// Returns the link of this index.
    ///
    /// # Errors
    /// ENODEV when there is none.
    pub fn link_by_index(&mut self, index: u32) -> Result<Link, NetError> {
        self.one_link(message_for(index), &described(index))
    }

    /// Sets a link up.
    ///
    /// # Errors
    /// EPERM without CAP_NET_ADMIN, ENODEV.
    pub fn set_up(&mut self, index: u32) -> Result<(), NetError> {
        let mut message = message_for(index);
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.set_link(message, "set up")
    }

    /// Sets a link down.
    ///
    /// # Errors
    /// EPERM without CAP_NET_ADMIN, ENODEV.
    pub fn set_down(&mut self, index: u32) -> Result<(), NetError> {
        let mut message = message_for(index);
        message.header.change_mask = LinkFlags::Up;
        self.set_link(message, "set down")
    }

    /// Sets the largest IP packet, in bytes.
    ///
    /// # Errors
    /// EINVAL outside the driver's limits, EPERM, ENODEV.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), NetError> {
        self.set_attribute(index, LinkAttribute::Mtu(mtu), "set mtu of")
    }

    /// Sets how many packets may wait for transmission.
    ///
    /// # Errors
    /// EPERM, ENODEV.
    pub fn set_tx_queue_length(&mut self, index: u32, packets: u32) -> Result<(), NetError> {
        self.set_attribute(
            index,
            LinkAttribute::TxQueueLen(packets),
            "set txqueuelen of",
        )
    }

    /// Sets the Ethernet address.
    ///
    /// # Errors
    /// EADDRNOTAVAIL for a multicast address, EPERM, ENODEV.
    pub fn set_mac(&mut self, index: u32, mac: [u8; 6]) -> Result<(), NetError> {
        self.set_attribute(index, LinkAttribute::Address(mac.to_vec()), "set mac of")
    }

    /// Makes a link a port of a bridge; `None` releases it.
    ///
    /// # Errors
    /// EPERM, ENODEV, ELOOP.
    pub fn set_bridge(&mut self, index: u32, bridge: Option<u32>) -> Result<(), NetError> {
        self.set_attribute(
            index,
            LinkAttribute::Controller(bridge.unwrap_or(0)),
            "enslave",
        )
    }

    /// Makes a pair of Ethernet links, the peer in another namespace when one is given.
    ///
    /// # Errors
    /// EEXIST when a name is taken, EPERM.
    pub fn create_veth(
        &mut self,
        name: &str,
        peer_name: &str,
        peer_namespace: Option<BorrowedFd<'_>>,
    ) -> Result<(), NetError> {
        let mut peer = LinkMessage::default();
        peer.attributes
            .push(LinkAttribute::IfName(peer_name.to_owned()));
        if let Some(namespace) = peer_namespace {
            peer.attributes
                .push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
        }
        let data = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)));
        self.create(name, vec![LinkInfo::Kind(InfoKind::Veth), data])
            .context("create veth", name)
    }

    /// Makes a bridge; `Ok(false)` when a link of this name exists.
    ///
    /// # Errors
    /// EPERM, EOPNOTSUPP on a kernel without bridges.
    pub fn create_bridge(&mut self, name: &str) -> Result<bool, NetError> {
        let result = self.create(name, vec![LinkInfo::Kind(InfoKind::Bridge)]);
        tolerate(result, &[libc::EEXIST]).context("create bridge", name)
    }

    /// Removes a virtual link; `Ok(false)` when it is gone already.
    ///
    /// # Errors
    /// EPERM, EOPNOTSUPP for a physical link.
    pub fn delete_link(&mut self, index: u32) -> Result<bool, NetError> {
        let result = self.change(RouteNetlinkMessage::DelLink(message_for(index)), 0);
        tolerate(result, &[libc::ENODEV]).context("delete", &described(index))
    }

    fn create(&mut self, name: &str, kind: Vec<LinkInfo>) -> std::io::Result<()> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.push(LinkAttribute::LinkInfo(kind));
        self.change(
            RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    fn set_attribute(
        &mut self,
        index: u32,
        attribute: LinkAttribute,
        op: &'static str,
    ) -> Result<(), NetError> {
        let mut message = message_for(index);
        message.attributes.push(attribute);
        self.set_link(message, op)
    }

    fn set_link(&mut self, message: LinkMessage, op: &'static str) -> Result<(), NetError> {
        let target = described(message.header.index);
        self.change(RouteNetlinkMessage::SetLink(message), 0)
            .context(op, &target)
    }

    fn one_link(&mut self, message: LinkMessage, target: &str) -> Result<Link, NetError> {
        self.ask(RouteNetlinkMessage::GetLink(message))
            .and_then(|answer| as_link(&answer).ok_or_else(|| malformed("netlink: no link")))
            .context("find link", target)
    }
}

fn described(index: u32) -> String {
    format!("link {index}")
}

fn message_for(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn as_link(message: &RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else {
        return None;
    };
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mtu: 0,
        mac: None,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        promiscuous: flags.contains(LinkFlags::Promisc),
        state: OperState::Unknown,
        tx_queue_length: 0,
        controller: None,
        kind: None,
        tunnel: None,
    };
    for attribute in &message.attributes {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "a few of some seventy attributes"
        )]
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(address) => link.mac = address.as_slice().try_into().ok(),
            LinkAttribute::TxQueueLen(length) => link.tx_queue_length = *length,
            LinkAttribute::Controller(index) => link.controller = Some(*index),
            LinkAttribute::OperState(state) => link.state = oper_state(*state),
            LinkAttribute::LinkInfo(parts) => {
                link.kind = parts.iter().find_map(kind_name);
                link.tunnel = parts.iter().find_map(tunnel_ends);
            }
            _ => {}
        }
    }
    Some(link)
}

fn kind_name(part: &LinkInfo) -> Option<String> {
    if let LinkInfo::Kind(kind) = part {
        Some(kind.to_string())
    } else {
        None
    }
}

fn tunnel_ends(part: &LinkInfo) -> Option<TunnelEnds> {
    let LinkInfo::Data(data) = part else {
        return None;
    };
    let mut ends = TunnelEnds::default();
    // The kernel tells a key of those without one too; only the flag says whether it counts.
    let mut has_key = false;
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "three of many kinds of links, and a few of many attributes of each"
    )]
    match data {
        InfoData::GreTun(parts) => parts.iter().for_each(|part| match part {
            InfoGre::Local(address) => ends.local = specified((*address).into()),
            InfoGre::Remote(address) => ends.remote = specified((*address).into()),
            InfoGre::IFlags(flags) => has_key = flags.contains(GreIOFlags::Key),
            InfoGre::IKey(key) => ends.key = Some(*key),
            _ => {}
        }),
        InfoData::GreTun6(parts) => parts.iter().for_each(|part| match part {
            InfoGre6::Local(address) => ends.local = specified((*address).into()),
            InfoGre6::Remote(address) => ends.remote = specified((*address).into()),
            InfoGre6::IFlags(flags) => has_key = flags.contains(GreIOFlags::Key),
            InfoGre6::IKey(key) => ends.key = Some(*key),
            _ => {}
        }),
        InfoData::IpTunnel(parts) => parts.iter().for_each(|part| match part {
            InfoIpTunnel::Local(address) => ends.local = specified(*address),
            InfoIpTunnel::Remote(address) => ends.remote = specified(*address),
            _ => {}
        }),
        _ => return None,
    }
    ends.key = ends.key.filter(|_| has_key);
    Some(ends)
}

fn specified(address: IpAddr) -> Option<IpAddr> {
    (!address.is_unspecified()).then_some(address)
}

fn oper_state(state: State) -> OperState {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other state does not carry packets"
    )]
    match state {
        State::Up => OperState::Up,
        State::Unknown => OperState::Unknown,
        _ => OperState::Down,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_tunnels_are_read_and_any_is_none() {
        let (local, remote) = ([192, 0, 2, 1], [192, 0, 2, 2]);
        let ipv6: [u16; 8] = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2];
        let ends =
            |local: Option<IpAddr>, remote: Option<IpAddr>, key| TunnelEnds { local, remote, key };
        for (kind, data, expected) in [
            (
                InfoKind::GreTun,
                InfoData::GreTun(vec![
                    InfoGre::IFlags(GreIOFlags::Checksum),
                    InfoGre::IKey(0),
                    InfoGre::Ttl(64),
                    InfoGre::Local(local.into()),
                    InfoGre::Remote(remote.into()),
                ]),
                Some(ends(Some(local.into()), Some(remote.into()), None)),
            ),
            (
                InfoKind::GreTun,
                InfoData::GreTun(vec![
                    InfoGre::IFlags(GreIOFlags::Key | GreIOFlags::Checksum),
                    InfoGre::IKey(0),
                    InfoGre::Remote(remote.into()),
                ]),
                Some(ends(None, Some(remote.into()), Some(0))),
            ),
            (
                InfoKind::GreTun6,
                InfoData::GreTun6(vec![
                    InfoGre6::Remote(ipv6.into()),
                    InfoGre6::IKey(42),
                    InfoGre6::OKey(43),
                    InfoGre6::IFlags(GreIOFlags::Key),
                ]),
                Some(ends(None, Some(ipv6.into()), Some(42))),
            ),
            (
                InfoKind::IpIp,
                InfoData::IpTunnel(vec![
                    InfoIpTunnel::Local(IpAddr::from([0; 4])),
                    InfoIpTunnel::Remote(IpAddr::from(remote)),
                ]),
                Some(ends(None, Some(remote.into()), None)),
            ),
            (
                InfoKind::Veth,
                InfoData::Veth(InfoVeth::Peer(LinkMessage::default())),
                None,
            ),
        ] {
            let mut message = LinkMessage::default();
            let parts = vec![LinkInfo::Kind(kind.clone()), LinkInfo::Data(data)];
            message.attributes.push(LinkAttribute::LinkInfo(parts));
            let link = as_link(&RouteNetlinkMessage::NewLink(message)).unwrap();
            assert_eq!(link.tunnel, expected, "{kind:?}");
        }
    }
}
