//! Routers of other ASes as BGP neighbors: what passes, who stays out.
//!
//! ```text
//!   samctl, AS 64577 ── wan0 203.0.113.11 ── bridge wan ── 203.0.113.12 wan0 ── the daemon, AS 65002
//! ```
//! The fabric has one node, so nothing but the neighbor talks BGP. The daemon announces a network of its own and,
//! wrongly, an address of the pool.

mod daemon;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

pub(crate) use daemon::Kind;
use daemon::{Daemon, FAR_ASN, Manner, asn};

use crate::fabric::{ASN, Fabric};
use crate::process::output;
use crate::router::Router;
use crate::scratch::Scratch;
use crate::wait::{eventually, within};
use crate::world::{Place, World};

/// One test with one daemon.
pub(crate) type Test = fn(Kind, &Scratch) -> Result<()>;

/// Nothing passes without a policy (RFC 8212); with one, what it admits and nothing of the fabric's; all without a new
/// session. A graceful shutdown is heard (RFC 8326).
pub(crate) fn policy_decides(kind: Kind, scratch: &Scratch) -> Result<()> {
    let scene = Scene::start(kind, Manner::Plain, &neighbor(""), scratch)?;
    scene.wait_until_established("upstream")?;
    eventually("everything is refused for want of a policy", || {
        ensure!(
            scene
                .refusals("upstream")?
                .contains(&(NETWORK.into(), "no-policy".into()))
        );
        Ok(())
    })?;
    ensure!(!scene.theirs.knows(OWN)?, "told without a policy");

    scene.ours.reload(&neighbor(POLICY))?;

    eventually("their network is here", || {
        let paths = scene.ours.paths(NETWORK.parse()?)?;
        let path = paths.first().context("no path")?;
        ensure!(path["as_path"] == serde_json::json!([THEIR_ASN]), "{path}");
        ensure!(path["next_hop"] == THEIRS.underlay().to_string(), "{path}");
        ensure!(path["best"] == true && path["local_pref"] == 200, "{path}");
        Ok(())
    })?;
    let refusals = scene.refusals("upstream")?;
    ensure!(
        refusals.contains(&(FORGED.into(), "pool-address".into())),
        "{refusals:?}"
    );
    ensure!(scene.ours.paths(FORGED.parse()?)?.is_empty(), "believed");
    eventually("our address is there", || {
        let shown = scene.theirs.show(OWN)?;
        for needed in [ASN.to_string(), OURS.underlay().to_string()] {
            ensure!(shown.contains(&needed), "{needed} is missing: {shown}");
        }
        // Tags of the fabric begin with its AS number and have two parts more.
        let tag = [format!("{ASN}:1:"), format!("({ASN}, 1,")];
        ensure!(!tag.iter().any(|tag| shown.contains(tag)), "tags: {shown}");
        Ok(())
    })?;

    let terms = format!("{POLICY}        gracefulShutdown: true\n");
    let order = |on| scene.ours.order(&["bgp", "graceful-shutdown", on]);
    order("on")?;
    scene.is_asked_to_prefer_other_ways(true)?;
    order("off")?;
    scene.is_asked_to_prefer_other_ways(false)?;
    scene.ours.reload(&neighbor(&terms))?;
    scene.is_asked_to_prefer_other_ways(true)?;
    let view = scene.neighbor("upstream")?;
    println!(
        "{}: extended messages {}, capabilities {}",
        kind.name(),
        view["extended_messages"],
        view["capabilities_received"]
    );
    ensure!(view["established_count"] == 1, "the session was reset");
    ensure!(
        view["extended_messages"] == kind.extended_messages(),
        "{view}"
    );
    scene.stays_well()
}

