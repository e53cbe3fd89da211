//! Graceful restart with foreign daemons: they restart and we keep their routes, we restart and they keep ours; packets between
//! the daemon's site and a third one do not notice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sam_testkit::netns::Pings;
use serde_json::Value;

use crate::daemon::{Announcement, Kind};
use crate::exchange::check_direct_path;
use crate::scene::{Cast, OURS, Scene, THEIRS, THIRD};
use crate::scratch::Scratch;
use crate::traffic::ping;
use crate::wait::{eventually, within};

/// We reflect; the daemon and site 3 are clients.
pub(crate) fn restarts(kind: Kind, scratch: &Scratch) -> Result<()> {
    let mut scene = Scene::start_with(Cast::Client, kind, false, true, scratch)?;
    let route = Announcement::claim(THEIRS, u32::from(THEIRS.0));
    scene.tell()?.announce(&route)?;
    eventually("the daemon's route is here", || {
        check_direct_path(&scene, &route)
    })?;
    eventually("the daemon has our routes", || knows_ours(&scene))?;

    both_sides_offer_it(&scene)?;
    let (near, far) = (scene.world.site(THIRD)?, scene.world.site(THEIRS)?);
    eventually("site 3's client reaches theirs", || ping(near, far))?;
    let pings = Pings::start(&near.client, THEIRS.client());
    its_routes_are_kept_while_it_restarts(&mut scene, &route)?;
    ours_are_kept_while_we_restart(&mut scene, &route)?;
    let loss = pings.stop();
    println!("{}: {loss:?}", kind.name());
    ensure!(
        loss.gap < GAP_MAX && loss.lost <= lost_most(kind),
        "{loss:?}"
    );
    Ok(())
}

fn both_sides_offer_it(scene: &Scene) -> Result<()> {
    let view = scene.ours.neighbor(THEIRS)?;
    for side in ["capabilities_sent", "capabilities_received"] {
        let list = view[side].as_array().context("no list")?;
        let texts: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
        let offered = texts
            .iter()
            .find(|text| text.starts_with("graceful-restart "));
        let offered = offered.with_context(|| format!("{side}: {texts:?}"))?;
        println!("{side} of {}: {offered}", scene.kind.name());
        ensure!(offered.contains("ipv4-unicast"), "{side}: {offered}");
    }
    Ok(())
}

/// The daemon dies without a word; its kernel goes on to forward, and answers.
fn its_routes_are_kept_while_it_restarts(scene: &mut Scene, route: &Announcement) -> Result<()> {
    scene.kill_daemon()?;
    eventually("its route is stale and in use", || {
        let paths = scene.ours.paths(route.prefix)?;
        let path = paths.first().context("no path")?;
        ensure!(path["stale"] == true && path["best"] == true, "{path}");
        let installed = scene.ours.route(route.prefix)?.context("not installed")?;
        ensure!(installed["action"] == "tunnel", "{installed}");
        Ok(())
    })?;
    let third = scene.third.as_ref().context("no site 3")?;
    ensure!(third.route(route.prefix)?.is_some(), "still reflected");

    scene.start_daemon(std::slice::from_ref(route))?;

    scene.wait_until_established()?;
    eventually("its route is confirmed", || {
        check_direct_path(scene, route)?;
        let view = scene.ours.neighbor(THEIRS)?;
        ensure!(view["stale"] == 0, "{} stale", view["stale"]);
        ensure!(view["stale_remaining_s"].is_null(), "no End-of-RIB came");
        let paths = scene.ours.paths(route.prefix)?;
        ensure!(paths.iter().all(|path| path["stale"] == false), "stale");
        Ok(())
    })
}

/// We die without a word: once we are back before the hold time is over, so that the daemon hears of it by our new OPEN,
/// once after it.
fn ours_are_kept_while_we_restart(scene: &mut Scene, route: &Announcement) -> Result<()> {
    scene.restart_ours(|_| Ok(()))?;
    everything_is_as_before(scene, route)?;
    scene.restart_ours(|scene| {
        eventually("the daemon notices our death", || {
            ensure!(!scene.theirs()?.established(OURS)?, "still established");
            Ok(())
        })?;
        if scene.kind.survives_silence() {
            knows_ours(scene).context("after the hold time")?;
        }
        Ok(())
    })?;
    everything_is_as_before(scene, route)
}

fn everything_is_as_before(scene: &Scene, route: &Announcement) -> Result<()> {
    within(Duration::from_secs(40), "everything is as before", || {
        let view = scene.ours.neighbor(THEIRS)?;
        ensure!(view["end_of_rib"] == true, "{}", view["state"]);
        let restarting = &scene.ours.ask(&["bgp", "neighbors"])?["restarting"];
        ensure!(restarting.is_null(), "{restarting}");
        check_direct_path(scene, route)?;
        knows_ours(scene)
    })?;
    scene.wait_until_established()
}

/// The daemon knows what we own, and what site 3 owns through us.
fn knows_ours(scene: &Scene) -> Result<()> {
    let routes = scene.theirs()?.routes()?;
    for place in [OURS, THIRD] {
        let prefix = place.client_route();
        ensure!(
            routes.iter().any(|route| route.prefix == prefix),
            "{prefix} is missing"
        );
    }
    Ok(())
}

/// A purge would last until the daemon, or we, are back: seconds, and hundreds of pings. The rest is for a busy machine.
const GAP_MAX: Duration = Duration::from_secs(1);

/// How many may be lost, likewise. FRR calls itself restarting for a minute after its start: RFC 4724 section 4.1 has us not
/// wait for its End-of-RIB, so when we are back first its route goes for the moment until it tells it, at each restart of ours.
fn lost_most(kind: Kind) -> usize {
    match kind {
        Kind::Frr => 100,
        Kind::Bird | Kind::Gobgp | Kind::Exabgp => 20,
    }
}
