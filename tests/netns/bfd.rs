//! Paths that break: how soon other routers notice, what they do, and that they notice nothing where nothing is broken.

use std::thread;
use std::time::{Duration, Instant};

use sam_testkit::netns::{Daemon, Fabric, RouterProcess, Site, sh, wait_until};
use serde_json::Value;

use crate::case::{Case, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "bfd::a_path_between_two_leaves_that_breaks_is_noticed_although_the_reflector_sees_both",
        needs: &[],
        run: one_path,
    },
    Case {
        name: "bfd::a_site_that_is_cut_off_gives_way_to_its_backup_and_comes_back",
        needs: &[],
        run: cut_off,
    },
    Case {
        name: "bfd::a_router_that_hangs_is_noticed_and_comes_back",
        needs: &[],
        run: hangs,
    },
    Case {
        name: "bfd::a_busy_host_makes_no_router_look_dead",
        needs: &[],
        run: busy,
    },
    Case {
        name: "bfd::a_node_that_does_not_speak_it_or_stops_to_is_left_alone",
        needs: &[],
        run: silent,
    },
];

/// Detection takes 0.9 s; a busy machine has twice as much again, and BGP's hold time (9 s) is far.
const DETECTION: Duration = Duration::from_secs(3);
/// Time for sessions to come up, and for routes to return.
const RETURN: Duration = Duration::from_secs(20);
/// How long an idle program waits at most on a host that is only busy.
const STARVED: Duration = Duration::from_millis(200);
/// Rounds on a host that starves.
const ROUNDS: usize = 3;
/// Sleep of an idle program.
const NAP: Duration = Duration::from_millis(5);
/// Time for which nothing may happen.
const REST: Duration = Duration::from_secs(30);

/// ```text
/// .10 ── lan1 ── router onprem (reflector) ══╦══ router aws ── lan2 ── .11
///                                            ║        ╳ what azure sends to aws is lost
///                                            ╚══ router azure ── lan3 ── .12
/// ```
fn one_path() {
    let fabric = watched(3);
    let azure = fabric.topology.router(Site::AZURE);
    let (near, far) = (Site::AZURE, Site::AWS);
    wait_for_ping(fabric.topology.client(near), far.client(), RETURN);

    let lost = format!(
        "ip neigh replace {} lladdr 02:00:00:00:00:99 nud permanent dev wan0",
        far.underlay()
    );
    sh(azure, &lost).success();

    wait_until("azure withholds .11", DETECTION, || {
        fabric.owner(near, far.client()).is_none()
    });
    wait_until("aws withholds .12", DETECTION, || {
        fabric.owner(far, near.client()).is_none()
    });
    assert_eq!(
        fabric.owner(Site::ONPREM, far.client()).as_deref(),
        Some("aws")
    );
    let session = session(fabric.router(near), far);
    assert_eq!(session["last_down"]["reason"], "neighbor-down", "{session}");
    assert_eq!(session["next_hop"], "unreachable");
    let told = "control detection time expired";
    assert_eq!(session["last_down"]["remote_diagnostic"], told);
    let explained = fabric.router(near).json("bgp rib").to_string();
    assert!(explained.contains("next-hop-unreachable"), "{explained}");
    for site in [near, far] {
        assert_eq!(
            neighbor(fabric.router(site), Site::ONPREM)["state"],
            "established"
        );
    }

    sh(azure, &format!("ip neigh del {} dev wan0", far.underlay())).success();
    wait_until("azure knows .11 again", RETURN, || {
        fabric.owner(near, far.client()).as_deref() == Some("aws")
    });
    wait_for_ping(fabric.topology.client(near), far.client(), RETURN);
}

/// ```text
/// .10 ── lan1 ── router onprem (reflector) ══╦══ ╳ router aws ── lan2 ── .11      .61 lives here,
///                                            ╚══ router azure ── lan3 ── .12      and could live here
/// ```
fn cut_off() {
    let fabric = watched(3);
    let extra = "10.77.60.61".parse().expect("an address");
    let announce = format!("announce {extra}");
    fabric.router(Site::AWS).samctl(&announce).success();
    wait_until("onprem knows .61", RETURN, || {
        fabric.owner(Site::ONPREM, extra).as_deref() == Some("aws")
    });
    fabric.router(Site::AZURE).samctl(&announce).success();
    let aws = fabric.topology.router(Site::AWS);

    sh(aws, "ip link set wan0 down").success();

    wait_until("azure takes over .61", DETECTION, || {
        fabric.owner(Site::ONPREM, extra).as_deref() == Some("azure")
    });
    wait_until("onprem withholds .11", DETECTION, || {
        fabric.owner(Site::ONPREM, Site::AWS.client()).is_none()
    });
    let down = neighbor(fabric.router(Site::ONPREM), Site::AWS);
    assert_eq!(down["last_down"], "BFD down", "{down}");
    assert_eq!(down["last_sent"]["text"], "cease: BFD down", "{down}");

    sh(aws, "ip link set wan0 up").success();
    fabric.wait_for_agreement();
    wait_for_ping(
        fabric.topology.client(Site::ONPREM),
        Site::AWS.client(),
        RETURN,
    );
}

