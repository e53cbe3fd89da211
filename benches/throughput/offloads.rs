//! What veth may pass whole: the settings of all links, or of the LAN ports only.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use sam_net::Namespace;

use crate::lab::Lab;

/// A setting of the links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Offloads {
    /// As the kernel makes veth: superpackets of 64 KiB pass whole.
    Whole,
    /// Every packet is real on the wire; receivers merge.
    Wire,
    /// The same, and receivers do not merge.
    Single,
    /// LAN ports without TCP segmentation.
    LanTso,
    /// LAN ports without any segmentation.
    LanGso,
    /// LAN ports that finish every checksum.
    LanChecksum,
}

impl Offloads {
    pub(crate) const ALL: [Self; 6] = [
        Self::Whole,
        Self::Wire,
        Self::Single,
        Self::LanTso,
        Self::LanGso,
        Self::LanChecksum,
    ];

    /// Its name in JSON and in `BENCH_OFFLOADS`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Wire => "wire",
            Self::Single => "single",
            Self::LanTso => "lan-tso-off",
            Self::LanGso => "lan-gso-off",
            Self::LanChecksum => "lan-tx-off",
        }
    }

    /// Its name for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Whole => "superpackets pass veth whole",
            Self::Wire => "every packet real on the wire, GRO at the receiver",
            Self::Single => "every packet real on the wire, no GRO",
            Self::LanTso => "LAN ports without TSO",
            Self::LanGso => "LAN ports without TSO and GSO",
            Self::LanChecksum => "LAN ports without checksum offload",
        }
    }

    /// What ethtool(8) is told; nothing for [`Self::Whole`].
    pub(crate) fn features(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Whole => &[],
            Self::Wire => &[
                ("tso", "off"),
                ("gso", "off"),
                ("tx-udp-segmentation", "off"),
                ("gro", "on"),
            ],
            Self::Single => &[
                ("tso", "off"),
                ("gso", "off"),
                ("tx-udp-segmentation", "off"),
                ("gro", "off"),
            ],
            Self::LanTso => &[("tso", "off")],
            Self::LanGso => &[("tso", "off"), ("gso", "off")],
            Self::LanChecksum => &[("tx", "off")],
        }
    }

    /// Whether all cases are of interest, or one that shows that it works.
    pub(crate) fn on_lan_only(self) -> bool {
        match self {
            Self::Whole | Self::Wire | Self::Single => false,
            Self::LanTso | Self::LanGso | Self::LanChecksum => true,
        }
    }

    /// Sets the links of a lab.
    pub(crate) fn apply(self, lab: &Lab) -> Result<()> {
        for site in 0..2 {
            set(&lab.clients[site], "eth0", self.features())?;
            set(&lab.routers[site], "lan0", self.features())?;
            if !self.on_lan_only() {
                set(&lab.routers[site], "wan0", self.features())?;
            }
        }
        Ok(())
    }

    /// What ethtool(8) says afterwards about a router's links, by link.
    pub(crate) fn read(lab: &Lab) -> Vec<String> {
        ["lan0", "wan0"]
            .iter()
            .map(|link| format!("{link}: {}", read(&lab.routers[0], link)))
            .collect()
    }
}

/// Sets features of one link.
pub(crate) fn set(namespace: &Namespace, link: &str, features: &[(&str, &str)]) -> Result<()> {
    for (feature, value) in features {
        let status = namespace
            .command("ethtool")
            .args(["-K", link, feature, value])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if !status.success() {
            bail!("ethtool -K {link} {feature} {value} failed");
        }
    }
    Ok(())
}

fn read(namespace: &Namespace, link: &str) -> String {
    let mut command: Command = namespace.command("ethtool");
    let Ok(output) = command.args(["-k", link]).output() else {
        return "ethtool is not installed".to_owned();
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = |feature: &str| {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(feature));
        let value = line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
        value.unwrap_or("?").to_owned()
    };
    FEATURES
        .map(|(short, long)| format!("{short} {}", value(long)))
        .join(", ")
}

const FEATURES: [(&str, &str); 5] = [
    ("tso", "tcp-segmentation-offload"),
    ("gso", "generic-segmentation-offload"),
    ("uso", "tx-udp-segmentation"),
    ("gro", "generic-receive-offload"),
    ("tx checksums", "tx-checksumming"),
];
