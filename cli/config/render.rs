//! The effective configuration as YAML: one file, every default written out.
//!
//! What is printed here is read back to the same [`Config`]; a test holds that for every file in `configs/`. Secrets
//! appear as the paths that they came from.

use std::fmt::{self, Write};
use std::path::Path;

use sam_capture::NodeId;
use sam_router::config::{
    ActiveWhen, ArpDiscovery, Capture, CloudCapture, Config, Dscp, Endpoint, Fabric, Host, Node,
    Transport, TunnelMtu, Vrrp,
};
use sam_router::encapsulation::{Encapsulation, Gre, Gue, Inside, Payload};
use sam_router::view::mac_text;

use super::scalar::duration_text;
use super::{KeyFiles, Loaded, SCHEMA_VERSION};

/// Renders a configuration.
#[must_use]
pub fn render(loaded: &Loaded) -> String {
    let mut text = String::new();
    write_all(&mut text, &loaded.config, &loaded.key_files).expect("a string accepts all text");
    text
}

fn write_all(out: &mut String, config: &Config, key_files: &KeyFiles) -> fmt::Result {
    writeln!(out, "version: {SCHEMA_VERSION}")?;
    write_fabric(out, &config.fabric)?;
    write_local(out, config, key_files)
}

fn write_fabric(out: &mut String, fabric: &Fabric) -> fmt::Result {
    writeln!(
        out,
        "fabric:\n  name: {}\n  asn: {}",
        fabric.name, fabric.asn
    )?;
    writeln!(out, "  pools:")?;
    for pool in &fabric.pools {
        let exclude = list(&pool.exclude);
        writeln!(
            out,
            "    - {{name: {}, prefix: {}, exclude: {exclude}}}",
            pool.name, pool.prefix
        )?;
    }
    let mut profile = transport_keys(&fabric.transport);
    if fabric.transport.encapsulation == Encapsulation::WireGuard {
        profile.push(("port", fabric.wireguard_port.to_string()));
    }
    writeln!(out, "  transport: {}", mapping(&profile))?;
    if !fabric.pairs.is_empty() {
        writeln!(out, "  pairs:")?;
    }
    for ((one, other), transport) in &fabric.pairs {
        let nodes = list([name(fabric, *one), name(fabric, *other)]);
        let transport = mapping(&transport_keys(transport));
        writeln!(out, "    - {{nodes: {nodes}, transport: {transport}}}")?;
    }
    let bgp = &fabric.bgp;
    let (hold, retry) = (
        duration_text(bgp.hold_time),
        duration_text(bgp.connect_retry),
    );
    writeln!(
        out,
        "  bgp:\n    timers: {{hold: {hold}, connectRetry: {retry}}}"
    )?;
    let reflectors = list(bgp.route_reflectors.iter().map(|id| name(fabric, *id)));
    writeln!(
        out,
        "    routeReflectors: {reflectors}\n    maxPrefixes: {}",
        bgp.max_prefixes
    )?;
    let restart = bgp.graceful_restart.map_or_else(
        || "off".into(),
        |times| {
            let (restart, deferral) = (
                duration_text(times.restart_time),
                duration_text(times.deferral_time),
            );
            format!("{{restartTime: {restart}, deferralTime: {deferral}}}")
        },
    );
    writeln!(out, "    gracefulRestart: {restart}")?;
    if !bgp.ipv6.is_empty() {
        let prefixes = list(bgp.ipv6.iter().map(ToString::to_string));
        writeln!(out, "    ipv6: {prefixes}")?;
    }
    match &fabric.bfd {
        None => writeln!(out, "  bfd: {{profile: none}}")?,
        Some(bfd) => {
            let (interval, multiplier) = (duration_text(bfd.interval), bfd.multiplier);
            writeln!(
                out,
                "  bfd: {{interval: {interval}, multiplier: {multiplier}}}"
            )?;
        }
    }
    writeln!(out, "  nodes:")?;
    fabric
        .nodes
        .values()
        .try_for_each(|node| write_node(out, node))
}

fn gre_keys(gre: Gre) -> Vec<(&'static str, String)> {
    let key = gre.key.map(|key| ("key", key.to_string()));
    let checksum = ("checksum", gre.checksum.to_string());
    key.into_iter().chain([checksum]).collect()
}

fn gue_keys(port: u16, gue: Gue) -> Vec<(&'static str, String)> {
    let mut keys = vec![("port", port.to_string())];
    match gue {
        Gue::Variant1 => keys.push(("variant", "1".into())),
        Gue::Variant0(payload) => {
            keys.push(("variant", "0".into()));
            keys.push(("inner", payload_word(payload).into()));
        }
    }
    keys
}

