//! D10: everything restarts.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use anyhow::Result;

use super::{Site, Stage};
use crate::demo::sites::Router;

/// How often all restart.
const TURNS: usize = 20;

/// How the routers end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    InOrder,
    Killed,
    KilledAndReplayed,
}

impl End {
    const ALL: [Self; 3] = [Self::InOrder, Self::Killed, Self::KilledAndReplayed];

    const fn text(self) -> &'static str {
        match self {
            Self::InOrder => "all stop in order, and start",
            Self::Killed => "all are killed, and start",
            Self::KilledAndReplayed => {
                "all are killed, and start with journals that say everything twice"
            }
        }
    }
}

pub(super) fn run(stage: &mut Stage<'_>) -> Result<()> {
    let (mut changes, mut twice) = (0, 0);
    let turns = stage.choose(TURNS, End::ALL.len());
    for (turn, end) in (1..=turns).zip(End::ALL.into_iter().cycle()) {
        stage.say(format!("{turn} of {turns}: {}", end.text()));
        let since = Site::CLOUDS.map(|site| stage.running.cloud.ledger(site).len());
        restart(stage, end)?;
        stage.running.settle()?;
        for (site, since) in Site::CLOUDS.into_iter().zip(since) {
            let custody = stage.running.cloud.custody(site, since);
            changes += custody.given;
            twice += usize::from(custody.most > 1);
        }
    }
    // Each router answers for all, which `settle` has seen each time.
    stage.claim(
        "ownership_unchanged",
        stage.running.agreed(),
        format!(
            "8 of 8 routers see {} owners as before",
            stage.running.homes.len()
        ),
    );
    stage.claim(
        "no_double_assign",
        twice == 0,
        format!("{turns} restarts of all: {changes} addresses were moved, none of them twice"),
    );
    Ok(())
}

fn restart(stage: &mut Stage<'_>, end: End) -> Result<()> {
    let running = &mut *stage.running;
    if end == End::InOrder {
        running.routers.stop_all();
    } else {
        for router in Router::all() {
            running.routers.kill(router)?;
        }
    }
    if end == End::KilledAndReplayed {
        for router in Router::all().filter(|router| router.site != Site::Onprem) {
            let journal = running.routers.file(router, "captures.jsonl");
            let said = fs::read(&journal)?;
            OpenOptions::new()
                .append(true)
                .open(&journal)?
                .write_all(&said)?;
        }
    }
    for router in Router::all() {
        running.routers.start(&running.lab, router)?;
    }
    Ok(())
}
