//! Orders and edits at run time: addresses come and go, bad files change nothing, equal files do nothing.

use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use sam_testkit::netns::{Capture, Fabric, Site, sh, wait_until};

use crate::case::{Case, Need, samctl, wait_for_ping};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "reload::announce_and_withdraw_take_effect_at_once_and_refusals_have_reasons",
        needs: &[],
        run: orders,
    },
    Case {
        name: "reload::an_edited_file_moves_addresses_and_a_bad_file_changes_nothing",
        needs: &[],
        run: edits,
    },
    Case {
        name: "reload::an_unchanged_file_causes_no_message_and_no_log_line",
        needs: &[Need::Tool("tcpdump"), Need::Tool("tshark")],
        run: unchanged,
    },
];

/// Time for news to cross the fabric.
const NEWS: Duration = Duration::from_secs(3);
/// A second host at the first site.
const EXTRA: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 60);

/// ```text
/// .10, .60 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
/// ```
fn orders() {
    let fabric = Fabric::running(samctl(), 2);
    let _extra = fabric.topology.add_host(Site::ONPREM, "c1b", EXTRA);
    let (here, far) = (fabric.router(Site::ONPREM), Site::AWS);
    let client = fabric.topology.client(far);

    let said = here.samctl(&format!("announce {EXTRA}")).success();
    assert_eq!(said, format!("{EXTRA} is announced\n"));
    let news = || fabric.owner(far, EXTRA).as_deref() == Some("onprem");
    wait_until("aws learns the address", NEWS, news);
    wait_for_ping(client, EXTRA, NEWS);
    here.samctl(&format!("withdraw {EXTRA}")).success();
    wait_until("aws forgets the address", NEWS, || {
        fabric.owner(far, EXTRA).is_none()
    });
    assert_ne!(sh(client, &format!("ping -n -c 1 -W 1 {EXTRA}")).code, 0);

    for (order, code, words) in [
        (
            "announce 10.77.60.1",
            1,
            "the address is excluded from its pool",
        ),
        (
            "announce 10.77.60.255",
            1,
            "the address is excluded from its pool",
        ),
        ("announce 192.0.2.1", 1, "the address lies in no pool"),
        ("announce 10.77.60.10", 1, "owns the address already"),
        ("withdraw 10.77.60.11", 1, "does not own the address"),
        ("announce lan60", 2, "lan60"),
    ] {
        let refused = here.samctl(order);
        assert_eq!(refused.code, code, "{order}: {}", refused.text());
        assert!(
            refused.stderr.contains(words),
            "{order}: {}",
            refused.stderr
        );
        assert_eq!(refused.stdout, "", "{order}");
    }
}

/// ```text
/// .10, .60 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
/// ```
fn edits() {
    let fabric = Fabric::running(samctl(), 2);
    let (here, far) = (fabric.router(Site::ONPREM), fabric.router(Site::AWS));
    let extra = fabric.topology.add_host(Site::ONPREM, "c1b", EXTRA);

    // 1. An address is added.
    fabric.edit(
        Site::ONPREM,
        "owned: [10.77.60.10]",
        "owned: [10.77.60.10, 10.77.60.60]",
    );
    here.samctl("reload").success();
    wait_until("aws learns .60", NEWS, || {
        far.owner(EXTRA).as_deref() == Some("onprem")
    });
    wait_for_ping(fabric.topology.client(Site::AWS), EXTRA, NEWS);

    // 2. It moves: first the new owner says so, then the former one forgets.
    drop(extra);
    let _extra = fabric.topology.add_host(Site::AWS, "c2b", EXTRA);
    fabric.edit(
        Site::AWS,
        "owned: [10.77.60.11]",
        "owned: [10.77.60.11, 10.77.60.60]",
    );
    far.samctl("reload").success();
    fabric.edit(
        Site::ONPREM,
        "owned: [10.77.60.10, 10.77.60.60]",
        "owned: [10.77.60.10]",
    );
    here.samctl("reload").success();
    wait_until("onprem sees .60 at aws", NEWS, || {
        here.owner(EXTRA).as_deref() == Some("aws")
    });
    wait_for_ping(fabric.topology.client(Site::ONPREM), EXTRA, NEWS);

    // 3. A bad file is refused as a whole, by place; everything stays.
    let before = fs::read_to_string(fabric.config(Site::ONPREM)).expect("readable");
    fabric.edit(
        Site::ONPREM,
        "owned: [10.77.60.10]",
        "owned: [10.77.60.99, 10.88.0.1]",
    );
    let refused = here.samctl("reload");
    assert_eq!(refused.code, 1, "{}", refused.text());
    assert!(refused.stderr.contains("10.88.0.1"), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("onprem.yaml:"),
        "{}",
        refused.stderr
    );
    assert_eq!(here.owner(Site::ONPREM.client()).as_deref(), Some("onprem"));
    assert_eq!(here.owner(Ipv4Addr::new(10, 77, 60, 99)), None);

    // 4. What only a restart can change is refused by name.
    fs::write(
        fabric.config(Site::ONPREM),
        before.replace("self:\n", "self:\n  tun: sam9\n"),
    )
    .expect("writable");
    let refused = here.samctl("reload");
    assert_eq!(refused.code, 1, "{}", refused.text());
    assert!(refused.stderr.contains("self.tun"), "{}", refused.stderr);

    // 5. The good file is accepted again.
    fs::write(fabric.config(Site::ONPREM), before).expect("writable");
    here.samctl("reload").success();
    wait_for_ping(fabric.topology.client(Site::ONPREM), EXTRA, NEWS);
}

/// ```text
/// .10 ── lan1 ── router onprem ══ wan ══ router aws ── lan2 ── .11
///         ▲ tcpdump          ▲ tcpdump on sam0
/// ```
fn unchanged() {
    let mut fabric = Fabric::running(samctl(), 2);
    let router = fabric.topology.router(Site::ONPREM).clone();
    let bgp = Capture::start(&router, "sam0", "tcp port 179", &fabric.path("bgp.pcap"));
    let lan = fabric.topology.client(Site::ONPREM);
    let arp = Capture::start(lan, "eth0", "arp", &fabric.path("arp.pcap"));
    // Announcements of the start are repeated for a few seconds.
    wait_for_quiet(&arp);
    let (log, announcements) = (
        fabric.router(Site::ONPREM).log(),
        arp.so_far().count(SPOKEN),
    );
    let updates = bgp.so_far().count("bgp.type == 2");

    for _ in 0..3 {
        fabric.router(Site::ONPREM).samctl("reload").success();
    }
    let mut router = fabric.take(Site::ONPREM);
    router.daemon().signal("HUP");
    // A KEEPALIVE every 3 s: whatever was to be said is said by then.
    thread::sleep(Duration::from_secs(4));

    assert_eq!(bgp.stop().count("bgp.type == 2"), updates, "no UPDATE");
    assert_eq!(arp.stop().count(SPOKEN), announcements, "no ARP");
    assert_eq!(router.log(), log, "no log line");
}

/// What a router says of itself on the LAN; it also asks, all the time, whether others answer for its addresses.
const SPOKEN: &str = "arp.isgratuitous == 1 || arp.opcode == 2";

/// Waits until nothing was said for three seconds.
fn wait_for_quiet(arp: &Capture) {
    let (mut last, mut turns) = (0, 0);
    wait_until("ARP is quiet", Duration::from_secs(30), || {
        thread::sleep(Duration::from_millis(500));
        let now = arp.so_far().count(SPOKEN);
        turns = if now == last { turns + 1 } else { 0 };
        last = now;
        turns >= 6
    });
}
