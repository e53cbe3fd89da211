//! Routes of IPv6 unicast (RFC 4760) over the sessions of the fabric: learned, shown, reflected, and never installed.
//!
//! Site 1 is samctl, site 2 the daemon, site 3 a BIRD. samctl originates no route of IPv6; what it tells the daemon is the
//! BIRD's. Either samctl or the daemon reflects.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::daemon::{Announcement, Daemon, Kind, Setup};
use crate::fabric::Fabric;
use crate::kernel_host::KernelHost;
use crate::router::Router;
use crate::scene::{OURS, THEIRS, THIRD};
use crate::scratch::Scratch;
use crate::wait::eventually;
use crate::world::{Place, World};

/// Everything that runs.
struct Stage {
    reflector: Place,
    ours: Router,
    daemon: Box<dyn Daemon>,
    bird: Box<dyn Daemon>,
    _hosts: [KernelHost; 2],
    _world: World,
}

/// samctl reflects between the daemon and the BIRD.
pub(crate) fn we_reflect(kind: Kind, scratch: &Scratch) -> Result<()> {
    let mut stage = Stage::start(kind, OURS, scratch)?;
    let (theirs, birds) = (Announcement::ipv6(THEIRS), Announcement::ipv6(THIRD));
    stage.daemon.announce(&theirs)?;
    stage.bird.announce(&birds)?;
    eventually("samctl has both routes as they were told", || {
        check_path(&stage.ours, &theirs, THEIRS, None, &[])?;
        check_path(&stage.ours, &birds, THIRD, None, &[])
    })?;
    eventually("each has the route of the other", || {
        let clusters = [OURS.overlay()];
        check_seen(&*stage.daemon, &birds, THIRD, &clusters)?;
        check_seen(&*stage.bird, &theirs, THEIRS, &clusters)
    })?;
    check_shown(&stage.ours, &theirs)?;
    stage.daemon.withdraw(theirs.prefix)?;
    eventually("what the daemon withdraws is gone everywhere", || {
        ensure!(stage.ours.paths(theirs.prefix)?.is_empty(), "in our RIB");
        let seen = stage.bird.routes()?;
        ensure!(seen.iter().all(|it| it.prefix != theirs.prefix), "{seen:?}");
        Ok(())
    })
}

/// The daemon reflects: its own route and that of the BIRD.
pub(crate) fn they_reflect(kind: Kind, scratch: &Scratch) -> Result<()> {
    let mut stage = Stage::start(kind, THEIRS, scratch)?;
    let (theirs, birds) = (Announcement::ipv6(THEIRS), Announcement::ipv6(THIRD));
    stage.daemon.announce(&theirs)?;
    stage.bird.announce(&birds)?;
    let clusters = [THEIRS.overlay()];
    let own: (_, &[Ipv4Addr]) = if kind.reflects_its_own() {
        (Some(THEIRS), &clusters)
    } else {
        (None, &[])
    };
    eventually("samctl has both routes", || {
        check_path(&stage.ours, &theirs, THEIRS, own.0, own.1)?;
        check_path(&stage.ours, &birds, THIRD, Some(THIRD), &clusters)
    })?;
    check_shown(&stage.ours, &theirs)
}

impl Stage {
    fn start(kind: Kind, reflector: Place, scratch: &Scratch) -> Result<Self> {
        let world = World::build(3)?;
        let fabric = Fabric::new(3, Some(reflector))?.with_ipv6();
        let host = |place| KernelHost::start(world.site(place)?, &fabric, scratch, None);
        let hosts = [host(THEIRS)?, host(THIRD)?];
        let setup = |kind: Kind, own: Place| -> Result<Setup> {
            let neighbors = if own == reflector {
                vec![OURS, THIRD]
            } else {
                vec![reflector]
            };
            let name = format!("{}-{}", kind.name(), own.name());
            Ok(Setup {
                namespace: world.site(own)?.router.clone(),
                folder: scratch.subfolder(&name)?,
                log: scratch.path(&format!("{name}.log")),
                own,
                neighbors,
                reflector: own == reflector,
                graceful: false,
                restarted: false,
                add_path: false,
                ipv6: true,
            })
        };
        let stage = Self {
            reflector,
            ours: Router::start(world.site(OURS)?, &fabric, scratch, None)?,
            daemon: kind.start(&setup(kind, THEIRS)?)?,
            bird: Kind::Bird.start(&setup(Kind::Bird, THIRD)?)?,
            _hosts: hosts,
            _world: world,
        };
        eventually("all sessions are Established", || stage.check_established())?;
        Ok(stage)
    }

