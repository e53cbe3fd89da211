//! The own part: who this router is, its secrets, its LAN, its addresses, its files.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sam_capture::NodeId;
use sam_router::Offloads;
use sam_router::config::{Fabric, Local, Node, WORKERS_MAX};
use sam_wg::{KeyError, PresharedKey, PrivateKey};

use super::{Checked, Input, Names, capture, check_unique, fabric, find_node, foreign};
use crate::config::finding::Findings;
use crate::config::key_file::read_key;
use crate::config::raw;
use crate::config::read::{At, Field};
use crate::config::source::Span;
use crate::config::{KeyFiles, Secrets, beside};

/// Checks the own part against the fabric.
pub(super) fn local(
    input: &Input<'_>,
    checked: &Checked<'_>,
    findings: &mut Findings,
) -> Option<(Local, KeyFiles)> {
    let Checked { fabric, names, .. } = checked;
    let At { value: raw, span } = input.local;
    let help = "say which of the nodes this router is, for example `node: onprem`";
    let node = raw.node.required("node", *span, help, findings);
    let id = node.and_then(|name| find_node(names, name, findings));
    if let Some(node) = node.filter(|_| checked.sound.nodes) {
        check_reachable(fabric, node.span, findings);
    }
    let own = id.and_then(|id| fabric.nodes.get(&id));
    let private_key = private_key(input, checked, own, findings);
    let preshared = preshared_keys(input, id, names, findings);
    let port = fabric::port(
        "listenPort",
        raw.listen_port.given(),
        fabric.wireguard_port,
        findings,
    );
    let tun = tun(raw, findings);
    let workers = workers(raw, findings);
    let capture = capture::capture(input, checked, own, &tun, findings);
    let owned = owned(raw, checked, own, findings);
    let (foreign, neighbor_keys) = foreign::foreign(input, checked, findings);
    let control_socket = control_socket(input, findings);
    let state_file = state_file(input, fabric, own);
    let (key_path, key) = private_key?;
    let (preshared_paths, preshared_keys) = preshared;
    let local = Local {
        node: id?,
        private_key: key,
        preshared_keys,
        listen_port: port,
        tun,
        workers,
        offloads: offloads(raw),
        capture: capture?,
        owned,
        foreign,
        control_socket,
        state_file,
    };
    Some((
        local,
        KeyFiles {
            private_key: key_path,
            preshared_keys: preshared_paths,
            neighbor_keys,
        },
    ))
}

/// A tunnel needs one end that can be called.
fn check_reachable(fabric: &Fabric, at: Span, findings: &mut Findings) {
    if fabric.nodes.len() < 2 || fabric.nodes.values().any(|node| node.endpoint.is_some()) {
        return;
    }
    findings
        .error(at, "no tunnel can come up: no node has an `endpoint`")
        .help("give at least one node an `endpoint` that the others can reach");
}

fn private_key(
    input: &Input<'_>,
    checked: &Checked<'_>,
    own: Option<&Node>,
    findings: &mut Findings,
) -> Option<(PathBuf, PrivateKey)> {
    let help = "name the file with this router's key, for example `privateKeyFile: wg.key`";
    let raw = &input.local.value.private_key_file;
    let written = raw.required("privateKeyFile", input.local.span, help, findings)?;
    let path = absolute(input.path, &written.value);
    if input.secrets == Secrets::Skip {
        return Some((path, PrivateKey([0; 32])));
    }
    let key: PrivateKey = checked_key(input.path, written, findings)?;
    let public = key.public();
    let own = own.filter(|own| checked.sound.nodes && own.public_key != public);
    if let Some(own) = own {
        let shown = beside(input.path, &written.value);
        let shown = shown.display();
        let other = checked
            .fabric
            .nodes
            .values()
            .find(|node| node.public_key == public);
        match other {
            Some(other) => findings
                .error(
                    written.span,
                    format!("{shown} is the key of node {}", other.name),
                )
                .help("two routers must not share a key; use the key of this node"),
            None => findings
                .error(
                    written.span,
                    format!("{shown} does not match `publicKey` of {}", own.name),
                )
                .help(format!(
                    "run `samctl key pub < {shown}` and put the result into the fabric"
                )),
        };
    }
    Some((path, key))
}

