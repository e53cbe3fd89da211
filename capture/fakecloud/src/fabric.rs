//! The fabric: what a provider's network does with a frame that an instance sends.
//!
//! It is no Ethernet. Whoever holds an address gets what is sent to it, whatever its MAC on the way; what nobody holds goes
//! nowhere; broadcasts reach nobody. A NIC may only send as one of its own addresses, unless its source/destination check
//! is off. All follows from the model, as of [`Lag::fabric_ms`] ago.
//!
//! [`Lag::fabric_ms`]: crate::Lag::fabric_ms

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::cloud::Cloud;
use crate::nic::Nic;
use crate::settings::milliseconds;
use crate::world::World;
use crate::{Provider, Time};

/// A NIC whose wire ends at an interface of the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Whose cloud.
    pub provider: Provider,
    /// The NIC.
    pub nic: String,
}

/// What becomes of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It arrives at this NIC, with these addresses in front: destination, source.
    Deliver {
        /// Where.
        to: Port,
        /// The first twelve bytes of the frame that arrives.
        ethernet: [u8; 12],
    },
    /// The fabric itself answers: a frame for the sender.
    Answer([u8; ARP_FRAME]),
    /// Nothing.
    Drop(Reason),
}

/// Why a frame arrives nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Too short, or not what its headers say.
    Malformed,
    /// Neither ARP nor IPv4, a broadcast or multicast, or an ARP message that asks nothing.
    NotForUs,
    /// The sender's instance is stopped, or its NIC is gone.
    SenderStopped,
    /// The source MAC is not the NIC's.
    ForgedMac,
    /// The source address is not the NIC's, and its check is on.
    SourceCheck,
    /// Nobody holds the destination.
    Nobody,
    /// The holder's instance is stopped.
    HolderStopped,
    /// The holder's wire ends nowhere.
    NoWire,
}

impl Reason {
    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotForUs => "not-for-us",
            Self::SenderStopped => "sender-stopped",
            Self::ForgedMac => "forged-mac",
            Self::SourceCheck => "source-check",
            Self::Nobody => "nobody",
            Self::HolderStopped => "holder-stopped",
            Self::NoWire => "no-wire",
        }
    }
}

/// What went through.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traffic {
    pub(crate) delivered: u64,
    pub(crate) answered: u64,
    pub(crate) dropped: BTreeMap<Reason, u64>,
}

impl World {
    /// Lists the NICs that have a wire, with the interface where it ends.
    pub fn wires(&self) -> impl Iterator<Item = (Port, &str)> {
        let clouds = self.clouds.values();
        let nics = clouds.flat_map(|cloud| cloud.nics.values().map(move |nic| (cloud, nic)));
        nics.filter_map(|(cloud, nic)| Some((port(cloud, nic), nic.wire.as_deref()?)))
    }

    /// Decides on a frame from a NIC, and counts it. A superpacket is one frame.
    pub fn carry(&mut self, from: &Port, frame: &[u8], now: Time) -> Verdict {
        let Some(cloud) = self.clouds.get_mut(&from.provider) else {
            return Verdict::Drop(Reason::SenderStopped);
        };
        cloud.advance(now);
        let verdict = judge(cloud, &from.nic, frame, now).unwrap_or_else(Verdict::Drop);
        let traffic = &mut cloud.traffic;
        match &verdict {
            Verdict::Deliver { .. } => traffic.delivered += 1,
            Verdict::Answer(_) => traffic.answered += 1,
            Verdict::Drop(reason) => *traffic.dropped.entry(*reason).or_default() += 1,
        }
        verdict
    }
}

fn judge(cloud: &Cloud, from: &str, frame: &[u8], now: Time) -> Result<Verdict, Reason> {
    let as_of = now - milliseconds(cloud.settings.lag.fabric_ms);
    // 1. The sender is there and is itself.
    let nic = cloud.nics.get(from).ok_or(Reason::SenderStopped)?;
    if !runs(cloud, nic) {
        return Err(Reason::SenderStopped);
    }
    let source_mac: Mac = array(frame, 6)?;
    if mac(nic) != Some(source_mac) {
        return Err(Reason::ForgedMac);
    }
    match u16::from_be_bytes(array(frame, 12)?) {
        ETHERTYPE_ARP => answer(cloud, nic, frame, as_of),
        ETHERTYPE_IPV4 => forward(cloud, nic, frame, as_of),
        _ => Err(Reason::NotForUs),
    }
}

