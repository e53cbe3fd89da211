//! What a run gave, as written to `throughput.json`; tables and picture are made from it and nothing else.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// A run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Day of the run (UTC).
    pub(crate) date: String,
    /// Processors and kernel.
    pub(crate) machine: String,
    /// `release`, or `debug` for a look only.
    pub(crate) build: String,
    /// Measurements of each.
    pub(crate) rounds: u32,
    /// Length of each, in seconds.
    pub(crate) seconds: u32,
    /// Processes that wanted to run when the run began (the one-minute load average of the kernel).
    #[serde(default)]
    pub(crate) load: Option<f64>,
    /// Largest inner packet of all systems, in bytes.
    pub(crate) inner_mtu: u32,
    /// Largest packet between the routers, in bytes.
    pub(crate) outer_mtu: u32,
    /// Systems that ran, with their versions.
    pub(crate) systems: Vec<Named>,
    /// Settings of the links.
    pub(crate) offloads: Vec<Setting>,
    /// Of these, those that another run measured, by their titles, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) joined: Vec<Named>,
    /// What did not run, and why: not asked for, not installed, failed.
    pub(crate) skipped: Vec<Named>,
    /// All measurements.
    pub(crate) samples: Vec<Sample>,
    /// Times and sizes of samctl alone.
    pub(crate) moments: Vec<Moment>,
}

/// A name and what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A setting of the links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// Its name in the samples.
    pub(crate) name: String,
    /// Its name for people.
    pub(crate) title: String,
    /// What ethtool said of each link of a router.
    pub(crate) links: Vec<String>,
    /// Cases that are measured with other settings only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) left_out: Vec<String>,
}

/// One measurement.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) round: u32,
    pub(crate) offloads: String,
    pub(crate) case: String,
    pub(crate) system: String,
    /// What was measured, by its name with unit.
    pub(crate) values: std::collections::BTreeMap<String, f64>,
}

/// A time or size of samctl alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Moment {
    pub(crate) name: String,
    pub(crate) median: f64,
    pub(crate) unit: String,
}

impl Results {
    /// When, where and how it was measured; a run too short to compare by says so.
    pub(crate) fn method(&self) -> String {
        let smoke = if self.rounds < 3 || self.seconds < 4 || self.build != "release" {
            " – a smoke run, too short to compare by"
        } else {
            ""
        };
        let joined = by_text(&self.joined).into_iter();
        let joined = joined.map(|(run, titles)| format!("; {run}: {}", titles.join(" / ")));
        format!(
            "{}: {}, {} build{}; medians of {} × {} s{smoke}{}",
            self.date,
            self.machine,
            self.build,
            self.load_in_words(),
            self.rounds,
            self.seconds,
            joined.collect::<String>()
        )
    }

    fn load_in_words(&self) -> String {
        self.load
            .map_or_else(String::new, |load| format!(", load {load:.1} at the start"))
    }

    /// What did not run by its reason, both in the order of their first appearance.
    pub(crate) fn skipped_by_reason(&self) -> Vec<(&str, Vec<&str>)> {
        by_text(&self.skipped)
    }

    /// The values of one kind, in the order of rounds.
    pub(crate) fn values(&self, key: Key<'_>, system: &str) -> Vec<(u32, f64)> {
        self.samples
            .iter()
            .filter(|sample| {
                sample.offloads == key.offloads
                    && sample.case == key.case
                    && sample.system == system
            })
            .filter_map(|sample| Some((sample.round, *sample.values.get(key.value)?)))
            .collect()
    }

    /// Their median.
    pub(crate) fn median(&self, key: Key<'_>, system: &str) -> Option<f64> {
        let values = self.values(key, system);
        median(values.into_iter().map(|(_, value)| value).collect())
    }

    /// Median of the ratios of two systems in the same round.
    pub(crate) fn ratio(&self, key: Key<'_>, system: &str, other: &str) -> Option<f64> {
        let pairs = self.pairs(key, system, other).into_iter();
        let ratios = pairs.filter(|(_, other)| *other > 0.0);
        median(ratios.map(|(value, other)| value / other).collect())
    }