/// With MD5 and a hop limit on both sides (RFC 2385, RFC 5082) the session comes up; with another key it does not.
pub(crate) fn strangers_stay_out(kind: Kind, scratch: &Scratch) -> Result<()> {
    scratch.write("upstream.key", "another key\n")?;
    let terms = format!(
        "{POLICY}        ttlSecurity: 1\n        authentication: {{type: md5, keyFile: upstream.key}}\n"
    );
    let scene = Scene::start(kind, Manner::Signed, &neighbor(&terms), scratch)?;
    eventually("the kernel refuses segments with a wrong signature", || {
        let refused = scene.signature_failures()?;
        ensure!(refused > 0, "none yet");
        Ok(())
    })?;
    let view = scene.neighbor("upstream")?;
    ensure!(view["established_count"] == 0, "{view}");

    scratch.write("upstream.key", &format!("{}\n", daemon::KEY))?;
    scene.ours.reload(&neighbor(&terms))?;

    scene.wait_until_established("upstream")?;
    let terms = &scene.neighbor("upstream")?["foreign"];
    ensure!(terms["authentication"] == "md5", "{terms}");
    ensure!(terms["ttl"] == 255 && terms["ttl_least"] == 255, "{terms}");
    let log = std::fs::read_to_string(scratch.path("site1.log"))?;
    ensure!(!log.contains(daemon::KEY), "the key is in the log");
    scene.stays_well()
}

/// A session that is disabled stays away until it is enabled; one that is reset comes back by itself.
pub(crate) fn orders_are_followed(kind: Kind, scratch: &Scratch) -> Result<()> {
    let scene = Scene::start(kind, Manner::Plain, &neighbor(POLICY), scratch)?;
    scene.wait_until_established("upstream")?;
    let order = |order| scene.ours.order(&["bgp", "neighbor", "upstream", order]);

    order("disable")?;
    eventually("the daemon has no session", || {
        ensure!(!scene.theirs.established()?, "still up");
        Ok(())
    })?;
    let view = scene.neighbor("upstream")?;
    ensure!(
        view["disabled"] == true && view["state"] == "idle",
        "{view}"
    );
    ensure!(
        order("disable").is_err() && order("reset").is_err(),
        "not refused"
    );
    ensure!(
        scene.ours.paths(NETWORK.parse()?)?.is_empty(),
        "still routed"
    );

    order("enable")?;
    scene.wait_until_established("upstream")?;
    order("reset")?;
    eventually("the session has come back", || {
        let view = scene.neighbor("upstream")?;
        ensure!(view["established_count"] == 3, "{view}");
        ensure!(view["state"] == "established", "{view}");
        Ok(())
    })?;
    eventually("routes are here", || {
        ensure!(!scene.ours.paths(NETWORK.parse()?)?.is_empty(), "not yet");
        Ok(())
    })
}

/// BFD over one hop (RFC 5881), and over several (RFC 5883): a cut that no interface tells of ends the session long before the
/// hold time of 9 s, and it comes back when the way does.
pub(crate) fn a_cut_ends_the_session(scratch: &Scratch) -> Result<()> {
    for (ours, theirs) in [("", ""), ("        multihop: 2\n", "multihop 2;")] {
        let terms = format!("{POLICY}        bfd: {{interval: 300ms, multiplier: 3}}\n{ours}");
        let scene = Scene::start(
            Kind::Bird,
            Manner::Watched(theirs),
            &neighbor(&terms),
            scratch,
        )?;
        scene.wait_until_established("upstream")?;
        scene.bfd_is("up")?;
        let view = scene.neighbor("upstream")?;
        ensure!(view["state"] == "established", "{view}");
        ensure!(view["last_down"].is_null(), "{view}");

        scene.cut(true)?;
        within(DETECTED, "the session ends", || {
            let view = scene.neighbor("upstream")?;
            ensure!(view["last_down"] == "BFD down", "{view}");
            Ok(())
        })?;
        scene.bfd_is("down")?;
        let last = &scene.neighbor("upstream")?["last_sent"];
        ensure!(last["code"] == 6 && last["subcode"] == 10, "{last}");

        scene.cut(false)?;
        scene.bfd_is("up")?;
        scene.wait_until_established("upstream")?;
    }
    Ok(())
}

/// Whoever comes from the range is a neighbor, and gone when the session ends.
pub(crate) fn a_range_admits(kind: Kind, scratch: &Scratch) -> Result<()> {
    let range = format!(
        "{POLICIES}    neighbors:\n      - name: guests\n        range: 203.0.113.12/30\n        limit: 2\n\
         \x20       asn: {THEIR_ASN}\n        localAddress: {}\n{POLICY}",
        OURS.underlay()
    );
    let mut scene = Scene::start(kind, Manner::Plain, &range, scratch)?;
    let name = THEIRS.underlay().to_string();
    scene.wait_until_established(&name)?;
    let view = scene.neighbor(&name)?;
    ensure!(view["range"] == "203.0.113.12/30", "{view}");
    eventually("routes pass", || {
        ensure!(
            !scene.ours.paths(NETWORK.parse()?)?.is_empty(),
            "theirs not yet"
        );
        ensure!(scene.theirs.knows(OWN)?, "ours not yet");
        Ok(())
    })?;

    scene.theirs.kill()?;

    eventually("it is forgotten", || {
        let all = scene.ours.ask(&["bgp", "neighbors"])?;
        ensure!(all["neighbors"] == serde_json::json!([]), "{all}");
        ensure!(
            scene.ours.paths(NETWORK.parse()?)?.is_empty(),
            "still routed"
        );
        Ok(())
    })
}

