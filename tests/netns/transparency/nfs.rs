//! NFS over TCP, versions 3 and 4: list, read and write with checksums; rpcbind over TCP and UDP.
//!
//! ```text
//! near .10                                                            .11 far
//! nfs-cp, nfs-ls ────────────── NFSv3 and v4 ──────────────────── Ganesha ─ folder
//! nfs-cp ─ NFSv3 over lo ─ Ganesha as client ──── NFSv4 ───────────┘
//! ```
//! Server and clients run in user space, for kernels without NFS. libnfs cannot write more than a few bytes by version 4,
//! so a second Ganesha, with the far one behind it, is the client that does.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use sam_testkit::netns::{Daemon, Outcome, Site, sh};

use super::lab::{FAR, Lab, NEAR};
use crate::case::{Need, wait_for_listener};

pub(super) const NEEDS: &[Need] = &[
    Need::Tool("ganesha.nfsd"),
    Need::Library("ganesha/libfsalvfs.so"),
    Need::Library("ganesha/libfsalproxy_v4.so"),
    Need::Tool("rpcbind"),
    Need::Tool("rpcinfo"),
    Need::Tool("nfs-ls"),
    Need::Tool("nfs-cp"),
    Need::Tool("unshare"),
    Need::Tool("sha256sum"),
    Need::FileHandles,
];

const NFS_PORT: u16 = 2049;
/// What rpcinfo asks for: transport, program, version. 100000 is rpcbind, 100005 mount, 100003 NFS.
const PROGRAMS: [(&str, &str); 6] = [
    ("tcp", "100000 2"),
    ("udp", "100000 2"),
    ("tcp", "100005 3"),
    ("tcp", "100003 3"),
    ("udp", "100003 3"),
    ("tcp", "100003 4"),
];

pub(super) fn check(lab: &Lab) {
    let folder = lab.path("exported");
    fs::create_dir_all(&folder).expect("writable");
    let big = folder.join("big");
    let make = format!("head -c {} /dev/urandom > {}", lab.bulk, big.display());
    sh(lab.client(FAR), &make).success();
    let original = sum(&big);
    let far = FAR.client();
    let _server = ganesha(lab, FAR, &folder, "VFS");
    let _proxy = ganesha(lab, NEAR, &folder, &format!("PROXY_V4; Srv_Addr = {far}"));
    let share = Share {
        lab,
        folder: &folder,
        original: &original,
    };
    lab.twice(|round| {
        rpc(lab);
        for version in [3, 4] {
            share.list(version);
            share.read(far, version);
        }
        // No file is removed or written twice: Ganesha keeps what it knows of a folder.
        share.write(far, &format!("{round}, version 3"));
        share.write(Ipv4Addr::LOCALHOST, &format!("{round}, version 4"));
    });
}

/// Asks the far portmapper what there is, and the services themselves.
fn rpc(lab: &Lab) {
    let far = FAR.client();
    let table = sh(lab.client(NEAR), &format!("rpcinfo -p {far}")).success();
    for service in ["portmapper", "mountd", "nfs"] {
        assert!(table.contains(service), "{table}");
    }
    for (transport, program) in PROGRAMS {
        let call = format!("rpcinfo -T {transport} {far} {program}");
        let answer = sh(lab.client(NEAR), &call).success();
        assert!(answer.contains("ready and waiting"), "{call}: {answer}");
    }
}

/// What the far client serves.
struct Share<'a> {
    lab: &'a Lab,
    folder: &'a Path,
    /// Checksum of its large file.
    original: &'a str,
}

impl Share<'_> {
    fn list(&self, version: u8) {
        let command = format!("nfs-ls '{}'", self.url(FAR.client(), "", version));
        let listing = sh(self.lab.client(NEAR), &command).success();
        let size = self.lab.bulk.to_string();
        let found = listing
            .lines()
            .any(|line| line.contains(&size) && line.ends_with(" big"));
        assert!(found, "version {version}: {listing}");
    }

    fn read(&self, server: Ipv4Addr, version: u8) {
        let copy = self.lab.path("read");
        let from = self.url(server, "/big", version);
        self.copy(&from, &copy.display().to_string());
        assert_eq!(sum(&copy), self.original, "version {version}");
        fs::remove_file(copy).expect("read");
    }

    /// Writes the large file under another name.
    fn write(&self, server: Ipv4Addr, name: &str) {
        let name = name.replace(|other: char| !other.is_alphanumeric(), "-");
        let to = self.url(server, &format!("/{name}"), 3);
        self.copy(&self.folder.join("big").display().to_string(), &to);
        let written = self.folder.join(&name);
        assert_eq!(sum(&written), self.original, "{name}");
        // Nobody looks at it again; its space is wanted.
        fs::write(written, "").expect("writable");
    }

    fn copy(&self, from: &str, to: &str) {
        let text = sh(self.lab.client(NEAR), &format!("nfs-cp '{from}' '{to}'")).success();
        assert!(
            text.contains(&format!("copied {} bytes", self.lab.bulk)),
            "{text}"
        );
    }

    fn url(&self, server: Ipv4Addr, file: &str, version: u8) -> String {
        format!(
            "nfs://{server}{}{file}?version={version}",
            self.folder.display()
        )
    }
}

/// SHA-256 of a file.
fn sum(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output();
    let text = Outcome::from(output.expect("sha256sum(1) can be started")).success();
    text.split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Starts rpcbind and Ganesha at a site, with a `/run` of their own; they end together.
fn ganesha(lab: &Lab, site: Site, folder: &Path, storage: &str) -> Server {
    let file = |ending: &str| lab.path(&format!("ganesha-{}.{ending}", site.name()));
    let config = format!(
        "NFS_CORE_PARAM {{ Protocols = 3, 4; Enable_NLM = false; Enable_RQUOTA = false; \
         NFS_Port = {NFS_PORT}; MNT_Port = 20048; allow_set_io_flusher_fail = true; }}\n\
         NFSV4 {{ Graceless = true; }}\n\
         EXPORT {{ Export_Id = 1; Path = {0}; Pseudo = {0}; Access_Type = RW; Squash = No_Root_Squash; \
         SecType = sys; Protocols = 3, 4; FSAL {{ Name = {storage}; }} }}\n",
        folder.display()
    );
    fs::write(file("conf"), config).expect("writable");
    let servers = format!(
        "mount -t tmpfs none /run && rpcbind && exec ganesha.nfsd -F -f {} -L {} -p /run/ganesha.pid",
        file("conf").display(),
        file("log").display()
    );
    let command = format!("exec unshare --mount --pid --fork --kill-child sh -c '{servers}'");
    let server = Server(Daemon::sh(lab.client(site), &command, &file("out")));
    wait_for_listener(lab.client(site), NFS_PORT);
    server
}

/// A Ganesha; dropping it ends it at once, since it takes seconds to end in order.
struct Server(Daemon);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill();
    }
}
