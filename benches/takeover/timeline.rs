//! What an event did to its clients, moment by moment.

use serde::{Deserialize, Serialize};

/// Silence that is drawn: at least four answers are missing.
const SILENCE_MS: f64 = 50.0;

/// The course of an event; all times are in milliseconds since it began.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Timeline {
    /// Of which round.
    pub(crate) round: usize,
    /// Of which event.
    pub(crate) event: String,
    /// When the watching began (before the event: negative) and ended.
    pub(crate) watched: (f64, f64),
    /// Who pinged whom.
    pub(crate) clients: Vec<Client>,
    /// What changed hands.
    pub(crate) marks: Vec<Mark>,
}

/// A client that pings all the time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Client {
    /// From where to where.
    pub(crate) name: String,
    /// From when until when it heard nothing.
    pub(crate) silences: Vec<(f64, f64)>,
}

/// A change of who serves, or where an address is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// When.
    pub(crate) at: f64,
    /// What.
    pub(crate) what: String,
}

impl Timeline {
    /// The longest silence of any client.
    pub(crate) fn longest(&self) -> f64 {
        let silences = self.clients.iter().flat_map(|client| &client.silences);
        silences.map(|(from, to)| to - from).fold(0.0, f64::max)
    }
}

impl Client {
    /// Finds the silences between answers; `answers` and `began` are in seconds since the epoch.
    pub(crate) fn new(name: &str, answers: &[f64], began: f64) -> Self {
        let pairs = answers.windows(2);
        let pairs = pairs.map(|pair| ((pair[0] - began) * 1e3, (pair[1] - began) * 1e3));
        Self {
            name: name.to_owned(),
            silences: pairs.filter(|(from, to)| to - from >= SILENCE_MS).collect(),
        }
    }
}
