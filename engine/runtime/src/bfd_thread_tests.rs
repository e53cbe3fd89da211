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