/// The keys of a transport with their values, but the port of WireGuard.
fn transport_keys(transport: &Transport) -> Vec<(&'static str, String)> {
    let encapsulation = transport.encapsulation;
    let encap = encapsulation.name().split(' ').next().unwrap_or_default();
    let mut keys = vec![("encap", encap.to_owned())];
    if encapsulation.is_encrypted() {
        let keepalive = transport
            .keepalive
            .map_or_else(|| "off".into(), duration_text);
        keys.push(("keepalive", keepalive));
    } else {
        keys.push(("trustedUnderlay", "true".into()));
    }
    match encapsulation {
        Encapsulation::WireGuard => {}
        Encapsulation::OverWireGuard(inside) => {
            keys.push(("over", "wireguard".into()));
            keys.extend(match inside {
                Inside::Gre(gre) => gre_keys(gre),
                Inside::Gue { port, gue } => gue_keys(port, gue),
            });
        }
        Encapsulation::Gue { port, gue } => keys.extend(gue_keys(port, gue)),
        Encapsulation::Fou { port, payload } => {
            keys.push(("port", port.to_string()));
            keys.push(("inner", payload_word(payload).into()));
        }
        Encapsulation::Gre(gre) => keys.extend(gre_keys(gre)),
        Encapsulation::Ipip => {}
        Encapsulation::Vxlan { port, vni } => {
            keys.push(("port", port.to_string()));
            keys.push(("vni", vni.to_string()));
        }
    }
    let mtu = match transport.mtu {
        TunnelMtu::Auto => "auto".into(),
        TunnelMtu::Fixed(bytes) => bytes.to_string(),
    };
    let dscp = match transport.dscp {
        Dscp::Inherit => "inherit".into(),
        Dscp::Fixed(value) => value.to_string(),
    };
    keys.extend([
        ("mtu", mtu),
        ("mssClamp", transport.mss_clamp.to_string()),
        ("forceFragmentIPv4", transport.force_fragment.to_string()),
        ("dscp", dscp),
    ]);
    keys
}

fn payload_word(payload: Payload) -> &'static str {
    match payload {
        Payload::Ipip => "ipip",
        Payload::Gre => "gre",
    }
}

pub(super) fn mapping(keys: &[(&str, String)]) -> String {
    let keys: Vec<String> = keys
        .iter()
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    format!("{{{}}}", keys.join(", "))
}

fn write_node(out: &mut String, node: &Node) -> fmt::Result {
    writeln!(
        out,
        "    - id: {}\n      name: {}\n      site: {}",
        node.id, node.name, node.site
    )?;
    writeln!(
        out,
        "      role: {}\n      overlay: {}",
        node.role.name(),
        node.overlay
    )?;
    if let Some(endpoint) = &node.endpoint {
        writeln!(out, "      endpoint: {}", quoted(&endpoint_text(endpoint)))?;
    }
    writeln!(
        out,
        "      publicKey: {}",
        quoted(&node.public_key.to_string())
    )?;
    if !node.may.is_empty() {
        writeln!(out, "      may: {}", list(&node.may))?;
    }
    if let Some(nic) = &node.nic {
        writeln!(out, "      nic: {}", quoted(&nic.0))?;
    }
    Ok(())
}

fn write_local(out: &mut String, config: &Config, key_files: &KeyFiles) -> fmt::Result {
    let (fabric, local) = (&config.fabric, &config.local);
    writeln!(out, "self:\n  node: {}", config.own_node().name)?;
    writeln!(out, "  privateKeyFile: {}", path(&key_files.private_key))?;
    if !key_files.preshared_keys.is_empty() {
        writeln!(out, "  presharedKeyFiles:")?;
    }
    for (peer, file) in &key_files.preshared_keys {
        writeln!(out, "    {}: {}", name(fabric, *peer), path(file))?;
    }
    writeln!(
        out,
        "  listenPort: {}\n  tun: {}",
        local.listen_port,
        quoted(&local.tun)
    )?;
    if let Some(workers) = local.workers {
        writeln!(out, "  workers: {workers}")?;
    }
    let off: Vec<_> = local
        .offloads
        .list()
        .into_iter()
        .filter(|(_, on)| !on)
        .collect();
    if !off.is_empty() {
        let off = off.iter().map(|(name, _)| format!("{name}: false"));
        writeln!(
            out,
            "  offloads: {{{}}}",
            off.collect::<Vec<_>>().join(", ")
        )?;
    }
    match &local.capture {
        Capture::None => writeln!(out, "  capture: {{type: none}}")?,
        Capture::Cloud(_) => {}
        Capture::ProxyArp {
            interface,
            gratuitous_arp,
            active_when,
            discovery,
        } => {
            writeln!(
                out,
                "  capture:\n    type: proxy-arp\n    interface: {}",
                quoted(interface)
            )?;
            writeln!(
                out,
                "    gratuitousArp: {gratuitous_arp}\n    activeWhen: {}",
                active_when_text(active_when)
            )?;
            if let Some(discovery) = discovery {
                writeln!(out, "    discovery: {}", discovery_text(discovery))?;
            }
        }
    }
    if let Capture::Cloud(cloud) = &local.capture {
        write_cloud(out, cloud)?;
    }
    super::render_foreign::write(out, &local.foreign, key_files)?;
    writeln!(out, "  owned: {}", list(&local.owned))?;
    writeln!(
        out,
        "  control: {{socket: {}}}",
        path(&local.control_socket)
    )?;
    let state_file = local.state_file.as_deref();
    let state_file = state_file.map_or_else(|| "none".to_owned(), path);
    writeln!(out, "  stateFile: {state_file}")?;
    Ok(())
}