type PresharedKeys = (BTreeMap<NodeId, PathBuf>, BTreeMap<NodeId, PresharedKey>);

fn preshared_keys(
    input: &Input<'_>,
    own: Option<NodeId>,
    names: &Names<'_>,
    findings: &mut Findings,
) -> PresharedKeys {
    let mut keys = PresharedKeys::default();
    let Some(files) = input.local.value.preshared_key_files.given() else {
        return keys;
    };
    let peers = files.value.0.iter().map(|(name, _)| name.clone());
    let describe = |name: &String| format!("peer `{name}`");
    check_unique(peers, describe, "remove one of the two", findings);
    for (name, file) in &files.value.0 {
        let Some(id) = find_node(names, name, findings) else {
            continue;
        };
        if Some(id) == own {
            findings
                .error(name.span, format!("`{}` is this router itself", name.value))
                .help("a preshared key is shared with another node");
        }
        let key = match input.secrets {
            Secrets::Skip => Some(PresharedKey([0; 32])),
            Secrets::Read => checked_key(input.path, file, findings),
        };
        keys.0.insert(id, absolute(input.path, &file.value));
        keys.1.extend(key.map(|key| (id, key)));
    }
    keys
}

fn checked_key<K: FromStr<Err = KeyError>>(
    file: &Path,
    written: &At<PathBuf>,
    findings: &mut Findings,
) -> Option<K> {
    read_key(&beside(file, &written.value))
        .map_err(|error| {
            findings.error(written.span, error.message).help(error.help);
        })
        .ok()
}

fn tun(raw: &raw::Local, findings: &mut Findings) -> String {
    let Some(tun) = raw.tun.given() else {
        return DEFAULT_TUN.into();
    };
    check_interface("tun", tun, findings);
    tun.value.clone()
}

/// Reads the number of packet workers; by default there is one per core.
fn workers(raw: &raw::Local, findings: &mut Findings) -> Option<NonZeroUsize> {
    let workers = raw.workers.given()?;
    if !(1..=WORKERS_MAX).contains(&workers.value) {
        findings
            .error(
                workers.span,
                format!("{} packet workers are not possible", workers.value),
            )
            .help(format!(
                "write 1 to {WORKERS_MAX}, or leave `workers` out for one per core"
            ));
    }
    NonZeroUsize::new(workers.value.into())
}

/// Reads what the kernel may be asked to do.
fn offloads(raw: &raw::Local) -> Offloads {
    let Some(At { value: raw, .. }) = raw.offloads.given() else {
        return Offloads::default();
    };
    let on = |field: &Field<bool>| field.given().is_none_or(|on| on.value);
    Offloads {
        tun_tcp: on(&raw.tun_tcp),
        // The kernel hands over no superpacket without unfinished checksums.
        tun_udp: on(&raw.tun_tcp) && on(&raw.tun_udp),
        lan_tcp: on(&raw.lan_tcp),
        lan_udp: on(&raw.lan_udp),
        udp_segment: on(&raw.udp_segment),
        udp_gro: on(&raw.udp_gro),
    }
}

/// Checks a name by the kernel's rules: 1 to 15 bytes, no `/`, `:`, `%` or white space, neither `.` nor `..`.
pub(super) fn check_interface(key: &str, name: &At<String>, findings: &mut Findings) {
    let text = name.value.as_str();
    let forbidden = |byte: u8| matches!(byte, b'/' | b':' | b'%') || byte.is_ascii_whitespace();
    if text.len() > MAX_INTERFACE_BYTES || matches!(text, "." | "..") || text.bytes().any(forbidden)
    {
        findings.error(name.span, format!("`{key}` cannot be `{text}`")).help(format!(
            "names of interfaces have at most {MAX_INTERFACE_BYTES} bytes and no `/`, `:`, `%` or space"
        ));
    }
}

