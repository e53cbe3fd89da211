//! Findings and the state of the router, turned into the checks of `samctl test`.

use std::time::Instant;

use super::findings::{Findings, Transfer};
use super::sweep::SweepResult;
use super::{TEST_PORT, TestTarget};
use crate::Router;
use crate::facts::Facts;
use crate::view::{
    CheckStatus, NeighborSummary, NodeRef, PathTestRow, PathTestView, TestCheck, TunnelRow,
};

impl Router {
    /// `samctl test`: what the findings about some nodes mean.
    #[must_use]
    pub fn judge_test(
        &self,
        outcomes: &[(TestTarget, Findings)],
        facts: &Facts,
        now: Instant,
    ) -> PathTestView {
        let (tunnels, neighbors) = (self.tunnels(facts, now), self.bgp_neighbors(now));
        let row = |(target, findings): &(TestTarget, Findings)| {
            let tunnel = tunnels
                .tunnels
                .iter()
                .find(|row| row.node.id == target.node);
            let session = neighbors
                .neighbors
                .iter()
                .find(|row| row.node.id == target.node);
            let node = NodeRef::new(&self.config, target.node);
            let checks = Judge {
                name: &node.name,
                target,
                findings,
            }
            .checks(tunnel, session);
            PathTestRow {
                node,
                overlay: target.overlay,
                status: worst(checks.iter().map(|check| check.status)),
                checks,
            }
        };
        let peers: Vec<PathTestRow> = outcomes.iter().map(row).collect();
        PathTestView {
            from: NodeRef::new(&self.config, self.config.local.node),
            overall: worst(peers.iter().map(|peer| peer.status)),
            peers,
        }
    }
}

pub(super) fn worst(statuses: impl Iterator<Item = CheckStatus>) -> CheckStatus {
    statuses.max().unwrap_or(CheckStatus::Skip)
}

/// What is known about one node.
struct Judge<'a> {
    name: &'a str,
    target: &'a TestTarget,
    findings: &'a Findings,
}

