//! samctl against programs of others: WireGuard with wireguard-go and boringtun, iBGP with BIRD, FRR, GoBGP and ExaBGP, BFD with BIRD
//! and FRR, VRRP with keepalived.
//!
//! Every test runs the real binary in namespaces of its own; see `world.rs` for the lie of the land. A test that
//! lacks a program or a privilege is ignored, and the reason printed.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "says what was skipped and what was negotiated"
)]

mod bfd;
mod daemon;
mod exchange;
mod fabric;
mod foreign;
mod graceful;
mod ipv6;
mod kernel_host;
mod process;
mod renewal;
mod requirement;
mod router;
mod scene;
mod scratch;
mod session;
mod several_paths;
mod traffic;
mod vrrp;
mod wait;
mod wireguard;
mod world;

use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use daemon::{Announcement, Kind};
use kernel_host::Program;
use scene::{Cast, Scene, THEIRS};
use scratch::Scratch;

/// Tests wait for programs most of the time; more would make their timers late.
const THREADS: usize = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let mut trials = wireguard_trials();
    trials.extend(renewal_trials());
    for kind in Kind::ALL {
        for cast in Cast::ALL {
            // ExaBGP has no RIB, so there is nothing that it could reflect.
            if cast != Cast::Reflector || kind.reflects() {
                let both = [false, true].into_iter();
                trials.extend(both.map(|add_path| bgp_trial(cast, kind, add_path)));
            }
        }
    }
    // ExaBGP keeps nothing: it has no RIB.
    for kind in Kind::ALL.into_iter().filter(|kind| kind.reflects()) {
        let name = format!("bgp_graceful_restart_with_{}", kind.name());
        let missing = requirement::missing(kind.programs());
        trials.push(trial(name, missing.as_deref(), move |scratch| {
            graceful::restarts(kind, scratch)
        }));
    }
    trials.extend(ipv6_trials());
    trials.extend(bfd_trials());
    trials.extend(foreign_trials());
    trials.extend(vrrp_trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// One cast with one daemon that is told to handle several paths to a prefix, or not.
fn bgp_trial(cast: Cast, kind: Kind, add_path: bool) -> Trial {
    let with = if add_path { "_with_add_path" } else { "" };
    let name = format!("bgp_{}_as_{}{with}", kind.name(), cast.name());
    let missing = requirement::missing(kind.programs());
    trial(name, missing.as_deref(), move |scratch| {
        talk(cast, kind, add_path, scratch)
    })
}

/// Everything that a session has to go through, in one cast with one daemon.
fn talk(cast: Cast, kind: Kind, add_path: bool, scratch: &Scratch) -> Result<()> {
    let mut scene = Scene::start(cast, kind, add_path, scratch)?;
    session::capabilities_are_agreed(&scene)?;
    exchange::their_route_arrives(&mut scene)?;
    exchange::our_routes_arrive(&scene)?;
    exchange::withdrawals_are_followed(&mut scene)?;
    exchange::unbelievable_routes_are_refused(&mut scene)?;
    several_paths::are_told_as_agreed(&mut scene)?;
    session::nothing_is_amiss(&scene)?;
    session::refresh_is_answered(&mut scene)?;
    session::their_refresh_is_understood(&scene)?;
    session::nobody_complained(&scene)?;
    let routes = [Announcement::claim(THEIRS, u32::from(THEIRS.0))];
    session::their_goodbye_is_shown(&mut scene, &routes)?;
    session::restart_is_survived(&mut scene, &routes)?;
    session::our_goodbye_is_heard(&mut scene)
}

/// Routes of IPv6, with samctl as reflector of each daemon, and behind each that can reflect.
fn ipv6_trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in Kind::ALL {
        let programs = [kind.programs(), Kind::Bird.programs()].concat();
        let missing = requirement::missing(&programs);
        let name = format!("ipv6_{}_as_client", kind.name());
        trials.push(trial(name, missing.as_deref(), move |scratch| {
            ipv6::we_reflect(kind, scratch)
        }));
        if kind.reflects() {
            let name = format!("ipv6_{}_as_reflector", kind.name());
            trials.push(trial(name, missing.as_deref(), move |scratch| {
                ipv6::they_reflect(kind, scratch)
            }));
        }
    }
    trials
}

fn bfd_trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in bfd::Kind::ALL {
        for role in bfd::Role::ALL {
            let name = format!("bfd_{}_{}", kind.name(), role.name());
            let missing = requirement::missing(kind.programs());
            trials.push(trial(name, missing.as_deref(), move |scratch| {
                bfd::talk(kind, role, scratch)
            }));
        }
    }
    trials
}

