//! One address with several claims, between samctl and a foreign daemon: all paths where both ends can tell them apart
//! (RFC 7911), the best one where they cannot; withdrawn one by one.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use serde_json::Value;

use crate::daemon::Announcement;
use crate::router::Router;
use crate::scene::{Cast, OURS, Scene, THEIRS, THIRD};
use crate::wait::eventually;
use crate::world::Place;

/// A path as both sides show it: next hop, LOCAL_PREF, large communities.
type Shown = (IpAddr, u64, BTreeSet<String>);

/// What cannot be agreed on is not told; what is told arrives, both ways.
pub(crate) fn are_told_as_agreed(scene: &mut Scene) -> Result<()> {
    match scene.cast {
        Cast::Client => they_hear_all_claims(scene),
        Cast::Reflector => we_hear_all_claims(scene),
        Cast::Peer => a_standby_is_heard(scene),
    }
}

/// samctl reflects: the address of site 3 is claimed by site 1 as well, then by the daemon too.
fn they_hear_all_claims(scene: &mut Scene) -> Result<()> {
    let (address, prefix) = (THIRD.client().to_string(), THIRD.client_route());
    scene.ours.order(&["announce", &address])?;
    let heard = if scene.kind.add_path(scene.add_path) == "none" {
        vec![OURS]
    } else {
        vec![OURS, THIRD]
    };
    eventually("the daemon has what we tell", || {
        let told = told(&scene.ours, prefix)?;
        ensure!(next_hops(&told) == overlays(&heard), "told {told:?}");
        ensure!(
            seen(scene, prefix)? == told,
            "seen {:?}",
            seen(scene, prefix)?
        );
        Ok(())
    })?;
    if scene.add_path {
        ids_differ(&scene.ours, prefix)?;
    }

    let standby = Announcement::standby(THIRD, u32::from(THEIRS.0));
    scene.tell()?.announce(&standby)?;
    let third = scene.third.as_ref().context("the cast has a third site")?;
    // Where paths cannot be told apart, the daemon may find another one better than its own and keep that to itself.
    if scene.add_path {
        for router in [&scene.ours, third] {
            eventually("everybody knows the daemon's claim", || {
                has_path(router, prefix, &standby)
            })?;
        }
    }

    scene.ours.order(&["withdraw", &address])?;
    eventually("one path is withdrawn, the others stay", || {
        let seen = next_hops(&seen(scene, prefix)?);
        ensure!(seen == overlays(&[THIRD]), "seen {seen:?}");
        Ok(())
    })?;
    scene.tell()?.withdraw(prefix)?;
    is_theirs_no_more(scene, prefix)
}

/// The daemon reflects: it claims the address of site 3 as well.
fn we_hear_all_claims(scene: &mut Scene) -> Result<()> {
    let prefix = THIRD.client_route();
    let standby = Announcement::standby(THIRD, u32::from(THEIRS.0));
    scene.tell()?.announce(&standby)?;
    if scene.add_path {
        eventually("we have all paths, the best first", || {
            let hops = heard(&scene.ours, prefix)?;
            let expected = [THIRD, THEIRS].map(Place::overlay);
            ensure!(hops == expected, "heard {hops:?}");
            has_path(&scene.ours, prefix, &standby)
        })?;
        let ids: BTreeSet<u64> = ids(&scene.ours.paths(prefix)?);
        ensure!(ids.len() == 2, "ids {ids:?}");
    } else {
        eventually("we have one path", || {
            let hops = heard(&scene.ours, prefix)?;
            ensure!(hops.len() == 1, "heard {hops:?}");
            Ok(())
        })?;
    }
    scene.tell()?.withdraw(prefix)?;
    is_theirs_no_more(scene, prefix)
}

