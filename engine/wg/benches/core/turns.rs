//! Measuring in turns: what is compared alternates in short slices, so that what else the machine does meets all alike.

use std::fmt::Write as _;

/// Something that is measured: each call is a slice, and gives its figure.
pub(crate) type Slice<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// What is to be run.
pub(crate) struct Bench {
    rounds: usize,
    measures: bool,
    wanted: Option<String>,
}

impl Bench {
    /// Reads what is wanted from the environment and the command line.
    pub(crate) fn from_environment() -> Self {
        let rounds = std::env::var("BENCH_ROUNDS").ok();
        let rounds = rounds.map(|rounds| rounds.parse().expect("BENCH_ROUNDS is a number"));
        let measures = std::env::args().any(|word| word == "--bench");
        let mut words = std::env::args().skip(1);
        Self {
            rounds: rounds.unwrap_or(if measures { ROUNDS } else { 1 }),
            measures,
            wanted: words.find(|word| !word.starts_with('-')),
        }
    }

    /// Whether figures are wanted, as `cargo bench` says; `cargo test` only tries whether everything runs.
    pub(crate) fn measures(&self) -> bool {
        self.measures
    }

    /// Whether cases of this group are wanted.
    pub(crate) fn wants(&self, group: &str) -> bool {
        let wanted = self.wanted.as_deref();
        wanted.is_none_or(|wanted| wanted == group)
    }

    /// Prints a title, and the names of columns.
    pub(crate) fn title(&self, title: &str, columns: &[&str]) {
        let names = columns.iter().fold(String::new(), |mut line, column| {
            write!(line, " {column:>14}").expect("a string takes it");
            line
        });
        println!("\n{title:<44}{names}");
    }

    /// Runs slices in turns and prints their medians.
    pub(crate) fn row(&self, name: &str, slices: &mut [Slice<'_>]) {
        self.rounds_of(self.rounds, name, slices);
    }

    /// The same for slices that take long: a part of the rounds.
    pub(crate) fn long_row(&self, name: &str, slices: &mut [Slice<'_>]) {
        self.rounds_of(self.rounds.div_ceil(LONG), name, slices);
    }

    /// Prints figures of another kind.
    pub(crate) fn figures(&self, name: &str, figures: &[f64]) {
        let figures = figures.iter().fold(String::new(), |mut line, figure| {
            write!(line, " {figure:>14.1}").expect("a string takes it");
            line
        });
        println!("{name:<44}{figures}");
    }

    fn rounds_of(&self, rounds: usize, name: &str, slices: &mut [Slice<'_>]) {
        let mut figures = vec![Vec::with_capacity(rounds); slices.len()];
        for slice in slices.iter_mut() {
            // Warms caches, and is not counted.
            slice();
        }
        for round in 0..rounds {
            // Each is first as often as the others.
            for turn in 0..slices.len() {
                let place = (round + turn) % slices.len();
                figures[place].push(slices[place]());
            }
        }
        let medians: Vec<_> = figures.into_iter().map(median).collect();
        self.figures(name, &medians);
    }
}

/// The one in the middle.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

const ROUNDS: usize = 60;
/// How many rounds of short slices make one of long ones.
const LONG: usize = 12;
