//! Who acts on a LAN with two routers, under stress: switches in a loop, hosts that lie, orders without end.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use sam_dataplane::packet::arp::ArpPacket;
use sam_net::Namespace;
use sam_testkit::netns::pair::{FAR, FIRST, Pair, SECOND};
use sam_testkit::netns::{
    Answerers, Capture, Daemon, Fabric, Pings, Usage, ask_who_has, probe_for, send_arp, sh,
    wait_until,
};

use crate::case::{Case, Need, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "authority::two_switches_in_a_loop_see_no_storm_no_moving_station_and_no_topology_change",
        needs: &[
            Need::Tool("bridge"),
            Need::Tool("tcpdump"),
            Need::Tool("tshark"),
        ],
        run: looped,
    },
    Case {
        name: "authority::probes_of_hosts_are_answered_by_neither_router",
        needs: &[],
        run: probed,
    },
    Case {
        name: "authority::a_thousand_forged_senders_take_no_address_and_bounded_memory_and_time",
        needs: &[],
        run: stormed,
    },
    Case {
        name: "authority::sixty_reloads_are_not_noticed",
        needs: &[],
        run: reloaded,
    },
    Case {
        name: "authority::a_role_that_changes_every_moment_is_never_held_by_two",
        needs: &[],
        run: toggled,
    },
    Case {
        name: "authority::hosts_that_nobody_configured_survive_the_death_of_the_router_that_heard_them",
        needs: &[],
        run: inherited,
    },
];

const PATIENCE: Duration = Duration::from_secs(20);
/// Three intervals of 300 ms, a skew, and what BFD and a busy machine take.
const TAKEOVER: Duration = Duration::from_secs(4);
/// Pings lost at most where nothing should be, on a machine that does much else.
const LOST: usize = 20;
/// Threads that have to run one after the other until a gate follows an advertisement: the sender's and the receiver's election,
/// control, packets. On a busy machine each may wait as long as the one that asks.
const HOPS: u32 = 4;
/// A client that nobody configured.
const NEW: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 50);

/// ```text
///            ┌── router onprem, priority 150 ══╗
/// .10 ── lan1┤                                 ║
///         ║ ║ two cables, of which STP blocks one   ╠══ router aws ── lan2 ── .11
///        lan1b── router azure,  priority 100 ══╝
/// ```
fn looped() {
    let mut pair = Pair::running(samctl());
    let wires = pair.fabric.topology.wires().clone();
    sh(
        &wires,
        &loop_script(&pair.fabric.topology.router_port(SECOND)),
    )
    .success();
    wait_until("spanning tree has decided", PATIENCE, || {
        let ports = sh(&wires, "bridge link show").stdout;
        let joining = || ports.lines().filter(|line| line.contains(": j"));
        let forwarding = joining().filter(|line| line.contains("state forwarding"));
        let blocked = joining().filter(|line| line.contains("state blocking"));
        let (forwarding, blocked) = (forwarding.count(), blocked.count());
        (forwarding, blocked) == (3, 1)
    });
    wait_until("spanning tree is at rest", PATIENCE, || {
        let switches = sh(&wires, "ip -d link show type bridge").success();
        !switches.contains("topology_change 1") && !switches.contains("topology_change_detected 1")
    });
    // While the second switch listened, neither router heard the other.
    wait_until("one router acts", PATIENCE, || {
        let states = [FIRST, SECOND].map(|site| pair.state(site));
        states.iter().filter(|state| *state == "master").count() == 1
    });
    wait_for_ping(pair.client(), FAR.client(), PATIENCE);
    let (master, backup) = match pair.state(FIRST).as_str() {
        "master" => (FIRST, SECOND),
        _ => (SECOND, FIRST),
    };

    let path = |name: &str| pair.fabric.path(name);
    let frames = Capture::start(pair.client(), "eth0", "ether multicast", &path("lan.pcap"));
    let tree = Capture::start(&wires, "j1", "stp", &path("stp.pcap"));
    let mut stations = Daemon::sh(&wires, "exec bridge monitor fdb", &path("fdb.log"));
    let asker = Answerers::start(pair.client(), FIRST.client(), FAR.client());
    let mut router = pair.fabric.take(master);
    router.daemon().kill();
    pair.wait_for(backup, "master");
    wait_for_ping(pair.client(), FAR.client(), TAKEOVER);
    drop(router);
    pair.fabric.start(master);
    pair.wait_for(master, "backup");

    let seen = asker.stop();
    assert_eq!(seen.longest_overlap(), Duration::ZERO, "one at a time");
    assert_eq!(seen.macs().len(), 2, "the other one took over");
    stations.signal("TERM");
    wait_until("the list of stations ends", PATIENCE, || {
        stations.exit_code().is_some()
    });
    assert_eq!(
        moves(&stations.log()),
        Vec::<String>::new(),
        "no station moves"
    );
    let tree = tree.stop();
    let changes = tree.count("stp.type == 0x80 || stp.flags.tc == 1");
    assert!(tree.count("stp") > 0, "spanning tree runs");
    assert_eq!(changes, 0, "a takeover is no change of the topology");
    let busiest = busiest_second(&frames.stop().fields("frame", &["frame.time_relative"]));
    assert!(busiest <= 100, "{busiest} broadcasts in one second");
}

