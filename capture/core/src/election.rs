//! How a router stands in the election of who captures for its site, from one moment to the next. Who is elected says
//! [`Landscape::elected`]; here is what follows for the one who asks, and what its marker tells.

use crate::desired::{Candidate, Landscape, RibView};
use crate::node::NodeId;

/// One router's part in the election.
#[derive(Debug, Default)]
pub struct Election {
    candidate: Candidate,
    elected: Option<NodeId>,
    /// The latest term that anybody told.
    latest_term: u32,
}

impl Election {
    /// How this router stands, as its marker tells.
    #[must_use]
    pub const fn candidate(&self) -> Candidate {
        self.candidate
    }

    /// Who captures for the site, as far as known.
    #[must_use]
    pub const fn elected(&self) -> Option<NodeId> {
        self.elected
    }

    /// Follows what is known: who is elected begins a term, which is later than any that he has heard of, and who is not
    /// ends his. While the routes are not all there, it stays as it is. Tells whether the marker says something else.
    pub fn follow(&mut self, landscape: &Landscape) -> bool {
        let mut candidate = landscape.candidate;
        let terms = landscape.siblings.values().flatten();
        let latest = terms.map(|sibling| sibling.term).max().unwrap_or(0);
        let latest = latest.max(self.latest_term).max(candidate.term);
        let elected = landscape.elected();
        self.elected = Some(elected);
        let is_elected = elected == landscape.own && !landscape.yields;
        candidate.term = match (is_elected && candidate.captures, landscape.view) {
            (false, RibView::Complete) => 0,
            (true, RibView::Complete) if candidate.term == 0 => latest.saturating_add(1),
            (true | false, _) => candidate.term,
        };
        self.latest_term = latest.max(candidate.term);
        std::mem::replace(&mut self.candidate, candidate) != candidate
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn a_term_is_later_than_all_that_were_heard_of_and_ends_with_the_role() {
        let mut election = Election::default();
        let mut landscape = landscape();
        let able = |term| Candidate {
            captures: true,
            term,
            priority: 100,
        };
        landscape.siblings = [(NodeId(1), Some(able(7)))].into();
        landscape.candidate = able(0);
        election.follow(&landscape);
        assert_eq!(
            (election.candidate().term, election.elected()),
            (0, Some(NodeId(1)))
        );

        landscape.siblings = [(NodeId(1), None)].into();
        assert!(election.follow(&landscape));
        assert_eq!(election.candidate().term, 8, "it was heard of once");
        landscape.candidate = election.candidate();
        assert!(!election.follow(&landscape), "the same term goes on");

        landscape.yields = true;
        landscape.siblings = [(NodeId(1), Some(able(0)))].into();
        assert!(election.follow(&landscape));
        assert_eq!(election.candidate().term, 0);
    }

    #[test]
    fn who_does_not_know_all_routes_neither_begins_a_term_nor_ends_one() {
        for view in [RibView::Incomplete, RibView::Isolated] {
            for term in [0, 3] {
                let mut election = Election::default();
                let mut landscape = landscape();
                (landscape.view, landscape.candidate.term) = (view, term);
                landscape.siblings = [(NodeId(1), None)].into();
                election.follow(&landscape);
                assert_eq!(election.candidate().term, term, "{view:?}");
            }
        }
    }

    fn landscape() -> Landscape {
        Landscape {
            yields: false,
            generation: 1,
            view: RibView::Complete,
            own: NodeId(2),
            candidate: Candidate {
                captures: true,
                term: 0,
                priority: 100,
            },
            siblings: BTreeMap::new(),
            loads: BTreeMap::new(),
            unheard: BTreeSet::new(),
            claims: BTreeMap::new(),
            released: BTreeSet::new(),
            all_released: false,
        }
    }
}