/// ```text
/// .10 ── lan1 ── router onprem ══ router aws ── lan2 ── .11      ◄ SIGSTOP
/// ```
fn hangs() {
    let mut fabric = watched(2);
    let mut router = fabric.take(Site::AWS);

    router.daemon().signal("STOP");
    wait_until("onprem withholds .11", DETECTION, || {
        fabric.owner(Site::ONPREM, Site::AWS.client()).is_none()
    });
    let down = session(fabric.router(Site::ONPREM), Site::AWS);
    assert_eq!(
        down["last_down"]["reason"], "detection-time-expired",
        "{down}"
    );

    router.daemon().signal("CONT");
    wait_until("onprem knows .11 again", RETURN, || {
        fabric.owner(Site::ONPREM, Site::AWS.client()).as_deref() == Some("aws")
    });
    wait_for_ping(
        fabric.topology.client(Site::ONPREM),
        Site::AWS.client(),
        RETURN,
    );
}

/// Four programs that compute and nothing else, beside three routers. On a host that keeps even an idle program waiting,
/// as others use it too, the round says nothing and is repeated.
fn busy() {
    let fabric = watched(3);
    for _ in 0..ROUNDS {
        let before = failures(&fabric);
        let longest = compete(&fabric);
        let after = failures(&fabric);
        if longest < STARVED || before == after {
            assert_eq!(after, before, "an idle program waited {longest:?} at most");
            return;
        }
    }
    panic!("in {ROUNDS} rounds this host kept an idle program waiting for more than {STARVED:?}");
}

/// How often BFD found a path broken, in all routers.
fn failures(fabric: &Fabric) -> usize {
    let sites = fabric.topology.sites();
    let logs = sites.iter().map(|site| fabric.router(*site).log());
    logs.map(|log| log.matches("bfd-down").count()).sum()
}

/// Keeps the host busy for a while; returns the longest time that an idle program waited for its turn.
fn compete(fabric: &Fabric) -> Duration {
    let spinning: Vec<Daemon> = (0..4)
        .map(|number| {
            let log = fabric.path(&format!("busy{number}.log"));
            Daemon::sh(
                fabric.topology.wires(),
                "exec sh -c 'while :; do :; done'",
                &log,
            )
        })
        .collect();
    let begin = Instant::now();
    let mut longest = Duration::ZERO;
    while begin.elapsed() < REST {
        let before = Instant::now();
        thread::sleep(NAP);
        longest = longest.max(before.elapsed().saturating_sub(NAP));
    }
    for mut daemon in spinning {
        assert_eq!(daemon.exit_code(), None, "it kept the host busy");
        daemon.kill();
    }
    longest
}

/// ```text
/// .10 ── lan1 ── router onprem ══ router aws ── lan2 ── .11      without BFD, then with, then without
/// ```
fn silent() {
    let mut fabric = Fabric::new(samctl(), 2);
    let (with, without) = ("  nodes:", "  bfd: {profile: none}\n  nodes:");
    fabric.edit(Site::AWS, with, without);
    fabric.start_all();
    let near = fabric.topology.client(Site::ONPREM);
    wait_for_ping(near, Site::AWS.client(), RETURN);
    let session_at = |fabric: &Fabric| session(fabric.router(Site::ONPREM), Site::AWS);
    let silence = session_at(&fabric);
    assert_eq!(
        (&silence["ups"], &silence["next_hop"]),
        (&0.into(), &"usable".into())
    );

    fabric.edit(Site::AWS, without, with);
    fabric.router(Site::AWS).samctl("reload").success();
    wait_until("the session comes up", RETURN, || {
        session_at(&fabric)["state"] == "up"
    });

    fabric.edit(Site::AWS, with, without);
    fabric.router(Site::AWS).samctl("reload").success();
    wait_until("the session is held down", RETURN, || {
        session_at(&fabric)["state"] == "down"
    });
    let held = session_at(&fabric);
    assert_eq!(held["last_down"]["reason"], "neighbor-admin-down", "{held}");
    assert_eq!(
        (&held["failures"], &held["next_hop"]),
        (&0.into(), &"usable".into())
    );
    // Well beyond the time in which anything could have followed.
    let later = Duration::from_secs(3);
    let ping = format!(
        "ping -n -q -i 0.2 -w {} {}",
        later.as_secs(),
        Site::AWS.client()
    );
    sh(near, &ping).success();
    let up = neighbor(fabric.router(Site::ONPREM), Site::AWS);
    assert_eq!(
        (&up["state"], &up["established_count"]),
        (&"established".into(), &1.into())
    );
}

/// A fabric that agrees and in which every router hears every other by BFD.
fn watched(sites: u8) -> Fabric {
    let fabric = Fabric::running(samctl(), sites);
    for at in fabric.topology.sites() {
        let others = fabric.topology.sites().len() - 1;
        wait_until("BFD is up with all others", RETURN, || {
            let view = fabric.router(at).json("bfd");
            let sessions = view["sessions"].as_array().expect("a list");
            let up = sessions.iter().filter(|session| session["state"] == "up");
            up.count() == others
        });
    }
    fabric
}

/// Row of `samctl bfd` for a node.
fn session(router: &RouterProcess, with: Site) -> Value {
    let view = router.json("bfd");
    let sessions = view["sessions"].as_array().expect("a list");
    let mut sessions = sessions.iter();
    let session = sessions.find(|session| session["node"]["name"] == with.name());
    session.expect("a session with every node").clone()
}

fn neighbor(router: &RouterProcess, with: Site) -> Value {
    router.json(&format!("bgp neighbor {}", with.name()))
}
