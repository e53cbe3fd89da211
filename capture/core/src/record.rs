//! What the capture journal says: what must be known after a restart, and what explains an incident.
//!
//! Routes and a look at the provider are enough to decide again; only how things were before us, and which addresses we
//! put on our NIC where entries carry no mark, cannot be found out.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Record {
    /// Whether our NIC forwarded before we changed that.
    Forwarding {
        /// It did.
        before: bool,
    },
    /// Our NIC forwards as it did before us.
    Restored,
    /// We put these on our NIC, or try to.
    Mark {
        /// Which.
        addresses: BTreeSet<Ipv4Addr>,
    },
    /// These are not on our NIC by our doing any more.
    Unmark {
        /// Which.
        addresses: BTreeSet<Ipv4Addr>,
    },
    /// A change is about to be sent.
    Intent {
        /// Number of the order.
        order: u64,
        /// What it does.
        operation: String,
        /// With which addresses.
        addresses: BTreeSet<Ipv4Addr>,
        /// Why.
        because: String,
    },
    /// What became of it.
    Answer {
        /// Number of the order.
        order: u64,
        /// `done`, or the class of the error.
        result: String,
        /// The provider's code and message.
        detail: String,
        /// The provider's number of the request.
        request_id: Option<String>,
    },
}

/// What the journal says of the time before a start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prior {
    /// Whether our NIC forwarded before us; `None` when we did not change it.
    pub forwarding: Option<bool>,
    /// Addresses that we put on our NIC.
    pub marks: BTreeSet<Ipv4Addr>,
}

impl Prior {
    /// Takes in a line.
    pub fn apply(&mut self, record: &Record) {
        match record {
            // The first one counts: later ones were ours already.
            Record::Forwarding { before } => drop(self.forwarding.get_or_insert(*before)),
            Record::Restored => self.forwarding = None,
            Record::Mark { addresses } => self.marks.extend(addresses),
            Record::Unmark { addresses } => {
                self.marks.retain(|address| !addresses.contains(address));
            }
            Record::Intent { .. } | Record::Answer { .. } => {}
        }
    }

    /// Says the same in as few lines as possible, for a journal that begins anew.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let forwarding = self.forwarding.map(|before| Record::Forwarding { before });
        let marks = (!self.marks.is_empty()).then(|| Record::Mark {
            addresses: self.marks.clone(),
        });
        forwarding.into_iter().chain(marks).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_says_what_is_ours_and_how_it_was_before() {
        let mut prior = Prior::default();
        for record in [
            Record::Mark {
                addresses: [address(10), address(11)].into(),
            },
            Record::Forwarding { before: false },
            Record::Unmark {
                addresses: [address(10)].into(),
            },
            Record::Forwarding { before: true },
        ] {
            prior.apply(&record);
        }

        assert_eq!(prior.forwarding, Some(false));
        assert_eq!(prior.marks, [address(11)].into());
        let mut again = Prior::default();
        prior
            .records()
            .iter()
            .for_each(|record| again.apply(record));
        assert_eq!(again, prior);
        prior.apply(&Record::Restored);
        assert_eq!(prior.forwarding, None);
    }

    fn address(last: u8) -> Ipv4Addr {
        [10, 77, 60, last].into()
    }
}
