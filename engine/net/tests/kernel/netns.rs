//! Namespaces: separate, addressable, and gone without a trace.

use std::fs;
use std::os::unix::fs::MetadataExt;

use sam_net::{Namespace, Netlink, sysctl};

use crate::cable::{Cable, LEFT, namespace};

#[test]
fn entering_does_not_move_the_caller() {
    let Some(namespace) = namespace() else { return };
    let before = inode(&Namespace::current().unwrap());
    let within = namespace
        .enter(|| inode(&Namespace::current().unwrap()))
        .unwrap();
    assert_eq!(within, inode(&namespace));
    assert_ne!(within, before);
    assert_eq!(inode(&Namespace::current().unwrap()), before);
}

#[test]
fn a_child_process_runs_inside() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    let output = cable
        .left
        .command("cat")
        .arg("/proc/self/net/dev")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(LEFT), "{text}");
    let names = text.lines().filter(|line| line.contains(':')).count();
    assert_eq!(names, 2, "{text}");
}

#[test]
fn a_panic_inside_reaches_the_caller() {
    let Some(namespace) = namespace() else { return };
    let result = std::panic::catch_unwind(|| namespace.enter(|| panic!("expected by the test")));
    assert!(result.is_err());
}

#[test]
fn a_name_exists_as_long_as_its_guard() {
    let Some(namespace) = namespace() else { return };
    let name = format!("sam-net-test-{}", std::process::id());
    let guard = match namespace.bind(&name) {
        Ok(guard) => guard,
        Err(error) => {
            println!("skipped: {error}");
            return;
        }
    };
    let path = guard.path().to_owned();
    let reopened = Namespace::open(&path).unwrap();
    assert_eq!(inode(&reopened), inode(&namespace));
    assert!(namespace.bind(&name).is_err(), "the name is taken");
    drop(reopened);
    drop(guard);
    assert!(!path.exists());
    assert!(namespace.bind("../outside").is_err());
}

#[test]
fn links_vanish_with_their_namespace() {
    let Some(outer) = namespace() else { return };
    let Some(inner) = namespace() else { return };
    let peer = std::os::fd::AsFd::as_fd(&inner);
    outer
        .enter(|| Netlink::open()?.create_veth("stays", "goes", Some(peer)))
        .unwrap()
        .unwrap();
    drop(inner);
    // The kernel takes a namespace down in the background.
    let gone = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        outer
            .enter(|| Netlink::open().unwrap().link("stays").is_err())
            .unwrap()
    });
    assert!(gone, "the far end outlived its namespace by ten seconds");
}

#[test]
fn settings_are_those_of_the_namespace() {
    let Some(cable) = Cable::lay(None, None) else {
        return;
    };
    assert!(sysctl::forwarding(LEFT).is_err(), "the link is elsewhere");
    let inside = cable
        .left
        .enter(|| (sysctl::ip_forward(), sysctl::forwarding(LEFT)))
        .unwrap();
    assert!(!inside.0.unwrap());
    assert!(!inside.1.unwrap());
}

/// Namespaces are told apart by the inode of their files.
fn inode(namespace: &Namespace) -> u64 {
    fs::metadata(namespace.path()).unwrap().ino()
}
