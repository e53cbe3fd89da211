//! FTP with every kind of data connection: PASV, EPSV, PORT, EPRT; large files both ways, compared by SHA-256.
//!
//! Active connections come from the server's port 20; `witness` sees that nobody rewrote them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use sam_testkit::netns::{Daemon, Outcome, sh};

use super::lab::{FAR, Lab, NEAR};
use crate::case::{Need, wait_for_listener};

pub(super) const NEEDS: &[Need] = &[
    Need::Tool("vsftpd"),
    Need::Tool("curl"),
    Need::Tool("sha256sum"),
];

/// User and group `daemon`, the same number everywhere; its home exists, as vsftpd demands.
const DAEMON: u32 = 1;
/// What curl ends with when it does not understand a server.
const WEIRD_SERVER_REPLY: i32 = 8;
const OVERTAKEN_AT_MOST: usize = 3;
const TEXT: &str = "through the overlay\n";
/// What curl is told for each kind of data connection: PASV, EPSV, PORT, EPRT.
const KINDS: [&str; 4] = ["--disable-epsv", "", "-P - --disable-eprt", "-P -"];

pub(super) fn check(lab: &Lab) {
    let root = lab.path("ftp");
    let _server = server(lab, &root);
    fs::write(root.join("small"), TEXT).expect("writable");
    let big = root.join("big");
    let make = format!(
        "head -c {0} /dev/urandom > {1}; sha256sum < {1}",
        lab.bulk,
        big.display()
    );
    let original = sh(lab.client(FAR), &make).success();
    let copy = lab.path("copy");
    let url = format!("ftp://{}", FAR.client());
    lab.twice(|_| {
        for kind in KINDS {
            let text = curl(lab, &format!("{kind} {url}/small")).success();
            assert_eq!(text, TEXT, "curl {kind}");
        }
        let sum = curl(
            lab,
            &format!("{url}/big | tee {} | sha256sum", copy.display()),
        );
        assert_eq!(sum.success(), original, "download");
        curl(lab, &format!("-P - -T {} {url}/up/back", copy.display())).success();
        let back = root.join("up/back");
        let sum = sh(lab.client(FAR), &format!("sha256sum < {}", back.display()));
        assert_eq!(sum.success(), original, "upload");
        fs::remove_file(back).expect("uploaded");
    });
}

/// Runs curl, again where it was overtaken: curl 7 takes the server's "226" for an error when it arrives before the last
/// packet of an active data connection's handshake. These are two flows, which two workers may carry, and nobody
/// promises to keep them in order (RFC 2991 section 2); it happens about once in a hundred tiny files.
fn curl(lab: &Lab, arguments: &str) -> Outcome {
    let command = format!("curl -sS -m 60 {arguments}");
    let mut outcomes = (0..OVERTAKEN_AT_MOST).map(|_| sh(lab.client(NEAR), &command));
    let done = outcomes.find(|outcome| outcome.code != WEIRD_SERVER_REPLY);
    done.expect("curl is not overtaken every time")
}

fn server(lab: &Lab, root: &Path) -> Daemon {
    let up = root.join("up");
    fs::create_dir_all(&up).expect("writable");
    // vsftpd refuses a writable root and serves as another user.
    for folder in [&lab.path(""), root] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("own folder");
    }
    chown(&up, Some(DAEMON), Some(DAEMON)).expect("root may give folders away");
    let config = format!(
        "listen=YES\nlisten_ipv6=NO\nbackground=NO\nseccomp_sandbox=NO\nisolate_network=NO\nisolate=NO\n\
         anonymous_enable=YES\nlocal_enable=NO\nno_anon_password=YES\nanon_root={}\nftp_username=daemon\n\
         write_enable=YES\nanon_upload_enable=YES\nanon_umask=022\nport_enable=YES\n\
         connect_from_port_20=YES\npasv_min_port=30000\npasv_max_port=30100\nsecure_chroot_dir={}\n\
         xferlog_enable=NO\nvsftpd_log_file=/dev/null\n",
        root.display(),
        lab.path("empty").display(),
    );
    fs::create_dir_all(lab.path("empty")).expect("writable");
    let file = lab.path("vsftpd.conf");
    fs::write(&file, config).expect("writable");
    let command = format!("exec /usr/sbin/vsftpd {}", file.display());
    let daemon = Daemon::sh(lab.client(FAR), &command, &lab.path("vsftpd.log"));
    wait_for_listener(lab.client(FAR), 21);
    daemon
}
