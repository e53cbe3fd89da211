//! Who acts on a LAN with two routers, whatever happens to them, to the LAN and to its hosts.
//!
//! ```text
//!   hosts ── switch ──┬── router 0, priority 150 ══╗
//!               ┊     │                            ╠══ router 2 ── hosts
//!   hosts ── switch ──┴── router 1, priority 100 ══╝══ router 3 ── hosts
//!         (partition)
//! ```
//! All four discover hosts. Each of 1024 seeds draws a schedule, storms of ARP, duplicate addresses and roles that change every
//! 100 ms among the rest; after every step the invariants of `sam_testkit` are checked: I1 with the time that two routers may
//! overlap, I3 to I6, I8 to I13, and I16 at each reload that changes nothing. I2 is about interfaces in clouds. A failure shows
//! its schedule; `SIM_SEEDS=10000` tries ten times as many.

use std::net::Ipv4Addr;
use std::time::Duration;

use sam_router::config::{ActiveWhen, Capture, Config, VrrpSettings};
use sam_router::{Command, Input};
use sam_testkit::topology::{home, node_id};
use sam_testkit::{Cache, Faults, Host, Rng, World};

use crate::{converge, discovering_pair, for_seeds};

/// Fabrics of each test, of 1000 seeds in all tests; with [`ROUNDS`] that makes 1024 schedules.
const QUARTER: u64 = 32;
/// Schedules that a fabric lives through, one after the other.
const ROUNDS: u64 = 8;
/// Things that happen in each.
const HAPPENINGS: u64 = 12;
/// How often the roles change in a row, and the time between.
const TOGGLES: usize = 10;
const TOGGLE_SPACING: Duration = Duration::from_millis(100);
/// Advertisements meanwhile, so that a role can change in that time.
const HASTE: Duration = Duration::from_millis(20);
/// Forged senders of a storm.
const FORGED: usize = 1_000;
/// Hosts that nobody configured.
const CLIENTS: u64 = 4;
/// The configured host of the LAN with two routers.
const SETTLED: usize = 0;
/// LANs, each by its first router.
const LANS: [usize; 3] = [0, 2, 3];
/// How often hosts say that they are there, every ten seconds, before they must be known.
const TRIES: usize = 9;
/// Pings, four seconds apart, of which one must be answered. A claim in doubt takes a second to be dispelled at each router on the
/// way, so the first one may be lost, and the second one at the other end.
const PINGS: usize = 3;
/// Time for an order to be carried out.
const NEWS: Duration = Duration::from_secs(2);
/// From the last repair until all routers agree: BGP calls again.
const REST: Duration = Duration::from_secs(60);

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Happening {
    /// A router is killed, or started anew when it does not run.
    Kill(usize),
    /// A router stops in order, or is started anew when it does not run.
    Stop(usize),
    /// Its process stands still.
    Freeze(usize, Duration),
    /// Its cable to the LAN is pulled, or plugged again.
    Cable(usize),
    /// The two switches of the LAN lose each other, or find each other again.
    Partition,
    /// Two routers lose each other, or find each other again.
    Underlay(usize, usize),
    /// Its configuration is read again, unchanged.
    Reload(usize),
    /// Its configuration changes: priority and preemption.
    Reprioritize(usize, u8, bool),
    /// It is drained, or no more.
    Drain(usize),
    /// The configured address is handed to the site of another router, or back.
    Handover(usize),
    /// A host appears on a LAN, at one of two switches, and speaks.
    Move(Ipv4Addr, usize, bool),
    /// A host wants to reach another one.
    Ping(Ipv4Addr, usize),
    /// Another host with the address of one appears beside it, for a while.
    Duplicate(Ipv4Addr),
    /// A thousand hosts that do not exist claim addresses on a LAN: those of other sites, and free ones.
    Storm(usize),
    /// The roles change every 100 ms.
    Toggle,
}

#[test]
fn whatever_happens_one_router_acts_on_the_lan_first_quarter() {
    for_seeds(QUARTER, |seed| live_through(4 * seed));
}

#[test]
fn whatever_happens_one_router_acts_on_the_lan_second_quarter() {
    for_seeds(QUARTER, |seed| live_through(4 * seed + 1));
}

