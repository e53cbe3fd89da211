//! The acceptance scenarios D1 to D10: what each does, and how they are run one after the other in one world.
//!
//! Each finds out by itself who is active where, and leaves behind a world in which everything works.

mod drain;
mod master_loss;
mod matrix;
mod proxy_arp;
mod reflection;
mod report;
mod restart;
mod stage;
mod stopped;

use std::time::Instant;

use anyhow::Result;

pub use report::{ScenarioReport, ScenariosReport};

use super::progress::Progress;
use super::running::Running;
use super::sites::Site;
use super::{Options, evidence, explain_how_to_look_around, flows, privileges};
use stage::Stage;

/// A scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// `D1` to `D10`.
    pub id: &'static str,
    /// In a few words.
    pub title: &'static str,
    /// What it does, before it does it.
    pub does: &'static str,
    run: fn(&mut Stage<'_>) -> Result<()>,
}

/// All scenarios.
pub const SCENARIOS: [Scenario; 10] = [
    Scenario {
        id: "D1",
        title: "an address appears by itself",
        does: "A host that nobody wrote down sends one ARP request on the LAN. All routers must know where it lives, the \
               clouds must lead to it, and their clients must reach it.",
        run: reflection::run,
    },
    Scenario {
        id: "D2",
        title: "proxy ARP on the LAN",
        does: "The client on the LAN asks who has the other sites' addresses. Exactly one router must answer, the master; \
               the backup must be silent.",
        run: proxy_arp::run,
    },
    Scenario {
        id: "D3",
        title: "four sites, twelve flows",
        does: "Each client connects to each other one, by ssh too where it is installed (not with --quick). Packet sockets \
               at all ends must see the real sources, no translation, and nothing in clear.",
        run: matrix::run,
    },
    Scenario {
        id: "D4",
        title: "the master on the LAN is killed",
        does: "The master's process is killed (SIGKILL). The backup must answer, never both; the killed one must come back as \
               backup.",
        run: master_loss::killed,
    },
    Scenario {
        id: "D5",
        title: "maintenance in AWS",
        does: "The active router in AWS is drained. The standby must take everything over without a moment in which nobody \
               has an address. Then the former one is restarted with a journal that ends before it assigned: it must change \
               nothing. (Routers have no epochs any more: a change is fenced by owner, next hop and sequence.)",
        run: drain::aws,
    },
    Scenario {
        id: "D6",
        title: "the active machine in Azure stops",
        does: "Process and machine of the active router in Azure stop at once. The standby must take the addresses off its \
               interface and put them on its own, and must repeat that when Azure refuses it once with 409.",
        run: stopped::azure,
    },
    Scenario {
        id: "D7",
        title: "the active machine in OCI stops",
        does: "Process and machine of the active router in OCI stop at once, while each change there takes 30 s more (2 s with \
               --quick). The standby must move the addresses to its own interface.",
        run: stopped::oci,
    },
    Scenario {
        id: "D8",
        title: "the machine of the master on the LAN stops",
        does: "All cables of the master's machine are pulled; when it is back, the new master is frozen (SIGSTOP). Each time \
               the backup must be noticed by the LAN within seconds: one answer, no broadcast storm, no address that flaps. \
               The former one must come back as backup.",
        run: master_loss::stopped,
    },
    Scenario {
        id: "D9",
        title: "maintenance in all clouds at once",
        does: "The active routers of all three clouds are drained in the same second, while changes there take up to 10 s \
               more (2 s with --quick), each another time. One router of each cloud must hold everything afterwards.",
        run: drain::everywhere,
    },
    Scenario {
        id: "D10",
        title: "everything restarts",
        does: "All eight routers stop and start, twenty times (three times with --quick): in order, then killed, then killed \
               and with journals that say everything twice. (There are no heartbeats to stop any more.) Owners and holders \
               must be the same, and nothing may be assigned twice.",
        run: restart::run,
    },
];

/// Finds scenarios by their ids; `all` is all of them.
///
/// # Errors
/// The first id that there is not.
pub fn find(ids: &[String]) -> Result<Vec<Scenario>, String> {
    let is_known = |id: &&String| {
        let mut all = SCENARIOS.iter();
        id.as_str() == "all" || all.any(|known| known.id.eq_ignore_ascii_case(id))
    };
    if let Some(unknown) = ids.iter().find(|id| !is_known(id)) {
        return Err(unknown.clone());
    }
    let is_wanted = |scenario: &Scenario| {
        let mut ids = ids.iter();
        ids.any(|id| id == "all" || scenario.id.eq_ignore_ascii_case(id))
    };
    Ok(SCENARIOS.into_iter().filter(is_wanted).collect())
}

/// Runs scenarios; `announce` gets the report as soon as it is complete. After one that broke, the rest is not run.
///
/// # Errors
/// What is missing on this machine, or what did not come up.
pub fn run(
    scenarios: &[Scenario],
    options: Options,
    announce: impl FnOnce(&ScenariosReport),
) -> Result<ScenariosReport> {
    privileges::prepare()?;
    let start = Instant::now();
    let mut progress = Progress::new(options.progress);
    let mut running = Running::start(&mut progress)?;
    running.settle()?;
    let mut report = ScenariosReport {
        quick: options.quick,
        ..ScenariosReport::default()
    };
    for scenario in scenarios {
        let stage = Stage::new(scenario, &mut running, &mut progress, options);
        let outcome = perform(scenario, stage);
        let broken = outcome.error.is_some();
        report.scenarios.push(outcome);
        if broken {
            break;
        }
    }
    report.seconds = start.elapsed().as_secs_f64();
    report.passed = report.scenarios.len() == scenarios.len()
        && report.scenarios.iter().all(|scenario| scenario.passed);
    announce(&report);
    if options.keep {
        explain_how_to_look_around(&running);
        running.routers.wait_for_signal();
    }
    running.routers.stop_all();
    Ok(report)
}

fn perform(scenario: &Scenario, mut stage: Stage<'_>) -> ScenarioReport {
    if let Err(error) = act(scenario, &mut stage) {
        stage.report.error = Some(format!("{error:#}"));
    }
    stage.conclude()
}

/// Flows before, the scenario itself with flows meanwhile, flows after.
fn act(scenario: &Scenario, stage: &mut Stage<'_>) -> Result<()> {
    let gateways = evidence::default_gateways(&stage.running.lab)?;
    stage.report.flows.before = flows::between(&stage.running.lab, &Site::ALL, None);
    (scenario.run)(stage)?;
    stage.running.cloud.calm()?;
    stage.running.settle()?;
    stage.report.flows.after = flows::between(&stage.running.lab, &Site::ALL, None);
    let (same, text) = evidence::same_gateways(&stage.running.lab, &gateways);
    stage.claim("default_gateway_unchanged", same, text);
    stage.claim_flows();
    Ok(())
}
