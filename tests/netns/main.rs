//! The real program in real networks: namespaces, real hosts, real tools. Each test draws its topology.
//!
//! A test whose tools or privileges are missing says why and counts as ignored. Six tests run at a time, two of
//! those that measure time; everything happens in namespaces without names, so nothing is left behind.

mod answers;
mod authority;
mod bench;
mod bfd;
mod bulk;
mod case;
mod cloud;
mod congestion;
mod demo;
mod discovery;
mod doctor;
mod egress;
mod exposure;
mod failure;
mod forgery;
mod graceful;
mod identity;
mod inspection;
mod kernel;
mod lan_offloads;
mod mixed;
mod moving;
mod mtu;
mod order;
mod overload;
mod path_test;
mod pmtu;
mod readme;
mod refusal;
mod reload;
mod secrets;
mod speaker;
mod split_brain;
mod start;
mod steady;
mod switches;
mod transparency;
mod transport_change;
mod transports;
mod tunnel_fragments;
mod turns;
mod two_sites;
mod undelivered;
mod unprivileged;
mod verbs;
mod vrrp;
mod watching;
mod wireguard;
mod workers;

use std::process::ExitCode;

use libtest_mimic::Arguments;

use turns::{Share, Turns};

fn main() -> ExitCode {
    if let Some(failure) = refusal::become_refused() {
        return failure;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(Turns::ROOM);
    let measured = [
        authority::CASES,
        bench::CASES,
        bfd::CASES,
        cloud::CASES,
        congestion::CASES,
        demo::CASES,
        failure::CASES,
        graceful::CASES,
        moving::CASES,
        overload::CASES,
        pmtu::CASES,
        split_brain::CASES,
        steady::CASES,
        vrrp::CASES,
        workers::CASES,
    ];
    let areas = [
        answers::CASES,
        discovery::CASES,
        doctor::CASES,
        egress::CASES,
        exposure::CASES,
        forgery::CASES,
        identity::CASES,
        inspection::CASES,
        kernel::CASES,
        lan_offloads::CASES,
        mixed::CASES,
        mtu::CASES,
        order::CASES,
        path_test::CASES,
        readme::CASES,
        refusal::CASES,
        reload::CASES,
        secrets::CASES,
        start::CASES,
        switches::CASES,
        transparency::CASES,
        transport_change::CASES,
        transports::CASES,
        tunnel_fragments::CASES,
        two_sites::CASES,
        undelivered::CASES,
        unprivileged::CASES,
        verbs::CASES,
        watching::CASES,
        wireguard::CASES,
    ];
    let measured = measured.into_iter().flatten();
    let others = areas.into_iter().flatten();
    let trials = measured
        .map(|case| case.trial(Share::Half))
        .chain(others.map(|case| case.trial(Share::Sixth)))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