fn owned(
    raw: &raw::Local,
    checked: &Checked<'_>,
    own: Option<&Node>,
    findings: &mut Findings,
) -> BTreeSet<Ipv4Addr> {
    let Some(owned) = raw.owned.given() else {
        return BTreeSet::new();
    };
    let describe = |address: &Ipv4Addr| format!("address {address}");
    check_unique(
        owned.value.iter().cloned(),
        describe,
        "remove one of the two",
        findings,
    );
    for address in owned.value.iter().filter(|_| checked.sound.pools) {
        check_owned(address, checked.fabric, own, findings);
    }
    owned.value.iter().map(|address| address.value).collect()
}

fn check_owned(at: &At<Ipv4Addr>, fabric: &Fabric, own: Option<&Node>, findings: &mut Findings) {
    let address = at.value;
    check_mobile(at, fabric, findings);
    let permitted = |node: &Node| {
        node.may.is_empty() || node.may.iter().any(|prefix| prefix.contains(&address))
    };
    let inside = fabric
        .pools
        .iter()
        .any(|pool| pool.prefix.contains(&address));
    if let Some(own) = own.filter(|own| inside && !permitted(own)) {
        findings
            .error(at.span, format!("node {} may not own {address}", own.name))
            .help(format!(
                "add {address}/32 or its subnet to `may` of {}",
                own.name
            ));
    }
}

/// Checks that an address is one that may live at any site.
pub(super) fn check_mobile(at: &At<Ipv4Addr>, fabric: &Fabric, findings: &mut Findings) {
    let address = at.value;
    let Some(pool) = fabric
        .pools
        .iter()
        .find(|pool| pool.prefix.contains(&address))
    else {
        findings
            .error(at.span, format!("{address} is not inside a pool"))
            .help("only addresses of the pools are mobile");
        return;
    };
    let prefix = pool.prefix;
    if pool.exclude.contains(&address) {
        findings
            .error(
                at.span,
                format!("{address} is excluded from pool {}", pool.name),
            )
            .help("remove it here or from `exclude`");
    } else if !pool.admits(address) {
        findings
            .error(at.span, format!("{address} is no host address of {prefix}"))
            .help("the first and the last address of a subnet belong to no host");
    }
}

fn control_socket(input: &Input<'_>, findings: &mut Findings) -> PathBuf {
    let raw = input.local.value.control.given();
    let Some(socket) = raw.and_then(|control| control.value.socket.given()) else {
        return PathBuf::from(crate::args::DEFAULT_SOCKET);
    };
    let path = absolute(input.path, &socket.value);
    if path.as_os_str().len() > MAX_SOCKET_BYTES {
        findings
            .error(
                socket.span,
                format!("the path of a socket has at most {MAX_SOCKET_BYTES} bytes"),
            )
            .help(format!(
                "for example `socket: {}`",
                crate::args::DEFAULT_SOCKET
            ));
    }
    path
}

/// Orders survive a restart unless somebody says `none`: a moved address must not come back by itself.
fn state_file(input: &Input<'_>, fabric: &Fabric, own: Option<&Node>) -> Option<PathBuf> {
    match input.local.value.state_file.given() {
        Some(file) if file.value == Path::new(NO_STATE_FILE) => None,
        Some(file) => Some(absolute(input.path, &file.value)),
        None => {
            let node = own.map_or("", |own| &own.name);
            Some(Path::new(STATE_FOLDER).join(format!("{}-{node}.json", fabric.name)))
        }
    }
}

/// A path of the file, independent of the working directory.
pub(super) fn absolute(file: &Path, path: &Path) -> PathBuf {
    let path = beside(file, path);
    std::path::absolute(&path).unwrap_or(path)
}

const DEFAULT_TUN: &str = "sam0";
/// Where the state file lies by default.
pub(super) const STATE_FOLDER: &str = "/var/lib/samctl";
/// What switches the state file off; a file of that name is `./none`.
pub(super) const NO_STATE_FILE: &str = "none";
/// `IFNAMSIZ` less the terminator.
const MAX_INTERFACE_BYTES: usize = 15;
/// `sun_path` less the terminator.
const MAX_SOCKET_BYTES: usize = 107;
