//! Two namespaces joined by a veth pair, and waiting with a deadline.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use sam_net::{Epoll, Interest, Namespace, Netlink};

pub(crate) const LEFT: &str = "left";
pub(crate) const RIGHT: &str = "right";

/// Two namespaces and the cable between them.
pub(crate) struct Cable {
    pub(crate) left: Namespace,
    pub(crate) right: Namespace,
}

impl Cable {
    /// Lays the cable and sets both ends up; an end gets an address when one is given.
    pub(crate) fn lay(left_address: Option<&str>, right_address: Option<&str>) -> Option<Self> {
        let cable = Self {
            left: namespace()?,
            right: namespace()?,
        };
        let peer = cable.right.as_fd();
        cable
            .left
            .enter(|| Netlink::open()?.create_veth(LEFT, RIGHT, Some(peer)))
            .unwrap()
            .unwrap();
        for (side, name, address) in [
            (&cable.left, LEFT, left_address),
            (&cable.right, RIGHT, right_address),
        ] {
            side.enter(|| set_up(name, address)).unwrap();
        }
        Some(cable)
    }
}

/// Makes a namespace, or says why not.
pub(crate) fn namespace() -> Option<Namespace> {
    Namespace::create()
        .map_err(|error| println!("skipped: {error}"))
        .ok()
}

/// Sets a link of the calling thread's namespace up and returns its index.
pub(crate) fn set_up(name: &str, address: Option<&str>) -> u32 {
    let mut netlink = Netlink::open().unwrap();
    let index = netlink.link(name).unwrap().index;
    if let Some(address) = address {
        let address: IpNet = address.parse().unwrap();
        assert!(netlink.add_address(index, address).unwrap());
    }
    netlink.set_up(index).unwrap();
    index
}

/// Waits for `fd` to become readable and runs `step` each time, until it returns something.
pub(crate) fn wait_for<T>(fd: &impl AsFd, what: &str, mut step: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut epoll = Epoll::new(1).unwrap();
    epoll.add(fd.as_fd(), 0, Interest::Read).unwrap();
    loop {
        if let Some(result) = step() {
            return result;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "no {what} within ten seconds");
        epoll.wait(Some(left)).unwrap().for_each(drop);
    }
}
