//! D5 and D9: maintenance of routers in clouds; and a journal of the past.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::{Site, Stage};
use crate::demo::probes::Probes;
use crate::demo::random;
use crate::demo::running::Running;
use crate::demo::sites::Router;

pub(super) fn aws(stage: &mut Stage<'_>) -> Result<()> {
    let site = Site::Aws;
    let active = stage.active(site)?;
    let journal = fs::read_to_string(stage.running.routers.file(active, "captures.jsonl"))?;
    let since = stage.running.cloud.ledger(site).len();
    let lab = &stage.running.lab;
    let inward = Probes::start(lab.client(Site::Onprem), site.client())?;
    let outward = Probes::start(lab.client(site), Site::Onprem.client())?;
    stage.say(format!("{} is drained", active.name()));
    stage.running.routers.drain(active, true)?;
    stage.try_during();
    let moved = stage.wait("the drained router is empty", |running| {
        is_left(running, active)
    })?;
    let gap = inward.stop()?.gap_ms.max(outward.stop()?.gap_ms);
    stage.say(format!("empty after {} ms", moved.as_millis()));
    stage.claim_move(gap, "AWS to the LAN and back");
    claim_moved(stage, &[active]);
    let custody = stage.running.cloud.custody(site, since);
    stage.claim(
        "allow_reassignment_maintained_until_success",
        custody.gap.is_zero() && custody.given > 0,
        format!(
            "{} addresses moved, no moment without a holder: the ledger",
            custody.given
        ),
    );
    stage.running.routers.drain(active, false)?;
    replay(stage, active, &journal)
}

/// Restarts a router with a journal that ends with the intent to assign, as if it had crashed then.
fn replay(stage: &mut Stage<'_>, router: Router, journal: &str) -> Result<()> {
    let lines: Vec<&str> = journal.lines().collect();
    let is_intent = |line: &&str| {
        let takes = ["\"operation\":\"assign\"", "\"operation\":\"seize\""];
        line.contains("\"kind\":\"intent\"") && takes.iter().any(|takes| line.contains(takes))
    };
    let intent = lines.iter().rposition(is_intent);
    let intent = intent.context("the journal says of no assignment")?;
    stage.say(format!(
        "{} restarts with {} lines of its journal from before, of which the last one is an assignment under way",
        router.name(),
        intent + 1
    ));
    stage.running.routers.stop(router)?;
    let file = stage.running.routers.file(router, "captures.jsonl");
    fs::write(&file, lines[..=intent].join("\n") + "\n")?;
    let since = stage.running.cloud.ledger(router.site).len();
    let calls = stage.running.cloud.calls(router)?;
    let running = &mut *stage.running;
    running.routers.start(&running.lab, router)?;
    let why = stage.wait_for_decision(router)?;
    let calls = stage.running.cloud.calls(router)? - calls;
    let ledger = stage.running.cloud.ledger(router.site);
    let changes = ledger.iter().skip(since);
    let changes = changes.filter(|record| record.principal == router.instance());
    let changes = changes.count();
    stage.claim(
        "stale_action_fenced",
        changes == 0 && calls > 0,
        format!("skipped: {why}; {calls} calls to look, {changes} changes"),
    );
    Ok(())
}

pub(super) fn everywhere(stage: &mut Stage<'_>) -> Result<()> {
    let active = Site::CLOUDS.map(|site| stage.active(site));
    let active: Vec<Router> = active.into_iter().collect::<Result<_>>()?;
    let longest = stage.choose(Duration::from_secs(10), Duration::from_secs(2));
    for (site, random) in Site::CLOUDS.into_iter().zip(random()?) {
        let milliseconds = (longest * u32::from(random) / 255).as_millis();
        stage.say(format!(
            "changes in {} take {milliseconds} ms more",
            site.name()
        ));
        stage.running.cloud.disturb(&json!({
            "provider": site.name(), "operation": change(site), "effect": {"delay": {"beforeMs": milliseconds}},
        }))?;
    }
    let lab = &stage.running.lab;
    let probes = Probes::start(lab.client(Site::Onprem), Site::Oci.client())?;
    for router in &active {
        stage.running.routers.drain(*router, true)?;
    }
    stage.say("all three are drained");
    // Azure takes addresses off one interface before it puts them on the other.
    stage.try_at_once(&[Site::Onprem, Site::Aws, Site::Oci]);
    let moved = stage.wait_for_slow(longest, "the drained routers are empty", |running| {
        active.iter().all(|router| is_left(running, *router))
    })?;
    stage.say(format!("empty after {} ms", moved.as_millis()));
    let loss = probes.stop()?;
    stage.claim_move(loss.gap_ms, "the LAN to OCI");
    claim_moved(stage, &active);
    stage.try_during();
    for router in &active {
        stage.running.routers.drain(*router, false)?;
    }
    Ok(())
}

/// The operation that moves addresses at a provider.
pub(super) const fn change(site: Site) -> &'static str {
    match site {
        Site::Onprem | Site::Aws => "AssignPrivateIpAddresses",
        Site::Azure => "PutNetworkInterface",
        Site::Oci => "UpdatePrivateIp",
    }
}

fn is_left(running: &Running, router: Router) -> bool {
    let view = running.routers.view(router, "/v1/drain");
    view.is_some_and(|view| view["empty"] == true) && running.captured()
}

fn claim_moved(stage: &mut Stage<'_>, former: &[Router]) {
    let cloud = &stage.running.cloud;
    let left: usize = former
        .iter()
        .map(|router| cloud.captured(*router).len())
        .sum();
    let names: Vec<String> = former.iter().map(|router| router.name()).collect();
    let complete = former.iter().all(|router| {
        let wanted = stage.running.homes.iter();
        let wanted = wanted.filter(|(_, home)| **home != router.site);
        let captured = cloud.captured(router.sibling());
        wanted
            .into_iter()
            .all(|(address, _)| captured.contains(address))
    });
    let siblings: Vec<String> = former
        .iter()
        .map(|router| router.sibling().name())
        .collect();
    stage.claim(
        "capture_moved",
        complete,
        format!("{} holds what lives elsewhere", siblings.join(", ")),
    );
    stage.claim(
        "old_holder_residue_absent",
        left == 0,
        format!("{left} addresses are left on {}", names.join(", ")),
    );
}