/// Three thousand routes that share their attributes leave in messages of more than 4096 bytes, which the daemon takes. Those
/// that it sends itself are as long as it likes.
pub(crate) fn long_messages_pass(scratch: &Scratch) -> Result<()> {
    let both = two_neighbors();
    let world = World::build(3)?;
    let fabric = Fabric::new(1, None)?;
    let many: Vec<String> = (0..MANY)
        .map(|number| format!("198.18.{}.{}/32", number / 256, number % 256))
        .collect();
    let upstream = Daemon::start(
        Kind::Bird,
        Manner::Plain,
        world.site(THEIRS)?,
        &many,
        scratch,
    )?;
    let ours = Router::start_with(world.site(OURS)?, &fabric, scratch, &both)?;
    eventually("all routes have come", || {
        let view = ours.ask(&["bgp", "neighbor", "upstream"])?;
        ensure!(view["extended_messages"] == "both", "{view}");
        ensure!(view["accepted"] == MANY, "{}", view["accepted"]);
        Ok(())
    })?;
    let downstream = Daemon::start(Kind::Bird, Manner::Plain, world.site(THIRD)?, &[], scratch)?;
    eventually("all routes have passed through", || {
        let known = downstream.count()?;
        ensure!(known >= MANY, "{known} of {MANY}");
        Ok(())
    })?;
    let view = ours.ask(&["bgp", "neighbor", "downstream"])?;
    let updates = view["messages_sent"]["update"]
        .as_u64()
        .context("no count")?;
    println!("{MANY} routes sent in {updates} UPDATEs");
    // Each route takes 5 bytes: messages of 4096 bytes would be more than this.
    let short = u64::try_from(MANY * 5 / 4096)?;
    ensure!(updates <= short, "{updates} UPDATEs");
    drop(upstream);
    Ok(())
}

/// A neighbor that knows AS numbers of two octets only hands on those of four, and is told them, by AS4_PATH (RFC 6793).
pub(crate) fn long_as_numbers_pass(scratch: &Scratch) -> Result<()> {
    const BEHIND_OLD: &str = "198.18.2.0/24";
    const BEHIND_NEW: &str = "198.18.3.0/24";
    let world = World::build(3)?;
    let fabric = Fabric::new(1, None)?;
    let start = |manner, place, route: &str| {
        Daemon::start(
            Kind::Bird,
            manner,
            world.site(place)?,
            &[route.to_owned()],
            scratch,
        )
    };
    let old = start(Manner::TwoOctets, THEIRS, BEHIND_OLD)?;
    let new = start(Manner::Plain, THIRD, BEHIND_NEW)?;
    let ours = Router::start_with(world.site(OURS)?, &fabric, scratch, &two_neighbors())?;

    eventually("we know the whole path", || {
        let paths = ours.paths(BEHIND_OLD.parse()?)?;
        let path = paths.first().context("no path")?;
        let whole = serde_json::json!([THEIR_ASN, FAR_ASN]);
        ensure!(path["as_path"] == whole, "{path}");
        Ok(())
    })?;
    for (daemon, route, path) in [
        (&new, BEHIND_OLD, format!("{ASN} {THEIR_ASN} {FAR_ASN}")),
        (&old, BEHIND_NEW, format!("{ASN} {}", asn(THIRD))),
    ] {
        eventually("the daemons know the whole path", || {
            let shown = daemon.show(route)?;
            ensure!(shown.contains(&format!("BGP.as_path: {path}\n")), "{shown}");
            Ok(())
        })?;
    }
    let view = ours.ask(&["bgp", "neighbor", "upstream"])?;
    let offered = view["capabilities_received"].to_string();
    ensure!(!offered.contains("four-octet-as"), "{offered}");
    Ok(())
}

