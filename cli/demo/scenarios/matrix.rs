//! D3: twelve directed flows, and the evidence of packet sockets.

use anyhow::{Result, anyhow};

use super::{Site, Stage, evidence, flows};
use crate::demo::evidence::Witnesses;
use crate::demo::report::Report;
use crate::demo::ssh::Ssh;

pub(super) fn run(stage: &mut Stage<'_>) -> Result<()> {
    let gateways = evidence::default_gateways(&stage.running.lab)?;
    let witnesses = Witnesses::start(&stage.running.lab)?;
    let ssh = stage.choose(true, false).then(|| stage.running.ssh());
    let ssh = ssh.unwrap_or_else(|| Err(anyhow!("not with --quick")));
    stage.say(format!("ssh: {}", Ssh::remark(&ssh)));
    let mut seen = Report {
        flows: flows::between(&stage.running.lab, &Site::ALL, ssh.as_ref().ok()),
        ..Report::default()
    };
    evidence::collect(stage.running, &witnesses, &gateways, &mut seen);
    stage.report.flows.during = Some(seen.flows);
    // Said of all phases in the end.
    let said_later = ["directed_ping_ssh_matrix", "default_gateway_unchanged"];
    for claim in seen.assertions {
        if !said_later.contains(&claim.name) {
            stage.claim(claim.name, claim.passed, claim.evidence);
        }
    }
    Ok(())
}
