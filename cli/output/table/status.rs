//! `samctl status`

use sam_router::view::{BfdSummary, CaptureSummary, OffloadOff, PoolSummary, StatusView};

use super::{Page, Text, ago, status_mark, status_word, yes};

impl Text for StatusView {
    fn write(&self, page: &mut Page) {
        let node = &self.node;
        let health = page.marked(status_mark(self.health), status_word(self.health));
        let state = match (self.stopping, self.drained) {
            (true, _) => "stopping",
            (false, true) => "drained",
            (false, false) => "running",
        };
        page.pairs(&[
            (
                "router",
                format!("{} (node {}, site {})", node.name, node.id, node.site),
            ),
            (
                "state",
                format!(
                    "{state} for {}, version {}",
                    ago(self.uptime_s),
                    self.version
                ),
            ),
            ("health", health),
            ("fabric", format!("{} (AS {})", self.fabric, self.asn)),
            ("role", self.role.name().into()),
            ("overlay", self.overlay.to_string()),
            ("reflector", yes(self.route_reflector)),
            (
                "bgp",
                format!(
                    "{} of {} up",
                    self.bgp_sessions.up, self.bgp_sessions.configured
                ),
            ),
            (
                "tunnels",
                format!("{} of {} up", self.tunnels.up, self.tunnels.configured),
            ),
            ("bfd", bfd_line(self.bfd.as_ref())),
            (
                "routes",
                format!("{} (generation {})", self.routes, self.generation),
            ),
            ("capture", capture_line(&self.capture)),
            ("workers", self.workers.to_string()),
            ("offloads", offloads_line(&self.offloads_off)),
            ("drops", format!("{} packets", self.drops)),
        ]);
        if self.events_lost > 0 {
            page.line(format!("{} events were lost", self.events_lost));
        }
        let pool = |pool: &PoolSummary| {
            let (local, remote) = (pool.local.to_string(), pool.remote.to_string());
            [pool.name.clone(), pool.prefix.to_string(), local, remote]
        };
        page.title("Pools");
        let rows = self.pools.iter().map(pool).collect();
        page.table(
            ["NAME", "PREFIX", "OWNED HERE", "OWNED ELSEWHERE"],
            rows,
            "no pools",
        );
        if !self.problems.is_empty() {
            page.title("Problems (see `samctl doctor`)");
        }
        for problem in &self.problems {
            page.line(format!("- {problem}"));
        }
    }
}

fn bfd_line(bfd: Option<&BfdSummary>) -> String {
    let Some(bfd) = bfd else {
        return "off".to_owned();
    };
    let (up, configured, scheduling) = (bfd.up, bfd.configured, &bfd.scheduling);
    format!("{up} of {configured} up, scheduling {scheduling}")
}

fn offloads_line(off: &[OffloadOff]) -> String {
    if off.is_empty() {
        return "all on".to_owned();
    }
    let all = off.iter().map(|off| format!("{} ({})", off.name, off.why));
    format!("off: {}", all.collect::<Vec<_>>().join(", "))
}

fn capture_line(capture: &CaptureSummary) -> String {
    let Some(interface) = &capture.interface else {
        return capture.kind.clone();
    };
    let gate = if capture.gate_open { "open" } else { "closed" };
    let (kind, reason, answers) = (&capture.kind, &capture.gate_reason, capture.answers);
    format!("{kind} on {interface}, gate {gate} ({reason}), answers for {answers} addresses")
}