#[test]
fn whatever_happens_one_router_acts_on_the_lan_third_quarter() {
    for_seeds(QUARTER, |seed| live_through(4 * seed + 2));
}

#[test]
fn whatever_happens_one_router_acts_on_the_lan_last_quarter() {
    for_seeds(QUARTER, |seed| live_through(4 * seed + 3));
}

/// Lets one fabric live through some schedules, each with a seed of its own: most of a short life would be its beginning.
fn live_through(seed: u64) {
    let mut world = discovering_pair(seed);
    for round in 0..ROUNDS {
        let mut rng = Rng::new(!(seed * ROUNDS + round));
        let schedule = (0..HAPPENINGS).map(|_| (draw(&mut rng), spacing(&mut rng)));
        let shown = Shown {
            round,
            schedule: schedule.collect(),
        };
        for (happening, time) in &shown.schedule {
            happen(&mut world, *happening);
            world.run_for(*time);
            acknowledge(&mut world);
        }
        come_to_rest(&mut world);
    }
}

/// Repairs everything: one router acts, all agree, and every host reaches the next one.
fn come_to_rest(world: &mut World) {
    repair(world);
    world.run_until(REST, |world| actors(world).len() == 1);
    // Who moved to a LAN where nobody acted was not heard; whose former router was not to be told has to say it again a
    // minute later.
    for _ in 0..TRIES {
        let lost: Vec<Ipv4Addr> = clients(world)
            .filter(|client| !is_known(world, *client))
            .collect();
        for client in lost {
            world.speak_up(client);
        }
        let known = |world: &World| clients(world).all(|client| is_known(world, client));
        if world.run_until(Duration::from_secs(10), known).is_some() {
            break;
        }
    }
    say_again(world);
    acknowledge(world);
    converge(world, REST);
    assert_eq!(actors(world).len(), 1, "one of the two acts");
    // Entries of hosts live for a minute; here they never expire, and who was cut off heard no announcement.
    for site in &mut world.sites {
        site.hosts.iter_mut().for_each(Host::forget);
    }
    for (source, destination) in pairs(world) {
        let answered = (0..PINGS).any(|_| {
            let id = world.ping(source, destination);
            let limit = Duration::from_secs(4);
            let done = world.run_until(limit, |world| world.answered.contains(&id));
            done.is_some()
        });
        assert!(answered, "{source} does not reach {destination}");
    }
}

/// What came to the LAN while one of its routers was down, and only the other one knows, which went down in its turn before it could
/// say so, `doctor` of that one names; an operator says it again.
fn say_again(world: &mut World) {
    if world.site_of(home(SETTLED)) == Some(0) && world.is_unknown(home(SETTLED)) {
        for at in 0..2 {
            world.announce(at, home(SETTLED));
        }
    }
}

/// Shows a schedule when its run fails.
struct Shown {
    round: u64,
    schedule: Vec<(Happening, Duration)>,
}

impl Drop for Shown {
    #[expect(clippy::print_stderr, reason = "what led to a failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("schedule {} of this fabric:", self.round);
            for (happening, time) in &self.schedule {
                eprintln!("{happening:?}, then {time:?}");
            }
        }
    }
}

fn draw(rng: &mut Rng) -> Happening {
    let member = below(rng, 2);
    let (near, far) = (below(rng, 4), 1 + below(rng, 3));
    match rng.below(23) {
        0 => Happening::Kill(member),
        1 => Happening::Stop(member),
        2 | 3 => Happening::Freeze(member, Duration::from_millis(rng.below(2_500))),
        4 => Happening::Cable(member),
        5..=7 => Happening::Partition,
        8 => Happening::Underlay(near, (near + far) % 4),
        9 => Happening::Reload(near),
        10 | 11 => Happening::Reprioritize(member, small(1 + rng.below(254)), rng.chance(500)),
        12 | 13 => Happening::Drain(member),
        14 => Happening::Handover(2 + below(rng, 2)),
        15..=17 => {
            let lan = LANS[below(rng, 3)];
            Happening::Move(client(rng), lan, lan == 0 && rng.chance(500))
        }
        18 | 19 => Happening::Ping(client(rng), near),
        20 => Happening::Duplicate(client(rng)),
        21 => Happening::Storm(LANS[below(rng, 3)]),
        _ => Happening::Toggle,
    }
}

