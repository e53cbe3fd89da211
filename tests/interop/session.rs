//! The session between samctl and a foreign daemon: what both agree on, refreshes, goodbyes and new beginnings.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::daemon::Announcement;
use crate::exchange::check_direct_path;
use crate::scene::{OURS, Scene, THEIRS};
use crate::wait::eventually;

/// Both sides offer what this fabric needs. Prints everything that was offered, as a record.
pub(crate) fn capabilities_are_agreed(scene: &Scene) -> Result<()> {
    let view = scene.ours.neighbor(THEIRS)?;
    let (sent, received) = (
        texts(&view["capabilities_sent"]),
        texts(&view["capabilities_received"]),
    );
    println!(
        "capabilities of {}: {} (hold time {} s)",
        scene.kind.name(),
        received.join(", "),
        view["hold_time_s"]
    );
    for needed in [
        "multiprotocol ipv4-unicast",
        "route-refresh",
        "four-octet-as 64577",
    ] {
        for (side, offered) in [("samctl", &sent), (scene.kind.name(), &received)] {
            ensure!(
                offered.iter().any(|text| text == needed),
                "{side} does not offer {needed}: {offered:?}"
            );
        }
    }
    let add_path = scene.kind.add_path(scene.add_path);
    ensure!(
        view["add_path"] == add_path,
        "add-path {}",
        view["add_path"]
    );
    let degraded = add_path != "both";
    ensure!(
        view["degraded"]
            == if degraded {
                json!("no-addpath")
            } else {
                json!(null)
            },
        "degraded: {}",
        view["degraded"]
    );
    ensure!(
        view["hold_time_s"] == 9.0,
        "hold time {}",
        view["hold_time_s"]
    );
    ensure!(
        view["router_id"] == THEIRS.overlay().to_string(),
        "identifier {}",
        view["router_id"]
    );
    Ok(())
}

/// After all that was refused and withdrawn nothing is amiss: no check of BGP or identity complains, but for several
/// paths that cannot be told both ways; and routes of our own that a reflector sends back are no news.
pub(crate) fn nothing_is_amiss(scene: &Scene) -> Result<()> {
    for area in ["bgp", "identity"] {
        let view = scene.ours.ask(&["doctor", area])?;
        let checks = view["checks"].as_array().context("no checks")?;
        let bad = checks.iter().filter(|check| check["status"] != "pass");
        let bad: Vec<&str> = bad.filter_map(|check| check["message"].as_str()).collect();
        let degraded = area == "bgp" && scene.kind.add_path(scene.add_path) != "both";
        let expected = usize::from(degraded);
        ensure!(
            bad.len() == expected
                && bad
                    .iter()
                    .all(|bad| bad.starts_with("degraded: no-addpath")),
            "{view:#}"
        );
    }
    let events = scene.ours.order(&["events"])?;
    ensure!(!events.contains("originator-loop"), "{events}");
    Ok(())
}

/// The daemon asks for all our routes again; the session does not notice.
pub(crate) fn refresh_is_answered(scene: &mut Scene) -> Result<()> {
    if !scene.kind.asks_refresh() {
        println!("{} never asks for a refresh", scene.kind.name());
        return Ok(());
    }
    let before = scene.ours.neighbor(THEIRS)?;
    scene.tell()?.ask_refresh(OURS)?;
    eventually("our routes are sent again", || {
        let now = scene.ours.neighbor(THEIRS)?;
        let grew = |messages, kind| grown(&before, &now, messages, kind);
        ensure!(grew("messages_received", "route_refresh") > 0, "not asked");
        ensure!(grew("messages_sent", "update") > 0, "not answered");
        let marks = if marks_refreshes(&now) { 2 } else { 0 };
        let sent = grew("messages_sent", "route_refresh");
        ensure!(sent == marks, "{sent} marks around the answer");
        Ok(())
    })?;
    session_held(scene, &before)
}

/// We ask the daemon for all its routes again: where it can, it says where the answer begins and ends (RFC 7313), and no
/// route goes with the end.
pub(crate) fn their_refresh_is_understood(scene: &Scene) -> Result<()> {
    if !scene.kind.answers_refresh() {
        println!("{} does not survive the question", scene.kind.name());
        return Ok(());
    }
    let before = scene.ours.neighbor(THEIRS)?;
    let marked = marks_refreshes(&before);
    ensure!(
        marked || !scene.kind.marks_refreshes(),
        "{} does not offer enhanced route refresh",
        scene.kind.name()
    );
    let order = ["bgp", "neighbor", &THEIRS.name(), "refresh", "in"];
    scene.ours.order(&order)?;
    eventually("the daemon has answered", || {
        let now = scene.ours.neighbor(THEIRS)?;
        let grew = |messages, kind| grown(&before, &now, messages, kind);
        ensure!(grew("messages_sent", "route_refresh") > 0, "not asked");
        ensure!(grew("messages_received", "update") > 0, "not answered");
        let marks = grew("messages_received", "route_refresh");
        ensure!(!marked || marks == 2, "{marks} marks around the answer");
        ensure!(
            now["routes_accepted"] == before["routes_accepted"],
            "before {}, now {}",
            before["routes_accepted"],
            now["routes_accepted"]
        );
        Ok(())
    })?;
    let events = scene.ours.order(&["events"])?;
    ensure!(!events.contains("stale-removed"), "{events}");
    session_held(scene, &before)
}