/// A second switch beside that of the first site, joined to it twice, with the port of a router.
fn loop_script(port: &str) -> String {
    let tree = "type bridge stp_state 1 forward_delay 200 hello_time 100 max_age 600";
    format!(
        "set -e
         ip link add lan1b {tree}
         ip link set lan1b up
         ip link set lan1 {tree}
         for n in 1 2; do
             ip link add j$n type veth peer name jj$n
             ip link set j$n master lan1
             ip link set jj$n master lan1b
             ip link set j$n up
             ip link set jj$n up
         done
         ip link set {port} master lan1b"
    )
}

/// Stations that one switch saw at another port than before, by what `bridge monitor fdb` prints.
fn moves(log: &str) -> Vec<String> {
    let mut places: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut moved = Vec::new();
    for line in log.lines().filter(|line| !line.contains("Deleted")) {
        let mut words = line.split_whitespace();
        let mac = words.next().unwrap_or_default();
        let mut after = |name| words.by_ref().skip_while(|word| *word != name).nth(1);
        let (Some(port), Some(switch)) = (after("dev"), after("master")) else {
            continue;
        };
        let key = (switch.to_owned(), mac.to_owned());
        let former = places.insert(key, port.to_owned());
        if former.is_some_and(|former| former != port) {
            moved.push(line.to_owned());
        }
    }
    moved
}

/// Most frames within one second, by when they came.
fn busiest_second(rows: &[Vec<String>]) -> usize {
    let times = rows
        .iter()
        .filter_map(|row| row.first()?.parse::<f64>().ok());
    let times: Vec<f64> = times.collect();
    let within = |at: &f64| {
        let later = times.iter().filter(|time| (*at..*at + 1.0).contains(time));
        later.count()
    };
    times.iter().map(within).max().unwrap_or(0)
}

/// A host that probes (RFC 5227) before it takes an address gets no answer, be it its own address, one that is free, or one
/// that lives elsewhere: it may have moved here, and only who has it may defend it. The router tells of the latter.
fn probed() {
    let pair = Pair::running(samctl());
    let window = Duration::from_millis(500);
    let newcomer = pair.fabric.topology.add_host(FIRST, "n50", NEW);
    for target in [NEW, FAR.client()] {
        assert_eq!(probe_for(&newcomer, target, window), [], "{target}");
    }
    let owned = probe_for(&newcomer, FIRST.client(), window);
    let macs = [FIRST, SECOND].map(|site| pair.mac(site));
    assert_eq!(owned.len(), 1, "who has it defends it: {owned:?}");
    assert!(!macs.contains(&owned[0].mac), "and no router does it");

    let router = pair.fabric.router(FIRST);
    wait_until("the probe is told", PATIENCE, || {
        let events = router.samctl("events").stdout;
        events.contains("address-probed") && events.contains(&FAR.client().to_string())
    });
    let answers = ask_who_has(&newcomer, NEW, FAR.client(), window);
    let answers: Vec<&str> = answers.iter().map(|answer| answer.mac.as_str()).collect();
    assert_eq!(answers, [macs[0].as_str()], "a question is answered by one");
}

