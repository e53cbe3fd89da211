//! A stock Debian kernel in an emulator with BIRD as a site of the fabric: what it sends and understands is the judge of
//! what samctl says on the wire.
//!
//! A guest takes seconds to boot, so each case asks a lot of one.

mod delay;
mod exchange;
mod flood;
mod nested;
mod site;
mod transports;
mod wireguard;

use crate::case::{Case, Need};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "kernel::wireguard_in_both_roles_until_the_sessions_are_renewed",
        needs: &[Need::Guest],
        run: wireguard::both_roles,
    },
    Case {
        name: "kernel::wireguard_that_moves_that_is_under_load_and_that_has_a_wrong_key",
        needs: &[Need::Guest, Need::Tool("tcpdump"), Need::Tool("tshark")],
        run: wireguard::troubles,
    },
    Case {
        name: "kernel::gre_and_ipip",
        needs: &[Need::Guest],
        run: transports::raw,
    },
    Case {
        name: "kernel::fou_gue_and_vxlan",
        needs: &[Need::Guest, Need::Tool("ethtool"), Need::Tool("awk")],
        run: transports::udp,
    },
    Case {
        name: "kernel::gre_and_gue_inside_of_wireguard",
        needs: &[Need::Guest],
        run: nested::everything,
    },
    Case {
        name: "kernel::a_long_way_keeps_a_flow_fast_and_in_order",
        needs: &[Need::Guest],
        run: delay::delay,
    },
];
