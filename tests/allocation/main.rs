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

/// Rounds until everything has the size that it needs, and rounds that are watched.
const WARM_UP: usize = 200;
const ROUNDS: usize = 500;
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
    fabric.edit_all("  control:", "  workers: 2\n  control:");
    let _routers = Routers::run(&fabric);
    let (topology, [near, far]) = (&fabric.topology, [Site::ONPREM, Site::AWS]);
    let [client, far_client] = [near, far].map(|site| (topology.client(site), site.client()));
    wait_for_ping(client.0, far_client.1, START);
    let hosts = [near, far].map(|site| (topology.router(site), site.overlay()));
    let mut flows = [Flow::open([client, far_client]), Flow::open(hosts)];
    let mut rounds = |count| (0..count).for_each(|_| flows.iter_mut().for_each(Flow::round));
    assert_workers_are_watched(&fabric);

    rounds(WARM_UP);
    let allocations = allocations(|| rounds(ROUNDS));

    let first = FIRST.lock().expect("nobody panics with it").take();
    let first = first.map_or_else(String::new, |first| first.to_string());
    assert_eq!(allocations, 0, "the first one:\n{first}");
}

/// Somebody who asks how things are makes every worker allocate its answer.
fn assert_workers_are_watched(fabric: &Fabric) {
    let seen = allocations(|| {
        let mut command = Command::new(samctl());
        command.arg("--socket").arg(fabric.path("onprem.sock"));
        let output = command
            .arg("status")
            .output()
            .expect("samctl can be started");
        assert!(!output.stdout.is_empty(), "{output:?}");
    });
    assert!(seen > 0);
    FIRST.lock().expect("nobody panics with it").take();
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
    Worker,
    Other,
}

thread_local! {
    static OWNER: Cell<Owner> = const { Cell::new(Owner::Unknown) };
}

static WATCHED: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// Where the first was asked for.
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

/// Returns how often workers allocate meanwhile.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.load(Relaxed);
    WATCHED.store(true, Relaxed);
    work();
    WATCHED.store(false, Relaxed);
    ALLOCATIONS.load(Relaxed) - before
}

fn count() {
    if WATCHED.load(Relaxed) {
        // A thread that ends has no owner any more, and is no worker at work.
        let _counted = OWNER.try_with(count_for);
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
            owner.set(Owner::Worker);
        }
    }
    if owner.get() == Owner::Worker {
        ALLOCATIONS.fetch_add(1, Relaxed);
        owner.set(Owner::Other);
        if let Ok(mut first) = FIRST.try_lock()
            && first.is_none()
        {
            *first = Some(Backtrace::force_capture());
        }
        owner.set(Owner::Worker);
    }
}
