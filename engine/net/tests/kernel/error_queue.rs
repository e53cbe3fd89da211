//! What a path tells the sockets of the underlay that is narrow, or leads nowhere.
//!
//! ```text
//!   left 10.9.0.1 ──── 10.9.0.2 right, a router: 10.8.0.1 ── MTU 1300 ── 10.8.0.2
//! ```

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;
use sam_dataplane::{Buffer, PathError, PathErrorKind, Undelivered};
use sam_net::netlink::Route;
use sam_net::{Epoll, Interest, NetError, Netlink, Train, UdpSocket};
use socket2::SockRef;

use crate::cable::{Cable, LEFT, set_up, wait_for};

/// Opens a socket.
type Open = fn() -> Result<UdpSocket, NetError>;

const FAR: &str = "10.8.0.2";
const ROUTER: &str = "10.9.0.2";
/// Behind the router, as our end takes it; but there is no such network.
const LOST: &str = "10.8.9.9";
const GRE: u8 = 47;
/// A protocol that no kernel knows (RFC 3692).
const EXPERIMENT: u8 = 253;

#[test]
fn a_narrow_path_is_told_with_its_size_to_each_kind_of_socket() {
    let Some(cable) = narrow() else { return };
    let sockets: [(Open, u16); 3] = [
        (|| UdpSocket::bind(UdpSocket::any(false, 6080)), 6080),
        (|| UdpSocket::bind_sender(false), 9),
        (|| UdpSocket::open_raw(GRE, false), 0),
    ];
    for (open, port) in sockets {
        let mut socket = cable.left.enter(open).unwrap().unwrap();
        let to = SocketAddr::new(FAR.parse().unwrap(), port);

        assert_eq!(send(&mut socket, to, 1400), 0, "nobody knows yet");

        let expected = too_long(to, ROUTER);
        assert_eq!(errors(&socket), [expected]);
        // The error is told once, and what is sent next does not suffer from it.
        assert_eq!(send(&mut socket, to, 1000), 0);
        assert_eq!(send(&mut socket, to, 1400), 0, "the path is ours to find");
        assert_eq!(errors(&socket), [expected]);
    }
}

#[test]
fn a_narrow_path_over_ipv6_is_told_too() {
    let Some(cable) = narrow() else { return };
    if !cable
        .left
        .enter(|| std::path::Path::new("/proc/net/if_inet6").exists())
        .unwrap()
    {
        println!("skipped: no IPv6");
        return;
    }
    let route = || {
        let mut netlink = Netlink::open().unwrap();
        let index = at_once("left", "2001:db8:9::1/64");
        let network = "2001:db8:8::/64".parse().unwrap();
        let gateway = Some("2001:db8:9::2".parse().unwrap());
        let route = Route {
            gateway,
            ..Route::on_link(network, index)
        };
        netlink.add_route(&route).unwrap();
    };
    cable.left.enter(route).unwrap();
    let forward = || {
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        at_once("right", "2001:db8:9::2/64");
        at_once("far", "2001:db8:8::1/64");
    };
    cable.right.enter(forward).unwrap();
    let to: SocketAddr = "[2001:db8:8::2]:9".parse().unwrap();
    let mut socket = cable
        .left
        .enter(|| UdpSocket::bind_sender(true))
        .unwrap()
        .unwrap();

    assert_eq!(send(&mut socket, to, 1400), 0);

    assert_eq!(errors(&socket), [too_long(to, "2001:db8:9::2")]);
}

#[test]
fn who_does_not_deliver_is_told_with_the_reason_to_each_kind_of_socket() {
    let Some(cable) = narrow() else { return };
    let sockets: [(Open, u16); 3] = [
        (|| UdpSocket::bind(UdpSocket::any(false, 6080)), 6080),
        (|| UdpSocket::bind_sender(false), 9),
        (|| UdpSocket::open_raw(EXPERIMENT, false), 0),
    ];
    // The router has no route to the one, and is itself the other: nobody there knows port or protocol.
    for (open, port) in sockets {
        let mut socket = cable.left.enter(open).unwrap().unwrap();
        let nobody = if port == 0 {
            Undelivered::ProtocolUnreachable
        } else {
            Undelivered::PortUnreachable
        };
        for (host, why) in [(LOST, Undelivered::NetUnreachable), (ROUTER, nobody)] {
            let to = SocketAddr::new(host.parse().unwrap(), port);
            assert_eq!(send(&mut socket, to, 100), 0);
            let expected = PathError {
                to,
                by: Some(ROUTER.parse().unwrap()),
                kind: PathErrorKind::Undelivered(why),
            };
            assert_eq!(errors(&socket), [expected]);
        }
    }
}