/// Forged senders; each claims an address of the pool, again and again.
const FORGED: u16 = 1000;
const ROUNDS: u16 = 20;
/// So many frames at once, and the time until the next ones.
const BURST: u16 = 100;
const PACE: Duration = Duration::from_millis(25);
/// What a router may need to remember them, and to answer.
const GROWTH_KIB: u64 = 24 * 1024;
/// Processor time per forged frame, of an unoptimized build: at this pace half of a processor.
const COST: Duration = Duration::from_micros(125);
/// A client that was heard before the storm.
const HEARD: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 51);
/// An address of the other site that nobody forges, so that no host has a wrong MAC for it.
const QUIET: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 253);
/// Addresses of the other site besides, more than are asked about at the same time.
const FAR_HOSTS: std::ops::Range<u8> = 150..200;
/// Time in which a claim that nobody upholds silences a router: three questions (`sam_dataplane::arp_responder`).
const DOUBT: Duration = Duration::from_millis(3 * 320);
/// From the first frame of a new client to its owner at another site.
const ROUTABLE: Duration = Duration::from_secs(1);

/// Requests, announcements and replies of a thousand hosts that do not exist, for nearly every address of the pool.
fn stormed() {
    let far = FAR_HOSTS.map(|last| format!(", 10.77.60.{last}"));
    let far = format!("owned: [10.77.60.11, {QUIET}{}]", far.collect::<String>());
    let pair = discovering_with(|fabric| fabric.edit(FAR, "owned: [10.77.60.11]", &far));
    let router = pair.fabric.router(FIRST);
    let heard_before = pair.fabric.topology.add_host(FIRST, "n51", HEARD);
    wait_for_ping(&heard_before, FAR.client(), PATIENCE);
    let owned = || -> Vec<String> {
        let views = [FIRST, FAR].map(|site| pair.fabric.router(site).json("owners"));
        let rows = views.iter().flat_map(|view| view["owners"].as_array());
        rows.flatten()
            .map(|row| format!("{} {}", row["address"], row["owner"]["name"]))
            .collect()
    };
    let owners = owned();
    let heard_at = format!("\"{HEARD}\" \"{}\"", FIRST.name());
    assert!(owners.contains(&heard_at), "{owners:?}");
    let frames_before = arp_received(&pair);
    let pings = Pings::start(pair.client(), FAR.client());
    let asker = Answerers::start(pair.client(), FIRST.client(), FAR.client());
    let before = Usage::of(router.id());
    let start = Instant::now();
    let client = pair.client().clone();
    let storm = thread::spawn(move || send_arp(&client, paced(start)));

    let all = u64::from(FORGED) * u64::from(ROUNDS);
    let received = || arp_received(&pair) - frames_before;
    wait_until("the storm rages", PATIENCE, || received() >= all / 4);
    let newcomer = pair.fabric.topology.add_host(FIRST, "n50", NEW);
    let log = pair.fabric.path("new.log");
    let first_frame = Instant::now();
    let speaks = Daemon::sh(&newcomer, &format!("exec ping -n -i 0.2 {QUIET}"), &log);
    wait_until("the new client is routable", PATIENCE, || {
        pair.fabric.owner(FAR, NEW).as_deref() == Some(FIRST.name())
    });
    let routable = first_frame.elapsed();
    assert!(!storm.is_finished(), "it became so during the storm");
    let during = owned();
    storm.join().expect("frames are sent");
    wait_until("the storm is over", PATIENCE, || received() >= all / 2);
    let lasted = start.elapsed();
    drop(speaks);

    let after = Usage::of(router.id());
    let grown = after.resident_kib.saturating_sub(before.resident_kib);
    assert!(grown <= GROWTH_KIB, "{before:?}, {after:?}");
    let spent = after.processor - before.processor;
    assert!(
        spent <= COST * u32::from(FORGED) * u32::from(ROUNDS),
        "{spent:?} of {lasted:?}"
    );
    for rows in [during, owned()] {
        let robbed: Vec<&String> = owners.iter().filter(|row| !rows.contains(row)).collect();
        assert_eq!(robbed, Vec::<&String>::new(), "nobody takes what is owned");
    }
    assert_eq!(
        homes(&pair),
        [(NEW, &newcomer), (HEARD, &heard_before)].map(|(address, host)| (address, mac(host))),
        "no forged host has a home, and none takes that of another"
    );
    let (loss, seen) = (pings.stop(), asker.stop());
    let late = HOPS * seen.longest_delay();
    assert!(routable <= ROUTABLE + late, "{routable:?}, {late:?}");
    let silence = seen.longest_silence();
    assert!(silence <= DOUBT + late, "{silence:?}, {late:?}");
    // Its own neighbor table may be poisoned, for which no router can do anything; but the way comes back.
    assert!(loss.gap <= lasted + TAKEOVER, "{loss:?}, {lasted:?}");
    assert_eq!(
        [pair.state(FIRST), pair.state(SECOND)],
        ["master", "backup"]
    );
}

