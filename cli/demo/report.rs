//! What the demo proved, as values: the table for people and the JSON for programs come from the same struct.

use std::fmt::Write as _;

use serde::Serialize;

/// Everything that the demo found out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// True only when every assertion and every flow holds.
    pub passed: bool,
    /// Seconds from start to evidence.
    pub seconds: f64,
    /// Seconds until all routers agreed on all owners.
    pub convergence_s: f64,
    /// The directed flows.
    pub flows: Flows,
    /// The live move.
    pub r#move: Move,
    /// One object per claim, with the names of the acceptance catalogue.
    pub assertions: Vec<Assertion>,
}

/// The directed flows between clients.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Flows {
    /// How many succeeded.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
    /// Whether real ssh was used beside the own TCP check, or why not.
    pub ssh: String,
    /// Each flow.
    pub list: Vec<Flow>,
}

/// One directed flow.
#[derive(Debug, Clone, Serialize)]
pub struct Flow {
    /// Site of the client that connects.
    pub from: String,
    /// Site of the client that serves.
    pub to: String,
    /// Address that connects.
    pub source: String,
    /// Address connected to.
    pub destination: String,
    /// Three echo requests were answered.
    pub ping: bool,
    /// Own TCP check: connected, and the server saw exactly `source`.
    pub tcp: bool,
    /// The same with ssh; `None` when not tried.
    pub ssh: Option<bool>,
    /// What went wrong.
    pub error: Option<String>,
}

/// The live move of one address.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Move {
    /// The address.
    pub address: String,
    /// Where it lived.
    pub from: String,
    /// Where it lives now.
    pub to: String,
    /// Longest time without an answer, in milliseconds.
    pub lost_ms: f64,
    /// Probes sent and answered.
    pub probes_sent: u64,
    /// Probes answered.
    pub probes_answered: u64,
    /// Whether a TCP connection opened before the move went on after it.
    pub tcp_survived: bool,
}

/// One claim and its evidence.
#[derive(Debug, Clone, Serialize)]
pub struct Assertion {
    /// Name from the acceptance catalogue.
    pub name: &'static str,
    /// Whether it holds.
    pub passed: bool,
    /// What was seen.
    pub evidence: String,
}

impl Report {
    /// Adds a claim.
    pub fn claim(&mut self, name: &'static str, passed: bool, evidence: impl Into<String>) {
        self.assertions.push(Assertion {
            name,
            passed,
            evidence: evidence.into(),
        });
    }

    /// Decides the verdict.
    pub fn conclude(&mut self) {
        self.passed = self.flows.failed == 0
            && self.flows.passed > 0
            && self.assertions.iter().all(|assertion| assertion.passed);
    }

    /// Renders the tables.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::from(TOPOLOGY);
        let _ = writeln!(
            out,
            "\nFlows (rows connect, columns serve; what the server saw as source)\n"
        );
        self.matrix(&mut out);
        let _ = writeln!(
            out,
            "  {} of {} passed; ssh: {}\n",
            self.flows.passed,
            self.flows.list.len(),
            self.flows.ssh
        );
        let _ = writeln!(out, "Live move of {}", self.r#move.address);
        let _ = writeln!(
            out,
            "  {} -> {}: {:.0} ms without an answer, {} of {} probes answered, open TCP connection {}\n",
            self.r#move.from,
            self.r#move.to,
            self.r#move.lost_ms,
            self.r#move.probes_answered,
            self.r#move.probes_sent,
            if self.r#move.tcp_survived {
                "went on"
            } else {
                "broke"
            },
        );
        let _ = writeln!(out, "Evidence");
        for assertion in &self.assertions {
            let mark = if assertion.passed { "ok  " } else { "FAIL" };
            let _ = writeln!(
                out,
                "  {mark} {:<28} {}",
                assertion.name, assertion.evidence
            );
        }
        let verdict = if self.passed {
            "All of it holds"
        } else {
            "NOT everything holds"
        };
        let _ = writeln!(out, "\n{verdict}, {:.1} s after the start.", self.seconds);
        out.push_str(NEXT);
        out
    }

    fn matrix(&self, out: &mut String) {
        let mut sites: Vec<&str> = self
            .flows
            .list
            .iter()
            .map(|flow| flow.from.as_str())
            .collect();
        sites.dedup();
        let _ = write!(out, "  {:<10}", "");
        for site in &sites {
            let _ = write!(out, "{site:>16}");
        }
        let _ = writeln!(out);
        for from in &sites {
            let _ = write!(out, "  {from:<10}");
            for to in &sites {
                let flow = self
                    .flows
                    .list
                    .iter()
                    .find(|flow| flow.from == *from && flow.to == *to);
                let cell = match flow {
                    Some(flow) if flow.error.is_none() => flow.source.clone(),
                    Some(_) => "FAILED".to_owned(),
                    None => "-".to_owned(),
                };
                let _ = write!(out, "{cell:>16}");
            }
            let _ = writeln!(out);
        }
        for flow in &self.flows.list {
            if let Some(error) = &flow.error {
                let _ = writeln!(out, "  {} -> {}: {error}", flow.from, flow.to);
            }
        }
    }
}

/// What was built.
const TOPOLOGY: &str = "
  client .10 ── LAN ════ samctl onprem-a ══╗             ╔══ samctl azure-a ═══ fabric of ── client .12
               proxy ARP        onprem-b ══╣             ╠══        azure-b      Azure
                                           ╠═ WireGuard ═╣
  client .11 ── fabric ═ samctl aws-a ═════╣  and iBGP   ╠══ samctl oci-a ═════ fabric of ── client .13
                of AWS          aws-b ═════╝             ╚══        oci-b        OCI

  one subnet, 10.77.60.0/24, at four sites; each box is a network namespace of its own; b stands by for a
";

/// Where to look next.
const NEXT: &str = "
Next: `samctl demo --scenario all` lets things go wrong, `--list` says which; `samctl demo --keep` leaves it running
and says how to look inside (owners, explain, captures, bgp why, pcap …); README.md sets up two real machines;
engine/ARCHITECTURE.md says how it works.
";
