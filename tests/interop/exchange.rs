//! Routes between samctl and a foreign daemon: told, installed, reflected, withdrawn, refused.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::daemon::{Announcement, SeenRoute};
use crate::router::Router;
use crate::scene::{Cast, OURS, Scene, THEIRS, THIRD};
use crate::traffic::ping;
use crate::wait::eventually;
use crate::world::Place;

/// The daemon's route arrives whole, is installed, carries packets, and reaches site 3 by the reflector.
pub(crate) fn their_route_arrives(scene: &mut Scene) -> Result<()> {
    let route = Announcement::claim(THEIRS, u32::from(THEIRS.0));
    scene.tell()?.announce(&route)?;
    eventually("samctl has the daemon's route", || {
        check_direct_path(scene, &route)
    })?;
    check_installed(&scene.ours, route.prefix, THEIRS)?;
    let (near, far) = (scene.world.site(OURS)?, scene.world.site(THEIRS)?);
    eventually("our client reaches theirs", || ping(near, far))?;
    ping(far, near).context("their client reaches ours")?;
    let Some(third) = &scene.third else {
        return Ok(());
    };
    let (originator, clusters) = match scene.cast {
        Cast::Client => (Some(THEIRS.overlay()), scene.cluster_list()),
        Cast::Reflector | Cast::Peer => own_path(scene),
    };
    eventually("site 3 has the daemon's route", || {
        check_path(third, &route, originator, &clusters)?;
        check_installed(third, route.prefix, THEIRS)
    })
}

/// samctl's routes arrive whole at the daemon, those of site 3 reflected.
pub(crate) fn our_routes_arrive(scene: &Scene) -> Result<()> {
    eventually("the daemon has our routes", || {
        for prefix in [OURS.client_route(), IpNet::from(IpAddr::V4(OURS.overlay()))] {
            let told = told_to_daemon(&scene.ours, prefix)?;
            check_seen(&their_view(scene, prefix, OURS)?, &told, None, &[])?;
        }
        Ok(())
    })?;
    let Some(third) = &scene.third else {
        return Ok(());
    };
    let prefix = THIRD.client_route();
    if scene.cast == Cast::Client {
        let told = told_to_daemon(&scene.ours, prefix)?;
        return eventually("the daemon has what we reflect", || {
            let seen = their_view(scene, prefix, THIRD)?;
            check_seen(&seen, &told, Some(THIRD.overlay()), &scene.cluster_list())
        });
    }
    eventually("the daemon reflects between us and site 3", || {
        check_reflected(scene, &scene.ours, third)?;
        check_reflected(scene, third, &scene.ours)
    })?;
    let (near, far) = (scene.world.site(OURS)?, scene.world.site(THIRD)?);
    eventually("our client reaches site 3", || ping(near, far))
}

/// A route that either side withdraws is gone on the other, and comes back.
pub(crate) fn withdrawals_are_followed(scene: &mut Scene) -> Result<()> {
    let route = Announcement::claim(THEIRS, u32::from(THEIRS.0));
    scene.tell()?.withdraw(route.prefix)?;
    for router in routers(scene) {
        eventually("the daemon's withdrawn route is gone", || {
            ensure!(router.paths(route.prefix)?.is_empty(), "still in the RIB");
            ensure!(router.route(route.prefix)?.is_none(), "still installed");
            Ok(())
        })?;
    }
    scene.tell()?.announce(&route)?;
    eventually("the daemon's route is back", || {
        check_direct_path(scene, &route)
    })?;

    let own = OURS.client();
    scene.ours.order(&["withdraw", &own.to_string()])?;
    eventually("our withdrawn route is gone", || {
        let routes = scene.theirs()?.routes()?;
        let found = routes
            .iter()
            .find(|route| route.prefix == OURS.client_route());
        ensure!(found.is_none(), "the daemon still has {found:?}");
        Ok(())
    })?;
    scene.ours.order(&["announce", &own.to_string()])?;
    eventually("our route is back", || {
        let told = told_to_daemon(&scene.ours, OURS.client_route())?;
        let seen = their_view(scene, OURS.client_route(), OURS)?;
        check_seen(&seen, &told, None, &[])
    })
}