impl Judge<'_> {
    fn checks(
        &self,
        tunnel: Option<&TunnelRow>,
        session: Option<&NeighborSummary>,
    ) -> Vec<TestCheck> {
        vec![
            self.tunnel(tunnel),
            self.session(session),
            self.echo(),
            self.mtu(tunnel),
            self.tcp(),
            self.source(),
        ]
    }

    fn tunnel(&self, row: Option<&TunnelRow>) -> TestCheck {
        let refused = row.and_then(TunnelRow::fault_text);
        let Some(row) = row.filter(|row| row.up) else {
            let remedy = format!(
                "`samctl doctor tunnel` says what is known about {}",
                self.name
            );
            let refused = refused.map(|text| format!("the tunnel is {text}"));
            let message = refused.unwrap_or_else(|| "the tunnel has no session".into());
            return fail("tunnel", "down", message).remedy(remedy);
        };
        match row.last_handshake_s.filter(|_| row.encrypted) {
            Some(age) => {
                let message = format!("{}, handshake {age:.0} s ago", row.encap);
                pass("tunnel", format!("{age:.0} s"), message)
            }
            None => {
                let message = format!("{} needs no handshake", row.encap);
                pass("tunnel", row.encap.clone(), message)
            }
        }
    }

    fn session(&self, row: Option<&NeighborSummary>) -> TestCheck {
        let Some(row) = row else {
            let message = "no BGP peer of this router: its routes come by a route reflector";
            return skip("session", message);
        };
        let message = format!("the BGP session is {}", row.state);
        if row.state == "established" {
            return pass("session", row.state.clone(), message);
        }
        let remedy = format!("`samctl bgp neighbor {}` tells why it went down", self.name);
        fail("session", row.state.clone(), message).remedy(remedy)
    }

    fn echo(&self) -> TestCheck {
        match self.findings.echo {
            Some(time) => {
                let text = format!("{:.1} ms", time.as_secs_f64() * 1000.0);
                let message = format!("{} answers after {text}", self.target.overlay);
                pass("echo", text, message)
            }
            None => {
                let overlay = self.target.overlay;
                let message = match &self.findings.obstacle {
                    Some(obstacle) => format!("{overlay} cannot be asked: {obstacle}"),
                    None => format!("{overlay} does not answer echo requests"),
                };
                let remedy = format!(
                    "first the tunnel; then look whether {} drops ICMP from its TUN device",
                    self.name
                );
                fail("echo", "none", message).remedy(remedy)
            }
        }
    }

    /// Compares with the MTU of now: what the test itself taught about the path counts.
    fn mtu(&self, tunnel: Option<&TunnelRow>) -> TestCheck {
        let computed = tunnel.map_or(self.target.mtu, |row| row.mtu);
        match self.findings.sweep {
            None => self.not_tried("mtu"),
            Some(SweepResult::Largest(largest)) if largest == computed => {
                let message =
                    format!("{computed} bytes pass with DF set, as computed, and no byte more");
                pass("mtu", largest.to_string(), message)
            }
            Some(SweepResult::Largest(largest)) => {
                let message = format!("{computed} bytes are computed, but only {largest} pass");
                fail("mtu", largest.to_string(), message).remedy(format!(
                    "`samctl tunnels` shows what is learnt about the path; if this stays, set `mtu: {largest}` for this transport"
                ))
            }
            Some(SweepResult::Beyond(_)) if self.target.cuts => {
                let message = format!(
                    "{computed} bytes pass, longer packets in fragments (forceFragmentIPv4)"
                );
                pass("mtu", computed.to_string(), message)
            }
            Some(SweepResult::Beyond(passed)) => {
                let message = format!("{computed} bytes are computed, but {passed} pass");
                warn("mtu", format!(">= {passed}"), message)
                    .remedy("nothing breaks; if `mtu` is configured by hand, it may be larger")
            }
        }
    }

    /// What broke the test off says why a later part was not tried; without an echo, that part has said it.
    fn not_tried(&self, check: &'static str) -> TestCheck {
        match &self.findings.obstacle {
            Some(obstacle) if self.findings.echo.is_some() => fail(
                check,
                "broken off",
                format!("the test broke off: {obstacle}"),
            ),
            _ => skip(check, "not tried without an echo"),
        }
    }

    fn tcp(&self) -> TestCheck {
        match &self.findings.transfer {
            None => self.not_tried("tcp"),
            Some(Transfer::Refused) => {
                let message = format!("nothing answers on port {TEST_PORT} there");
                warn("tcp", "refused", message)
                    .remedy("run samctl of this version there; other software has no such service")
            }
            Some(Transfer::Failed(why)) => {
                let remedy =
                    "if small packets pass and this does not, suspect the MTU or an offload";
                fail("tcp", "failed", why.clone()).remedy(remedy)
            }
            Some(Transfer::Done {
                bytes,
                time,
                intact_there,
                intact_here,
                ..
            }) => {
                let kib = bytes / 1024;
                let milliseconds = time.as_secs_f64() * 1000.0;
                if !intact_there || !intact_here {
                    let way = if *intact_here { "there" } else { "here" };
                    let message = format!("of {kib} KiB, not all arrived {way} as sent");
                    return fail("tcp", "corrupt", message)
                        .remedy("switch the offloads off one by one (`self.offloads`)");
                }
                let text = format!("{kib} KiB in {milliseconds:.0} ms");
                let message = format!("{text}, there and back, checksums equal");
                pass("tcp", text, message)
            }
        }
    }

    fn source(&self) -> TestCheck {
        match &self.findings.transfer {
            Some(Transfer::Done { own, seen, .. }) if own == seen => {
                let message = format!("{} saw {seen}, from which we sent", self.name);
                pass("source", seen.ip().to_string(), message)
            }
            Some(Transfer::Done { own, seen, .. }) => {
                let message = format!("{} saw {seen}, but we sent from {own}", self.name);
                fail("source", seen.to_string(), message)
                    .remedy("something between translates addresses: look for NAT on both hosts")
            }
            Some(Transfer::Refused | Transfer::Failed(_)) | None => {
                skip("source", "the other side said nothing")
            }
        }
    }
}

fn check(name: &str, status: CheckStatus, value: String, message: String) -> TestCheck {
    TestCheck {
        name: name.into(),
        status,
        value,
        message,
        remedy: None,
    }
}

fn pass(name: &str, value: impl Into<String>, message: impl Into<String>) -> TestCheck {
    check(name, CheckStatus::Pass, value.into(), message.into())
}

fn warn(name: &str, value: impl Into<String>, message: impl Into<String>) -> TestCheck {
    check(name, CheckStatus::Warn, value.into(), message.into())
}

fn fail(name: &str, value: impl Into<String>, message: impl Into<String>) -> TestCheck {
    check(name, CheckStatus::Fail, value.into(), message.into())
}

