//! Tunnels of the kernel that take the packets of ours.

use super::host::AREA;
use super::{Evidence, fail, pass, skip, warn};
use crate::encapsulation::Encapsulation;
use crate::facts::KernelTunnelFacts;
use crate::view::{CheckRow, TunnelRow};

/// A tunnel of the kernel with the ends of one of ours gets a copy of each of its packets.
pub(super) fn check(evidence: &Evidence<'_>) -> CheckRow {
    const NAME: &str = "kernel-tunnels";
    let Some(theirs) = &evidence.facts.host.tunnels else {
        return skip(AREA, NAME, "the kernel's tunnels could not be read");
    };
    let ours = &evidence.tunnels.tunnels;
    let pairs = ours
        .iter()
        .flat_map(|our| theirs.iter().map(move |their| (our, their)));
    let (certain, possible): (Vec<Same<'_>>, Vec<Same<'_>>) = pairs
        .filter_map(|(our, their)| same(evidence, our, their))
        .partition(|same| same.is_certain);
    if let Some(first) = certain.first() {
        return fail(
            AREA,
            NAME,
            format!(
                "the kernel has tunnels with the ends of ours: {}",
                listed(&certain)
            ),
        )
        .detail("both take each packet, so it arrives twice or is answered with an ICMP error")
        .remedy(format!(
            "`ip link delete {}`, or give one of both another end or encapsulation",
            first.interface
        ));
    }
    let Some(first) = possible.first() else {
        return pass(AREA, NAME, "no tunnel of the kernel has the ends of ours");
    };
    warn(
        AREA,
        NAME,
        format!("tunnels of the kernel may have the ends of ours: {}", listed(&possible)),
    )
    .detail("they take our packets too if what other nodes send arrives at their local address")
    .remedy(format!(
        "`ip -d link show {}` shows that address; if so, give one of both another end or encapsulation",
        first.interface
    ))
}

fn listed(same: &[Same<'_>]) -> String {
    let texts = same
        .iter()
        .map(|same| format!("{} and the tunnel to {}", same.interface, same.node));
    texts.collect::<Vec<_>>().join(", ")
}

/// A tunnel of the kernel that takes the packets of one of ours.
struct Same<'a> {
    node: &'a str,
    interface: &'a str,
    /// False where its own address may be another one than ours.
    is_certain: bool,
}

/// Compares what decides which tunnel of the kernel takes a packet: both ends, and the key of GRE.
fn same<'a>(
    evidence: &Evidence<'_>,
    our: &'a TunnelRow,
    their: &'a KernelTunnelFacts,
) -> Option<Same<'a>> {
    let kinds: &[&str] = match our.encap.as_str() {
        "gre" => &["gre", "ip6gre"],
        "ipip" => &["ipip", "ip6tnl"],
        _ => return None,
    };
    let far = our.endpoint?.ip();
    // Another family is none of the ends of this tunnel.
    let own = evidence
        .outer_source
        .filter(|own| own.is_ipv4() == far.is_ipv4());
    let is_own = their.local.zip(own).is_none_or(|(local, own)| local == own);
    let is_twice = kinds.contains(&their.kind.as_str())
        && their.remote == Some(far)
        && is_own
        && their.key == key(evidence, our);
    is_twice.then_some(Same {
        node: &our.node.name,
        interface: &their.interface,
        is_certain: their.local.is_none() || own.is_some(),
    })
}

