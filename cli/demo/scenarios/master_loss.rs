//! D4 and D8: the master on the LAN is lost, and comes back as backup.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::proxy_arp::mac;
use super::{Site, Stage};
use crate::demo::arp;
use crate::demo::probes::Probes;
use crate::demo::running::PATIENCE;
use crate::demo::sites::Router;

/// How long answers are waited for.
const WINDOW: Duration = Duration::from_millis(40);
/// How long the former master could take the role back, if it did; a second without advertisements suffices for that.
const WATCH: Duration = Duration::from_secs(3);
const QUICK_WATCH: Duration = Duration::from_millis(1500);
/// Frames to everybody in a second.
const STORM: f64 = 100.0;

/// What happens to the master.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Unplug,
    Freeze,
}

pub(super) fn killed(stage: &mut Stage<'_>) -> Result<()> {
    lose(stage, Fault::Kill)
}

pub(super) fn stopped(stage: &mut Stage<'_>) -> Result<()> {
    lose(stage, Fault::Unplug)?;
    stage.running.settle()?;
    lose(stage, Fault::Freeze)
}

fn lose(stage: &mut Stage<'_>, fault: Fault) -> Result<()> {
    let master = stage
        .running
        .routers
        .master()
        .context("no master on the LAN")?;
    let follower = master.sibling();
    let client = stage.running.lab.client(Site::Onprem);
    let probes = Probes::start(client, Site::Aws.client())?;
    let name = master.name();
    let what = match fault {
        Fault::Kill => format!("{name} is killed"),
        Fault::Unplug => format!("the cables of {name} are pulled"),
        Fault::Freeze => format!("{name} is frozen"),
    };
    stage.say(format!("{what}, {} is its backup", follower.name()));
    let successor = mac(stage, follower)?;
    let former = mac(stage, master)?;
    let at = Instant::now();
    match fault {
        Fault::Kill => stage.running.routers.kill(master)?,
        Fault::Unplug => stage.running.lab.set_cables(master, false)?,
        Fault::Freeze => stage.running.routers.freeze(master)?,
    }
    let takeover = watch(stage, follower, [former, successor], at)?;
    stage.try_at_once(&Site::CLOUDS);
    stage.wait("the client on the LAN reaches AWS", |running| {
        running
            .routers
            .agree_but(master, Site::Onprem.client(), Site::Onprem)
    })?;
    let loss = probes.stop()?;
    stage.claim(
        "failover_stages",
        true,
        format!(
            "detection {} ms, switchover {} ms, recovery {:.0} ms",
            takeover.detected.as_millis(),
            takeover.answered.as_millis(),
            loss.gap_ms
        ),
    );
    stage.claim_recovery(loss.gap_ms, "LAN to AWS");
    takeover.claim(stage);
    stage.try_during();
    come_back(stage, master, fault, successor)
}

/// What was seen of a takeover.
struct Takeover {
    detected: Duration,
    answered: Duration,
    questions: usize,
    /// Questions with several answers.
    doubled: usize,
    /// How often another one answered than before.
    changes: usize,
    broadcasts_per_second: f64,
}

/// Asks again and again who has an address of another site, until the successor answers.
fn watch(
    stage: &Stage<'_>,
    follower: Router,
    [former, successor]: [arp::Mac; 2],
    at: Instant,
) -> Result<Takeover> {
    let client = stage.running.lab.client(Site::Onprem);
    let mut seen = Takeover {
        detected: Duration::ZERO,
        answered: Duration::ZERO,
        questions: 0,
        doubled: 0,
        changes: 0,
        broadcasts_per_second: 0.0,
    };
    let (mut last, mut broadcasts) = (former, 0);
    while at.elapsed() < PATIENCE {
        let heard = arp::ask(client, Site::Onprem.client(), Site::Aws.client(), WINDOW)?;
        seen.questions += 1;
        seen.doubled += usize::from(heard.answers.len() > 1);
        broadcasts += heard.broadcasts;
        for mac in heard.answers {
            seen.changes += usize::from(mac != last);
            last = mac;
        }
        if seen.detected.is_zero() && stage.running.routers.is_master(follower) {
            seen.detected = at.elapsed();
        }
        if last == successor && !seen.detected.is_zero() {
            seen.answered = at.elapsed();
            #[expect(clippy::cast_precision_loss, reason = "a few frames")]
            let frames = broadcasts as f64;
            seen.broadcasts_per_second = frames / seen.answered.as_secs_f64();
            return Ok(seen);
        }
    }
    bail!("{} does not answer on the LAN", follower.name())
}

impl Takeover {
    fn claim(&self, stage: &mut Stage<'_>) {
        let (questions, doubled) = (self.questions, self.doubled);
        stage.claim(
            "single_capture_master",
            doubled == 0,
            format!("{doubled} of {questions} ARP requests got two answers"),
        );
        stage.claim(
            "mac_flap_absent",
            self.changes == 1,
            format!("the answers changed {} time", self.changes),
        );
        let rate = self.broadcasts_per_second;
        stage.claim(
            "broadcast_storm_absent",
            rate < STORM,
            format!("{rate:.0} broadcasts a second at the client"),
        );
    }
}

/// Without preemption the role stays where it is.
fn come_back(
    stage: &mut Stage<'_>,
    former: Router,
    fault: Fault,
    successor: arp::Mac,
) -> Result<()> {
    stage.say(format!("{} comes back", former.name()));
    match fault {
        Fault::Kill => {
            let running = &mut *stage.running;
            running.routers.start(&running.lab, former)?;
        }
        Fault::Unplug => stage.running.lab.set_cables(former, true)?,
        Fault::Freeze => stage.running.routers.thaw(former)?,
    }
    let follower = former.sibling();
    stage.wait("the former master is backup", |running| {
        running.routers.master() == Some(follower)
            && running.routers.role(former).as_deref() == Some("backup")
    })?;
    let client = stage.running.lab.client(Site::Onprem);
    let watch = stage.choose(WATCH, QUICK_WATCH);
    let (since, mut questions, mut others) = (Instant::now(), 0, 0);
    while since.elapsed() < watch {
        let heard = arp::ask(client, Site::Onprem.client(), Site::Aws.client(), WINDOW)?;
        questions += 1;
        others += usize::from(heard.answers.iter().any(|mac| *mac != successor));
    }
    let kept = stage.running.routers.master() == Some(follower);
    stage.claim(
        "no_preempt",
        kept && others == 0,
        format!(
            "{} is master still, {:.1} s later; {others} of {questions} ARP requests were answered by another one",
            follower.name(),
            watch.as_secs_f64()
        ),
    );
    Ok(())
}
