//! Threads, event loops and sockets around the pure cores. Nothing here decides.
//!
//! One control thread (tokio, current thread) owns the `Router`; each worker thread owns a `Forwarder`; one thread owns
//! the WireGuard handshakes. They talk by bounded queues only.

mod answer;
mod bfd_thread;
mod bgp_io;
mod capture_journal;
mod cloud_thread;
mod control_loop;
mod control_socket;
mod data_plane;
mod event_log;
mod facts;
mod host_io;
mod journal_io;
mod kernel_release;
mod live_trace;
mod mailbox;
mod monitor;
mod path_test;
mod pcapng;
mod pulse;
mod random;
mod resolver;
mod signals;
mod vrrp_arp;
mod vrrp_thread;

use sam_router::Config;

/// Why the router did not start; the chain of causes ends in what the kernel said.
pub type StartError = anyhow::Error;

/// Reads the configuration again; the error is for people.
pub type Reload = Box<dyn FnMut() -> Result<Config, String>>;

pub use cloud_thread::Providers;

/// Runs a router until SIGTERM or SIGINT. `reload` is called for SIGHUP and `samctl reload`, `providers` once at start, if
/// the configuration captures in a cloud.
///
/// # Errors
/// When a port, device or socket cannot be opened; the message names it and what would help.
pub fn run(config: Config, reload: Reload, providers: Providers) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(control_loop::run(config, reload, providers));
    // A look-up of a name that nobody answers must not hold up the end.
    runtime.shutdown_background();
    result
}