/// Returns the key of packets of one of our tunnels.
fn key(evidence: &Evidence<'_>, our: &TunnelRow) -> Option<u32> {
    match evidence.config.transport_to(our.node.id).encapsulation {
        Encapsulation::Gre(gre) => gre.key,
        Encapsulation::WireGuard
        | Encapsulation::Gue { .. }
        | Encapsulation::Fou { .. }
        | Encapsulation::Ipip
        | Encapsulation::Vxlan { .. }
        | Encapsulation::OverWireGuard(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::*;
    use crate::encapsulation::Gre;
    use crate::facts::Facts;
    use crate::input::{HostEvent, Input};
    use crate::testnet::Net;
    use crate::view::CheckStatus;

    #[test]
    fn a_tunnel_of_the_kernel_with_the_ends_of_ours_is_found_by_name() {
        use CheckStatus::{Fail, Pass};
        for (encap, kind, remote, expected) in [
            ("gre", "gre", [192, 0, 2, 2], Fail),
            ("ipip", "ipip", [192, 0, 2, 2], Fail),
            ("gre", "gre", [192, 0, 2, 3], Pass),
            ("gre", "ipip", [192, 0, 2, 2], Pass),
            ("gre over wireguard", "gre", [192, 0, 2, 2], Pass),
            ("wireguard", "gre", [192, 0, 2, 2], Pass),
        ] {
            let mut theirs = kernel_tunnel(remote);
            theirs.kind = kind.into();
            assert_eq!(twice(encap, None, None, theirs), expected, "{encap} {kind}");
        }
    }

    #[test]
    fn a_tunnel_of_the_kernel_that_takes_none_of_our_packets_is_no_fault() {
        use CheckStatus::{Fail, Pass, Warn};
        let [own, other, ipv6]: [IpAddr; 3] =
            ["192.0.2.1", "192.0.2.9", "2001:db8::1"].map(|text| text.parse().unwrap());
        for (source, local, expected) in [
            (Some(own), None, Fail),
            (Some(own), Some(own), Fail),
            (Some(own), Some(other), Pass),
            // Where ours is not known it may be that one.
            (None, Some(other), Warn),
            (Some(ipv6), Some(other), Warn),
            (None, None, Fail),
        ] {
            let mut theirs = kernel_tunnel([192, 0, 2, 2]);
            theirs.local = local;
            let found = twice("gre", source, None, theirs);
            assert_eq!(found, expected, "{source:?} {local:?}");
        }
        for (ours, key, expected) in [
            (None, None, Fail),
            (Some(42), Some(42), Fail),
            (Some(42), Some(43), Pass),
            (None, Some(0), Pass),
            (Some(0), None, Pass),
        ] {
            let mut theirs = kernel_tunnel([192, 0, 2, 2]);
            theirs.key = key;
            let found = twice("gre", None, ours, theirs);
            assert_eq!(found, expected, "{ours:?} {key:?}");
        }
    }

    /// One of GRE.
    fn kernel_tunnel(remote: [u8; 4]) -> KernelTunnelFacts {
        KernelTunnelFacts {
            interface: "theirs1".into(),
            kind: "gre".into(),
            local: None,
            remote: Some(remote.into()),
            key: None,
        }
    }

    /// Returns what is said about a tunnel of the kernel beside ours from `source` to 192.0.2.2, which has a key if it is of GRE.
    fn twice(
        encap: &str,
        source: Option<IpAddr>,
        key: Option<u32>,
        theirs: KernelTunnelFacts,
    ) -> CheckStatus {
        let (mut net, mut facts) = (Net::new(2, &[]), Facts::default());
        // One to anywhere is what the kernel always has once it knows the kind.
        let anywhere = KernelTunnelFacts {
            remote: None,
            ..theirs.clone()
        };
        facts.host.tunnels = Some(vec![anywhere, theirs]);
        if encap == "gre" {
            let mut config = net.stations[&1].router.config().clone();
            config.fabric.transport.encapsulation = Encapsulation::Gre(Gre { key, ..Gre::PLAIN });
            net.input(1, Input::Config(Box::new(config)));
        }
        net.host(1, HostEvent::OuterSource(source));
        let mut evidence = net.stations[&1].router.evidence(&facts, net.now);
        let row = &mut evidence.tunnels.tunnels[0];
        row.encap = encap.into();
        row.endpoint = Some(SocketAddr::from(([192, 0, 2, 2], 0)));

        let check = check(&evidence);
        let named = check.message.contains("theirs1 and the tunnel to n2");
        assert_eq!(
            named,
            check.status != CheckStatus::Pass,
            "{}",
            check.message
        );
        check.status
    }
}
