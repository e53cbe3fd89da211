//! The thread's words, and links on the loopback interface.

use super::*;

#[tokio::test]
async fn a_thread_that_does_not_answer_leaves_what_it_said_last() {
    let said = BfdFacts {
        scheduling: "real-time".into(),
        discarded: vec![CounterFacts {
            name: "ttl".into(),
            text: String::new(),
            value: 7,
        }],
        ..BfdFacts::default()
    };
    for (last, scheduling) in [
        (BfdFacts::default(), "no answer in 200 ms"),
        (said, "real-time, no answer in 200 ms"),
    ] {
        let mailbox = Arc::new(Mailbox::new().expect("an eventfd"));
        let mut bfd = Bfd {
            running: Some((mailbox, std::thread::spawn(|| ()))),
            idle: String::new(),
            last: last.clone(),
        };
        for _ in 0..2 {
            let facts = bfd.report().await;
            assert!(facts.silent);
            assert_eq!(facts.scheduling, scheduling);
            assert_eq!(facts.discarded, last.discarded);
        }
    }
}

/// As when an interface is deleted and made anew.
#[test]
fn a_link_whose_interface_is_gone_gets_new_sockets_and_keeps_its_sessions() {
    let (mut thread, epoll) = watching(1);
    let discriminator = thread.status()[0].local_discriminator;
    link(&mut thread).sockets = None;
    assert!(thread.close_links(), "what it had is free");
    assert_eq!(thread.missing.len(), 1);
    assert!(!thread.close_links(), "told once");

    thread.follow_wanted(&epoll, Instant::now());

    assert!(link(&mut thread).sockets.is_some());
    assert_eq!(thread.missing, BTreeSet::new());
    assert_eq!(thread.retry_at, None);
    assert_eq!(thread.status()[0].local_discriminator, discriminator);
}

#[test]
fn what_a_link_that_is_gone_discarded_stays_counted() {
    let (mut thread, epoll) = watching(2);
    let now = Instant::now();
    let stranger = Ipv4Addr::new(192, 0, 2, 9);
    let outcome = link(&mut thread)
        .sessions
        .handle_datagram(stranger, 64, &[], now);
    assert_eq!(outcome, Err(Discard::UnknownPeer));
    thread.wanted.clear();
    thread.follow_wanted(&epoll, now);
    link(&mut thread)
        .sessions
        .handle_timeout(now + Duration::from_secs(10));

    assert!(thread.close_links());

    assert!(thread.outside.is_empty());
    let counters = thread.facts(now).discarded.into_iter();
    let mut strangers = counters.filter(|counter| counter.name == "unknown-peer");
    assert_eq!(strangers.next().map(|counter| counter.value), Some(1));
}

/// A thread with one neighbor outside and nobody else.
fn watching(test: u8) -> (Thread, Epoll) {
    let mailbox = Arc::new(Mailbox::new().expect("an eventfd"));
    let epoll = epoll(&mailbox).expect("epoll");
    let timing = BfdTiming {
        interval: Duration::from_millis(300),
        multiplier: 3,
    };
    let peers = [(Ipv4Addr::new(192, 0, 2, 2), (timing, 255))];
    let mut thread = Thread {
        fabric: Link {
            sessions: Sessions::new(1),
            sockets: None,
            port: PORT,
        },
        outside: BTreeMap::new(),
        wanted: [(place(test), peers.into())].into(),
        missing: BTreeSet::new(),
        retry_at: None,
        mailbox,
        publish: watch::channel(Vec::new()).0,
        scheduling: String::new(),
        discarded: BTreeMap::new(),
        unsent: 0,
        unread: 0,
    };
    thread.follow_wanted(&epoll, Instant::now());
    assert!(link(&mut thread).sockets.is_some());
    (thread, epoll)
}

fn link(thread: &mut Thread) -> &mut Link {
    thread.outside.values_mut().next().expect("a link")
}

/// Each test has a place of its own, beside those of other processes.
fn place(test: u8) -> Outside {
    let [.., high, low] = std::process::id().to_be_bytes();
    Outside {
        local: Ipv4Addr::new(127, high, low, test),
        interface: Some("lo".into()),
        several_hops: false,
    }
}