/// Equals: the daemon claims our address, and ours is told nevertheless.
fn a_standby_is_heard(scene: &mut Scene) -> Result<()> {
    let prefix = OURS.client_route();
    let standby = Announcement::standby(OURS, u32::from(THEIRS.0));
    scene.tell()?.announce(&standby)?;
    if scene.add_path {
        eventually("we have the daemon's claim beside ours", || {
            has_path(&scene.ours, prefix, &standby)
        })?;
    }
    eventually("the daemon has ours", || {
        let seen = next_hops(&seen(scene, prefix)?);
        ensure!(seen == overlays(&[OURS]), "seen {seen:?}");
        Ok(())
    })?;
    scene.tell()?.withdraw(prefix)?;
    is_theirs_no_more(scene, prefix)
}

/// The daemon's claim is gone everywhere, and everything is as before.
fn is_theirs_no_more(scene: &Scene, prefix: IpNet) -> Result<()> {
    for router in [Some(&scene.ours), scene.third.as_ref()]
        .into_iter()
        .flatten()
    {
        eventually("the daemon's claim is gone", || {
            let hops = heard(router, prefix)?;
            ensure!(hops.len() == 1 && hops[0] != THEIRS.overlay(), "{hops:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// A router has the path that the daemon announces, with everything it was given.
fn has_path(router: &Router, prefix: IpNet, route: &Announcement) -> Result<()> {
    let paths = router.paths(prefix)?;
    let path = paths
        .iter()
        .find(|path| path["next_hop"] == THEIRS.overlay().to_string())
        .with_context(|| format!("only {:?}", heard(router, prefix)))?;
    ensure!(
        path["local_pref"] == route.local_pref
            && path["med"] == route.med
            && texts(&path["large_communities"]) == set(&route.large_communities)
            && texts(&path["communities"]) == set(&route.communities),
        "{path}"
    );
    Ok(())
}

/// What samctl says that it told the daemon of a prefix.
fn told(router: &Router, prefix: IpNet) -> Result<BTreeSet<Shown>> {
    rows(router, prefix)?
        .iter()
        .map(|row| {
            let hop = row["next_hop"].as_str().context("no next hop")?.parse()?;
            let local_pref = row["local_pref"].as_u64().context("no LOCAL_PREF")?;
            Ok((hop, local_pref, texts(&row["large_communities"])))
        })
        .collect()
}

/// What the daemon has learned of a prefix.
fn seen(scene: &Scene, prefix: IpNet) -> Result<BTreeSet<Shown>> {
    let routes = scene.theirs()?.routes()?.into_iter();
    let shown = routes.filter(|route| route.prefix == prefix).map(|route| {
        let local_pref = u64::from(route.local_pref.unwrap_or_default());
        (route.next_hop, local_pref, set(&route.large_communities))
    });
    Ok(shown.collect())
}

/// Next hops of the paths to a prefix that a router has, best first.
fn heard(router: &Router, prefix: IpNet) -> Result<Vec<IpAddr>> {
    let paths = router.paths(prefix)?;
    let hops = paths.iter().map(|path| {
        let hop = path["next_hop"].as_str().context("no next hop")?;
        Ok(hop.parse()?)
    });
    hops.collect()
}

fn ids_differ(router: &Router, prefix: IpNet) -> Result<()> {
    let rows = rows(router, prefix)?;
    ensure!(ids(&rows).len() == rows.len(), "{rows:?}");
    Ok(())
}

fn rows(router: &Router, prefix: IpNet) -> Result<Vec<Value>> {
    let view = router.neighbor(THEIRS)?;
    let rows = view["routes_advertised"].as_array().context("no list")?;
    let rows = rows
        .iter()
        .filter(|row| row["prefix"] == prefix.to_string());
    Ok(rows.cloned().collect())
}

fn ids(rows: &[Value]) -> BTreeSet<u64> {
    rows.iter()
        .filter_map(|row| row["path_id"].as_u64())
        .collect()
}

fn next_hops(shown: &BTreeSet<Shown>) -> BTreeSet<IpAddr> {
    shown.iter().map(|(hop, _, _)| *hop).collect()
}

fn overlays(places: &[Place]) -> BTreeSet<IpAddr> {
    places.iter().map(|place| place.overlay().into()).collect()
}

fn texts(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn set(list: &[String]) -> BTreeSet<String> {
    list.iter().cloned().collect()
}
