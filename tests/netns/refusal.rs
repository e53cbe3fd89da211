//! A kernel that refuses one thing: traffic is carried all the same, and the router says so, once.
//!
//! The test program stands in for such a kernel. Started as `netns --refuse NAME PROGRAM ARGUMENTS…` it puts a seccomp
//! filter in front of itself, which answers one system call with an error, and becomes the program.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::Duration;

use sam_testkit::netns::{Fabric, RouterProcess, Site, sh};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::bulk;
use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "refusal::of_udp_segment",
        needs: &[],
        run: || carries("udp-segment"),
    },
    Case {
        name: "refusal::of_udp_gro",
        needs: &[],
        run: || carries("udp-gro"),
    },
    Case {
        name: "refusal::of_virtio_headers_on_the_lan",
        needs: &[],
        run: || carries("packet-vnet-hdr"),
    },
    Case {
        name: "refusal::of_a_fanout_group",
        needs: &[],
        run: || carries("packet-fanout"),
    },
    Case {
        name: "refusal::of_virtio_headers_and_queues_of_the_tun_device",
        needs: &[],
        run: || carries("tun-features"),
    },
    Case {
        name: "refusal::of_all_offloads_of_the_tun_device",
        needs: &[],
        run: || carries("tun-offload"),
    },
    Case {
        name: "refusal::of_udp_superpackets_of_the_tun_device",
        needs: &[],
        run: || carries("tun-uso"),
    },
    Case {
        name: "refusal::of_queues_by_a_tun_device_that_was_made_with_one",
        needs: &[],
        run: || carries("tun-queues"),
    },
];

/// What is refused, and what there is to see of it.
struct Refusal {
    name: &'static str,
    how: How,
    /// Offloads that `status` and `doctor` name.
    offloads: &'static [&'static str],
    /// Whence only one worker receives.
    share: Option<&'static str>,
    /// What the log says, once.
    told: &'static str,
}

/// By whom it is refused.
enum How {
    /// By the filter: this option of this level, with this error.
    Option { level: u64, name: u64, error: u32 },
    /// By the filter: this ioctl, if the argument has one of these bits; with EINVAL.
    Ioctl { request: u64, bits: Option<u64> },
    /// By the kernel itself, after a shell command in the router's namespace.
    Kernel(&'static str),
}

const REFUSALS: &[Refusal] = &[
    Refusal {
        name: "udp-segment",
        how: How::Option {
            level: SOL_UDP,
            name: 103,
            error: ENOPROTOOPT,
        },
        offloads: &["udpSegment"],
        share: None,
        told: "the kernel does not cut trains",
    },
    Refusal {
        name: "udp-gro",
        how: How::Option {
            level: SOL_UDP,
            name: 104,
            error: ENOPROTOOPT,
        },
        offloads: &["udpGro"],
        share: None,
        told: "the kernel does not join datagrams",
    },
    Refusal {
        name: "packet-vnet-hdr",
        how: How::Option {
            level: SOL_PACKET,
            name: 15,
            error: EINVAL,
        },
        offloads: &["lanTcp", "lanUdp"],
        share: None,
        told: "the kernel describes no superpackets on lan0",
    },
    Refusal {
        name: "packet-fanout",
        how: How::Option {
            level: SOL_PACKET,
            name: 18,
            error: EOPNOTSUPP,
        },
        offloads: &[],
        share: Some("the LAN"),
        told: "one worker receives from the LAN for all",
    },
    Refusal {
        name: "tun-features",
        how: How::Ioctl {
            request: TUNGETFEATURES,
            bits: None,
        },
        offloads: &["tunTcp", "tunUdp", "lanUdp"],
        share: Some("this host"),
        told: "the TUN device has fewer queues than there are workers",
    },
    Refusal {
        name: "tun-offload",
        how: How::Ioctl {
            request: TUNSETOFFLOAD,
            bits: None,
        },
        offloads: &["tunTcp", "tunUdp", "lanUdp"],
        share: None,
        told: "the TUN device has fewer offloads than wanted",
    },
    Refusal {
        name: "tun-uso",
        how: How::Ioctl {
            request: TUNSETOFFLOAD,
            bits: Some(TUN_F_USO4),
        },
        offloads: &["tunUdp", "lanUdp"],
        share: None,
        told: "the TUN device has fewer offloads than wanted",
    },
    Refusal {
        name: "tun-queues",
        how: How::Kernel("ip tuntap add dev sam0 mode tun"),
        offloads: &[],
        share: Some("this host"),
        told: "the TUN device has fewer queues than there are workers",
    },
];

const START: Duration = Duration::from_secs(10);
const SIZES: [usize; 4] = [1, 1412, 4000, 60_000];
const BULK: usize = 2 << 20;

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
///                 └ both behind the filter ┘
/// ```
fn carries(name: &str) {
    let refusal = find(name).expect("one of the list");
    let mut fabric = Fabric::new(samctl(), 2);
    fabric.edit_all("  control:", "  workers: 2\n  control:");
    let own = std::env::current_exe().expect("this program has a path");
    let own = own.to_str().expect("a path in UTF-8");
    for site in [Site::ONPREM, Site::AWS] {
        match refusal.how {
            How::Kernel(command) => {
                sh(fabric.topology.router(site), command).success();
                fabric.start(site);
            }
            How::Option { .. } | How::Ioctl { .. } => {
                fabric.start_within(site, &[own, FLAG, name]);
            }
        }
    }
    fabric.wait_for_agreement();
    let client = fabric.topology.client(Site::ONPREM);
    wait_for_ping(client, Site::AWS.client(), START);
    let pings = format!("ping -n -c 3 -i 0.2 -W 2 {}", Site::AWS.client());
    let pinged = sh(client, &pings).success();
    assert!(!pinged.contains("DUP"), "{name}: {pinged}");
    let before = fabric.router(Site::AWS).drops();

    for (from, to) in [(Site::ONPREM, Site::AWS), (Site::AWS, Site::ONPREM)] {
        let topology = &fabric.topology;
        let clients = (topology.client(from), topology.client(to));
        let routers = (topology.router(from), topology.router(to));
        for ((near, far), address) in [(clients, to.client()), (routers, to.overlay())] {
            bulk::tcp(near, far, address, 3, BULK);
            bulk::udp(near, far, address, &SIZES);
        }
    }

    let router = fabric.router(Site::AWS);
    assert_eq!(router.drops(), before, "{name}: packets were dropped");
    assert_shown(refusal, router);
    let log = router.log();
    assert_eq!(log.matches(refusal.told).count(), 1, "{name}: {log}");
}

/// `status` and `doctor` name what is refused, and nothing else.
fn assert_shown(refusal: &Refusal, router: &RouterProcess) {
    let (name, status) = (refusal.name, router.json("status"));
    let off = status["offloads_off"].as_array().expect("a list").iter();
    let off: Vec<(&str, &str)> = off
        .filter_map(|off| Some((off["name"].as_str()?, off["why"].as_str()?)))
        .collect();
    let expected = refusal.offloads.iter();
    let expected: Vec<(&str, &str)> = expected
        .map(|name| (*name, "refused by the kernel"))
        .collect();
    assert_eq!(off, expected, "{name}");
    let offloads = format!("the kernel refuses {}", refusal.offloads.join(", "));
    let share = refusal
        .share
        .map(|source| format!("1 of 2 workers receive from {source}"));
    let offloads = (!refusal.offloads.is_empty()).then_some(offloads);
    let doctor = router.json("doctor");
    for (check, message) in [("offloads", offloads), ("shares", share)] {
        let mut rows = doctor["checks"].as_array().expect("a list").iter();
        let row = rows.find(|row| row["area"] == "host" && row["name"] == check);
        let row = row.expect("a check of this name");
        let Some(message) = message else {
            assert_eq!(row["status"], "pass", "{name}: {row}");
            continue;
        };
        assert_eq!(
            (&row["status"], &row["message"]),
            (&"warn".into(), &message.as_str().into())
        );
        let problems = status["problems"].as_array().expect("a list");
        assert!(problems.contains(&message.into()), "{name}: {status}");
    }
}

/// Becomes the program of the arguments behind the filter that they name, if they do. Returns when that fails.
pub(crate) fn become_refused() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != FLAG {
        return None;
    }
    let error = exec(arguments).unwrap_or_else(|error| error);
    writeln!(io::stderr(), "{FLAG}: {error}").ok();
    Some(ExitCode::FAILURE)
}

