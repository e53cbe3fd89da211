//! Changes that are accepted first and happen later.

use chrono::TimeDelta;

use crate::Time;
use crate::cloud::{Cause, Cloud, Edits, Refusal};
use crate::fault::OperationTrouble;

/// A change under way.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) id: String,
    /// Number of the change that accepted it.
    pub(crate) number: u64,
    pub(crate) cause: Cause,
    /// When it ends; never without.
    pub(crate) ready: Option<Time>,
    pub(crate) fails: bool,
    pub(crate) edits: Edits,
    pub(crate) state: State,
}

/// What became of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    InProgress,
    Succeeded,
    /// It was impossible when its time came, or failed on order.
    Failed(Option<Refusal>),
    /// A later one for the same NIC came first.
    Canceled,
}

/// Operations remembered.
const MAX_OPERATIONS: usize = 10_000;

impl Cloud {
    /// Accepts a change that happens after a while, instead of those that are under way for the same NICs. It must be
    /// possible as things are.
    ///
    /// # Errors
    /// Why it is impossible.
    pub(crate) fn start(
        &mut self,
        cause: &Cause,
        id: String,
        edits: Edits,
        trouble: Option<OperationTrouble>,
    ) -> Result<&Operation, Refusal> {
        self.clone().commit(cause, edits.clone())?;
        for operation in &mut self.operations {
            let shared = operation.edits.keys().any(|nic| edits.contains_key(nic));
            if shared && operation.state == State::InProgress {
                operation.state = State::Canceled;
            }
        }
        if self.operations.len() >= MAX_OPERATIONS {
            self.operations.remove(0);
        }
        self.sequence += 1;
        let takes = TimeDelta::milliseconds(i64::from(self.settings.latency.operation_ms));
        let ends = trouble != Some(OperationTrouble::NeverEnds);
        let place = self.operations.len();
        self.operations.push(Operation {
            id,
            number: self.sequence,
            cause: cause.clone(),
            ready: ends.then(|| cause.now + takes),
            fails: trouble == Some(OperationTrouble::Fails),
            edits,
            state: State::InProgress,
        });
        self.advance(cause.now);
        Ok(&self.operations[place])
    }

    /// Lets happen what is due.
    pub(crate) fn advance(&mut self, now: Time) {
        loop {
            let under_way = |operation: &&Operation| operation.state == State::InProgress;
            let due = self
                .operations
                .iter()
                .filter(under_way)
                .filter_map(|operation| Some((operation.ready?, operation.number)))
                .filter(|(ready, _)| *ready <= now)
                .min();
            let Some((_, number)) = due else { return };
            self.finish(number);
        }
    }

    fn finish(&mut self, number: u64) {
        let mut operations = self.operations.iter();
        let Some(at) = operations.position(|operation| operation.number == number) else {
            return;
        };
        let operation = &self.operations[at];
        let mut cause = operation.cause.clone();
        cause.now = operation.ready.unwrap_or(cause.now);
        let edits = operation.edits.clone();
        self.operations[at].state = if operation.fails {
            State::Failed(None)
        } else {
            match self.commit(&cause, edits) {
                Ok(()) => State::Succeeded,
                Err(refusal) => State::Failed(Some(refusal)),
            }
        };
    }

    /// Returns the operation that is under way for a NIC.
    pub(crate) fn under_way(&self, nic: &str) -> Option<&Operation> {
        let mut operations = self.operations.iter().rev();
        operations.find(|operation| {
            operation.state == State::InProgress && operation.edits.contains_key(nic)
        })
    }
}