fn spacing(rng: &mut Rng) -> Duration {
    Duration::from_millis([1, 100, 700, 1_500][below(rng, 4)])
}

fn client(rng: &mut Rng) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 60, 100 + small(rng.below(CLIENTS)))
}

fn below(rng: &mut Rng, limit: u64) -> usize {
    usize::try_from(rng.below(limit)).expect("few")
}

fn small(number: u64) -> u8 {
    u8::try_from(number).expect("few")
}

fn happen(world: &mut World, happening: Happening) {
    match happening {
        Happening::Kill(at) if world.sites[at].up => world.kill(at),
        Happening::Stop(at) if is_awake(world, at) => world.stop(at),
        Happening::Kill(at) | Happening::Stop(at) => start(world, at),
        Happening::Freeze(at, time) if is_awake(world, at) => world.freeze(at, time),
        Happening::Cable(at) if is_awake(world, at) => world.set_lan(at, !world.sites[at].lan_up),
        Happening::Partition => world.set_partition(0, !world.partitioned.contains(&0)),
        Happening::Underlay(one, other) if is_cut(world, one, other) => {
            world.faults.heal(one, other);
        }
        Happening::Underlay(one, other) => {
            world.faults.cut(one, other);
            doubt(world);
        }
        Happening::Reload(at) if is_awake(world, at) => reload_unchanged(world, at),
        Happening::Reprioritize(at, priority, preempt) if is_awake(world, at) => {
            let config = with_priority(&world.sites[at].config, priority, preempt);
            world.reload(at, config);
        }
        Happening::Drain(at) if is_awake(world, at) => {
            let drained = world.sites[at].state.drained;
            world.input(at, Input::Command(Command::Drain(!drained)));
        }
        Happening::Handover(other) => hand_over(world, other),
        Happening::Move(client, lan, island) => move_client(world, client, lan, island),
        Happening::Ping(client, to) if world.site_of(client).is_some() => {
            world.ping(client, home(to));
        }
        Happening::Duplicate(client) if world.site_of(client).is_some() => {
            world.duplicate(client);
        }
        Happening::Storm(lan) => storm(world, lan),
        Happening::Toggle => toggle(world),
        // What does not run, or stands still, hears no order; nobody has the address of a host that is not there.
        Happening::Freeze(..)
        | Happening::Cable(_)
        | Happening::Reload(_)
        | Happening::Reprioritize(..)
        | Happening::Drain(_)
        | Happening::Duplicate(_)
        | Happening::Ping(..) => {}
    }
}

/// Claims addresses that live elsewhere and never move, and free ones.
fn storm(world: &mut World, lan: usize) {
    let settled = LANS.into_iter().filter(|at| ![SETTLED, lan].contains(at));
    let free = (200..250).map(|last| Ipv4Addr::new(10, 77, 60, last));
    let addresses: Vec<Ipv4Addr> = settled.map(home).chain(free).collect();
    world.storm(lan, addresses.iter().copied().cycle().take(FORGED));
}

/// Has the two change their roles again and again: each by its priority, with preemption and hasty advertisements.
fn toggle(world: &mut World) {
    let settings = |world: &World, at: usize| {
        let vrrp = world.sites[at].config.vrrp().expect("a pair");
        vrrp.settings.clone()
    };
    let former = [0, 1].map(|at| settings(world, at));
    for turn in 0..=TOGGLES {
        for at in (0..2).filter(|at| is_awake(world, *at)).collect::<Vec<_>>() {
            let mut hasty = former[at].clone();
            (hasty.interval, hasty.preempt) = (HASTE, true);
            hasty.priority = if (turn + at) % 2 == 0 { 150 } else { 100 };
            let config = with_settings(&world.sites[at].config, hasty);
            world.reload(at, config);
        }
        world.run_for(TOGGLE_SPACING);
    }
    for (at, settings) in former.into_iter().enumerate() {
        let config = with_settings(&world.sites[at].config, settings);
        if is_awake(world, at) {
            world.reload(at, config);
        } else if !world.sites[at].up {
            world.sites[at].config = config;
        }
    }
}

