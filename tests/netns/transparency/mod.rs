//! Protocol transparency: what two hosts do with each other on one wire they do through two routers, over every
//! transport, at first contact and again. Real servers, real clients; a group whose programs are missing is skipped.
//! Framings put together from two others get a shorter list ([`BRIEF`] says why).
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
//! One fabric per transport, or for some over IPv6 one after the other; `lab` holds it, and `witness` looks at every
//! connection from four places.

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
                encap: "encap: wireguard",
                mtu: 1440,
                bulk: LARGE,
                ..FULL
            })
        },
    },
    Case {
        name: "transparency::gue_variant_0",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: "encap: gue, variant: 0",
                mtu: 1468,
                bulk: LARGE,
                ..FULL
            })
        },
    },
    Case {
        name: "transparency::gue_variant_1",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: "encap: gue",
                mtu: 1472,
                bulk: LARGE,
                ..FULL
            })
        },
    },
    Case {
        name: "transparency::fou",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: "encap: fou",
                mtu: 1472,
                ..FULL
            })
        },
    },
    Case {
        name: "transparency::vxlan",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: "encap: vxlan, vni: 77",
                mtu: 1450,
                ..FULL
            })
        },
    },
    Case {
        name: "transparency::gre",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: "encap: gre",
                mtu: 1476,
                ..FULL
            })
        },
    },
    Case {
        name: "transparency::ipip",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: "encap: ipip",
                mtu: 1480,
                ..FULL
            })
        },
    },
    Case {
        name: "transparency::gre_in_wireguard",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: "encap: gre, over: wireguard",
                mtu: 1416,
                ..BRIEF
            })
        },
    },
    Case {
        name: "transparency::gue_in_wireguard",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: "encap: gue, over: wireguard",
                mtu: 1412,
                ..BRIEF
            })
        },
    },
    Case {
        name: "transparency::gue_variant_0_with_gre",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: "encap: gue, variant: 0, inner: gre",
                mtu: 1464,
                ..BRIEF
            })
        },
    },
    Case {
        name: "transparency::fou_with_gre",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: "encap: fou, inner: gre",
                mtu: 1468,
                ..BRIEF
            })
        },
    },
    Case {
        name: "transparency::gre_with_key_and_checksum",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: "encap: gre, key: 42, checksum: true",
                mtu: 1468,
                ..BRIEF
            })
        },
    },
    Case {
        name: "transparency::wireguard_over_ipv6",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: "encap: wireguard",
                mtu: 1420,
                ..OVER_IPV6
            })
        },
    },
    Case {
        name: "transparency::gue_over_ipv6",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: "encap: gue",
                mtu: 1452,
                ..OVER_IPV6
            })
        },
    },
    Case {
        name: "transparency::gre_over_ipv6",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: "encap: gre",
                mtu: 1456,
                ..OVER_IPV6
            })
        },
    },
    Case {
        name: "transparency::ipip_over_ipv6",
        needs: NEEDS,
        run: || {
            suite(&Transport {
                encap: "encap: ipip",
                mtu: 1460,
                ..OVER_IPV6
            })
        },
    },
    Case {
        name: "transparency::gue_variant_0_fou_and_vxlan_over_ipv6",
        needs: NEEDS,
        run: || {
            suites(&[
                Transport {
                    encap: "encap: gue, variant: 0",
                    mtu: 1448,
                    ..OVER_IPV6
                },
                Transport {
                    encap: "encap: gue, variant: 0, inner: gre",
                    mtu: 1444,
                    ..OVER_IPV6
                },
                Transport {
                    encap: "encap: fou",
                    mtu: 1452,
                    ..OVER_IPV6
                },
                Transport {
                    encap: "encap: fou, inner: gre",
                    mtu: 1448,
                    ..OVER_IPV6
                },
                Transport {
                    encap: "encap: vxlan, vni: 77",
                    mtu: 1430,
                    ..OVER_IPV6
                },
            ])
        },
    },
    Case {
        name: "transparency::gre_with_key_and_checksum_and_inside_of_wireguard_over_ipv6",
        needs: NEEDS,
        run: || {
            suites(&[
                Transport {
                    encap: "encap: gre, key: 42, checksum: true",
                    mtu: 1448,
                    ..OVER_IPV6
                },
                Transport {
                    encap: "encap: gre, over: wireguard",
                    mtu: 1396,
                    ..OVER_IPV6
                },
                Transport {
                    encap: "encap: gue, over: wireguard",
                    mtu: 1392,
                    ..OVER_IPV6
                },
            ])
        },
    },
];

