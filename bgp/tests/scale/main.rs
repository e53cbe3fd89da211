//! A fabric that grows: how many messages and how much time it takes to agree, on a virtual clock.
//!
//! Two reflectors, the other routers their clients, each with addresses of its own; sessions as in a fabric, with several
//! paths to a prefix. What happens and what it takes is in `table.txt`, which the test holds. Time is made of latencies
//! alone: 5 ms each way, computing takes none. `SAMCTL_SCALE=400` prints the rows of another size instead; there only some
//! routers keep the routes they hear, the others refuse them, so that the memory of one machine suffices.
#![expect(
    clippy::disallowed_methods,
    reason = "who asks for another table, or to write it anew, does so by the environment"
)]

mod story;
mod world;

use std::fmt::Write as _;

/// Sizes that the table holds: routers beside the reflectors.
const SIZES: [usize; 3] = [5, 10, 20];

#[test]
fn messages_and_times_are_those_of_the_table() {
    if let Ok(size) = std::env::var("SAMCTL_SCALE") {
        println!("{}", table(&[size.parse().expect("a number of routers")]));
        return;
    }
    let expected = include_str!("table.txt");
    let actual = table(&SIZES);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scale/table.txt");
        std::fs::write(path, &actual).expect("the table can be written");
        return;
    }
    assert_eq!(actual, expected, "UPDATE_EXPECT=1 writes the table anew");
}

/// What a reflector sends grows with the square of the routers, for each is told what each says; a reflector may not send
/// more than that, whatever happens.
#[test]
fn a_loss_costs_each_router_what_was_lost_and_no_more() {
    let rows = story::tell(10);
    let lost = rows
        .iter()
        .find(|row| row.what == "a tenth dies")
        .expect("it is told");
    let (routers, dead) = (10, 1);
    let listeners = routers - dead + 1;
    // Two reflectors withdraw each lost address from each who is left, and from each other.
    assert_eq!(lost.withdrawn, 2 * listeners * dead * story::ADDRESSES);
    assert_eq!(lost.announced, 0);
}

/// RFC 4724: who forgets nothing is told nothing twice, and nobody is told that something went.
#[test]
fn reflectors_that_restart_gracefully_take_nothing_away() {
    let rows = story::tell(5);
    let row = rows
        .iter()
        .find(|row| row.what == "both reflectors restart")
        .expect("it is told");
    assert_eq!((row.withdrawn, row.moved), (0, 0));
    let all_start = &rows[0];
    assert!(row.announced <= all_start.announced, "{row}");
}

fn table(sizes: &[usize]) -> String {
    let mut text = String::from(
        "routers | what happens | ms until agreed | UPDATEs | announced | withdrawn | next hops changed\n",
    );
    for size in sizes {
        for row in story::tell(*size) {
            writeln!(text, "{row}").expect("a string takes everything");
        }
    }
    text
}