/// Ends all duplicates of a client.
fn end_duplicates(world: &mut World, client: Ipv4Addr) {
    if world.remove_duplicates(client) {
        // Who has the wrong MAC hears the right one.
        world.speak_up(client);
    }
}

/// An order reaches the router.
fn is_awake(world: &World, at: usize) -> bool {
    let site = &world.sites[at];
    site.up && !site.stopping && !site.is_frozen(world.now)
}

fn is_cut(world: &World, one: usize, other: usize) -> bool {
    world.faults.cut.contains(&(one.min(other), one.max(other)))
}

fn start(world: &mut World, at: usize) {
    if !world.sites[at].up {
        world.restart(at);
    }
}

/// I16: an equal configuration changes nothing.
fn reload_unchanged(world: &mut World, at: usize) {
    let (config, before) = (world.sites[at].config.clone(), world.sites[at].outputs);
    world.reload(at, config);
    let outputs = world.sites[at].outputs - before;
    assert_eq!(outputs, 0, "I16: router {at} does something");
}

fn with_priority(config: &Config, priority: u8, preempt: bool) -> Config {
    let settings = &config.vrrp().expect("a pair").settings;
    let settings = VrrpSettings {
        priority,
        preempt,
        ..settings.clone()
    };
    with_settings(config, settings)
}

fn with_settings(config: &Config, settings: VrrpSettings) -> Config {
    let mut config = config.clone();
    if let Capture::ProxyArp { active_when, .. } = &mut config.local.capture
        && let ActiveWhen::Vrrp(vrrp) = active_when
    {
        vrrp.settings = settings;
    }
    config
}

/// Hands the configured host over, cable and address: to the site of `other`, or back to the LAN with two routers. The master
/// is told, or named; the other one has to find out, if it is down by its next start. An operator waits
/// while one cannot, or the last order is not carried out.
fn hand_over(world: &mut World, other: usize) {
    let acting = actors(world);
    let takes = |at: &usize| is_awake(world, *at) && !world.sites[*at].state.drained;
    let both = (0..2).filter(|at| world.sites[*at].up);
    let reachable = both.chain([other]).all(|at| takes(&at));
    let settled = is_known(world, home(SETTLED)) && world.faults.cut.is_empty();
    let whole = !world.partitioned.contains(&0) && world.sites.iter().all(|site| site.lan_up);
    let (&[master], true) = (acting.as_slice(), reachable && whole && settled) else {
        return;
    };
    let (address, backup) = (home(SETTLED), 1 - master);
    match world.site_of(address) {
        Some(0) => {
            world.replug(address, other, Cache::Forgotten);
            world.disbelieve(backup, address);
            order_handover(world, master, other);
        }
        Some(from) if from == other => {
            world.replug(address, 0, Cache::Forgotten);
            order_handover(world, other, master);
        }
        Some(_) | None => {}
    }
}

/// Orders it and waits: the new owner knows of it when it has heard of it, see [`acknowledge`].
fn order_handover(world: &mut World, from: usize, to: usize) {
    let (address, node) = (home(SETTLED), node_id(to));
    world.disbelieve(from, address);
    let order = Command::Handover { address, to: node };
    world.input(from, Input::Command(order));
    let done = world.run_until(NEWS, |world| is_known(world, address));
    // One that is refused, because the other has just begun or still tells of its drain, is done by hand.
    if done.is_none() {
        let lan = |world: &World, at: usize| world.sites[at].lan;
        let (old, new) = (lan(world, from), lan(world, to));
        for at in 0..4 {
            if lan(world, at) == old {
                // Who is down goes on with what its file says.
                if world.sites[at].up {
                    world.withdraw(at, address);
                }
            } else if lan(world, at) == new && world.sites[at].up {
                world.announce(at, address);
            }
        }
    }
}