fn write_cloud(out: &mut String, cloud: &CloudCapture) -> fmt::Result {
    let (kind, interface) = (cloud.provider.name(), quoted(&cloud.interface));
    let (mode, hold) = (cloud.mode.name(), duration_text(cloud.release_hold));
    let (priority, placement) = (cloud.priority, cloud.placement.name());
    let (changes, journal) = (cloud.changes_per_minute, cloud.journal_file.as_deref());
    let journal = journal.map_or_else(|| "none".to_owned(), path);
    writeln!(
        out,
        "  capture:\n    type: {kind}\n    interface: {interface}\n    mode: {mode}\n    priority: {priority}\n    placement: {placement}\n    releaseHold: {hold}"
    )?;
    if let Some(most) = cloud.max_captures {
        writeln!(out, "    maxCaptures: {most}")?;
    }
    writeln!(
        out,
        "    changesPerMinute: {changes}\n    journalFile: {journal}"
    )?;
    if let Some(discovery) = &cloud.discovery {
        let keys = [
            ("type", "provider".to_owned()),
            ("interval", duration_text(discovery.interval)),
            ("expiry", duration_text(discovery.expiry)),
        ];
        writeln!(out, "    discovery: {}", mapping(&keys))?;
    }
    let endpoints = &cloud.endpoints;
    let keys = [
        ("api", &endpoints.api),
        ("metadata", &endpoints.metadata),
        ("federation", &endpoints.federation),
        ("interface", &endpoints.interface),
    ];
    let written = keys
        .iter()
        .filter_map(|(key, url)| Some(format!("{key}: {}", quoted(url.as_ref()?))));
    let written: Vec<String> = written.collect();
    if !written.is_empty() {
        writeln!(out, "    endpoints: {{{}}}", written.join(", "))?;
    }
    Ok(())
}

fn active_when_text(active_when: &ActiveWhen) -> String {
    let ActiveWhen::Vrrp(Vrrp { settings, track }) = active_when else {
        return "single-router".into();
    };
    let mut keys = vec![
        ("vrid", settings.vrid.to_string()),
        ("address", settings.address.to_string()),
        ("priority", settings.priority.to_string()),
        ("interval", duration_text(settings.interval)),
        ("preempt", settings.preempt.to_string()),
        ("version", settings.version.number().to_string()),
    ];
    if !settings.peers.is_empty() {
        keys.push(("peers", list(&settings.peers)));
    }
    if !settings.routers.is_empty() {
        keys.push(("routers", list(&settings.routers)));
    }
    let track = [
        ("bgp", track.bgp),
        ("tunnels", track.tunnels),
        ("engine", track.engine),
    ];
    let track = track.map(|(name, penalty)| (name, penalty.to_string()));
    keys.push(("track", mapping(&track)));
    mapping(&[("vrrp", mapping(&keys))])
}

fn discovery_text(discovery: &ArpDiscovery) -> String {
    let sweep = match discovery.sweep {
        0 => "off".to_owned(),
        per_second => per_second.to_string(),
    };
    let mut keys = vec![
        ("type", "arp".to_owned()),
        ("expiry", duration_text(discovery.expiry)),
        ("sweep", sweep),
        ("addressesPerMac", discovery.per_mac.to_string()),
    ];
    let bindings = discovery.bindings.iter();
    let bindings: Vec<_> = bindings
        .map(|(address, mac)| (address.to_string(), quoted(&mac_text(*mac))))
        .collect();
    if !bindings.is_empty() {
        let pairs: Vec<_> = bindings
            .iter()
            .map(|(address, mac)| (address.as_str(), mac.clone()))
            .collect();
        keys.push(("bindings", mapping(&pairs)));
    }
    mapping(&keys)
}

pub(super) fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("[{}]", items.join(", "))
}

fn name(fabric: &Fabric, id: NodeId) -> &str {
    fabric.nodes.get(&id).map_or("", |node| &node.name)
}

fn endpoint_text(endpoint: &Endpoint) -> String {
    let port = endpoint.port;
    match &endpoint.host {
        Host::Address(address) => std::net::SocketAddr::new(*address, port).to_string(),
        Host::Name(name) => format!("{name}:{port}"),
    }
}

pub(super) fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// A double-quoted scalar; JSON's escapes are YAML's.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