/// samctl and a router of another AS, on one link.
fn foreign_trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in foreign::Kind::ALL {
        let missing = requirement::missing_of(kind.programs());
        let tests: [(&str, foreign::Test); 4] = [
            ("neighbor", foreign::policy_decides),
            ("ordered_neighbor", foreign::orders_are_followed),
            ("signed_neighbor", foreign::strangers_stay_out),
            ("dynamic_neighbor", foreign::a_range_admits),
        ];
        for (name, test) in tests {
            let name = format!("foreign_{name}_{}", kind.name());
            trials.push(trial(name, missing.as_deref(), move |scratch| {
                test(kind, scratch)
            }));
        }
    }
    let exabgp = foreign::Kind::Exabgp;
    let missing = requirement::missing_of(exabgp.programs());
    trials.push(trial(
        "foreign_signed_neighbor_exabgp".into(),
        missing.as_deref(),
        move |scratch| foreign::strangers_stay_out(exabgp, scratch),
    ));
    let missing = requirement::missing_of(foreign::Kind::Bird.programs());
    let tests: [(&str, Test); 4] = [
        ("foreign_bfd", foreign::a_cut_ends_the_session),
        ("foreign_long_messages", foreign::long_messages_pass),
        ("foreign_long_as_numbers", foreign::long_as_numbers_pass),
        (
            "foreign_capabilities",
            foreign::any_capability_may_be_missing,
        ),
    ];
    let tests = tests.into_iter();
    trials.extend(tests.map(|(name, test)| trial(name.into(), missing.as_deref(), test)));
    trials
}

fn vrrp_trials() -> Vec<Trial> {
    let missing = requirement::missing(vrrp::PROGRAMS);
    let mut trials = Vec::new();
    for dialect in vrrp::Dialect::ALL {
        let name = format!("vrrp_keepalived_{}", dialect.name());
        trials.push(trial(name, missing.as_deref(), move |scratch| {
            vrrp::talk(dialect, scratch)
        }));
    }
    for dialect in [vrrp::Dialect::V2, vrrp::Dialect::V3] {
        let name = format!("vrrp_keepalived_preempts_{}", dialect.name());
        trials.push(trial(name, missing.as_deref(), move |scratch| {
            vrrp::preempt(dialect, scratch)
        }));
    }
    trials
}

/// Sessions that are renewed in use, by either side.
fn renewal_trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for program in Program::ALL {
        let missing = requirement::missing(program.programs());
        type Renewal = fn(Program, &Scratch) -> Result<()>;
        let tests: [(&str, Renewal); 2] = [
            ("we_renew", renewal::we_renew),
            ("they_renew", renewal::they_renew),
        ];
        for (name, test) in tests {
            let name = format!("wireguard_{name}_with_{}", program.name());
            trials.push(trial(name, missing.as_deref(), move |scratch| {
                test(program, scratch)
            }));
        }
    }
    trials
}

type Test = fn(&Scratch) -> Result<()>;

fn wireguard_trials() -> Vec<Trial> {
    let tests: [(&str, Test); 11] = [
        ("we_call", wireguard::we_call),
        ("they_call", wireguard::they_call),
        (
            "we_call_with_preshared_key",
            wireguard::we_call_with_preshared_key,
        ),
        (
            "they_call_with_preshared_key",
            wireguard::they_call_with_preshared_key,
        ),
        (
            "their_new_session_is_taken",
            wireguard::their_new_session_is_taken,
        ),
        (
            "we_call_again_when_no_answer_comes",
            wireguard::we_call_again_when_no_answer_comes,
        ),
        (
            "they_call_again_when_no_answer_comes",
            wireguard::they_call_again_when_no_answer_comes,
        ),
        (
            "we_follow_a_roaming_peer",
            wireguard::we_follow_a_roaming_peer,
        ),
        (
            "a_peer_follows_us_when_we_roam",
            wireguard::a_peer_follows_us_when_we_roam,
        ),
        (
            "a_wrong_preshared_key_is_refused",
            wireguard::a_wrong_preshared_key_is_refused,
        ),
        (
            "an_unknown_key_is_refused",
            wireguard::an_unknown_key_is_refused,
        ),
    ];
    let missing = requirement::missing(Kind::Bird.programs());
    let mut trials: Vec<Trial> = tests
        .into_iter()
        .map(|(name, test)| trial(format!("wireguard_{name}"), missing.as_deref(), test))
        .collect();
    let long = std::env::var_os("SAMCTL_LONG_TESTS").is_none();
    let reason = "takes 140 s; set SAMCTL_LONG_TESTS=1".to_owned();
    trials.push(trial(
        "wireguard_sessions_are_renewed_under_traffic".into(),
        missing.or_else(|| long.then_some(reason)).as_deref(),
        wireguard::sessions_are_renewed_under_traffic,
    ));
    trials
}

/// Makes a test of it; with something missing it is ignored and the reason printed.
fn trial(
    name: String,
    missing: Option<&str>,
    test: impl FnOnce(&Scratch) -> Result<()> + Send + 'static,
) -> Trial {
    if let Some(missing) = missing {
        eprintln!("skipped: {name}: {missing}");
    }
    let run = move || -> Result<(), Failed> {
        let scratch = Scratch::new()?;
        test(&scratch).map_err(|error| Failed::from(format!("{error:#}\n{}", scratch.last_words())))
    };
    Trial::test(name, run).with_ignored_flag(missing.is_some())
}
