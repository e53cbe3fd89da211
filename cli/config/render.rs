//! The effective configuration as YAML: one file, every default written out.
//!
//! What is printed here is read back to the same [`Config`]; a test holds that for every file in `configs/`. Secrets
//! appear as the paths that they came from.

use std::fmt::{self, Write};
use std::path::Path;

use sam_capture::NodeId;
use sam_router::config::{ActiveWhen, Capture, Config, Endpoint, Fabric, Host, Node, TunnelMtu};

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
    let transport = &fabric.transport;
    writeln!(
        out,
        "  transport:\n    encap: wireguard\n    port: {}",
        transport.port
    )?;
    match transport.mtu {
        TunnelMtu::Auto => writeln!(out, "    mtu: auto")?,
        TunnelMtu::Fixed(bytes) => writeln!(out, "    mtu: {bytes}")?,
    }
    writeln!(out, "    mssClamp: {}", transport.mss_clamp)?;
    let keepalive = transport
        .keepalive
        .map_or_else(|| "off".into(), duration_text);
    writeln!(out, "    keepalive: {keepalive}")?;
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
    writeln!(out, "  nodes:")?;
    fabric
        .nodes
        .values()
        .try_for_each(|node| write_node(out, node))
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
    match &local.capture {
        Capture::None => writeln!(out, "  capture: {{type: none}}")?,
        Capture::ProxyArp {
            interface,
            gratuitous_arp,
            active_when: ActiveWhen::SingleRouter,
        } => {
            writeln!(
                out,
                "  capture:\n    type: proxy-arp\n    interface: {}",
                quoted(interface)
            )?;
            writeln!(
                out,
                "    gratuitousArp: {gratuitous_arp}\n    activeWhen: single-router"
            )?;
        }
    }
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

fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
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

fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// A double-quoted scalar; JSON's escapes are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
