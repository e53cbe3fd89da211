//! Which offloads are in force: as configured, less what the kernel refused since.

use sam_dataplane::{MergePolicy, Merging};
use sam_net::tun::TunOffloads;
use sam_router::Offloads;

/// Returns how far the TUN device may go.
pub(crate) fn tun_limit(wanted: Offloads) -> TunOffloads {
    match (wanted.tun_tcp, wanted.tun_udp) {
        (true, true) => TunOffloads::TcpUdp,
        (true, false) => TunOffloads::Tcp,
        (false, _) => TunOffloads::Header,
    }
}

/// Concludes from what is wanted and what the TUN device agreed to which superpackets may be made: packet sockets read
/// the same header by the same code as the device, but need no agreement about TCP.
pub(super) fn merging(wanted: Offloads, agreed: TunOffloads) -> Merging {
    let kernel_cuts_udp = agreed == TunOffloads::TcpUdp || !wanted.tun_tcp || !wanted.tun_udp;
    let host_tcp = agreed != TunOffloads::Plain && wanted.tun_tcp;
    Merging {
        lan: MergePolicy {
            tcp: wanted.lan_tcp,
            udp: wanted.lan_udp && kernel_cuts_udp,
        },
        host: MergePolicy {
            tcp: host_tcp,
            udp: agreed == TunOffloads::TcpUdp,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_does_not_take_is_not_merged() {
        let flags = |offloads| {
            let Merging { lan, host } = merging(Offloads::default(), offloads);
            [lan.tcp, lan.udp, host.tcp, host.udp]
        };
        assert_eq!(flags(TunOffloads::TcpUdp), [true, true, true, true]);
        assert_eq!(flags(TunOffloads::Tcp), [true, false, true, false]);
        assert_eq!(flags(TunOffloads::Header), [true, false, true, false]);
        assert_eq!(flags(TunOffloads::Plain), [true, false, false, false]);
    }

    #[test]
    fn what_is_switched_off_is_not_merged_and_nothing_else_changes() {
        let flags = |wanted: Offloads| {
            let Merging { lan, host } = merging(wanted, tun_limit(wanted));
            [lan.tcp, lan.udp, host.tcp, host.udp]
        };
        let all = Offloads::default();
        let without = |change: fn(&mut Offloads)| {
            let mut wanted = all;
            change(&mut wanted);
            flags(wanted)
        };
        assert_eq!(without(|o| o.tun_tcp = false), [true, true, false, false]);
        assert_eq!(without(|o| o.tun_udp = false), [true, true, true, false]);
        assert_eq!(without(|o| o.lan_tcp = false), [false, true, true, true]);
        assert_eq!(without(|o| o.lan_udp = false), [true, false, true, true]);
        assert_eq!(without(|o| o.udp_gro = false), [true, true, true, true]);
    }
}