/// All forged frames, a burst at a time.
fn paced(start: Instant) -> impl Iterator<Item = ArpPacket> + Send {
    (0..FORGED * ROUNDS).map(move |number| {
        if number % BURST == 0 {
            let due = PACE * u32::from(number / BURST);
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
        forged(number % FORGED)
    })
}

/// How many ARP packets the first router has received.
fn arp_received(pair: &Pair) -> u64 {
    let view = pair.fabric.router(FIRST).json("counters");
    let rows = view["counters"].as_array().cloned().unwrap_or_default();
    let received = rows.iter().filter(|row| {
        let name = row["name"].as_str().unwrap_or_default();
        ["arp-requests-received", "arp-replies-received"].contains(&name)
    });
    let values = received.filter_map(|row| row["value"].as_u64());
    values.sum()
}

/// Which hosts the first router has heard, and their MACs.
fn homes(pair: &Pair) -> Vec<(Ipv4Addr, String)> {
    let view = pair.fabric.router(FIRST).json("discovery");
    let rows = view["homes"].as_array().cloned().unwrap_or_default();
    let homes = rows.iter().filter_map(|row| {
        let address = row["address"].as_str()?.parse().ok()?;
        Some((address, row["mac"].as_str()?.to_owned()))
    });
    homes.collect()
}

fn mac(host: &Namespace) -> String {
    let text = sh(host, "ip -o link show eth0 | sed 's/.*ether //; s/ .*//'").success();
    text.trim().to_owned()
}

/// A host that does not exist says that it has an address of the pool.
fn forged(number: u16) -> ArpPacket {
    let [high, low] = number.to_be_bytes();
    let mac = [2, 0xBA, 0xD0, 0, high, low];
    let address = Ipv4Addr::new(10, 77, 60, 2 + low % 250);
    let announcement = ArpPacket::announcement(mac, address);
    match number % 3 {
        0 => announcement,
        1 => announcement.reply(mac),
        _ => ArpPacket::request(mac, address, FAR.client()),
    }
}

const RELOADS: usize = 60;

/// The election by unicast, as where switches drop multicast.
fn reloaded() {
    let pair = discovering_with(|fabric| {
        for (site, priority, peer) in [(FIRST, 150, 2), (SECOND, 100, 1)] {
            let from = format!("priority: {priority}");
            let to = format!("{from}, peers: [10.77.60.{peer}]");
            fabric.edit(site, &from, &to);
        }
    });
    let routers = [FIRST, SECOND].map(|site| pair.fabric.router(site));
    let asker = Answerers::start(pair.client(), FIRST.client(), FAR.client());
    let pings = Pings::start(pair.client(), FAR.client());
    let told = || routers.map(|router| (router.samctl("events").stdout, router.log()));
    let before = told();
    let promotions = pair.vrrp(FIRST)["election"]["promotions"].clone();

    for turn in 0..RELOADS {
        routers[turn % 2].samctl("reload").success();
    }

    let (loss, seen) = (pings.stop(), asker.stop());
    assert!(loss.lost <= LOST, "{loss:?}");
    assert_eq!(told(), before, "no event, no log line");
    assert_eq!(seen.macs().len(), 1, "{seen:?}");
    let view = pair.vrrp(FIRST);
    assert_eq!(view["election"]["promotions"], promotions);
    assert_eq!(
        [pair.state(FIRST), pair.state(SECOND)],
        ["master", "backup"]
    );
}

/// How often the roles are exchanged, and the time between.
const TOGGLES: usize = 60;
const SPACING: Duration = Duration::from_millis(100);
/// Two routers may answer for one interval of advertisements; questions come every 20 ms, and answers may be late.
const OVERLAP: Duration = Duration::from_millis(20 + 100);

/// Advertisements every 20 ms, so that a role can change within a tenth of a second, and priorities that say so.
fn toggled() {
    let pair = Pair::configured(samctl(), |fabric| {
        for (site, priority) in [(FIRST, 150), (SECOND, 100)] {
            let from = format!("priority: {priority}");
            fabric.edit(
                site,
                &from,
                &format!("{from}, interval: 20ms, preempt: true"),
            );
        }
    });
    let routers = [FIRST, SECOND].map(|site| pair.fabric.router(site));
    // Who has just begun takes over from nobody by its priority.
    wait_until("no fence is left", PATIENCE, || {
        let views = routers.map(|router| router.json("vrrp"));
        views.iter().all(|view| view["fenced"] == false)
    });
    let usage = || routers.map(|router| Usage::of(router.id()));
    let asker = Answerers::start(pair.client(), FIRST.client(), FAR.client());
    let before = usage();

    let start = Instant::now();
    let mut priority = 150;
    for turn in 1..=TOGGLES {
        let next = 200 - priority;
        let (from, to) = (
            format!("priority: {priority},"),
            format!("priority: {next},"),
        );
        pair.fabric.edit(FIRST, &from, &to);
        priority = next;
        routers[0].samctl("reload").success();
        let due = SPACING * u32::try_from(turn).expect("few");
        thread::sleep(due.saturating_sub(start.elapsed()));
    }

    // The last word is 150, and it counts.
    pair.wait_for(FIRST, "master");
    pair.wait_for(SECOND, "backup");
    wait_for_ping(pair.client(), FAR.client(), PATIENCE);
    let seen = asker.stop();
    assert!(seen.changes() >= TOGGLES / 2, "{} changes", seen.changes());
    let limit = OVERLAP + HOPS * seen.longest_delay();
    assert!(seen.longest_overlap() <= limit, "{limit:?}: {seen:?}");
    for (before, after) in before.iter().zip(usage()) {
        assert!(
            after.descriptors <= before.descriptors + 8,
            "{before:?}, {after:?}"
        );
        assert!(
            after.resident_kib <= before.resident_kib + GROWTH_KIB,
            "{before:?}, {after:?}"
        );
    }
    for router in routers {
        assert!(!router.log().contains("panicked"), "{}", router.log());
    }
}

/// ```text
///                 ┌── router onprem, killed ══╗
/// .10, .50 ── lan1┤                           ╠══ router aws ── lan2 ── .11 pings .50
///                 └── router azure ═══════════╝
/// ```
fn inherited() {
    let mut pair = discovering();
    let client = pair.fabric.topology.add_host(FIRST, "n50", NEW);
    wait_for_ping(&client, FAR.client(), PATIENCE);
    assert_eq!(pair.fabric.owner(FAR, NEW).as_deref(), Some(FIRST.name()));
    let home = |pair: &Pair| {
        let view = pair.fabric.router(SECOND).json("discovery");
        let homes = view["homes"].as_array().cloned().unwrap_or_default();
        homes
            .into_iter()
            .find(|home| home["address"] == NEW.to_string())
    };
    wait_until("the backup knows of it", PATIENCE, || home(&pair).is_some());
    // From now on it answers, and says nothing by itself.
    let pings = Pings::start(pair.fabric.topology.client(FAR), NEW);

    let asker = Answerers::start(pair.client(), FIRST.client(), FAR.client());
    let mut router = pair.fabric.take(FIRST);
    router.daemon().kill();
    pair.wait_for(SECOND, "master");
    let loss = pings.stop();

    assert!(loss.gap <= TAKEOVER, "{loss:?}");
    assert_eq!(asker.stop().longest_overlap(), Duration::ZERO);
    assert_eq!(pair.fabric.owner(FAR, NEW).as_deref(), Some(SECOND.name()));
    wait_until("it was asked, and answered", PATIENCE, || {
        home(&pair).is_some_and(|home| home["state"] == "present")
    });
}

/// Two routers on a LAN that listen to it, and a third one.
fn discovering() -> Pair {
    discovering_with(|_| {})
}

fn discovering_with(edit: impl FnOnce(&Fabric)) -> Pair {
    Pair::configured(samctl(), |fabric| {
        for site in [FIRST, SECOND] {
            fabric.edit(site, "}}}", "}}, discovery: {type: arp, sweep: off}}");
        }
        edit(fabric);
    })
}
