//! Daemons of another AS: how each is configured for one session with samctl, and asked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sam_net::Namespace;
use serde_json::Value;

use super::{OURS, THEIR_ASN, THEIRS};
use crate::fabric::ASN;
use crate::process::{Process, output};
use crate::requirement::program;
use crate::scratch::Scratch;
use crate::wait::eventually;
use crate::world::{Place, Site};

/// Which daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// BIRD 2.
    Bird,
    /// FRR bgpd, without zebra.
    Frr,
    /// GoBGP.
    Gobgp,
    /// ExaBGP, which calls only, and shows what it hears but no table.
    Exabgp,
}

/// How it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As it does by itself.
    Plain,
    /// With MD5 by [`KEY`], and a hop limit of one (RFC 5082).
    Signed,
    /// Without the capability of AS numbers of four octets, which are in the paths of its routes: [`FAR_ASN`] is behind it.
    /// BIRD only.
    TwoOctets,
    /// With this option. BIRD only.
    With(&'static str),
    /// With BFD, 300 ms × 3, and with this option. BIRD only.
    Watched(&'static str),
}

/// A running daemon; dropping it stops it.
pub(crate) struct Daemon {
    kind: Kind,
    place: Place,
    namespace: Namespace,
    folder: PathBuf,
    process: Process,
}

impl Kind {
    /// All that show a table.
    pub(crate) const ALL: [Self; 3] = [Self::Bird, Self::Frr, Self::Gobgp];

    /// Name in tests and files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bird => "bird",
            Self::Frr => "frr",
            Self::Gobgp => "gobgp",
            Self::Exabgp => "exabgp",
        }
    }

    /// Programs that it needs.
    pub(crate) fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Bird => &["bird", "birdc"],
            Self::Frr => &["bgpd", "vtysh"],
            Self::Gobgp => &["gobgpd", "gobgp"],
            Self::Exabgp => &["exabgp"],
        }
    }

    /// Directions of long messages as samctl names them; GoBGP 3 does not offer them.
    pub(crate) fn extended_messages(self) -> &'static str {
        match self {
            Self::Bird | Self::Frr | Self::Exabgp => "both",
            Self::Gobgp => "receive",
        }
    }
}

impl Daemon {
    /// Starts a daemon that announces `routes`, and waits until it answers.
    pub(crate) fn start(
        kind: Kind,
        manner: Manner,
        site: &Site,
        routes: &[String],
        scratch: &Scratch,
    ) -> Result<Self> {
        let place = site.place;
        let name = format!("{}{}", kind.name(), place.0);
        let folder = scratch.subfolder(&name)?;
        let text = match kind {
            Kind::Bird => bird(place, manner, routes),
            Kind::Frr => frr(manner, routes),
            Kind::Gobgp => gobgp(manner),
            Kind::Exabgp => exabgp(manner, routes, &folder)?,
        };
        let file = folder.join("conf");
        fs::write(&file, text)?;
        let namespace = site.router.clone();
        let mut command = match kind {
            Kind::Bird => namespace.command(program("bird")),
            Kind::Frr => namespace.command(program("bgpd")),
            Kind::Gobgp => namespace.command(program("gobgpd")),
            Kind::Exabgp => namespace.command(program("exabgp")),
        };
        match kind {
            Kind::Bird => command
                .arg("-f")
                .arg("-c")
                .arg(&file)
                .arg("-s")
                .arg(folder.join("ctl")),
            Kind::Frr => command
                .args(["-S", "-n", "-Z", "-P", "0", "--log", "stdout", "-l"])
                .arg(place.underlay().to_string())
                .arg("-f")
                .arg(&file)
                .arg("-i")
                .arg(folder.join("pid"))
                .arg("--vty_socket")
                .arg(&folder),
            Kind::Gobgp => command
                .args(["-t", "toml", "-p", "--api-hosts", API, "-f"])
                .arg(&file),
            Kind::Exabgp => command
                .arg(&file)
                .env("exabgp.daemon.user", "root")
                .env("exabgp.daemon.drop", "false")
                .env("exabgp.api.cli", "false")
                .env("exabgp.log.destination", "stdout"),
        };
        let process = Process::start(command, &scratch.path(&format!("{name}.log")))?;
        let mut daemon = Self {
            kind,
            place,
            namespace,
            folder,
            process,
        };
        eventually("the daemon answers", || {
            daemon.process.check_alive()?;
            daemon.ask(match kind {
                Kind::Bird => "show status",
                Kind::Frr => "show version",
                Kind::Gobgp => "global",
                // It answers nothing; whether it runs shows with its session.
                Kind::Exabgp => return Ok(String::new()),
            })
        })?;
        if kind == Kind::Gobgp {
            for route in routes {
                daemon.ask(&format!("global rib add {route}"))?;
            }
        }
        Ok(daemon)
    }

