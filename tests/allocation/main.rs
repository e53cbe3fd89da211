//! The workers of running routers allocate nothing for traffic that goes on (R4): a counting allocator watches their threads
//! while packets pass by real sockets – packet sockets, UDP, raw IP, the TUN device – both ways.
//!
//! ```text
//!   client .10 ── lan1 ── router onprem ══ a transport ══ router aws ── lan2 ── client .11
//! ```
//! Both routers run in this program, their threads in namespaces of their own. What allocates all the same, because
//! something begins, is named in decision 0036.

#![expect(unsafe_code, reason = "a global allocator cannot be written without")]

#[path = "../netns/case.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
mod case;
mod flow;
#[path = "../netns/turns.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
mod turns;

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use libtest_mimic::Arguments;
use sam_router::Config;
use sam_testkit::netns::{Fabric, Site};
use samctl::config::{Secrets, load};

use case::{Case, samctl, wait_for_ping};
use flow::Flow;
use turns::Share;

const CASES: &[Case] = &[
    Case {
        name: "workers_allocate_nothing_for_traffic_through_wireguard",
        needs: &[],
        run: || allocate_nothing("encap: wireguard"),
    },
    Case {
        name: "workers_allocate_nothing_for_traffic_through_gue",
        needs: &[],
        run: || allocate_nothing("encap: gue, trustedUnderlay: true"),
    },
    Case {
        name: "workers_allocate_nothing_for_traffic_through_gre",
        needs: &[],
        run: || allocate_nothing("encap: gre, trustedUnderlay: true"),
    },
];

/// Rounds until everything has the size that it needs, and rounds that are watched, in each window.
const WARM_UP: usize = 200;
const ROUNDS: usize = 100;
/// What is allocated for each packet, or each turn, is allocated in all of them; what begins once, in one.
const WINDOWS: usize = 5;
const WORKERS: u64 = 2;
const START: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The allocator does not know whose worker a thread is.
    arguments.test_threads = Some(1);
    let trials = CASES.iter().map(|case| case.trial(Share::Half)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn allocate_nothing(transport: &str) {
    let fabric = Fabric::new(samctl(), 2);
    fabric.edit_all("  bgp:", &format!("  transport: {{{transport}}}\n  bgp:"));
    fabric.edit_all("  control:", &format!("  workers: {WORKERS}\n  control:"));
    let _routers = Routers::run(&fabric);
    let (topology, [near, far]) = (&fabric.topology, [Site::ONPREM, Site::AWS]);
    let [client, far_client] = [near, far].map(|site| (topology.client(site), site.client()));
    wait_for_ping(client.0, far_client.1, START);
    let hosts = [near, far].map(|site| (topology.router(site), site.overlay()));
    let mut flows = [Flow::open([client, far_client]), Flow::open(hosts)];
    let mut rounds = |count| (0..count).for_each(|_| flows.iter_mut().for_each(Flow::round));
    assert_workers_are_watched(&fabric);

    rounds(WARM_UP);
    let windows = [(); WINDOWS].map(|()| watched(|| rounds(ROUNDS)).allocations);

    let first = FIRST.lock().expect("nobody panics with it").take();
    let first = first.map_or_else(String::new, |first| first.to_string());
    let has_quiet = windows.contains(&0);
    assert!(
        has_quiet,
        "{windows:?} allocations, the first of the last window:\n{first}"
    );
}

/// Somebody who asks how things are makes every worker allocate its answer.
fn assert_workers_are_watched(fabric: &Fabric) {
    let sockets = ["onprem.sock", "aws.sock"];
    let seen = watched(|| {
        for socket in sockets {
            let mut command = Command::new(samctl());
            command.arg("--socket").arg(fabric.path(socket));
            let output = command
                .arg("status")
                .output()
                .expect("samctl can be started");
            assert!(!output.stdout.is_empty(), "{output:?}");
        }
    });
    assert_eq!(seen.workers, sockets.len() as u64 * WORKERS);
}

/// Routers in this program, which end with this value.
struct Routers(Vec<JoinHandle<()>>);

impl Routers {
    /// Starts one for each site.
    fn run(fabric: &Fabric) -> Self {
        let routers = fabric.topology.sites().into_iter().map(|site| {
            let namespace = fabric.topology.router(site).clone();
            let Ok(loaded) = load(&fabric.config(site), Secrets::Read) else {
                panic!("the file of the fabric is good");
            };
            thread::spawn(move || {
                namespace.move_thread().expect("the namespace is there");
                let reload = Box::new(|| Err("nobody reloads".to_owned()));
                let providers = Box::new(|_: &Config| Err("there is no cloud".to_owned()));
                sam_runtime::run(loaded.config, reload, providers).expect("a router that runs");
            })
        });
        Self(routers.collect())
    }
}

impl Drop for Routers {
    fn drop(&mut self) {
        // Both heed it, and end in order; without any that runs it would end this program.
        if self.0.iter().any(|router| !router.is_finished()) {
            sam_net::process::terminate(std::process::id());
        }
        for router in self.0.drain(..) {
            router.join().ok();
        }
    }
}

/// Passes everything on to the system and counts what workers ask for while it is watched.
struct Counting;

/// Whose thread it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Unknown,
    /// A worker's, which allocated last in the window of that number.
    Worker(u64),
    Other,
}

thread_local! {
    static OWNER: Cell<Owner> = const { Cell::new(Owner::Unknown) };
}

static WATCHED: AtomicBool = AtomicBool::new(false);
/// Number of the window, from 1 on.
static WINDOW: AtomicU64 = AtomicU64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATING_WORKERS: AtomicU64 = AtomicU64::new(0);
/// Where the first in the window was asked for.
static FIRST: Mutex<Option<Backtrace>> = Mutex::new(None);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed to `System` unchanged; counting does not unwind, and what it allocates itself is not counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` by way of `alloc` or `realloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `pointer` came from `System` by way of `alloc` or `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What workers ask for while they are watched.
struct Seen {
    allocations: u64,
    /// How many threads of workers allocate.
    workers: u64,
}

/// Watches the workers while `work` is done.
fn watched(work: impl FnOnce()) -> Seen {
    FIRST.lock().expect("nobody panics with it").take();
    ALLOCATIONS.store(0, Relaxed);
    ALLOCATING_WORKERS.store(0, Relaxed);
    WINDOW.fetch_add(1, Relaxed);
    WATCHED.store(true, Relaxed);
    work();
    WATCHED.store(false, Relaxed);
    Seen {
        allocations: ALLOCATIONS.load(Relaxed),
        workers: ALLOCATING_WORKERS.load(Relaxed),
    }
}

fn count() {
    if WATCHED.load(Relaxed) {
        // It needs no destructor, so it is there as long as its thread.
        OWNER.with(count_for);
    }
}

fn count_for(owner: &Cell<Owner>) {
    if owner.get() == Owner::Unknown {
        // The question may allocate.
        owner.set(Owner::Other);
        if thread::current()
            .name()
            .is_some_and(|name| name.starts_with("worker"))
        {
            owner.set(Owner::Worker(0));
        }
    }
    if let Owner::Worker(last) = owner.get() {
        let window = WINDOW.load(Relaxed);
        ALLOCATIONS.fetch_add(1, Relaxed);
        if last != window {
            ALLOCATING_WORKERS.fetch_add(1, Relaxed);
        }
        owner.set(Owner::Other);
        if let Ok(mut first) = FIRST.try_lock()
            && first.is_none()
        {
            *first = Some(Backtrace::force_capture());
        }
        owner.set(Owner::Worker(window));
    }
}
