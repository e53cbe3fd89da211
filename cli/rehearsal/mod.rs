//! The capture part of a configuration against a fake of its cloud: what is planned, taken, left alone, taken over and
//! given back, and each change that this makes at the provider.
//!
//! Reconciler, clients and wires are the router's own; only the clock is not: waits are skipped, calls are real.

mod lab;
mod reconciler;
mod report;
mod trouble;

use std::time::Duration;

use sam_capture::plan::Mode;
use sam_router::config::Config;

use self::lab::{Lab, Site};
use self::reconciler::{Reconciler, Whereabouts};
pub use self::report::{ChangeRow, OrderRow, PermissionRow, Rehearsal, StepRow};
pub use self::trouble::Trouble;
use crate::exit::Failure;

/// A rehearsal under way.
struct Stage {
    site: Site,
    lab: Lab,
    reconciler: Reconciler,
    /// Changes of the ledger that belong to former steps.
    seen: usize,
    steps: Vec<StepRow>,
}

/// What a step may change at the provider.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Nothing,
    OurNic,
    BothNics,
}

/// How long the other router's death and its presence are watched, in skipped time.
const WATCHED: Duration = Duration::from_secs(120);

/// Rehearses a configuration, with what goes wrong on order.
///
/// # Errors
/// When the configuration captures in no cloud, or cannot be put on a stage.
pub fn rehearse(config: &Config, troubles: &[Trouble]) -> Result<Rehearsal, Failure> {
    let site = Site::of(config)?;
    let lab = Lab::serve(&site, troubles)?;
    let reconciler = Reconciler::new(config, &site, lab.client(&site, &site.own)?)?;
    let mut stage = Stage {
        site,
        lab,
        reconciler,
        seen: 0,
        steps: Vec::new(),
    };
    stage.play(troubles)?;
    let Stage {
        site,
        reconciler,
        steps,
        ..
    } = stage;
    Ok(Rehearsal {
        provider: site.provider.name().to_owned(),
        node: site.own.name,
        nic: site.own.nic.0,
        invented: site.invented,
        faults: troubles.iter().map(|trouble| trouble.name()).collect(),
        permissions: reconciler.permissions(),
        passed: steps.iter().all(|step| step.passed),
        steps,
    })
}

impl Stage {
    fn play(&mut self, troubles: &[Trouble]) -> Result<(), Failure> {
        let [first, second, third] = self.site.addresses;
        let elsewhere = Whereabouts::Elsewhere;
        self.reconciler.set_home(&[first, second], elsewhere);
        let planned = self.reconciler.until(Reconciler::has_planned);
        let said = format!("takes {first} and {second}, which live elsewhere: says so only");
        self.end("plan", said, planned, Scope::Nothing);

        self.lab.disturb(&self.site, troubles);
        self.reconciler.set_mode(Mode::Auto);
        let taken = self.reconciler.until_held(&[first, second]);
        let said = format!("takes {first} and {second}");
        self.end("assign", said, taken, Scope::OurNic);

        self.reconciler.set_home(&[first], Whereabouts::Here);
        let given = self.reconciler.until_held(&[second]);
        let said = format!("{first} lives here now: gives it back, keeps {second}");
        self.end("release", said, given, Scope::OurNic);

        self.lab.let_other_hold(&self.site, third)?;
        self.seen = self.lab.changes(&self.site).len();
        self.reconciler.set_home(&[third], elsewhere);
        self.reconciler.pass(WATCHED);
        let left = self.lab.addresses(&self.site.other).contains(&third);
        let said = format!(
            "{third} is with {}, which is there: leaves it",
            self.site.other.name
        );
        self.end("leave", said, left, Scope::Nothing);

        self.lab.stop(&self.site.other);
        self.reconciler.set_other_there(false);
        let seized = self.reconciler.until_held(&[second, third]);
        let said = format!("{} is dead: takes {third} over", self.site.other.name);
        self.end("seize", said, seized, Scope::BothNics);

        self.reconciler.release_all();
        let restored = self.reconciler.until_restored();
        let said = "gives everything back by order, forwarding as it was before".to_owned();
        self.end("restore", said, restored, Scope::OurNic);
        Ok(())
    }

    /// Ends a step: what the reconciler believes must be so at the provider, and nothing else may have changed.
    fn end(&mut self, name: &'static str, said: String, reached: bool, scope: Scope) {
        let all = self.lab.changes(&self.site);
        let changes: Vec<ChangeRow> = all[self.seen..].to_vec();
        self.seen = all.len();
        let allowed = |change: &&ChangeRow| match scope {
            Scope::Nothing => false,
            Scope::OurNic => change.nic == self.site.own.short(),
            Scope::BothNics => true,
        };
        let trespass = changes.iter().find(|change| !allowed(change));
        let differs = self.reconciler.held() != self.lab.addresses(&self.site.own);
        let why = if let Some(change) = trespass {
            Some(format!(
                "{} was changed by {}",
                change.nic, change.operation
            ))
        } else if !reached {
            Some(self.reconciler.obstacle())
        } else if differs {
            Some("the interface is not as the router believes".to_owned())
        } else {
            None
        };
        let (orders, took) = self.reconciler.take_orders();
        self.steps.push(StepRow {
            step: name.to_owned(),
            what: said,
            passed: why.is_none(),
            why,
            takes_s: took.as_secs_f64(),
            planned: self.reconciler.plans(),
            orders,
            changes,
        });
    }
}