/// Routes without tags or in another's name are refused by every router that hears them, each by its reason, and never
/// installed anywhere. A reflecting samctl does not pass them on, so that site 3 hears them from a reflecting daemon only.
pub(crate) fn unbelievable_routes_are_refused(scene: &mut Scene) -> Result<()> {
    let foreign = match scene.cast {
        Cast::Client => (u32::from(THIRD.0), "node-id-not-peer"),
        Cast::Reflector => (u32::from(THIRD.0), "originator-not-node"),
        Cast::Peer => (99, "node-id-unknown"),
    };
    let claim = |claimant| Announcement::claim(NOBODY, claimant);
    let cases = [
        (
            claim(u32::from(THEIRS.0)).untagged(),
            ["node-id-missing", "node-id-missing"],
        ),
        (
            claim(u32::from(OURS.0)),
            ["node-id-is-ours", "originator-not-node"],
        ),
        (claim(foreign.0), [foreign.1, "node-id-is-ours"]),
    ];
    for (route, reasons) in cases {
        scene.tell()?.announce(&route)?;
        for (router, reason) in hearers(scene).zip(reasons) {
            eventually(reason, || {
                let found = refusal(router, route.prefix)?;
                ensure!(found.as_deref() == Some(reason), "refused for {found:?}");
                Ok(())
            })?;
        }
        for router in routers(scene) {
            ensure!(
                router.paths(route.prefix)?.is_empty(),
                "a refused route is in a RIB"
            );
            ensure!(
                router.route(route.prefix)?.is_none(),
                "a refused route is installed"
            );
        }
    }
    let prefix = NOBODY.client_route();
    scene.tell()?.withdraw(prefix)?;
    for router in hearers(scene) {
        eventually("a withdrawn route is refused no more", || {
            ensure!(refusal(router, prefix)?.is_none(), "still refused");
            Ok(())
        })?;
    }
    Ok(())
}

/// The samctls, site 1 first.
fn routers(scene: &Scene) -> impl Iterator<Item = &Router> {
    std::iter::once(&scene.ours).chain(&scene.third)
}

/// Those that have a session with the daemon.
fn hearers(scene: &Scene) -> impl Iterator<Item = &Router> {
    let all = scene.cast == Cast::Reflector;
    routers(scene).take(if all { 2 } else { 1 })
}

/// samctl at site 1 has exactly one path to the daemon's route, with everything it was given.
pub(crate) fn check_direct_path(scene: &Scene, route: &Announcement) -> Result<()> {
    let (originator, clusters) = own_path(scene);
    check_path(&scene.ours, route, originator, &clusters)
}

/// ORIGINATOR_ID and CLUSTER_LIST of the daemon's own route on its first way: none, but for [`Kind::reflects_its_own`].
///
/// [`Kind::reflects_its_own`]: crate::daemon::Kind::reflects_its_own
fn own_path(scene: &Scene) -> (Option<Ipv4Addr>, Vec<Ipv4Addr>) {
    if scene.cast == Cast::Reflector && scene.kind.reflects_its_own() {
        (Some(THEIRS.overlay()), scene.cluster_list())
    } else {
        (None, Vec::new())
    }
}

/// A router has exactly one path to the route, from the daemon's mouth or reflected, with everything it was given.
fn check_path(
    router: &Router,
    route: &Announcement,
    originator: Option<Ipv4Addr>,
    cluster_list: &[Ipv4Addr],
) -> Result<()> {
    let paths = router.paths(route.prefix)?;
    let [path] = &paths[..] else {
        anyhow::bail!("{} paths to {}", paths.len(), route.prefix);
    };
    let expected = json!({
        "best": true,
        "next_hop": THEIRS.overlay(),
        "local_pref": route.local_pref,
        "med": route.med,
        "as_path": [],
        "origin": "igp",
        "originator_id": originator,
        "cluster_list": cluster_list,
        "communities": route.communities,
        "large_communities": route.large_communities,
    });
    for (name, value) in expected.as_object().into_iter().flatten() {
        ensure!(
            path[name] == *value,
            "{name} is {} instead of {value}",
            path[name]
        );
    }
    Ok(())
}