fn skip(name: &str, message: impl Into<String>) -> TestCheck {
    check(name, CheckStatus::Skip, "-".into(), message.into())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};
    use std::time::Duration;

    use sam_capture::NodeId;

    use super::*;

    const COMPUTED: u16 = 1440;

    fn judged(findings: &Findings) -> Vec<TestCheck> {
        judged_where(false, findings)
    }

    fn judged_where(cuts: bool, findings: &Findings) -> Vec<TestCheck> {
        let target = TestTarget {
            node: NodeId(2),
            overlay: Ipv4Addr::new(10, 99, 0, 2),
            mtu: COMPUTED,
            cuts,
        };
        Judge {
            name: "aws",
            target: &target,
            findings,
        }
        .checks(None, None)
    }

    fn of<'a>(checks: &'a [TestCheck], name: &str) -> &'a TestCheck {
        checks.iter().find(|check| check.name == name).unwrap()
    }

    fn transfer(intact_there: bool, intact_here: bool, seen: u8) -> Findings {
        let own = SocketAddrV4::new(Ipv4Addr::new(10, 99, 0, 1), 40000);
        Findings {
            transfer: Some(Transfer::Done {
                bytes: 262_144,
                time: Duration::from_millis(12),
                intact_there,
                intact_here,
                own,
                seen: SocketAddrV4::new(Ipv4Addr::new(10, 99, 0, seen), 40000),
            }),
            ..Findings::default()
        }
    }

    #[test]
    fn a_test_that_broke_off_after_its_echo_fails_and_says_why() {
        let checks = judged(&Findings {
            echo: Some(Duration::from_millis(3)),
            obstacle: Some("Network is down".to_owned()),
            ..Findings::default()
        });
        for name in ["mtu", "tcp"] {
            let check = of(&checks, name);
            assert_eq!(check.status, CheckStatus::Fail, "{name}");
            assert!(
                check.message.contains("Network is down"),
                "{}",
                check.message
            );
        }
    }

    #[test]
    fn a_silent_node_fails_and_what_needs_an_answer_is_skipped() {
        let checks = judged(&Findings::default());
        let statuses: Vec<_> = checks
            .iter()
            .map(|check| (check.name.as_str(), check.status))
            .collect();
        assert_eq!(
            statuses,
            [
                ("tunnel", CheckStatus::Fail),
                ("session", CheckStatus::Skip),
                ("echo", CheckStatus::Fail),
                ("mtu", CheckStatus::Skip),
                ("tcp", CheckStatus::Skip),
                ("source", CheckStatus::Skip),
            ]
        );
        let failed = checks
            .iter()
            .filter(|check| check.status == CheckStatus::Fail);
        assert!(failed.map(|check| &check.remedy).all(Option::is_some));
    }

    #[test]
    fn the_mtu_must_be_exact_to_the_byte() {
        for (result, status, value) in [
            (SweepResult::Largest(1440), CheckStatus::Pass, "1440"),
            (SweepResult::Largest(1439), CheckStatus::Fail, "1439"),
            (SweepResult::Beyond(1441), CheckStatus::Warn, ">= 1441"),
        ] {
            let checks = judged(&Findings {
                sweep: Some(result),
                ..Findings::default()
            });
            let mtu = of(&checks, "mtu");
            assert_eq!((mtu.status, mtu.value.as_str()), (status, value));
            assert!(mtu.message.contains("1440"), "{}", mtu.message);
        }
        let findings = Findings {
            sweep: Some(SweepResult::Beyond(1441)),
            ..Findings::default()
        };
        let cut = judged_where(true, &findings);
        assert_eq!(of(&cut, "mtu").status, CheckStatus::Pass);
    }

    #[test]
    fn bytes_must_arrive_as_sent_in_both_directions_and_from_our_address() {
        for (findings, tcp, source) in [
            (
                transfer(true, true, 1),
                CheckStatus::Pass,
                CheckStatus::Pass,
            ),
            (
                transfer(false, true, 1),
                CheckStatus::Fail,
                CheckStatus::Pass,
            ),
            (
                transfer(true, false, 1),
                CheckStatus::Fail,
                CheckStatus::Pass,
            ),
            (
                transfer(true, true, 9),
                CheckStatus::Pass,
                CheckStatus::Fail,
            ),
        ] {
            let checks = judged(&findings);
            assert_eq!(of(&checks, "tcp").status, tcp, "{findings:?}");
            assert_eq!(of(&checks, "source").status, source, "{findings:?}");
        }
    }

    #[test]
    fn a_node_without_the_service_is_a_warning_and_a_broken_transfer_a_failure() {
        for (outcome, status) in [
            (Transfer::Refused, CheckStatus::Warn),
            (Transfer::Failed("timed out".into()), CheckStatus::Fail),
        ] {
            let checks = judged(&Findings {
                transfer: Some(outcome),
                ..Findings::default()
            });
            assert_eq!(of(&checks, "tcp").status, status);
            assert_eq!(of(&checks, "source").status, CheckStatus::Skip);
        }
    }
}
