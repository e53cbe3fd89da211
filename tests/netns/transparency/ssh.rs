//! ssh both ways: the server must see the client's own address.

use std::fs;
use std::process::Command;
use std::time::Duration;

use sam_testkit::netns::{Daemon, Site, sh, wait_until};

use super::lab::{FAR, Lab, NEAR};
use crate::case::Need;

pub(super) const NEEDS: &[Need] = &[
    Need::Tool("sshd"),
    Need::Tool("ssh"),
    Need::Tool("ssh-keygen"),
];

/// Time for a server to listen.
const START: Duration = Duration::from_secs(10);

pub(super) fn check(lab: &Lab) {
    for key in ["host", "user"] {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(lab.path(key))
            .status();
        assert!(made.is_ok_and(|status| status.success()));
    }
    fs::create_dir_all("/run/sshd").expect("sshd's folder for privilege separation");
    let _servers = [NEAR, FAR].map(|site| server(lab, site));
    lab.twice(|_| {
        for (from, to) in [(NEAR, FAR), (FAR, NEAR)] {
            let text = sh(lab.client(from), &login(lab, to)).success();
            let words: Vec<&str> = text.split_whitespace().collect();
            let ends = [words[0], words[2]].map(str::to_owned);
            let expected = [from, to].map(|site| site.client().to_string());
            assert_eq!(ends, expected, "{text}");
        }
    });
}

fn server(lab: &Lab, site: Site) -> Daemon {
    let folder = lab.path("");
    let folder = folder.display();
    let command = format!(
        "exec /usr/sbin/sshd -D -e -f /dev/null -h {folder}/host -o PidFile=none -o UsePAM=no \
         -o StrictModes=no -o PermitRootLogin=prohibit-password \
         -o AuthorizedKeysFile={folder}/user.pub -o ListenAddress={}",
        site.client()
    );
    let log = lab.path(&format!("sshd-{}.log", site.name()));
    let sshd = Daemon::sh(lab.client(site), &command, &log);
    wait_until("sshd listens", START, || sshd.log().contains("listening"));
    sshd
}

fn login(lab: &Lab, to: Site) -> String {
    format!(
        "ssh -F /dev/null -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
         -o BatchMode=yes -o ConnectTimeout=10 -o LogLevel=ERROR root@{} 'echo $SSH_CONNECTION'",
        lab.path("user").display(),
        to.client()
    )
}
