//! Starts that must fail, each with a message that says what to do.

use std::time::Duration;

use sam_testkit::netns::{Fabric, Site, wait_until};

use crate::case::{Case, Need, samctl};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "start::without_a_capability_the_message_names_it",
        needs: &[Need::Tool("setpriv")],
        run: capability,
    },
    Case {
        name: "start::without_the_tun_device_the_message_names_it",
        needs: &[Need::Tool("unshare")],
        run: tun,
    },
    Case {
        name: "start::a_second_router_on_the_same_socket_is_refused",
        needs: &[],
        run: twice,
    },
];

/// Time for a refusal.
const PATIENCE: Duration = Duration::from_secs(5);

/// ```text
/// .10 ── lan1 ── router onprem without CAP_…
/// ```
fn capability() {
    let fabric = Fabric::new(samctl(), 2);
    for (dropped, name) in [
        ("-net_raw", "CAP_NET_RAW"),
        ("-net_admin", "CAP_NET_ADMIN"),
        ("-net_bind_service", "CAP_NET_BIND_SERVICE"),
    ] {
        let text = refused(
            &fabric,
            &["setpriv", "--bounding-set", dropped, "--inh-caps", dropped],
        );
        assert!(text.contains(name), "{dropped}: {text}");
    }
}

/// ```text
/// .10 ── lan1 ── router onprem in a mount namespace without /dev/net/tun
/// ```
fn tun() {
    let fabric = Fabric::new(samctl(), 2);
    let hide = "mount -t tmpfs none /dev/net && exec \"$@\"";

    let text = refused(&fabric, &["unshare", "-m", "sh", "-c", hide, "sh"]);

    assert!(text.contains("/dev/net/tun"), "{text}");
    assert!(
        text.contains("--device /dev/net/tun") || text.contains("modprobe tun"),
        "{text}"
    );
}

/// ```text
/// .10 ── lan1 ── router onprem, twice
/// ```
fn twice() {
    let mut fabric = Fabric::new(samctl(), 2);
    fabric.start(Site::ONPREM);
    let name = fabric.router(Site::ONPREM).socket().display().to_string();
    let own = fabric.path("aws.sock").display().to_string();
    fabric.edit(Site::AWS, &own, &name);

    let mut second = fabric.spawn(Site::AWS, &[]);
    wait_until("the second one ends", PATIENCE, || {
        second.daemon().exit_code().is_some()
    });

    assert_eq!(second.daemon().exit_code(), Some(1), "{}", second.log());
    assert!(
        second.log().contains("another router listens"),
        "{}",
        second.log()
    );
    let view = fabric.router(Site::ONPREM).json("status");
    assert_eq!(view["node"]["name"], "onprem", "the first one goes on");
}

/// Starts a router that must not come up; returns what it says.
fn refused(fabric: &Fabric, wrapper: &[&str]) -> String {
    let mut router = fabric.spawn(Site::ONPREM, wrapper);
    wait_until("the start is refused", PATIENCE, || {
        let running = router.log().contains(" running ");
        assert!(!running, "it started: {}", router.log());
        router.daemon().exit_code().is_some()
    });
    let code = router.daemon().exit_code();
    let text = router.log();
    assert!(matches!(code, Some(1 | 4)), "exit code {code:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}