/// Why a route of the daemon is refused, if it is.
fn refusal(router: &Router, prefix: IpNet) -> Result<Option<String>> {
    let view = router.neighbor(THEIRS)?;
    let rows = view["routes_rejected"].as_array().context("no list")?;
    let row = rows.iter().find(|row| row["prefix"] == prefix.to_string());
    Ok(row
        .and_then(|row| row["reason"].as_str())
        .map(str::to_owned))
}

fn check_installed(router: &Router, prefix: IpNet, owner: Place) -> Result<()> {
    let route = router.route(prefix)?.context("not installed")?;
    ensure!(
        route["action"] == "tunnel"
            && route["origin"] == "bgp"
            && route["node"]["name"] == owner.name(),
        "installed as {route}"
    );
    Ok(())
}

/// `reader` has the client of `writer` by way of the daemon, exactly as `writer` told it.
fn check_reflected(scene: &Scene, reader: &Router, writer: &Router) -> Result<()> {
    let prefix = writer.place.client_route();
    let told = told_to_daemon(writer, prefix)?;
    let paths = reader.paths(prefix)?;
    let path = paths.first().context("not reflected")?;
    let expected = json!({
        "best": true,
        "next_hop": writer.place.overlay(),
        "local_pref": told["local_pref"],
        "originator_id": writer.place.overlay(),
        "cluster_list": scene.cluster_list(),
        "large_communities": told["large_communities"],
    });
    for (name, value) in expected.as_object().into_iter().flatten() {
        ensure!(
            path[name] == *value,
            "{name} is {} instead of {value}",
            path[name]
        );
    }
    check_installed(reader, prefix, writer.place)
}

/// What a router says that it told the daemon.
fn told_to_daemon(router: &Router, prefix: IpNet) -> Result<Value> {
    let view = router.neighbor(THEIRS)?;
    let rows = view["routes_advertised"].as_array().context("no list")?;
    let row = rows.iter().find(|row| row["prefix"] == prefix.to_string());
    row.cloned()
        .with_context(|| format!("{prefix} is not advertised"))
}

fn their_view(scene: &Scene, prefix: IpNet, owner: Place) -> Result<SeenRoute> {
    let routes = scene.theirs()?.routes()?;
    let mut found = routes.into_iter().filter(|route| route.prefix == prefix);
    let route = found
        .next()
        .with_context(|| format!("the daemon has no {prefix}"))?;
    ensure!(found.next().is_none(), "the daemon has two of {prefix}");
    ensure!(
        route.next_hop == owner.overlay(),
        "next hop {}",
        route.next_hop
    );
    Ok(route)
}

/// The daemon sees what samctl says that it told.
fn check_seen(
    seen: &SeenRoute,
    told: &Value,
    originator: Option<Ipv4Addr>,
    cluster_list: &[Ipv4Addr],
) -> Result<()> {
    let shown = json!({
        "next_hop": seen.next_hop,
        "local_pref": seen.local_pref,
        "originator_id": originator,
        "large_communities": seen.large_communities,
    });
    for (name, value) in shown.as_object().into_iter().flatten() {
        // Numbers have another order than their texts, by which those that were seen are sorted.
        let mut told = told[name].clone();
        if let Some(list) = told.as_array_mut() {
            list.sort_by_key(ToString::to_string);
        }
        ensure!(told == *value, "{name}: told {told}, seen {value}");
    }
    ensure!(
        !seen.large_communities.is_empty() && seen.communities.is_empty(),
        "{seen:?}"
    );
    ensure!(seen.med.unwrap_or(0) == 0, "MED {:?}", seen.med);
    ensure!(
        seen.originator == originator && seen.cluster_list == cluster_list,
        "{seen:?}"
    );
    Ok(())
}

/// A site that does not exist; its client's address is free for claims that must not be believed.
const NOBODY: Place = Place(9);
