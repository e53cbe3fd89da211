//! The real program in real networks: namespaces, real hosts, real tools. Each test draws its topology.
//!
//! A test whose tools or privileges are missing says why and counts as ignored. Two tests run at a time unless
//! `--test-threads` says otherwise; everything happens in namespaces without names, so nothing is left behind.

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

/// More would disturb those that measure time.
const THREADS: usize = 2;

fn main() -> ExitCode {
    if let Some(failure) = refusal::become_refused() {
        return failure;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let areas = [
        answers::CASES,
        authority::CASES,
        bench::CASES,
        bfd::CASES,
        cloud::CASES,
        congestion::CASES,
        demo::CASES,
        discovery::CASES,
        doctor::CASES,
        egress::CASES,
        exposure::CASES,
        failure::CASES,
        forgery::CASES,
        graceful::CASES,
        identity::CASES,
        inspection::CASES,
        kernel::CASES,
        lan_offloads::CASES,
        mixed::CASES,
        moving::CASES,
        mtu::CASES,
        order::CASES,
        overload::CASES,
        path_test::CASES,
        pmtu::CASES,
        readme::CASES,
        refusal::CASES,
        reload::CASES,
        secrets::CASES,
        split_brain::CASES,
        start::CASES,
        steady::CASES,
        switches::CASES,
        transparency::CASES,
        transport_change::CASES,
        transports::CASES,
        tunnel_fragments::CASES,
        two_sites::CASES,
        undelivered::CASES,
        unprivileged::CASES,
        verbs::CASES,
        vrrp::CASES,
        watching::CASES,
        wireguard::CASES,
        workers::CASES,
    ];
    let trials = areas.into_iter().flatten().map(case::Case::trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
