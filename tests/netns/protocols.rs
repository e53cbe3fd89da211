//! What people run: ssh, FTP with its two kinds of data connections, bulk TCP, UDP.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sam_net::Namespace;
use sam_testkit::netns::{Capture, Daemon, Fabric, Outcome, Site, sh, wait_until};

use crate::case::{Case, Need, samctl, wait_for_listener};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "protocols::ssh_shows_the_real_source",
        needs: &[
            Need::Tool("sshd"),
            Need::Tool("ssh"),
            Need::Tool("ssh-keygen"),
        ],
        run: ssh,
    },
    Case {
        name: "protocols::ftp_active_and_passive_carries_100_mb_unharmed_both_ways",
        needs: &[
            Need::Tool("vsftpd"),
            Need::Tool("curl"),
            Need::Tool("tcpdump"),
            Need::Tool("tshark"),
            Need::Tool("sha256sum"),
        ],
        run: ftp,
    },
    Case {
        name: "protocols::udp_arrives_in_order",
        needs: &[Need::Tool("iperf3")],
        run: udp,
    },
];

/// Time for a server to listen.
const START: Duration = Duration::from_secs(10);

/// ```text
/// .10 ssh ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── sshd .11     and the other way round
/// ```
fn ssh() {
    let fabric = Fabric::running(samctl(), 2);
    for key in ["host", "user"] {
        let path = fabric.path(key);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&path)
            .status();
        assert!(made.is_ok_and(|status| status.success()));
    }
    fs::create_dir_all("/run/sshd").expect("sshd's folder for privilege separation");
    for (from, to) in [(Site::ONPREM, Site::AWS), (Site::AWS, Site::ONPREM)] {
        let server = fabric.topology.client(to);
        let folder = fabric.path("");
        let folder = folder.display();
        let daemon = format!(
            "exec /usr/sbin/sshd -D -e -f /dev/null -h {folder}/host -o PidFile=none -o UsePAM=no \
             -o StrictModes=no -o PermitRootLogin=prohibit-password \
             -o AuthorizedKeysFile={folder}/user.pub -o ListenAddress={}",
            to.client()
        );
        let sshd = Daemon::sh(server, &daemon, &fabric.path("sshd.log"));
        wait_until("sshd listens", START, || sshd.log().contains("listening"));

        let login = format!(
            "ssh -F /dev/null -i {folder}/user -o StrictHostKeyChecking=no \
             -o UserKnownHostsFile=/dev/null -o BatchMode=yes -o ConnectTimeout=10 \
             -o LogLevel=ERROR root@{} 'echo $SSH_CONNECTION'",
            to.client()
        );
        let text = sh(fabric.topology.client(from), &login).success();

        let source = text.split_whitespace().next().map(str::to_owned);
        assert_eq!(source, Some(from.client().to_string()), "{text}");
    }
}

/// ```text
/// .10 curl ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── vsftpd .11
/// ```
fn ftp() {
    let fabric = Fabric::running(samctl(), 2);
    let (client, server) = (
        fabric.topology.client(Site::ONPREM),
        fabric.topology.client(Site::AWS),
    );
    let target = Site::AWS.client();
    let root = fabric.path("ftp");
    let _vsftpd = ftp_server(&fabric, server, &root);
    wait_for_listener(server, 21);
    fs::write(root.join("small"), "through the overlay\n").expect("writable");
    let make = format!(
        "head -c 100000000 /dev/urandom > {0}/big; sha256sum < {0}/big",
        root.display()
    );
    let original = sh(server, &make).success();
    let syns = "tcp[tcpflags] & tcp-syn != 0 and tcp[tcpflags] & tcp-ack == 0";
    let seen = Capture::start(server, "eth0", syns, &fabric.path("syns.pcap"));
    let curl = |arguments: &str| -> Outcome { sh(client, &format!("curl -sS -m 60 {arguments}")) };

    // 1. Every kind of data connection: PASV, EPSV, PORT, EPRT.
    for kind in ["--disable-epsv", "", "-P - --disable-eprt", "-P -"] {
        let text = curl(&format!("{kind} ftp://{target}/small")).success();
        assert_eq!(text, "through the overlay\n", "curl {kind}");
    }
    // 2. Bulk in both directions, by both kinds.
    let sum = curl(&format!(
        "ftp://{target}/big | tee {0} | sha256sum",
        fabric.path("copy").display()
    ));
    assert_eq!(sum.success(), original, "download");
    let upload = format!(
        "-P - -T {} ftp://{target}/up/back",
        fabric.path("copy").display()
    );
    curl(&upload).success();
    let back = sh(server, &format!("sha256sum < {}/up/back", root.display()));
    assert_eq!(back.success(), original, "upload");
    // 3. Nobody was rewritten, and active mode really came from the server.
    let rows = seen
        .stop()
        .fields("tcp.flags == 0x002", &["ip.src", "ip.dst"]);
    let real = [Site::ONPREM.client().to_string(), target.to_string()];
    for row in &rows {
        assert!(row.iter().all(|address| real.contains(address)), "{rows:?}");
    }
    assert!(
        rows.iter().any(|row| row[0] == real[1]),
        "no active connection in {rows:?}"
    );
}

fn ftp_server(fabric: &Fabric, server: &Namespace, root: &Path) -> Daemon {
    let up = root.join("up");
    fs::create_dir_all(&up).expect("writable");
    // vsftpd refuses a writable root and serves as another user.
    for folder in [&fabric.path(""), root] {
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
        fabric.path("empty").display(),
    );
    fs::create_dir_all(fabric.path("empty")).expect("writable");
    let file = fabric.path("vsftpd.conf");
    fs::write(&file, config).expect("writable");
    let command = format!("exec /usr/sbin/vsftpd {}", file.display());
    Daemon::sh(server, &command, &fabric.path("vsftpd.log"))
}

/// ```text
/// .10 iperf3 -u ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── iperf3 -s .11
/// ```
fn udp() {
    let fabric = Fabric::running(samctl(), 2);
    let server = fabric.topology.client(Site::AWS);
    let _server = Daemon::sh(server, "exec iperf3 -s", &fabric.path("iperf3.log"));
    wait_for_listener(server, IPERF3);
    for (name, direction) in [("forth", ""), ("back", "-R")] {
        // Slow enough for iperf3's receive buffer to outlast a third of a second without a processor.
        let command = format!(
            "iperf3 -u -b 5M -l 1200 -t 2 -J {direction} -c {}",
            Site::AWS.client()
        );
        let report = sh(fabric.topology.client(Site::ONPREM), &command).success();
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        let stream = &report["end"]["streams"][0]["udp"];
        assert_eq!(stream["out_of_order"], 0, "{name}: {report}");
        let lost = stream["lost_percent"].as_f64().unwrap_or(100.0);
        assert!(lost < 1.0, "{name}: {lost} % lost");
    }
}

/// Port of iperf3.
const IPERF3: u16 = 5201;
/// User and group `daemon`, the same number everywhere; its home exists, as vsftpd demands.
const DAEMON: u32 = 1;
