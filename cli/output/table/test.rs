//! `samctl test`: a table of nodes and checks, or of sites and sites, then what is wrong in words.

use sam_router::view::{
    CheckStatus, PathTestRow, PathTestView, SiteTestRow, TestCheck, TestMatrixView,
};

use super::{Page, Text, node, status_mark, status_word};

impl Text for PathTestView {
    fn write(&self, page: &mut Page) {
        page.title(format!("from {}", node(&self.from)));
        let rows = self.peers.iter().map(row).collect();
        let header = [
            "NODE",
            "TUNNEL",
            "SESSION",
            "ECHO",
            "MTU (bytes)",
            "TCP",
            "SOURCE",
        ];
        page.table(header, rows, "no other nodes");
        complain(page, self, "");
        page.line(page.marked(status_mark(self.overall), status_word(self.overall)));
    }
}

impl Text for TestMatrixView {
    fn write(&self, page: &mut Page) {
        let names = self.sites.iter().map(|site| node(&site.node));
        let header = std::iter::once("FROM / TO".to_owned()).chain(names);
        let row = |site: &SiteTestRow| {
            let cells = self.sites.iter().map(|to| way(site, to));
            std::iter::once(node(&site.node))
                .chain(cells)
                .collect::<Vec<_>>()
        };
        page.grid(header, self.sites.iter().map(row));
        for site in &self.sites {
            let from = node(&site.node);
            if let Some(test) = &site.test {
                complain(page, test, &format!("{from} to "));
            }
            if let Some(error) = &site.error {
                let fail = page.marked(status_mark(CheckStatus::Fail), "fail");
                page.line(format!("{fail}  {from}: {error}"));
            }
        }
        page.line(page.marked(status_mark(self.overall), status_word(self.overall)));
    }
}

/// What one site found out about the way to another: the checks that are not as they should be, else that all are.
fn way(from: &SiteTestRow, to: &SiteTestRow) -> String {
    let Some(test) = &from.test else {
        return "?".into();
    };
    let Some(peer) = test.peers.iter().find(|peer| peer.node.id == to.node.id) else {
        return "-".into();
    };
    let wrong = peer.checks.iter().filter(|check| is_wrong(check.status));
    let wrong: Vec<&str> = wrong.map(|check| check.name.as_str()).collect();
    let status = status_word(peer.status);
    if wrong.is_empty() {
        status.into()
    } else {
        format!("{status}: {}", wrong.join(", "))
    }
}

/// Says what is wrong and what to do about it.
fn complain(page: &mut Page, test: &PathTestView, from: &str) {
    for peer in &test.peers {
        for check in peer.checks.iter().filter(|check| is_wrong(check.status)) {
            let status = page.marked(status_mark(check.status), status_word(check.status));
            let (node, name) = (node(&peer.node), &check.name);
            page.line(format!("{status}  {from}{node} {name}: {}", check.message));
            if let Some(remedy) = &check.remedy {
                page.line(format!("      remedy: {remedy}"));
            }
        }
    }
}

fn row(peer: &PathTestRow) -> [String; 7] {
    let cell = |name: &str| {
        let check = peer.checks.iter().find(|check| check.name == name);
        check.map_or_else(|| "-".into(), cell)
    };
    [
        node(&peer.node),
        cell("tunnel"),
        cell("session"),
        cell("echo"),
        cell("mtu"),
        cell("tcp"),
        cell("source"),
    ]
}

/// What was measured; what is wrong is marked without color too.
fn cell(check: &TestCheck) -> String {
    let value = &check.value;
    match check.status {
        CheckStatus::Skip | CheckStatus::Pass => value.clone(),
        CheckStatus::Warn => format!("{value} (!)"),
        CheckStatus::Fail => format!("{value} (X)"),
    }
}

fn is_wrong(status: CheckStatus) -> bool {
    matches!(status, CheckStatus::Warn | CheckStatus::Fail)
}