/// One way from router to router.
#[derive(Debug)]
struct Transport {
    /// Text of the configuration.
    encap: &'static str,
    /// Largest inner packet over an underlay of 1500, in bytes.
    mtu: usize,
    /// Bytes of a large file.
    bulk: usize,
    /// Bytes of a bulk stream.
    stream: usize,
    is_over_ipv6: bool,
    /// What is tried.
    groups: &'static [Group],
}

impl Transport {
    fn settings(&self) -> String {
        let trust = if self.is_encrypted() {
            ""
        } else {
            ", trustedUnderlay: true"
        };
        format!("{}{trust}", self.encap)
    }

    fn is_encrypted(&self) -> bool {
        self.encap.contains("wireguard")
    }
}

/// Everything.
const FULL: Transport = Transport {
    encap: "",
    mtu: 0,
    bulk: SMALL,
    stream: LARGE,
    is_over_ipv6: false,
    groups: &[SSH, FTP, NFS, IPERF3, BULK, SIZES, UNUSUAL, ERRORS, JUMBO],
};
/// For a framing put together from two that are tried in full, with more bytes of header: those groups that look at every
/// byte and at sizes. Servers that rewrite addresses or ports of their own (FTP, NFS) depend on nothing but the inner packet,
/// which is the same; with them each of these would take as long as a whole one.
const BRIEF: Transport = Transport {
    stream: SMALL,
    groups: &[SSH, BULK, SIZES, UNUSUAL, ERRORS],
    ..FULL
};
/// The same over an underlay of IPv6.
const OVER_IPV6: Transport = Transport {
    is_over_ipv6: true,
    ..BRIEF
};

/// 100 MiB, for streams of every transport, and for files the way with encryption and those that are used most.
const LARGE: usize = 100 << 20;
/// Other files depend on the servers, which are the same, and framings put together from others share their bulk path: a
/// tenth finds what a whole would, and the suite stays short.
const SMALL: usize = 10 << 20;

/// One kind of traffic.
#[derive(Debug)]
struct Group {
    name: &'static str,
    needs: &'static [Need],
    check: fn(&Lab),
}

const SSH: Group = Group {
    name: "ssh",
    needs: ssh::NEEDS,
    check: ssh::check,
};
const FTP: Group = Group {
    name: "ftp",
    needs: ftp::NEEDS,
    check: ftp::check,
};
const NFS: Group = Group {
    name: "nfs",
    needs: nfs::NEEDS,
    check: nfs::check,
};
const IPERF3: Group = Group {
    name: "iperf3",
    needs: speed::IPERF3_NEEDS,
    check: speed::iperf3,
};
const BULK: Group = Group {
    name: "bulk",
    needs: &[],
    check: speed::bulk,
};
const SIZES: Group = Group {
    name: "sizes",
    needs: sizes::NEEDS,
    check: sizes::check,
};
const UNUSUAL: Group = Group {
    name: "unusual packets",
    needs: &[],
    check: unusual::check,
};
const ERRORS: Group = Group {
    name: "ICMP errors",
    needs: &[],
    check: errors::check,
};
const JUMBO: Group = Group {
    name: "jumbo frames",
    needs: &[],
    check: jumbo::check,
};

fn suite(transport: &Transport) {
    suites(std::slice::from_ref(transport));
}

/// Tries transports over the same underlay one after the other, also after one has failed.
fn suites(transports: &[Transport]) {
    let mut lab = Lab::running(&transports[0]);
    let mut failed = Vec::new();
    for (number, transport) in transports.iter().enumerate() {
        if number > 0 {
            let exchange = AssertUnwindSafe(|| lab.exchange(transport));
            if panic::catch_unwind(exchange).is_err() {
                failed.push((transport.encap, "exchange"));
                continue;
            }
        }
        let faults = faults(&lab, transport);
        failed.extend(faults.into_iter().map(|name| (transport.encap, name)));
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// Runs every group, also after one has failed, and returns the names of those that have.
fn faults(lab: &Lab, transport: &Transport) -> Vec<&'static str> {
    let witness = Witness::start(lab);
    let mut failed = Vec::new();
    for group in transport.groups {
        if let Some(reason) = missing(group.needs) {
            writeln!(
                io::stderr(),
                "skipped: transparency: {}: {reason}",
                group.name
            )
            .ok();
            continue;
        }
        if panic::catch_unwind(AssertUnwindSafe(|| (group.check)(lab))).is_err() {
            failed.push(group.name);
        }
    }
    if panic::catch_unwind(AssertUnwindSafe(|| witness.judge(lab))).is_err() {
        failed.push("witness");
    }
    failed
}