/// Whatever capability the daemon lacks, the session comes up, routes pass both ways, and what is lacking is not used.
pub(crate) fn any_capability_may_be_missing(scratch: &Scratch) -> Result<()> {
    for (option, lacking) in [
        (
            "enable route refresh off",
            &["route-refresh", "enhanced-route-refresh"][..],
        ),
        ("enable as4 off", &["four-octet-as"]),
        ("enable extended messages off", &["extended-message"]),
        ("graceful restart off", &["graceful-restart"]),
        (
            "capabilities off",
            &[
                "multiprotocol",
                "route-refresh",
                "four-octet-as",
                "extended-message",
            ],
        ),
    ] {
        let scene = Scene::start(Kind::Bird, Manner::With(option), &neighbor(POLICY), scratch)?;
        scene.wait_until_established("upstream")?;
        let view = scene.neighbor("upstream")?;
        let offered = view["capabilities_received"].to_string();
        println!("{option}: {offered}");
        for name in lacking {
            ensure!(
                !offered.contains(&format!("\"{name}")),
                "{option}: {offered}"
            );
        }
        let extended = offered.contains("extended-message");
        let expected = if extended { "both" } else { "receive" };
        ensure!(view["extended_messages"] == expected, "{option}: {view}");
        eventually("routes pass both ways", || {
            let paths = scene.ours.paths(NETWORK.parse()?)?;
            let path = paths.first().context("theirs not yet")?;
            ensure!(path["as_path"] == serde_json::json!([THEIR_ASN]), "{path}");
            ensure!(scene.theirs.knows(OWN)?, "ours not yet");
            Ok(())
        })?;
        let asked = scene
            .ours
            .order(&["bgp", "neighbor", "upstream", "refresh", "in"]);
        let able = offered.contains("\"route-refresh");
        ensure!(asked.is_ok() == able, "{option}: {asked:?}");
        scene
            .ours
            .order(&["bgp", "neighbor", "upstream", "refresh", "out"])?;
        scene.stays_well()?;
        let view = scene.neighbor("upstream")?;
        ensure!(view["established_count"] == 1, "{option}: {view}");
    }
    Ok(())
}

/// samctl and the daemon.
struct Scene {
    ours: Router,
    theirs: Daemon,
    world: World,
}

impl Scene {
    /// Starts both; `more` is samctl's own part beyond the usual.
    fn start(kind: Kind, manner: Manner, more: &str, scratch: &Scratch) -> Result<Self> {
        let world = World::build(2)?;
        let fabric = Fabric::new(1, None)?;
        let routes = [NETWORK.to_owned(), FORGED.to_owned()];
        Ok(Self {
            theirs: Daemon::start(kind, manner, world.site(THEIRS)?, &routes, scratch)?,
            ours: Router::start_with(world.site(OURS)?, &fabric, scratch, more)?,
            world,
        })
    }

    fn neighbor(&self, name: &str) -> Result<Value> {
        self.ours.ask(&["bgp", "neighbor", name])
    }

    fn wait_until_established(&self, name: &str) -> Result<()> {
        eventually("both sides are Established", || {
            let view = self.neighbor(name)?;
            ensure!(view["state"] == "established", "samctl: {view}");
            ensure!(self.theirs.established()?, "the daemon does not agree");
            Ok(())
        })
    }

    /// Waits until the BFD session with the daemon is in this state.
    fn bfd_is(&self, state: &str) -> Result<()> {
        eventually("BFD says how the way is", || {
            let view = self.ours.ask(&["bfd"])?;
            let row = &view["neighbors"][0];
            ensure!(row["address"] == THEIRS.underlay().to_string(), "{view}");
            ensure!(row["state"] == state, "{row}");
            Ok(())
        })
    }

    /// Has what either side sends lost on the way, or not any more.
    fn cut(&self, lost: bool) -> Result<()> {
        for (from, to) in [(OURS, THEIRS), (THEIRS, OURS)] {
            let to = to.underlay();
            let order = if lost {
                format!("ip neigh replace {to} lladdr 02:00:00:00:00:99 nud permanent dev wan0")
            } else {
                format!("ip neigh del {to} dev wan0")
            };
            let mut shell = self.world.site(from)?.router.command("sh");
            output(shell.args(["-c", &order]))?;
        }
        Ok(())
    }