    /// Whether its session with us is Established.
    pub(crate) fn established(&self) -> Result<bool> {
        let us = OURS.underlay();
        Ok(match self.kind {
            Kind::Bird => self.ask("show protocols samctl")?.contains("Established"),
            Kind::Frr => {
                let view = self.ask(&format!("show bgp neighbors {us} json"))?;
                let view: Value = serde_json::from_str(&view)?;
                view[us.to_string()]["bgpState"] == "Established"
            }
            Kind::Gobgp => {
                let view = self.ask(&format!("-j neighbor {us}"))?;
                let view: Value = serde_json::from_str(&view)?;
                let state = &view.get(0).unwrap_or(&view)["state"]["session_state"];
                *state == 6 || *state == "ESTABLISHED"
            }
            Kind::Exabgp => {
                let heard = fs::read_to_string(self.folder.join(HEARD))?;
                // The last line may be half written.
                let lines = heard
                    .lines()
                    .filter_map(|line| serde_json::from_str(line).ok());
                let mut states = lines.filter(|line: &Value| line["type"] == "state");
                let last = states.next_back();
                last.is_some_and(|line| line["neighbor"]["state"] == "up")
            }
        })
    }

    /// What it shows of a route, in its own words.
    pub(crate) fn show(&self, prefix: &str) -> Result<String> {
        self.ask(&match self.kind {
            Kind::Bird => format!("show route all for {prefix}"),
            Kind::Frr => format!("show bgp ipv4 unicast {prefix}"),
            Kind::Gobgp => format!("global rib {prefix}"),
            Kind::Exabgp => bail!("ExaBGP shows no table"),
        })
    }

    /// Whether it has a route from us.
    pub(crate) fn knows(&self, prefix: &str) -> Result<bool> {
        let shown = self.show(prefix);
        Ok(shown.is_ok_and(|text| text.contains(&OURS.underlay().to_string())))
    }

