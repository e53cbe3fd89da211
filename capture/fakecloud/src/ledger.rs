//! Every change and every call, for assertions afterwards: who, what, before, after.

use std::collections::VecDeque;

use serde::Serialize;

use crate::nic::Snapshot;
use crate::{Provider, Time};

/// A change of one NIC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// When.
    pub at: Time,
    /// Where.
    pub provider: Provider,
    /// Who asked.
    pub principal: String,
    /// By which operation.
    pub operation: String,
    /// Id of the request.
    pub request: String,
    /// Which NIC.
    pub nic: String,
    /// What it was.
    pub before: Snapshot,
    /// What it became.
    pub after: Snapshot,
}

/// A call, whatever came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallRecord {
    /// When it took effect or was refused.
    pub at: Time,
    /// Where.
    pub provider: Provider,
    /// Who asked, as far as that could be told.
    pub principal: String,
    /// Which operation.
    pub operation: String,
    /// Id of the request.
    pub request: String,
    /// Status code of the answer.
    pub status: u16,
    /// The provider's word for what went wrong; empty if nothing did.
    pub code: String,
    /// Whether the caller got the answer.
    pub answered: bool,
}

/// A list that forgets its oldest entries, and counts them.
#[derive(Debug, Clone, Serialize)]
pub struct Log<T> {
    /// What is remembered, oldest first.
    pub entries: VecDeque<T>,
    /// How many are forgotten.
    pub forgotten: u64,
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            forgotten: 0,
        }
    }
}

impl<T> Log<T> {
    pub(crate) fn push(&mut self, entry: T) {
        if self.entries.len() == MAX_ENTRIES {
            self.entries.pop_front();
            self.forgotten += 1;
        }
        self.entries.push_back(entry);
    }
}

/// Entries remembered of each kind.
const MAX_ENTRIES: usize = 100_000;