/// Answers ARP as a provider does: for every address that can be reached, and for nothing else.
fn answer(cloud: &Cloud, nic: &Nic, frame: &[u8], as_of: Time) -> Result<Verdict, Reason> {
    // 2. A question for an IPv4 address in an Ethernet, by somebody who has one.
    if array(frame, 14)? != ARP_REQUEST {
        return Err(Reason::NotForUs);
    }
    let sender: Ipv4Addr = array::<4>(frame, 28)?.into();
    let target: Ipv4Addr = array::<4>(frame, 38)?.into();
    if sender.is_unspecified() || sender == target {
        return Err(Reason::NotForUs);
    }
    // 3. The gateway is the fabric; other addresses have their holder's MAC at AWS and OCI, that of the fabric at Azure.
    let is_gateway = cloud
        .subnets
        .get(&nic.subnet)
        .is_some_and(|subnet| u32::from(target) == u32::from(subnet.prefix.network()) + 1);
    let mac = match holder(cloud, nic, target, as_of) {
        _ if is_gateway => FABRIC_MAC,
        None => return Err(Reason::Nobody),
        Some(_) if cloud.provider == Provider::Azure => FABRIC_MAC,
        Some(holder) => mac(holder).unwrap_or(FABRIC_MAC),
    };
    let mut reply = [0; ARP_FRAME];
    reply[0..6].copy_from_slice(&frame[6..12]);
    reply[6..12].copy_from_slice(&mac);
    reply[12..14].copy_from_slice(&ETHERTYPE_ARP.to_be_bytes());
    reply[14..22].copy_from_slice(&ARP_REPLY);
    reply[22..28].copy_from_slice(&mac);
    reply[28..32].copy_from_slice(&target.octets());
    reply[32..38].copy_from_slice(&frame[6..12]);
    reply[38..42].copy_from_slice(&sender.octets());
    Ok(Verdict::Answer(reply))
}

fn forward(cloud: &Cloud, nic: &Nic, frame: &[u8], as_of: Time) -> Result<Verdict, Reason> {
    if array::<1>(frame, 14)?[0] >> 4 != 4 {
        return Err(Reason::Malformed);
    }
    let source: Ipv4Addr = array::<4>(frame, 26)?.into();
    let destination: Ipv4Addr = array::<4>(frame, 30)?.into();
    if destination.is_broadcast() || destination.is_multicast() || frame[0] & 1 == 1 {
        return Err(Reason::NotForUs);
    }
    // 2. Nobody sends in another one's name, but those whose check is off.
    let version = nic.at(as_of);
    if version.source_dest_check && version.holding(source).is_none() {
        return Err(Reason::SourceCheck);
    }
    // 3. The holder gets it, if it runs and its wire leads anywhere.
    let holder = holder(cloud, nic, destination, as_of).ok_or(Reason::Nobody)?;
    if !runs(cloud, holder) {
        return Err(Reason::HolderStopped);
    }
    let (Some(to), Some(_)) = (mac(holder), &holder.wire) else {
        return Err(Reason::NoWire);
    };
    let mut ethernet = [0; 12];
    ethernet[0..6].copy_from_slice(&to);
    ethernet[6..12].copy_from_slice(&frame[6..12]);
    Ok(Verdict::Deliver {
        to: port(cloud, holder),
        ethernet,
    })
}

/// Who held an address in the network of a NIC.
fn holder<'a>(cloud: &'a Cloud, nic: &Nic, address: Ipv4Addr, as_of: Time) -> Option<&'a Nic> {
    let network = cloud.network_of(nic);
    let mut nics = cloud.nics.values();
    nics.find(|other| {
        cloud.network_of(other) == network && other.at(as_of).holding(address).is_some()
    })
}

fn port(cloud: &Cloud, nic: &Nic) -> Port {
    Port {
        provider: cloud.provider,
        nic: nic.id.clone(),
    }
}

fn runs(cloud: &Cloud, nic: &Nic) -> bool {
    let instance = cloud.instances.get(&nic.instance);
    instance.is_some_and(|instance| instance.running)
}

fn mac(nic: &Nic) -> Option<Mac> {
    let mut octets = nic.mac.split(':');
    let mut mac = [0; 6];
    for octet in &mut mac {
        *octet = u8::from_str_radix(octets.next()?, 16).ok()?;
    }
    Some(mac)
}

fn array<const N: usize>(frame: &[u8], at: usize) -> Result<[u8; N], Reason> {
    let bytes = frame.get(at..at + N).ok_or(Reason::Malformed)?;
    bytes.try_into().map_err(|_| Reason::Malformed)
}

type Mac = [u8; 6];

/// Length of an ARP message with its Ethernet header.
pub const ARP_FRAME: usize = 42;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV4: u16 = 0x0800;
/// Ethernet, IPv4, lengths of their addresses, operation (RFC 826).
const ARP_REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
const ARP_REPLY: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 2];
/// The MAC that Azure answers with.
const FABRIC_MAC: Mac = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc];

#[cfg(test)]
#[path = "fabric_tests.rs"]
mod tests;