    /// How many routes it has; BIRD only.
    pub(crate) fn count(&self) -> Result<usize> {
        let shown = self.ask("show route count")?;
        let count = shown.split_whitespace().find_map(|word| word.parse().ok());
        count.context("no count")
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    fn ask(&self, order: &str) -> Result<String> {
        let mut command = self.namespace.command(program(match self.kind {
            Kind::Bird => "birdc",
            Kind::Frr => "vtysh",
            Kind::Gobgp => "gobgp",
            Kind::Exabgp => bail!("ExaBGP cannot be asked for '{order}'"),
        }));
        match self.kind {
            Kind::Bird => command
                .arg("-s")
                .arg(self.folder.join("ctl"))
                .args(order.split(' ')),
            Kind::Frr => command
                .arg("--vty_socket")
                .arg(&self.folder)
                .args(["-d", "bgpd", "-c", order]),
            Kind::Gobgp | Kind::Exabgp => command.args(order.split(' ')),
        };
        output(&mut command).with_context(|| format!("at {}", self.place.name()))
    }
}

fn bird(place: Place, manner: Manner, routes: &[String]) -> String {
    let own = place.underlay();
    let asn = asn(place);
    let manners = match manner {
        Manner::Plain => String::new(),
        Manner::Signed => format!("password \"{KEY}\"; ttl security on;"),
        Manner::TwoOctets => "enable as4 off;".to_owned(),
        Manner::With(option) => format!("{option};"),
        Manner::Watched(option) => format!("bfd on; {option}"),
    };
    let bfd = match manner {
        Manner::Watched(_) => BIRD_BFD,
        Manner::Plain | Manner::Signed | Manner::TwoOctets | Manner::With(_) => "",
    };
    let behind = match manner {
        Manner::TwoOctets => format!("bgp_path.prepend({FAR_ASN});"),
        Manner::Plain | Manner::Signed | Manner::With(_) | Manner::Watched(_) => String::new(),
    };
    let routes: String = routes
        .iter()
        .map(|route| format!("  route {route} blackhole;\n"))
        .collect();
    format!(
        "router id {own};\nlog stderr all;\n{bfd}protocol device {{ }}\nprotocol direct {{ ipv4; interface \"wan0\"; }}\n\
         protocol static own {{ ipv4;\n{routes}}}\n\
         protocol bgp samctl {{ local {own} as {asn}; neighbor {us} as {ASN}; hold time 9; connect retry time 1;\n  \
         connect delay time 1; error wait time 1, 2; enable extended messages on; {manners}\n  \
         ipv4 {{ import all; export filter {{ if source != RTS_STATIC then reject; {behind} accept; }}; }}; }}\n",
        us = OURS.underlay()
    )
}

fn frr(manner: Manner, routes: &[String]) -> String {
    let (own, us) = (THEIRS.underlay(), OURS.underlay());
    let guard = match manner {
        Manner::Plain | Manner::TwoOctets | Manner::With(_) | Manner::Watched(_) => String::new(),
        Manner::Signed => {
            format!(" neighbor {us} password {KEY}\n neighbor {us} ttl-security hops 1\n")
        }
    };
    let routes: String = routes
        .iter()
        .map(|route| format!("  network {route}\n"))
        .collect();
    format!(
        "hostname frr\nrouter bgp {THEIR_ASN}\n bgp router-id {own}\n no bgp ebgp-requires-policy\n \
         no bgp network import-check\n timers bgp 3 9\n neighbor {us} remote-as {ASN}\n \
         neighbor {us} disable-connected-check\n neighbor {us} timers connect 1\n \
         neighbor {us} advertisement-interval 0\n{guard} address-family ipv4 unicast\n{routes} exit-address-family\n"
    )
}

fn gobgp(manner: Manner) -> String {
    let (own, us) = (THEIRS.underlay(), OURS.underlay());
    let (key, limit) = match manner {
        Manner::Plain | Manner::TwoOctets | Manner::With(_) | Manner::Watched(_) => {
            (String::new(), String::new())
        }
        Manner::Signed => (
            format!("    auth-password = \"{KEY}\"\n"),
            "  [neighbors.ttl-security.config]\n    enabled = true\n    ttl-min = 255\n".to_owned(),
        ),
    };
    format!(
        "[global.config]\n  as = {THEIR_ASN}\n  router-id = \"{own}\"\n  local-address-list = [\"{own}\"]\n\
         [[neighbors]]\n  [neighbors.config]\n    neighbor-address = \"{us}\"\n    peer-as = {ASN}\n{key}  \
         [neighbors.transport.config]\n    local-address = \"{own}\"\n  \
         [neighbors.timers.config]\n    hold-time = 9\n    keepalive-interval = 3\n    connect-retry = 1\n    \
         idle-hold-time-after-reset = 1\n{limit}"
    )
}

/// What it hears goes into a file, as JSON. The helper keeps the pipe by which it could speak, or ExaBGP takes it for dead.
fn exabgp(manner: Manner, routes: &[String], folder: &Path) -> Result<String> {
    let (own, us) = (THEIRS.underlay(), OURS.underlay());
    let (heard, script) = (folder.join(HEARD), folder.join("helper"));
    fs::write(&heard, "")?;
    fs::write(
        &script,
        format!("#!/bin/sh\nexec 3>&1\nexec cat >>{}\n", heard.display()),
    )?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let guard = match manner {
        Manner::Plain | Manner::TwoOctets | Manner::With(_) | Manner::Watched(_) => String::new(),
        Manner::Signed => {
            format!("md5-password \"{KEY}\"; md5-base64 false; outgoing-ttl 255; incoming-ttl 255;")
        }
    };
    let routes: String = routes
        .iter()
        .map(|route| format!(" route {route} next-hop self;"))
        .collect();
    Ok(format!(
        "process helper {{ run {}; encoder json; }}\n\
         neighbor {us} {{ router-id {own}; local-address {own}; local-as {THEIR_ASN}; peer-as {ASN}; hold-time 9; {guard}\n  \
         family {{ ipv4 unicast; }} static {{{routes} }}\n  \
         api {{ processes [ helper ]; neighbor-changes; }} }}\n",
        script.display()
    ))
}

/// AS number of a daemon: two octets suffice for the first.
pub(crate) fn asn(place: Place) -> u32 {
    if place == THEIRS {
        THEIR_ASN
    } else {
        4_200_000_000 + u32::from(place.0)
    }
}

/// An AS of which a daemon with two octets has heard.
pub(crate) const FAR_ASN: u32 = 4_200_000_077;
/// The key that the daemons have.
pub(crate) const KEY: &str = "correct-horse-battery";
const API: &str = "127.0.0.1:50051";
/// BFD of BIRD, over one hop and over several.
const BIRD_BFD: &str = "protocol bfd {\n  interface \"*\" { min rx interval 300 ms; min tx interval 300 ms; multiplier 3; };\n  \
    multihop { min rx interval 300 ms; min tx interval 300 ms; multiplier 3; };\n}\n";
/// Where ExaBGP writes what it hears.
const HEARD: &str = "heard";
