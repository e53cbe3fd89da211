//! D2: proxy ARP on the LAN.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Site, Stage};
use crate::demo::arp::{self, Mac};
use crate::demo::sites::{Router, VIRTUAL};

/// How long answers are waited for.
const WINDOW: Duration = Duration::from_millis(500);

pub(super) fn run(stage: &mut Stage<'_>) -> Result<()> {
    let master = stage
        .running
        .routers
        .master()
        .context("no master on the LAN")?;
    let (acts, silent) = (mac(stage, master)?, mac(stage, master.sibling())?);
    let targets = Site::CLOUDS.map(Site::client).into_iter().chain([VIRTUAL]);
    let (mut single, mut by_backup, mut asked) = (0, 0, 0);
    for target in targets {
        let client = stage.running.lab.client(Site::Onprem);
        let heard = arp::ask(client, Site::Onprem.client(), target, WINDOW)?;
        asked += 1;
        single += usize::from(heard.answers.iter().eq([&acts]));
        by_backup += usize::from(heard.answers.contains(&silent));
    }
    stage.claim(
        "single_capture_master",
        single == asked,
        format!(
            "{single} of {asked} addresses are answered for once, by {}",
            master.name()
        ),
    );
    stage.claim(
        "backup_silent",
        by_backup == 0,
        format!("{by_backup} answers by {}", master.sibling().name()),
    );
    stage.try_during();
    Ok(())
}

/// The Ethernet address of a router on the LAN.
pub(super) fn mac(stage: &Stage<'_>, router: Router) -> Result<Mac> {
    let view = stage.running.routers.view(router, "/v1/arp");
    let view = view.with_context(|| format!("{} does not answer", router.name()))?;
    arp::parse_mac(view["mac"].as_str().unwrap_or_default())
}
