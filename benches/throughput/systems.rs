//! The systems under comparison: what each needs, and how it is started between the two routers.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::lab::{CLIENTS, Lab};
use crate::running::{Running, wait_until};
use crate::{kernel, machine, nebula, openvpn, ours, ovs, wireguard};

/// A way to connect the two sites.
#[derive(Debug)]
pub(crate) struct System {
    /// Its name in tables, JSON and `BENCH_SYSTEMS`.
    pub(crate) name: &'static str,
    /// Programs that it needs beside those of every measurement.
    programs: &'static [&'static str],
    /// Program and option that tell its version; none is of the kernel.
    version: Option<(&'static str, &'static str)>,
    start: Start,
}

/// How a system is started.
#[derive(Debug, Clone, Copy)]
enum Start {
    /// Ours, with a transport by its name in the configuration.
    Ours(&'static str),
    /// A program that is told by wg(8) what to do: the command, less the name of the device.
    Wireguard(&'static str),
    /// In its own way.
    Other(fn(&Lab, &mut Running) -> Result<()>),
}

/// What every measurement needs.
const ALWAYS: [&str; 1] = ["iperf3"];

impl System {
    pub(crate) const ALL: &[Self] = &[
        Self::of_the_kernel("plain kernel forwarding", kernel::plain),
        Self::of_the_kernel("kernel VXLAN", kernel::vxlan),
        Self::ours("samctl", "wireguard"),
        Self::ours("samctl GUE", "gue"),
        Self::ours("samctl FOU", "fou"),
        Self::ours("samctl VXLAN", "vxlan"),
        Self::ours("samctl GRE", "gre"),
        Self::ours("samctl IPIP", "ipip"),
        // From 2023 on, with UDP GSO and TUN offloads.
        Self::wireguard(
            "wireguard-go with GSO",
            &["wireguard-go-gso", "wg"],
            "wireguard-go-gso -f",
        ),
        // As the distribution has it.
        Self::wireguard("wireguard-go", &["wireguard-go", "wg"], "wireguard-go -f"),
        Self::wireguard(
            "gotatun",
            &["gotatun", "wg"],
            "gotatun -f --disable-drop-privileges",
        ),
        Self::wireguard(
            "NepTUN",
            &["neptun-cli", "wg"],
            "neptun-cli -f --disable-drop-privileges",
        ),
        Self::wireguard(
            "boringtun-cli",
            &["boringtun-cli", "wg"],
            "boringtun-cli -f --disable-drop-privileges",
        ),
        Self {
            name: "Nebula",
            programs: &["nebula", "nebula-cert"],
            version: Some(("nebula", "-version")),
            start: Start::Other(nebula::start),
        },
        Self {
            name: "OpenVPN",
            programs: &["openvpn", "openssl"],
            version: Some(("openvpn", "--version")),
            start: Start::Other(openvpn::start),
        },
        Self {
            name: "Open vSwitch GRE",
            programs: &[
                "ovs-vswitchd",
                "ovsdb-server",
                "ovsdb-tool",
                "ovs-vsctl",
                "ovs-ofctl",
                "ethtool",
                "ip",
            ],
            version: Some(("ovs-vswitchd", "--version")),
            start: Start::Other(ovs::start),
        },
    ];

    const fn of_the_kernel(
        name: &'static str,
        start: fn(&Lab, &mut Running) -> Result<()>,
    ) -> Self {
        Self {
            name,
            programs: &["ip"],
            version: None,
            start: Start::Other(start),
        }
    }

    const fn ours(name: &'static str, transport: &'static str) -> Self {
        Self {
            name,
            programs: &[],
            version: Some((env!("CARGO_BIN_EXE_samctl"), "--version")),
            start: Start::Ours(transport),
        }
    }

    /// The first of the programs is the one that is measured.
    const fn wireguard(
        name: &'static str,
        programs: &'static [&'static str],
        command: &'static str,
    ) -> Self {
        Self {
            name,
            programs,
            version: Some((programs[0], "--version")),
            start: Start::Wireguard(command),
        }
    }

    /// Says what is missing on this machine.
    pub(crate) fn missing(&self) -> Option<String> {
        let mut needed = ALWAYS.iter().chain(self.programs);
        let missing = needed.find(|program| !installed(program))?;
        Some(format!("{missing} is not installed"))
    }

    /// Its version as it says itself.
    pub(crate) fn version(&self) -> String {
        match self.version {
            None => "of this kernel".to_owned(),
            Some((program, option)) => {
                let text = machine::version(program, option);
                let text = text.unwrap_or_else(|| "unknown".to_owned());
                // OpenVPN goes on with what it was built with.
                let (version, _) = text.split_once(" [").unwrap_or((&text, ""));
                version.trim_start_matches("Version: ").to_owned()
            }
        }
    }

    /// Starts it, and returns as soon as the clients reach each other.
    pub(crate) fn start(&self, lab: &Lab) -> Result<Running> {
        let mut running = Running::default();
        match self.start {
            Start::Ours(transport) => ours::start(lab, &mut running, transport)?,
            Start::Wireguard(command) => wireguard::start(lab, &mut running, command)?,
            Start::Other(start) => start(lab, &mut running)?,
        }
        wait_until("it carries packets", || {
            lab.clients[0].enter(is_answered).unwrap_or(false)
        })?;
        Ok(running)
    }
}

/// Tells whether a TCP connection to the far client gets any answer, refusal included.
fn is_answered() -> bool {
    let target = (CLIENTS[1], 9).into();
    match TcpStream::connect_timeout(&target, Duration::from_millis(300)) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
    }
}

/// Tells whether a program is on the path.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .any(|folder| Path::new(folder).join(program).exists())
}
