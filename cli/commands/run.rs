//! `samctl run -c FILE`: the router, in the foreground, until SIGTERM or SIGINT.

use std::io::IsTerminal;
use std::path::Path;

use sam_net::{Capabilities, Capability, caps, sysctl};
use sam_router::Config;
use sam_router::config::Capture;
use tracing_subscriber::EnvFilter;

use super::check::write_report;
use crate::Streams;
use crate::args::{Format, RunArgs};
use crate::config::{Report, Secrets, load};
use crate::exit::{Exit, Failure};
use crate::provider;

/// Runs the router. State changes are logged to standard error; `SAMCTL_LOG` sets the level (default `info`).
///
/// # Errors
/// When the configuration is wrong, a capability is missing, or a device, port or socket cannot be opened.
pub fn run(args: &RunArgs, format: Format, streams: &mut Streams<'_>) -> Result<Exit, Failure> {
    let loaded = match load(&args.config, Secrets::Read) {
        Ok(loaded) => loaded,
        Err(report) => {
            write_report(&report, format, streams)?;
            return Ok(Exit::Usage);
        }
    };
    if !loaded.warnings.is_empty() {
        write_report(&loaded.warnings, format, streams)?;
    }
    keep_needed_capabilities(&loaded.config)?;
    start_log();
    let path = args.config.clone();
    sam_runtime::run(
        loaded.config,
        Box::new(move || reload(&path)),
        Box::new(provider::provider),
    )
    .map_err(|error| Failure::new(Exit::Failed, format!("{error:#}")))?;
    Ok(Exit::Ok)
}

fn reload(path: &Path) -> Result<Config, String> {
    match load(path, Secrets::Read) {
        Ok(loaded) => Ok(loaded.config),
        Err(report) => Err(lines(&report)),
    }
}

/// One line per mistake, for a log and for the answer to `samctl reload`.
fn lines(report: &Report) -> String {
    let lines: Vec<String> = report
        .diagnostics()
        .iter()
        .map(ToString::to_string)
        .collect();
    lines.join("\n")
}

/// Gives up what a router never needs, before the first thread starts.
///
/// # Errors
/// When something that it does need is missing: it would run, and do half of its work.
fn keep_needed_capabilities(config: &Config) -> Result<(), Failure> {
    let failed = |error| Failure::new(Exit::NotPermitted, format!("{error}"));
    let held = Capabilities::effective().map_err(failed)?;
    let missing = held.missing(&needed_capabilities(config));
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let names = names.join(" ");
        return Err(
            Failure::new(Exit::NotPermitted, format!("the router needs {names}")).remedy(format!(
                "run it with sudo; systemd: AmbientCapabilities={names}; container: --cap-add"
            )),
        );
    }
    let keep: Vec<Capability> = WANTED
        .into_iter()
        .filter(|wanted| held.has(*wanted))
        .collect();
    caps::drop_all_except(&keep).map_err(failed)
}

/// What this configuration cannot do without.
fn needed_capabilities(config: &Config) -> Vec<Capability> {
    let low_ports = sysctl::read("ipv4/ip_unprivileged_port_start").unwrap_or(i64::MAX);
    let needed = |capability: &Capability| match capability {
        Capability::NetAdmin => true,
        Capability::NetRaw => config.local.capture != Capture::None,
        Capability::NetBindService => low_ports > BGP_PORT,
        Capability::SysAdmin | Capability::SysNice => false,
    };
    WANTED.into_iter().filter(needed).collect()
}

/// TUN and routes, frames on the LAN, BGP; BFD in time, where it is granted.
const WANTED: [Capability; 4] = [
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::NetBindService,
    Capability::SysNice,
];
/// RFC 4271 section 8.2.1.
const BGP_PORT: i64 = 179;

fn start_log() {
    let filter = EnvFilter::try_from_env("SAMCTL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
