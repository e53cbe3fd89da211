//! The tests of all routers in one: this router's own, and what the others say about theirs.

use sam_capture::NodeId;

use super::judgement::worst;
use crate::Router;
use crate::view::{CheckStatus, NodeRef, PathTestView, SiteTestRow, TestMatrixView};

impl Router {
    /// `samctl test --all`: puts the own test and those of the others together. A test that speaks for another node is
    /// not believed.
    #[must_use]
    pub fn test_matrix(
        &self,
        own: PathTestView,
        others: Vec<(NodeId, Result<PathTestView, String>)>,
    ) -> TestMatrixView {
        let own = SiteTestRow {
            node: own.from.clone(),
            test: Some(own),
            error: None,
        };
        let row = |(node, answer): (NodeId, Result<PathTestView, String>)| {
            let (test, error) = match answer {
                Ok(test) if test.from.id == node => (Some(test), None),
                Ok(test) => (None, Some(format!("it says that it is {}", test.from.name))),
                Err(error) => (None, Some(error)),
            };
            SiteTestRow {
                node: NodeRef::new(&self.config, node),
                test,
                error,
            }
        };
        let mut sites: Vec<SiteTestRow> = others.into_iter().map(row).collect();
        sites.push(own);
        sites.sort_by_key(|site| site.node.id);
        let status = |site: &SiteTestRow| {
            let test = site.test.as_ref();
            test.map_or(CheckStatus::Fail, |test| test.overall)
        };
        TestMatrixView {
            overall: worst(sites.iter().map(status)),
            sites,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testnet::Net;

    fn test_of(net: &Net, node: u32, overall: CheckStatus) -> PathTestView {
        let router = &net.stations[&1].router;
        PathTestView {
            from: NodeRef::new(&router.config, NodeId(node)),
            overall,
            peers: Vec::new(),
        }
    }

    #[test]
    fn rows_are_in_the_order_of_nodes_and_the_worst_counts() {
        let net = Net::new(3, &[]);
        let router = &net.stations[&1].router;
        let test = |node, overall| test_of(&net, node, overall);
        let (pass, warn) = (CheckStatus::Pass, CheckStatus::Warn);

        let others = vec![
            (NodeId(3), Ok(test(3, warn))),
            (NodeId(2), Ok(test(2, pass))),
        ];
        let matrix = router.test_matrix(test(1, pass), others);

        let ids: Vec<_> = matrix.sites.iter().map(|site| site.node.id.0).collect();
        assert_eq!((ids, matrix.overall), (vec![1, 2, 3], warn));
    }

    #[test]
    fn who_cannot_be_asked_or_speaks_for_another_is_a_failure_with_its_reason() {
        let net = Net::new(3, &[]);
        let router = &net.stations[&1].router;
        let pass = CheckStatus::Pass;
        for (answer, words) in [
            (Err("it did not answer".to_owned()), "did not answer"),
            (Ok(test_of(&net, 3, pass)), "says that it is n3"),
        ] {
            let others = vec![(NodeId(2), answer)];
            let matrix = router.test_matrix(test_of(&net, 1, pass), others);

            assert_eq!(matrix.overall, CheckStatus::Fail);
            let error = matrix.sites[1].error.as_deref().unwrap_or_default();
            assert!(error.contains(words), "{error}");
            assert!(matrix.sites[1].test.is_none());
        }
    }
}
