//! What a new configuration changes that only a restart can change. Everything else applies in place.

use crate::config::Config;

/// Names the settings that differ and cannot be changed while the router runs, as in the file.
#[must_use]
pub fn restart_only(old: &Config, new: &Config) -> Vec<&'static str> {
    let (old_own, new_own) = (old.own_node(), new.own_node());
    let (old_self, new_self) = (&old.local, &new.local);
    let table = [
        ("fabric.asn", old.fabric.asn == new.fabric.asn),
        (
            "fabric.bgp.gracefulRestart",
            old.fabric.bgp.graceful_restart == new.fabric.bgp.graceful_restart,
        ),
        ("self.node", old_self.node == new_self.node),
        ("fabric.nodes.overlay", old_own.overlay == new_own.overlay),
        (
            "self.privateKeyFile",
            old_self.private_key == new_self.private_key,
        ),
        ("self.tun", old_self.tun == new_self.tun),
        ("self.workers", old_self.workers == new_self.workers),
        ("self.offloads", old_self.offloads == new_self.offloads),
        (
            "self.capture.interface",
            old_self.capture.interface() == new_self.capture.interface(),
        ),
        (
            "self.capture.type",
            old_self.capture.kind() == new_self.capture.kind(),
        ),
        (
            "self.capture.journalFile",
            old.cloud().map(|cloud| &cloud.journal_file)
                == new.cloud().map(|cloud| &cloud.journal_file),
        ),
        (
            "self.control.socket",
            old_self.control_socket == new_self.control_socket,
        ),
        ("self.stateFile", old_self.state_file == new_self.state_file),
    ];
    table
        .into_iter()
        .filter(|(_, equal)| !equal)
        .map(|(name, _)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Capture;
    use crate::fixture;

    #[test]
    fn each_restart_only_setting_is_named() {
        type Change = fn(&mut Config);
        let cases: &[(&[&str], Change)] = &[
            (&[], |c| c.local.owned.clear()),
            (&[], |c| {
                drop(c.fabric.nodes.remove(&sam_capture::NodeId(3)))
            }),
            (&["fabric.asn"], |c| c.fabric.asn = 1),
            (&[], |c| {
                c.fabric.transport.encapsulation = crate::Encapsulation::Ipip
            }),
            (&[], |c| {
                c.fabric.transport.mtu = crate::config::TunnelMtu::Fixed(1300)
            }),
            (&["fabric.bgp.gracefulRestart"], |c| {
                c.fabric.bgp.graceful_restart = None
            }),
            (&[], |c| c.local.listen_port = 1),
            (&["self.offloads"], |c| c.local.offloads.lan_udp = false),
            (&["self.workers"], |c| {
                c.local.workers = std::num::NonZeroUsize::new(3)
            }),
            (&["self.capture.interface", "self.capture.type"], |c| {
                c.local.capture = Capture::None
            }),
            (&["self.tun", "self.stateFile"], |c| {
                c.local.tun = "sam1".into();
                c.local.state_file = Some("/x".into());
            }),
        ];
        let old = fixture::config(1, 3, &[]);
        for (names, change) in cases {
            let mut new = old.clone();
            change(&mut new);

            assert_eq!(restart_only(&old, &new), *names);
        }
    }
}