    fn check_established(&self) -> Result<()> {
        let neighbors = if self.reflector == OURS {
            &[THEIRS, THIRD][..]
        } else {
            &[THEIRS]
        };
        for neighbor in neighbors {
            let view = self.ours.neighbor(*neighbor)?;
            ensure!(
                view["state"] == "established" && view["ipv6"]["negotiated"] == true,
                "{} is {}, ipv6 {}",
                neighbor.name(),
                view["state"],
                view["ipv6"]
            );
        }
        ensure!(self.bird.established(self.reflector)?, "not of the BIRD");
        Ok(())
    }
}

/// samctl has exactly one path to the route, with everything it was given, and forwards nothing by it.
fn check_path(
    router: &Router,
    route: &Announcement,
    from: Place,
    originator: Option<Place>,
    cluster_list: &[Ipv4Addr],
) -> Result<()> {
    let paths = router.paths(route.prefix)?;
    let [path] = &paths[..] else {
        anyhow::bail!("{} paths to {}", paths.len(), route.prefix);
    };
    let expected = json!({
        "best": true,
        "next_hop": from.next_hop(route.prefix),
        "local_pref": route.local_pref,
        "med": route.med,
        "as_path": [],
        "origin": "igp",
        "originator_id": originator.map(Place::overlay),
        "cluster_list": cluster_list,
        "communities": route.communities,
        "large_communities": route.large_communities,
    });
    for (name, value) in expected.as_object().into_iter().flatten() {
        ensure!(
            path[name] == *value,
            "{name} of {} is {} instead of {value}",
            route.prefix,
            path[name]
        );
    }
    ensure!(router.route(route.prefix)?.is_none(), "it is installed");
    Ok(())
}

/// A daemon has the route, reflected once by samctl and otherwise as it was told.
fn check_seen(
    daemon: &dyn Daemon,
    route: &Announcement,
    from: Place,
    cluster_list: &[Ipv4Addr],
) -> Result<()> {
    let routes = daemon.routes()?;
    let seen: Vec<_> = routes
        .iter()
        .filter(|seen| seen.prefix == route.prefix)
        .collect();
    let [seen] = seen[..] else {
        anyhow::bail!("{} of {} in {routes:?}", seen.len(), route.prefix);
    };
    ensure!(
        seen.next_hop == from.next_hop(route.prefix)
            && seen.local_pref == Some(route.local_pref)
            && seen.med == Some(route.med)
            && seen.communities == route.communities
            && seen.large_communities == route.large_communities
            && seen.originator == Some(from.overlay())
            && seen.cluster_list == cluster_list,
        "{seen:?}"
    );
    Ok(())
}

/// The verbs show it: the family's tables, why the path is the best, and the table of the neighbor.
fn check_shown(router: &Router, route: &Announcement) -> Result<()> {
    let prefix = route.prefix.to_string();
    for verb in [
        &["bgp", "rib", "-a", "ipv6"][..],
        &["bgp", "neighbor", &THEIRS.name(), "accepted", "-a", "ipv6"],
        &["bgp", "neighbor", &THEIRS.name(), "received"],
    ] {
        let text = router.order(verb)?;
        ensure!(text.contains(&prefix), "{verb:?}: {text}");
    }
    let ipv4 = router.order(&["bgp", "rib", "--family", "ipv4"])?;
    ensure!(!ipv4.contains(&prefix), "{ipv4}");
    let why = router.ask(&["bgp", "why", &prefix])?;
    ensure!(why["best"]["best"] == true, "{why}");
    let view = router.neighbor(THEIRS)?;
    let accepted = view["ipv6"]["accepted"].as_u64();
    ensure!(accepted >= Some(1), "{}", view["ipv6"]);
    Ok(())
}