/// Returns why the program could not be begun.
fn exec(mut arguments: impl Iterator<Item = String>) -> Result<String, String> {
    let refusal = arguments.next().and_then(|name| find(&name));
    let filter = filter(refusal.ok_or("no such refusal")?).map_err(|error| error.to_string())?;
    let mut command = Command::new(arguments.next().ok_or("no program")?);
    command.args(arguments);
    seccompiler::apply_filter(&filter).map_err(|error| error.to_string())?;
    Ok(command.exec().to_string())
}

fn find(name: &str) -> Option<&'static Refusal> {
    REFUSALS.iter().find(|refusal| refusal.name == name)
}

fn filter(refusal: &Refusal) -> Result<BpfProgram, seccompiler::BackendError> {
    let is = |argument, operator, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
    };
    let equal = |argument, value| is(argument, SeccompCmpOp::Eq, value);
    let (call, conditions, error) = match refusal.how {
        How::Option { level, name, error } => {
            (SETSOCKOPT, vec![equal(1, level)?, equal(2, name)?], error)
        }
        How::Ioctl { request, bits } => {
            let mut conditions = vec![equal(1, request)?];
            if let Some(bits) = bits {
                conditions.push(is(2, SeccompCmpOp::MaskedEq(bits), bits)?);
            }
            (IOCTL, conditions, EINVAL)
        }
        How::Kernel(_) => return Ok(BpfProgram::new()),
    };
    let filter = SeccompFilter::new(
        BTreeMap::from([(call, vec![SeccompRule::new(conditions)?])]),
        SeccompAction::Allow,
        SeccompAction::Errno(error),
        std::env::consts::ARCH.try_into()?,
    )?;
    filter.try_into()
}

const FLAG: &str = "--refuse";
const SOL_UDP: u64 = 17;
const SOL_PACKET: u64 = 263;
const TUNGETFEATURES: u64 = 0x8004_54cf;
const TUNSETOFFLOAD: u64 = 0x4004_54d0;
const TUN_F_USO4: u64 = 0x20;
const EINVAL: u32 = 22;
const ENOPROTOOPT: u32 = 92;
const EOPNOTSUPP: u32 = 95;
/// Numbers of system calls.
#[cfg(target_arch = "x86_64")]
const SETSOCKOPT: i64 = 54;
#[cfg(target_arch = "x86_64")]
const IOCTL: i64 = 16;
#[cfg(not(target_arch = "x86_64"))]
const SETSOCKOPT: i64 = 208;
#[cfg(not(target_arch = "x86_64"))]
const IOCTL: i64 = 29;
