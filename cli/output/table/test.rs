//! `samctl test`: a table of nodes and checks, then what is wrong in words.

use sam_router::view::{CheckStatus, PathTestRow, PathTestView, TestCheck};

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
        for peer in &self.peers {
            for check in peer.checks.iter().filter(|check| is_wrong(check.status)) {
                let status = page.marked(status_mark(check.status), status_word(check.status));
                let (node, name) = (node(&peer.node), &check.name);
                page.line(format!("{status}  {node} {name}: {}", check.message));
                if let Some(remedy) = &check.remedy {
                    page.line(format!("      remedy: {remedy}"));
                }
            }
        }
        page.line(page.marked(status_mark(self.overall), status_word(self.overall)));
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
