//! Outages of every length, in one direction or both, whoever has something to send: afterwards packets pass again, and go on
//! to do so.

use crate::world::{A, B, World, packets, secs};

/// Who keeps the tunnel up or sends while the link is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Persistent keepalives of these, and no traffic.
    Keepalive(&'static [usize]),
    /// These send a packet a second, without keepalives.
    Traffic(&'static [usize]),
}

const CAUSES: [Cause; 6] = [
    Cause::Keepalive(&[A, B]),
    Cause::Keepalive(&[A]),
    Cause::Keepalive(&[B]),
    Cause::Traffic(&[A, B]),
    Cause::Traffic(&[A]),
    Cause::Traffic(&[B]),
];

/// Around every deadline: keepalive, silence, renewal, end of attempts, expiry, and far beyond.
const SECONDS: [u64; 10] = [1, 14, 16, 89, 95, 111, 119, 171, 190, 700];

/// Silence is noticed 15.3 s after the first packet without an answer, which may be a keepalive's interval away; an attempt is
/// repeated after 5.3 s.
const RECOVERY: u64 = 25 + 16 + 6;

/// Seconds in which a session is renewed.
const RENEWED: u32 = 150;

#[test]
fn after_any_outage_packets_pass_again_in_both_directions() {
    for cause in CAUSES {
        for lost in [&[A, B][..], &[A], &[B]] {
            for seconds in SECONDS {
                let what = format!("{cause:?}, lost from {lost:?} for {seconds} s");
                let mut world = quiet(cause);
                let sources: Vec<_> = lost.iter().map(|node| world.nodes[*node].address).collect();
                world.filter = Box::new(move |flight| !sources.contains(&flight.source));
                live(&mut world, cause, seconds);

                world.filter = Box::new(|_| true);
                live(&mut world, cause, RECOVERY);

                let senders: &[usize] = match cause {
                    Cause::Keepalive(_) => &[A, B],
                    Cause::Traffic(senders) => senders,
                };
                for node in &mut world.nodes {
                    node.received.clear();
                    node.errors.clear();
                }
                for second in 0..RENEWED {
                    for sender in senders {
                        assert_eq!(world.send(*sender, second), Ok(()), "{what}");
                    }
                    world.run(secs(1));
                }
                for sender in senders {
                    let receiver = &world.nodes[1 - sender];
                    assert_eq!(receiver.received, packets(RENEWED), "{what}");
                    assert_eq!(receiver.errors, [], "{what}");
                }
            }
        }
    }
}

/// Two nodes with a session that `a` began ten seconds ago.
fn quiet(cause: Cause) -> World {
    let mut world = World::established(1);
    if let Cause::Keepalive(keepers) = cause {
        for node in keepers {
            let mut config = world.config(*node);
            config.persistent_keepalive = Some(secs(25));
            world.configure(*node, &[config]);
        }
    }
    live(&mut world, cause, 10);
    world
}

/// Lets seconds pass; what is to be sent without a session is lost.
fn live(world: &mut World, cause: Cause, seconds: u64) {
    for _ in 0..seconds {
        if let Cause::Traffic(senders) = cause {
            for sender in senders {
                let _no_session = world.send(*sender, 0);
            }
        }
        world.run(secs(1));
        world.trace.clear();
    }
}
