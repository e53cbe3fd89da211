//! What a run measures: what the environment asks for, less what this machine cannot do.

use anyhow::Result;

use crate::cases::Case;
use crate::offloads::Offloads;
use crate::results::{Named, Results};
use crate::selection::{Wanted, number};
use crate::systems::{System, installed};

/// What is measured.
pub(crate) struct Plan {
    pub(crate) systems: Vec<&'static System>,
    cases: Vec<&'static Case>,
    pub(crate) offloads: Vec<&'static Offloads>,
    pub(crate) moments: bool,
}

impl Plan {
    /// What this machine can do, of what is asked for; the rest is named.
    pub(crate) fn of_the_environment(results: &mut Results) -> Result<Self> {
        let skipped = &mut results.skipped;
        let names: Vec<&str> = System::ALL.iter().map(|system| system.name).collect();
        let systems = wanted("BENCH_SYSTEMS", &names)?.choose(
            System::ALL,
            |system| system.name,
            System::missing,
            skipped,
        );
        let mut names: Vec<&str> = Case::ALL.iter().map(|case| case.name()).collect();
        names.push(MOMENTS);
        let wanted_cases = wanted("BENCH_CASES", &names)?;
        let cases = wanted_cases.choose(&Case::ALL, |case| case.name(), |_| None, skipped);
        let moments = wanted_cases.choose(&[MOMENTS], |name| name, |_| None, skipped);
        let names: Vec<&str> = Offloads::ALL.iter().map(|choice| choice.name()).collect();
        let offloads = wanted("BENCH_OFFLOADS", &names)?.choose(
            &Offloads::ALL,
            |choice| choice.name(),
            |choice| {
                let possible = choice.features().is_empty() || installed("ethtool");
                (!possible).then(|| "ethtool is not installed".to_owned())
            },
            skipped,
        );
        for (reason, names) in results.skipped_by_reason() {
            eprintln!("not run: {}: {reason}", names.join(", "));
        }
        for system in &systems {
            results.systems.push(Named {
                name: system.name.to_owned(),
                text: system.version(),
            });
        }
        Ok(Self {
            systems,
            cases,
            offloads,
            moments: !moments.is_empty(),
        })
    }

    /// Cases that are of interest with some offloads, and names of those that are not.
    pub(crate) fn cases_with(&self, offloads: Offloads) -> (Vec<Case>, Vec<String>) {
        let (run, left_out): (Vec<Case>, Vec<Case>) = self
            .cases
            .iter()
            .copied()
            .partition(|case| case.runs_with(offloads));
        let names = left_out.iter().map(|case| case.name().to_owned());
        (run, names.collect())
    }
}

/// What a list in the environment asks for, of what there is.
fn wanted(variable: &'static str, known: &[&str]) -> Result<Wanted> {
    Wanted::parse(variable, environment(variable).as_deref(), known)
}

/// What a number in the environment is.
pub(crate) fn count(variable: &str, default: u32) -> Result<u32> {
    number(variable, environment(variable).as_deref(), default)
}

fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// The case that is of samctl alone.
const MOMENTS: &str = "moments";
