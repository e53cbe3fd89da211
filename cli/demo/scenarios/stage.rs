//! What a scenario has in its hands: the world, and what it reports.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::report::{ScenarioReport, Step, Verdict};
use super::{Options, Progress, Running, Scenario, Site, flows};
use crate::demo::report::Flows;
use crate::demo::sites::Router;

/// The acceptance limit for everything that fails over.
const RECOVERY: Duration = Duration::from_secs(60);
/// The acceptance limit for what is moved in order, where the provider moves it at once.
const MOVE: Duration = Duration::from_secs(1);

/// A scenario under way.
pub(super) struct Stage<'a> {
    /// The world.
    pub running: &'a mut Running,
    /// What is reported.
    pub report: ScenarioReport,
    quick: bool,
    progress: &'a mut Progress,
    began: Instant,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        scenario: &Scenario,
        running: &'a mut Running,
        progress: &'a mut Progress,
        options: Options,
    ) -> Self {
        progress.step(&format!("{}: {}", scenario.id, scenario.title));
        progress.step(&format!("  {}", scenario.does));
        Self {
            running,
            report: ScenarioReport::new(scenario),
            quick: options.quick,
            progress,
            began: Instant::now(),
        }
    }

    /// Chooses between what is specified and what does for a quick run.
    pub(super) fn choose<T>(&self, specified: T, quick: T) -> T {
        if self.quick { quick } else { specified }
    }

    /// Says what happens now.
    pub(super) fn say(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.progress.step(&format!("  {what}"));
        let at_s = self.began.elapsed().as_secs_f64();
        self.report.steps.push(Step { at_s, what });
    }

    /// Adds a claim.
    pub(super) fn claim(&mut self, name: &'static str, passed: bool, evidence: impl Into<String>) {
        self.report.assertions.push(Verdict {
            name,
            passed,
            evidence: evidence.into(),
            at_s: self.began.elapsed().as_secs_f64(),
        });
    }

    /// Claims that what was lost came back in time.
    pub(super) fn claim_recovery(&mut self, gap_ms: f64, of: &str) {
        let limit = RECOVERY.as_secs_f64() * 1000.0;
        let text = format!("{gap_ms:.0} ms without an answer, {of}");
        self.claim("failover_recovery_under_60s", gap_ms < limit, text);
    }

    /// Claims that what was moved in order was hardly missed.
    pub(super) fn claim_move(&mut self, gap_ms: f64, of: &str) {
        let limit = MOVE.as_secs_f64() * 1000.0;
        let text = format!("{gap_ms:.0} ms without an answer, {of}");
        self.claim("planned_move_under_1s", gap_ms < limit, text);
    }

    /// Waits for something, and returns how long that took.
    ///
    /// # Errors
    /// When it does not happen.
    pub(super) fn wait(
        &mut self,
        what: &str,
        holds: impl Fn(&Running) -> bool,
    ) -> Result<Duration> {
        self.running.wait(what, holds)
    }

    /// The same, where each change at a provider takes so much longer.
    ///
    /// # Errors
    /// When it does not happen.
    pub(super) fn wait_for_slow(
        &mut self,
        delay: Duration,
        what: &str,
        holds: impl Fn(&Running) -> bool,
    ) -> Result<Duration> {
        self.running.wait_for_slow(delay, what, holds)
    }

    /// Tries the flows between sites that a fault must leave alone, as soon as it is there.
    pub(super) fn try_at_once(&mut self, sites: &[Site]) {
        let flows = self.try_flows("at once", sites);
        keep_worse(&mut self.report.flows.at_once, flows);
    }

    /// Tries all flows while what is broken is so still, and others have taken over.
    pub(super) fn try_during(&mut self) {
        let flows = self.try_flows("meanwhile", &Site::ALL);
        keep_worse(&mut self.report.flows.during, flows);
    }

    fn try_flows(&mut self, when: &str, sites: &[Site]) -> Flows {
        let flows = flows::between(&self.running.lab, sites, None);
        let (passed, all) = (flows.passed, flows.list.len());
        self.say(format!("{when} {passed} of {all} flows pass"));
        flows
    }

    /// The router that a provider leads to.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn active(&self, site: Site) -> Result<Router> {
        let somewhere_else = Site::Onprem.client();
        let holder = self.running.cloud.holder(site, somewhere_else);
        holder.with_context(|| format!("nobody captures in {}", site.name()))
    }

    /// Waits until a router that was started has seen its interface and all routes, and leaves what it finds where it is;
    /// returns why.
    ///
    /// # Errors
    /// When it does not come to that.
    pub(super) fn wait_for_decision(&mut self, router: Router) -> Result<String> {
        self.wait("it has seen its provider and all routes", |running| {
            running.agreed() && reason_to_keep(running, router).is_some()
        })?;
        Ok(reason_to_keep(self.running, router).unwrap_or_default())
    }

    /// Claims the matrix: all flows before, during and after, and those at once that a fault must leave alone.
    pub(super) fn claim_flows(&mut self) {
        let phases = &self.report.flows;
        let full = |flows: &Flows| flows.failed == 0 && flows.passed == flows::ALL;
        let (at_once, during) = (phases.at_once.as_ref(), phases.during.as_ref());
        let passed = full(&phases.before)
            && full(&phases.after)
            && at_once.is_none_or(|flows| flows.failed == 0 && flows.passed > 0)
            && during.is_none_or(full);
        let text = |when: &str, flows: Option<&Flows>| {
            flows.map_or_else(String::new, |flows| {
                format!(", {} of {} {when}", flows.passed, flows.list.len())
            })
        };
        let meanwhile = text("at once", at_once) + &text("meanwhile", during);
        let evidence = format!(
            "{} of {} before{meanwhile}, {} after; each server saw the real source",
            phases.before.passed,
            flows::ALL,
            phases.after.passed
        );
        self.claim("directed_ping_ssh_matrix", passed, evidence);
    }

    /// Ends it.
    pub(super) fn conclude(self) -> ScenarioReport {
        let mut report = self.report;
        report.seconds = self.began.elapsed().as_secs_f64();
        report.passed = report.error.is_none()
            && !report.assertions.is_empty()
            && report.assertions.iter().all(|verdict| verdict.passed);
        report
    }
}

/// Keeps of two tries the one in which more failed.
fn keep_worse(kept: &mut Option<Flows>, flows: Flows) {
    if kept.as_ref().is_none_or(|kept| kept.failed <= flows.failed) {
        *kept = Some(flows);
    }
}

/// Why a router leaves the address of the client on the LAN where it is, once it has looked.
fn reason_to_keep(running: &Running, router: Router) -> Option<String> {
    let view = running.routers.view(router, "/v1/captures")?;
    let address = Site::Onprem.client().to_string();
    let mut rows = view["captures"].as_array()?.iter();
    let row = rows.find(|row| row["address"] == address)?;
    let is_left = row["want"] == "keep" || row["state"] == "waiting";
    let is_decided = is_left && view["nic"].is_object();
    is_decided.then(|| row["why"].as_str().unwrap_or_default().to_owned())
}
