//! D6 and D7: the active router of a cloud stops with its machine.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::drain::change;
use super::{Site, Stage};
use crate::demo::probes::Probes;
use crate::demo::sites::Router;

pub(super) fn azure(stage: &mut Stage<'_>) -> Result<()> {
    let standby = stage.active(Site::Azure)?.sibling();
    // The first change takes the addresses off the stopped machine, the second one puts them on our own.
    let fault = json!({
        "provider": "azure", "operation": change(Site::Azure), "principal": standby.instance(), "skip": 1, "times": 1,
        "effect": {"refuse": {"status": 409, "code": "AnotherOperationInProgress"}},
    });
    stop(stage, Site::Azure, &fault, Duration::ZERO)?;
    let used_up = stage.running.cloud.faults()? == 0;
    stage.claim(
        "refused_change_repeated",
        used_up,
        "the second change was refused with 409, and done all the same",
    );
    Ok(())
}

pub(super) fn oci(stage: &mut Stage<'_>) -> Result<()> {
    let delay = stage.choose(Duration::from_secs(30), Duration::from_secs(2));
    let fault = json!({
        "provider": "oci", "operation": change(Site::Oci), "effect": {"delay": {"beforeMs": delay.as_millis()}},
    });
    stop(stage, Site::Oci, &fault, delay)
}

fn stop(stage: &mut Stage<'_>, site: Site, fault: &Value, delay: Duration) -> Result<()> {
    let active = stage.active(site)?;
    let standby = active.sibling();
    let since = stage.running.cloud.ledger(site).len();
    stage.running.cloud.disturb(fault)?;
    let probes = Probes::start(stage.running.lab.client(site), Site::Onprem.client())?;
    stage.say(format!("{} stops with its machine", active.name()));
    stage.running.routers.kill(active)?;
    stage.running.cloud.set_running(active, false)?;
    let others = Site::ALL.into_iter().filter(|other| *other != site);
    stage.try_at_once(&others.collect::<Vec<_>>());
    let seized = stage.wait_for_slow(delay, "the standby holds everything", |running| {
        let mut elsewhere = running.homes.iter().filter(|(_, home)| **home != site);
        elsewhere.all(|(address, _)| running.cloud.holder(site, *address) == Some(standby))
    })?;
    stage.say(format!(
        "{} holds everything {} ms later",
        standby.name(),
        seized.as_millis()
    ));
    let loss = probes.stop()?;
    stage.claim_recovery(loss.gap_ms, &format!("{} to the LAN", site.name()));
    let left = stage.running.cloud.captured(active).len();
    stage.claim(
        "old_holder_residue_absent",
        left == 0,
        format!("{left} addresses are left on {}", active.name()),
    );
    let custody = stage.running.cloud.custody(site, since);
    let atomic = site != Site::Azure;
    stage.claim(
        "single_holder",
        custody.given > 0 && (custody.gap.is_zero() || !atomic),
        format!(
            "{} addresses moved, never on two interfaces, on none for {} ms",
            custody.given,
            custody.gap.as_millis()
        ),
    );
    stage.try_during();
    come_back(stage, active)
}

/// What the standby took it keeps.
fn come_back(stage: &mut Stage<'_>, former: Router) -> Result<()> {
    stage.say(format!("{} comes back", former.name()));
    stage.running.cloud.set_running(former, true)?;
    let running = &mut *stage.running;
    running.routers.start(&running.lab, former)?;
    let why = stage.wait_for_decision(former)?;
    let holder = stage.active(former.site)?;
    stage.claim(
        "no_preempt",
        holder == former.sibling(),
        format!("{} keeps what it took: {why}", holder.name()),
    );
    Ok(())
}
