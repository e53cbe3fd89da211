//! Protocol transparency: what two hosts do with each other on one wire they do through two routers, over every
//! transport, at first contact and again. Real servers, real clients; a group whose programs are missing is skipped.
//!
//! | file | group |
//! |---|---|
//! | `ssh`, `ftp` | logins, every kind of FTP data connection |
//! | `nfs` | rpcbind, NFS 3 and 4 |
//! | `speed` | iperf3 and bulk TCP, both ways |
//! | `sizes` | the largest packet to the byte, ICMP errors, fragments, tracepath |
//! | `unusual` | hand-made packets, byte by byte at six `places` of the way; `streams` of real TCP there |
//! | `errors` | what ICMP errors quote, packets with options cut |
//! | `jumbo` | frames of 9000 bytes on both LANs |
//!
//! One fabric per transport; `lab` holds it, and `witness` looks at every connection from four places.

mod errors;
mod ftp;
mod jumbo;
mod lab;
mod nfs;
mod places;
mod sizes;
mod speed;
mod ssh;
mod streams;
mod unusual;
mod witness;

use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};

use crate::case::{Case, Need, missing};
use lab::Lab;
use witness::Witness;

/// Fewer would leave no proof.
const NEEDS: &[Need] = &[Need::Tool("tcpdump"), Need::Tool("tshark")];

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "transparency::wireguard",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: None,
                mtu: 1440,
                bulk: LARGE,
            })
        },
    },
    Case {
        name: "transparency::gue_variant_0",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: Some("encap: gue, variant: 0"),
                mtu: 1468,
                bulk: LARGE,
            })
        },
    },
    Case {
        name: "transparency::gue_variant_1",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: Some("encap: gue"),
                mtu: 1472,
                bulk: LARGE,
            })
        },
    },
    Case {
        name: "transparency::fou",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: Some("encap: fou"),
                mtu: 1472,
                bulk: SMALL,
            })
        },
    },
    Case {
        name: "transparency::vxlan",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: Some("encap: vxlan, vni: 77"),
                mtu: 1450,
                bulk: SMALL,
            })
        },
    },
    Case {
        name: "transparency::gre",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: Some("encap: gre"),
                mtu: 1476,
                bulk: SMALL,
            })
        },
    },
    Case {
        name: "transparency::ipip",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: Some("encap: ipip"),
                mtu: 1480,
                bulk: SMALL,
            })
        },
    },
];

/// One way from router to router.
#[derive(Debug)]
struct Transport {
    /// Text of the configuration; `None` is WireGuard.
    encap: Option<&'static str>,
    /// Largest inner packet over an underlay of 1500, in bytes.
    mtu: usize,
    /// Bytes of a large file or stream.
    bulk: usize,
}

/// 100 MiB, for the way with encryption and those that are used most.
const LARGE: usize = 100 << 20;
/// The framings beyond these share their bulk path, so a tenth finds what a whole would; the suite stays short.
const SMALL: usize = 10 << 20;

/// One kind of traffic.
struct Group {
    name: &'static str,
    needs: &'static [Need],
    check: fn(&Lab),
}

const GROUPS: &[Group] = &[
    Group {
        name: "ssh",
        needs: ssh::NEEDS,
        check: ssh::check,
    },
    Group {
        name: "ftp",
        needs: ftp::NEEDS,
        check: ftp::check,
    },
    Group {
        name: "nfs",
        needs: nfs::NEEDS,
        check: nfs::check,
    },
    Group {
        name: "iperf3",
        needs: speed::IPERF3_NEEDS,
        check: speed::iperf3,
    },
    Group {
        name: "bulk",
        needs: &[],
        check: speed::bulk,
    },
    Group {
        name: "sizes",
        needs: sizes::NEEDS,
        check: sizes::check,
    },
    Group {
        name: "unusual packets",
        needs: &[],
        check: unusual::check,
    },
    Group {
        name: "ICMP errors",
        needs: &[],
        check: errors::check,
    },
    Group {
        name: "jumbo frames",
        needs: &[],
        check: jumbo::check,
    },
];

/// Runs every group, also after one has failed.
fn suite(transport: &Transport) {
    let lab = Lab::running(transport);
    let witness = Witness::start(&lab);
    let mut failed = Vec::new();
    for group in GROUPS {
        if let Some(reason) = missing(group.needs) {
            writeln!(
                io::stderr(),
                "skipped: transparency: {}: {reason}",
                group.name
            )
            .ok();
            continue;
        }
        if panic::catch_unwind(AssertUnwindSafe(|| (group.check)(&lab))).is_err() {
            failed.push(group.name);
        }
    }
    if panic::catch_unwind(AssertUnwindSafe(|| witness.judge(&lab))).is_err() {
        failed.push("witness");
    }
    assert!(failed.is_empty(), "{transport:?}: {failed:?}");
}