    /// Waits until what the daemon knows of our address says that the way goes away soon (RFC 8326), or not.
    fn is_asked_to_prefer_other_ways(&self, asked: bool) -> Result<()> {
        eventually("the daemon hears which ways to prefer", || {
            let shown = self.theirs.show(OWN)?.to_lowercase();
            let words = ["65535:0", "(65535,0)", "graceful-shutdown", "planned-shut"];
            let says = words.iter().any(|word| shown.contains(word));
            ensure!(says == asked && shown.contains(&ASN.to_string()), "{shown}");
            Ok(())
        })
    }

    /// Refused routes with their reasons.
    fn refusals(&self, name: &str) -> Result<Vec<(String, String)>> {
        let view = self.neighbor(name)?;
        let rows = view["routes_rejected"].as_array().context("no list")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let rows = rows
            .iter()
            .map(|row| (text(&row["prefix"]), text(&row["reason"])));
        Ok(rows.collect())
    }

    /// How many segments the kernel of our site dropped for their signature.
    fn signature_failures(&self) -> Result<u64> {
        let text = self
            .world
            .site(OURS)?
            .router
            .enter(|| std::fs::read_to_string("/proc/thread-self/net/netstat"))??;
        let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
        let (names, values) = lines.next().zip(lines.next()).context("no counters")?;
        let counted = names.split(' ').zip(values.split(' '));
        let failures = ["TCPMD5NotFound", "TCPMD5Unexpected", "TCPMD5Failure"];
        let counts = counted.filter(|(name, _)| failures.contains(name));
        counts.map(|(_, count)| Ok(count.parse::<u64>()?)).sum()
    }

    /// Nothing was complained about. Both may have called at the same moment: one call then ends with Cease/7, which is no
    /// complaint (RFC 4271 section 6.8).
    fn stays_well(&self) -> Result<()> {
        let view = self.neighbor("upstream")?;
        for side in ["last_sent", "last_received"] {
            let collision = view[side]["code"] == 6 && view[side]["subcode"] == 7;
            ensure!(view[side].is_null() || collision, "{side}: {}", view[side]);
        }
        Ok(())
    }
}

/// The daemon as the neighbor `upstream`, with more terms.
fn neighbor(terms: &str) -> String {
    format!(
        "{POLICIES}    neighbors:\n      - name: upstream\n        address: {}\n        asn: {THEIR_ASN}\n        \
         localAddress: {}\n        interface: wan0\n        timers: fast\n{terms}",
        THEIRS.underlay(),
        OURS.underlay()
    )
}

/// Two daemons as the neighbors `upstream` and `downstream`.
fn two_neighbors() -> String {
    let terms = |name: &str, place: Place| {
        format!(
            "      - name: {name}\n        address: {}\n        asn: {}\n        localAddress: {}\n{POLICY}",
            place.underlay(),
            asn(place),
            OURS.underlay()
        )
    };
    let (one, other) = (terms("upstream", THEIRS), terms("downstream", THIRD));
    format!("{POLICIES}    neighbors:\n{one}{other}")
}

/// samctl.
const OURS: Place = Place(1);
/// The daemon.
const THEIRS: Place = Place(2);
/// Another daemon.
const THIRD: Place = Place(3);
/// AS number of the daemon.
const THEIR_ASN: u32 = 65_002;
/// What we own.
const OWN: &str = "10.77.60.10/32";
/// What the daemon may announce.
const NETWORK: &str = "198.51.100.0/24";
/// What it may not.
const FORGED: &str = "10.77.60.99/32";
/// The detection time is 900 ms; the rest is for a busy machine.
const DETECTED: Duration = Duration::from_secs(5);
/// Routes of the test of long messages.
const MANY: usize = 3_000;
/// Policies of all tests.
const POLICIES: &str = "  bgp:
    policies:
      - name: from-upstream
        rules:
          - match: {prefixes: [\"198.51.100.0/24\", \"198.18.0.0/15 le 32\", \"10.77.60.0/24 le 32\"]}
            set: {localPref: 200}
            then: accept
      - name: to-upstream
        rules:
          - match: {prefixes: [\"10.77.60.0/24 ge 32\", \"198.18.0.0/15 le 32\"]}
            then: accept
";
/// The keys with which a neighbor uses them.
const POLICY: &str = "        import: from-upstream\n        export: to-upstream\n";