#[test]
fn an_error_that_finds_no_room_wakes_nobody_for_long() {
    let Some(cable) = narrow() else { return };
    let mut socket = cable
        .left
        .enter(|| {
            set_up("lo", None);
            UdpSocket::bind(UdpSocket::any(false, 6080))
        })
        .unwrap()
        .unwrap();
    SockRef::from(&socket).set_recv_buffer_size(1).unwrap();
    for _ in 0..ROOM {
        assert_eq!(send(&mut socket, "10.9.0.1:6080".parse().unwrap(), 1000), 0);
    }
    let mut epoll = Epoll::new(1).unwrap();
    epoll.add(socket.as_fd(), 0, Interest::Nothing).unwrap();

    let lost = SocketAddr::new(LOST.parse().unwrap(), 9);
    assert_eq!(send(&mut socket, lost, 100), 0);

    let woken = epoll.wait(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(woken.count(), 1);
    let mut errors = Vec::new();
    socket.take_path_errors(&mut errors);
    assert_eq!(errors, [], "there was no room");
    assert_eq!(epoll.wait(Some(Duration::ZERO)).unwrap().count(), 0);
}

#[test]
fn a_link_that_is_too_narrow_is_told_at_once() {
    let Some(cable) = narrow() else { return };
    let mut socket = cable
        .left
        .enter(|| UdpSocket::bind_sender(false))
        .unwrap()
        .unwrap();
    let to = SocketAddr::new("10.9.0.2".parse().unwrap(), 9);

    assert_eq!(send(&mut socket, to, 1480), 1);

    let [error] = errors(&socket)[..] else {
        panic!("one error, however often it was tried")
    };
    let mtu = 1500;
    assert_eq!(
        (error.to.ip(), error.kind),
        (to.ip(), PathErrorKind::TooLong { mtu })
    );
}

#[test]
fn what_the_kernel_learnt_is_not_taken_for_the_mtu_of_the_route() {
    let Some(cable) = narrow() else { return };
    let mut socket = cable
        .left
        .enter(|| UdpSocket::bind_sender(false))
        .unwrap()
        .unwrap();
    send(&mut socket, SocketAddr::new(FAR.parse().unwrap(), 9), 1400);
    assert_eq!(errors(&socket).len(), 1);

    let answer = cable
        .left
        .enter(|| Netlink::open()?.route_to(FAR.parse().unwrap()))
        .unwrap()
        .unwrap();

    assert_eq!(answer.mtu, 1500);
}

fn too_long(to: SocketAddr, by: &str) -> PathError {
    PathError {
        to,
        by: Some(by.parse().unwrap()),
        kind: PathErrorKind::TooLong { mtu: 1300 },
    }
}

/// Lays the cable and makes its right end a router with a narrow link.
fn narrow() -> Option<Cable> {
    let cable = Cable::lay(Some("10.9.0.1/24"), Some("10.9.0.2/24"))?;
    let route = || {
        let mut netlink = Netlink::open()?;
        let index = netlink.link(LEFT)?.index;
        let network = "10.8.0.0/16".parse().unwrap();
        let gateway = Some("10.9.0.2".parse().unwrap());
        netlink.add_route(&Route {
            gateway,
            ..Route::on_link(network, index)
        })
    };
    assert!(cable.left.enter(route).unwrap().unwrap());
    let narrow = || {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        // What no route leads to has a limit of its own, five errors at first. The one of all errors shares its tokens and,
        // where it is none (icmp_ratelimit 0), takes all that are left at the next tick of the clock.
        std::fs::write("/proc/sys/net/ipv4/icmp_ratemask", "0").unwrap();
        Netlink::open()
            .unwrap()
            .create_veth("far", "end", None)
            .unwrap();
        let index = set_up("far", Some("10.8.0.1/24"));
        set_up("end", None);
        Netlink::open().unwrap().set_mtu(index, 1300).unwrap();
    };
    cable.right.enter(narrow).unwrap();
    Some(cable)
}

/// Gives a link an IPv6 address without asking whether somebody else has it, and waits until it can be used: even so the
/// kernel takes it up later, by a work queue, and until then packets leave from another address. Returns the link's index.
fn at_once(link: &str, address: &str) -> u32 {
    let path = format!("/proc/sys/net/ipv6/conf/{link}/accept_dad");
    std::fs::write(path, "0").unwrap();
    let index = set_up(link, Some(address));
    let own: Ipv6Net = address.parse().unwrap();
    let digits = own.addr().octets().map(|octet| format!("{octet:02x}"));
    let digits = digits.concat();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_usable(&digits) {
        assert!(Instant::now() < deadline, "{address} stays tentative");
        thread::sleep(TURN);
    }
    index
}

/// Tells whether the calling thread's namespace has an IPv6 address that is not tentative (RFC 4862 section 5.4).
fn is_usable(digits: &str) -> bool {
    let addresses = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
    addresses.lines().any(|line| {
        // Address, link, prefix length, scope, flags, name.
        let row: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(row[4], 16).unwrap();
        row[0] == digits && flags & TENTATIVE == 0
    })
}

/// Time between two looks.
const TURN: Duration = Duration::from_millis(1);
/// Datagrams that fill the smallest receive buffer.
const ROOM: u8 = 8;
/// `IFA_F_TENTATIVE`.
const TENTATIVE: u32 = 0x40;

/// Sends one datagram and returns how many packets failed.
fn send(socket: &mut UdpSocket, to: SocketAddr, length: u16) -> usize {
    let mut buffer = Buffer::new();
    assert!(buffer.append(&vec![7; usize::from(length)]));
    let train = Train {
        to,
        segment: length,
        tos: 0,
        buffer,
    };
    let mut failures = Vec::new();
    assert_eq!(socket.send_trains(&mut [train], &mut failures), 1);
    failures.iter().map(|failure| failure.packets).sum()
}

/// Waits for errors and takes what differs.
fn errors(socket: &UdpSocket) -> Vec<PathError> {
    let mut epoll = Epoll::new(1).unwrap();
    epoll.add(socket.as_fd(), 0, Interest::Nothing).unwrap();
    let mut errors = Vec::new();
    wait_for(&socket.as_fd(), "error", || {
        socket.take_path_errors(&mut errors);
        (!errors.is_empty()).then_some(())
    });
    // The kernel may mark the socket only after the error was taken, but not twice.
    for wakes in 0.. {
        if epoll.wait(Some(Duration::ZERO)).unwrap().count() == 0 {
            break;
        }
        assert!(wakes < 2, "an empty queue wakes nobody");
        socket.take_path_errors(&mut errors);
    }
    errors.dedup();
    errors
}