/// Whether the daemon says where a refresh begins and ends, and wants to be told.
fn marks_refreshes(view: &Value) -> bool {
    texts(&view["capabilities_received"])
        .iter()
        .any(|text| text == "enhanced-route-refresh")
}

/// How many messages came or went meanwhile.
fn grown(before: &Value, now: &Value, messages: &str, kind: &str) -> u64 {
    let count = |view: &Value| view[messages][kind].as_u64().unwrap_or_default();
    count(now).saturating_sub(count(before))
}

fn session_held(scene: &Scene, before: &Value) -> Result<()> {
    let after = scene.ours.neighbor(THEIRS)?;
    ensure!(
        after["state"] == "established"
            && after["established_count"] == before["established_count"],
        "the session did not survive: {}",
        after["last_down"]
    );
    Ok(())
}

/// Until now nobody had reason to complain. Where samctl calls, the daemon calls too, perhaps at the same moment: one
/// call then ends with Cease/7, which is no complaint (RFC 4271 section 6.8).
pub(crate) fn nobody_complained(scene: &Scene) -> Result<()> {
    let view = scene.ours.neighbor(THEIRS)?;
    for (counts, last) in [
        ("messages_received", "last_received"),
        ("messages_sent", "last_sent"),
    ] {
        let count = view[counts]["notification"].as_u64();
        let collision = view[last]["code"] == 6 && view[last]["subcode"] == 7;
        ensure!(
            count == Some(0) || (scene.cast.we_call() && collision && count == Some(1)),
            "{counts}: {count:?} notifications, the last: {}",
            view[last]
        );
    }
    ensure!(view["established_count"] == 1, "{}", view["last_down"]);
    Ok(())
}

/// The daemon closes by order; its reason is shown and its routes go. Then it opens again.
pub(crate) fn their_goodbye_is_shown(scene: &mut Scene, routes: &[Announcement]) -> Result<()> {
    let before = established_count(scene)?;
    scene.tell()?.shut_down(OURS, GOODBYE)?;
    eventually("the daemon's goodbye is shown", || {
        let view = scene.ours.neighbor(THEIRS)?;
        let last = &view["last_received"];
        // As it is, or within a hard reset (RFC 8538), so that its routes go though it restarts gracefully.
        ensure!(
            last["code"] == 6 && (last["subcode"] == 2 || last["subcode"] == 9),
            "last notification: {last}"
        );
        let text = last["text"].as_str().context("no text")?;
        ensure!(text.contains("administrative shutdown"), "{text}");
        if scene.kind.tells_why() {
            ensure!(text.contains(GOODBYE), "{text}");
        }
        Ok(())
    })?;
    if scene.kind.stays_closed() {
        eventually("the routes of a closed session are gone", || {
            for route in routes {
                ensure!(scene.ours.paths(route.prefix)?.is_empty(), "in the RIB");
                ensure!(scene.ours.route(route.prefix)?.is_none(), "installed");
            }
            Ok(())
        })?;
    }
    scene.tell()?.reopen(OURS)?;
    is_back(scene, before, routes)
}

/// The daemon dies and starts again; the session and its routes come back.
pub(crate) fn restart_is_survived(scene: &mut Scene, routes: &[Announcement]) -> Result<()> {
    let before = established_count(scene)?;
    scene.restart_daemon(routes)?;
    is_back(scene, before, routes)
}

/// samctl stops in order; the daemon is told so.
pub(crate) fn our_goodbye_is_heard(scene: &mut Scene) -> Result<()> {
    ensure!(!scene.theirs()?.saw_shutdown(OURS)?, "heard too early");
    scene.ours.stop()?;
    eventually("the daemon hears our goodbye", || {
        ensure!(scene.theirs()?.saw_shutdown(OURS)?, "not heard");
        ensure!(!scene.theirs()?.established(OURS)?, "still established");
        Ok(())
    })
}

fn is_back(scene: &Scene, before: u64, routes: &[Announcement]) -> Result<()> {
    eventually("the session is established again", || {
        ensure!(established_count(scene)? > before, "not yet");
        Ok(())
    })?;
    scene.wait_until_established()?;
    eventually("the daemon's routes are back", || {
        for route in routes {
            check_direct_path(scene, route)?;
        }
        Ok(())
    })
}

fn established_count(scene: &Scene) -> Result<u64> {
    let view = scene.ours.neighbor(THEIRS)?;
    view["established_count"].as_u64().context("no count")
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

const GOODBYE: &str = "new cables, back at noon";