/// Plugs a client in somewhere, where it speaks.
fn move_client(world: &mut World, client: Ipv4Addr, lan: usize, island: bool) {
    end_duplicates(world, client);
    let mut host = match world.site_of(client) {
        Some(_) => world.unplug(client),
        None => Host::new(client),
    };
    host.forget();
    host.island = island;
    for at in 0..4 {
        world.disbelieve(at, client);
    }
    world.plug(host, lan);
    world.speak_up(client);
}

/// Takes for granted what all routers found out about hosts that moved: from now on they must not claim anything else.
///
/// Not what nobody found out: the claim of a router that died, or of one that the host cannot be heard by, ends without a word
/// about the host.
fn acknowledge(world: &mut World) {
    let is_cut = !world.faults.cut.is_empty();
    let known: Vec<Ipv4Addr> = clients(world)
        .filter(|client| !is_cut || world.site_of(*client) != Some(0))
        .chain([home(SETTLED)])
        .filter(|client| is_known(world, *client) && is_heard_by_owner(world, *client))
        .collect();
    for client in known {
        let lan = world.site_of(client).expect("just seen");
        for at in 0..4 {
            if world.sites[at].lan == lan {
                world.believe(at, client);
            }
        }
    }
}

/// Takes nothing for granted about heard hosts of the LAN with two routers: whoever takes it over knows them by the claims of the
/// other one. Where routers are cut apart an older claim of another site comes forth when those end, which it has withdrawn
/// without being heard.
fn doubt(world: &mut World) {
    let near = clients(world).filter(|client| world.site_of(*client) == Some(0));
    for client in near.collect::<Vec<_>>() {
        (0..2).for_each(|at| world.disbelieve(at, client));
    }
}

/// All clients that are plugged in somewhere.
fn clients(world: &World) -> impl Iterator<Item = Ipv4Addr> {
    let clients = (0..CLIENTS).map(|client| Ipv4Addr::new(10, 77, 60, 100 + small(client)));
    clients.filter(|client| world.site_of(*client).is_some())
}

/// Tells whether every router that runs knows where a client lives.
fn is_known(world: &World, client: Ipv4Addr) -> bool {
    let lan = world.site_of(client);
    let mut routers = (0..4).filter(|at| is_awake(world, *at));
    routers.all(|at| {
        let owner = world.owner_at(at, client);
        owner.map(|owner| world.sites[owner].lan) == lan
    })
}

/// Tells whether a router claims a client that it can hear.
fn is_heard_by_owner(world: &World, client: Ipv4Addr) -> bool {
    let Some(lan) = world.site_of(client) else {
        return false;
    };
    let mut hosts = world.sites[lan].hosts.iter();
    let island = hosts.any(|host| host.address == client && host.island);
    let is_whole = !world.partitioned.contains(&lan);
    (0..4).any(|at| {
        let site = &world.sites[at];
        let hears = site.lan == lan && site.lan_up && (is_whole || site.island == island);
        hears && is_awake(world, at) && world.owner_at(at, client) == Some(at)
    })
}

/// Which of the two would answer on their LAN.
fn actors(world: &World) -> Vec<usize> {
    let acts = |at: &usize| is_awake(world, *at) && world.sites[*at].gate_open();
    (0..2).filter(acts).collect()
}

/// Everything works again, nobody is drained.
fn repair(world: &mut World) {
    world.faults = Faults::default();
    world.set_partition(0, false);
    for client in clients(world).collect::<Vec<_>>() {
        end_duplicates(world, client);
    }
    world.run_for(Duration::from_millis(2_500));
    for at in 0..4 {
        start(world, at);
        if !world.sites[at].lan_up {
            world.set_lan(at, true);
        }
        if world.sites[at].state.drained {
            world.input(at, Input::Command(Command::Drain(false)));
        }
    }
}

/// Hosts that ping each other in the end: each the next one, in a ring.
fn pairs(world: &World) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    let hosts: Vec<Ipv4Addr> = world
        .sites
        .iter()
        .flat_map(|site| site.hosts.iter().map(|host| host.address))
        .collect();
    let next = hosts.iter().cycle().skip(1);
    hosts.iter().copied().zip(next.copied()).collect()
}