    /// Median of the differences of two systems in the same round.
    pub(crate) fn difference(&self, key: Key<'_>, system: &str, other: &str) -> Option<f64> {
        let pairs = self.pairs(key, system, other).into_iter();
        median(pairs.map(|(value, other)| value - other).collect())
    }

    /// The values of two systems in the same round.
    fn pairs(&self, key: Key<'_>, system: &str, other: &str) -> Vec<(f64, f64)> {
        let others = self.values(key, other);
        let values = self.values(key, system).into_iter();
        let pairs = values.filter_map(|(round, value)| {
            let (_, other) = others.iter().find(|(found, _)| *found == round)?;
            Some((value, *other))
        });
        pairs.collect()
    }

    /// Adds what another run measured with settings of the links that this one left out.
    ///
    /// # Errors
    /// When the two cannot stand in one table: another machine, build, MTU or version of a system, or longer or more
    /// measurements.
    pub(crate) fn add(&mut self, other: Self) -> Result<()> {
        self.ensure_alike(&other)?;
        let is_known = |name: &str| self.offloads.iter().any(|known| known.name == name);
        let settings = other.offloads.iter();
        let new: Vec<Setting> = settings
            .filter(|setting| !is_known(&setting.name))
            .cloned()
            .collect();
        let is_new = |name: &str| new.iter().any(|setting| setting.name == name);
        self.skipped.retain(|skipped| !is_new(&skipped.name));
        let failures = other.skipped.iter();
        let failures =
            failures.filter(|skipped| new.iter().any(|setting| setting.is_of(&skipped.name)));
        self.skipped.extend(failures.cloned());
        let run = format!("{}{}", other.date, other.load_in_words());
        for system in &self.systems {
            if find(&other.systems, &system.name).is_none() {
                let reason = find(&other.skipped, &system.name);
                let text = reason.map_or_else(|| format!("not in the run of {run}"), str::to_owned);
                self.skipped.extend(new.iter().map(|setting| Named {
                    name: format!("{} with {}", system.name, setting.title),
                    text: text.clone(),
                }));
            }
        }
        self.joined.extend(new.iter().map(|setting| {
            Named {
                name: setting.title.clone(),
                text: find(&other.joined, &setting.title)
                    .unwrap_or(&run)
                    .to_owned(),
            }
        }));
        let samples = other.samples.into_iter();
        self.samples
            .extend(samples.filter(|sample| is_new(&sample.offloads)));
        self.offloads.extend(new);
        Ok(())
    }

    fn ensure_alike(&self, other: &Self) -> Result<()> {
        let kind = |run: &Self| {
            let machine = (run.machine.clone(), run.build.clone());
            let sizes = (run.inner_mtu, run.outer_mtu);
            (machine, sizes, run.rounds, run.seconds)
        };
        let (own, others) = (kind(self), kind(other));
        ensure!(
            own == others,
            "a run of another kind: {others:?}, not {own:?}"
        );
        for Named { name, text } in &self.systems {
            let version = find(&other.systems, name).unwrap_or(text);
            ensure!(
                version == text,
                "a run of another {name}: {version}, not {text}"
            );
        }
        Ok(())
    }
}

impl Setting {
    /// Tells whether what did not run is a case with this setting, or a system.
    fn is_of(&self, skipped: &str) -> bool {
        let mut words = skipped.split(", ");
        words.any(|word| word == self.name) || skipped.ends_with(&format!(" with {}", self.title))
    }
}

/// What there is to say about a name.
fn find<'a>(all: &'a [Named], name: &str) -> Option<&'a str> {
    let found = all.iter().find(|named| named.name == name)?;
    Some(&found.text)
}

/// Names by what there is to say about them, both in the order of their first appearance.
fn by_text(all: &[Named]) -> Vec<(&str, Vec<&str>)> {
    let mut texts: Vec<(&str, Vec<&str>)> = Vec::new();
    for Named { name, text } in all {
        match texts.iter_mut().find(|(known, _)| known == text) {
            Some((_, names)) => names.push(name),
            None => texts.push((text, vec![name])),
        }
    }
    texts
}

/// Which values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) offloads: &'a str,
    pub(crate) case: &'a str,
    pub(crate) value: &'a str,
}

/// The middle value; of an even number the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(f64::midpoint(*values.get(low)?, *values.get(high)?))
}
