//! Becoming root without being it. A program of its own, because only a process with one thread may do that.

#![expect(
    clippy::print_stdout,
    reason = "a test program without the usual runner"
)]

use sam_net::{Capabilities, Capability, Netlink, user_namespace};

fn main() {
    if let Err(error) = user_namespace::become_root() {
        println!("skipped: {error}");
        return;
    }
    assert!(user_namespace::is_inside().expect("/proc is mounted"));
    let capabilities = Capabilities::effective().expect("/proc is mounted");
    assert_eq!(capabilities.missing(&Capability::ALL), []);
    let mut netlink = Netlink::open().expect("netlink");
    let names: Vec<_> = netlink
        .links()
        .expect("links")
        .into_iter()
        .map(|link| link.name)
        .collect();
    assert_eq!(names, ["lo"], "a network of its own");
    assert!(netlink.create_bridge("lan").expect("root may"));
    println!("test becoming_root_gives_a_network_of_its_own ... ok");
}
