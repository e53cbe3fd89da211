//! Our BGP codec against three others: the same bytes in, the same prefixes, attributes and kind of error out.
//!
//! Each codec reads a message and encodes what it understood; `view` takes that apart and compares. What becomes of
//! the message (accepted, routes withdrawn, session reset) is compared too, and each oracle reads what our encoder
//! wrote. Codecs disagree for known reasons, and `differences.md` lists each with its RFC; a difference that is not
//! listed fails, and so does a row that no longer occurs.

mod bgpkit;
mod differences;
mod generator;
mod netgauze;
mod ours;
mod reading;
mod rustbgpd;
mod view;

#[expect(dead_code, reason = "shared; not all of it is used here")]
#[path = "../../bgp/tests/wire/bytes.rs"]
mod bytes;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::sync::OnceLock;

use generator::Generator;
use reading::{Class, Fault, Reading};
use view::{View, view};

/// Messages of one run, unless ORACLE_MESSAGES says otherwise.
const MESSAGES: u64 = 60_000;

/// Another codec.
struct Oracle {
    name: &'static str,
    /// Reads a message with four-octet AS numbers or without.
    read: fn(&[u8], bool) -> Reading,
    /// Whether it tells a withdraw from a reset.
    has_dispositions: bool,
}

const ORACLES: [Oracle; 3] = [
    Oracle {
        name: "bgpkit",
        read: bgpkit::read,
        has_dispositions: true,
    },
    Oracle {
        name: "netgauze",
        read: netgauze::read,
        has_dispositions: false,
    },
    Oracle {
        name: "rustbgpd",
        read: rustbgpd::read,
        has_dispositions: true,
    },
];

#[test]
fn every_difference_to_another_codec_is_listed_with_its_reason() {
    let known = differences::known();
    let unlisted: Vec<String> = found()
        .iter()
        .filter(|((oracle, difference), _)| !known.iter().any(|row| row.lists(oracle, difference)))
        .map(|((oracle, difference), example)| format!("| {oracle} | {difference} | {example}"))
        .collect();
    assert!(
        unlisted.is_empty(),
        "{} differences:\n{}",
        unlisted.len(),
        unlisted.join("\n")
    );
}

#[test]
fn every_listed_difference_still_occurs() {
    let found = found();
    let occurs = |row: &differences::Row| {
        found
            .keys()
            .any(|(oracle, difference)| row.lists(oracle, difference))
    };
    let gone: Vec<_> = differences::known()
        .into_iter()
        .filter(|row| row.in_every_run && !occurs(row))
        .collect();
    assert!(gone.is_empty(), "{gone:#?}");
}

#[test]
fn messages_reach_every_class_and_most_are_understood_by_all() {
    let generator = Generator::new();
    let mut classes: BTreeMap<Class, u32> = BTreeMap::new();
    let mut agreed = 0;
    for number in 0..2000 {
        let message = generator.message(number);
        let ours = ours::read(&message, true);
        *classes.entry(ours.class()).or_default() += 1;
        let all = ORACLES.iter().all(|oracle| {
            oracle
                .differences(&ours, &(oracle.read)(&message, true))
                .is_empty()
        });
        agreed += u32::from(all);
    }
    assert!(
        classes.len() == 3 && classes.values().all(|count| *count > 200),
        "{classes:?}"
    );
    assert!(agreed > 500, "{agreed} of 2000");
}

type Found = BTreeMap<(String, String), String>;

/// All differences of one run, each with the first message that shows it.
fn found() -> &'static Found {
    static FOUND: OnceLock<Found> = OnceLock::new();
    FOUND.get_or_init(|| {
        let messages = match env::var("ORACLE_MESSAGES") {
            Ok(count) => count.parse().expect("ORACLE_MESSAGES is a number"),
            Err(_) => MESSAGES,
        };
        let generator = Generator::new();
        let mut found = Found::new();
        for number in 0..messages {
            let message = generator.message(number);
            let four_octet_as = number % 4 != 0;
            let ours = ours::read(&message, four_octet_as);
            for oracle in ORACLES {
                let theirs = (oracle.read)(&message, four_octet_as);
                for difference in oracle.differences(&ours, &theirs) {
                    let example = || example(number, four_octet_as, &message, &ours, &theirs);
                    found
                        .entry((oracle.name.to_owned(), difference))
                        .or_insert_with(example);
                }
            }
            encoded(number, four_octet_as, &ours, &mut found);
        }
        found
    })
}

/// Has the others read what we made of a message; they must find no fault in it.
fn encoded(number: u64, four_octet_as: bool, ours: &Reading, found: &mut Found) {
    let Some(message) = &ours.understood else {
        return;
    };
    let again = ours::read(message, four_octet_as);
    assert_eq!(again.faults, [], "message {number}");
    for oracle in ORACLES {
        let theirs = (oracle.read)(message, four_octet_as);
        let complaints = theirs.faults.iter().map(|fault| name("theirs", fault));
        for difference in complaints.chain(oracle.differences(&again, &theirs)) {
            let example = || example(number, four_octet_as, message, &again, &theirs);
            found
                .entry((oracle.name.to_owned(), difference))
                .or_insert_with(example);
        }
    }
}

fn example(
    number: u64,
    four_octet_as: bool,
    message: &[u8],
    ours: &Reading,
    theirs: &Reading,
) -> String {
    let hex: String = message
        .iter()
        .skip(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let labels = |reading: &Reading| {
        let labels = reading
            .faults
            .iter()
            .map(|fault| format!("{} {}", fault.kind, fault.label));
        labels.collect::<Vec<_>>().join(", ")
    };
    let width = if four_octet_as { 4 } else { 2 };
    format!(
        "message {number}, {width}-octet AS: {hex}; ours: {}; theirs: {}",
        labels(ours),
        labels(theirs)
    )
}

impl Oracle {
    /// Names every difference of two readings.
    fn differences(&self, ours: &Reading, theirs: &Reading) -> BTreeSet<String> {
        let (our_class, their_class) = (ours.class(), theirs.class());
        if !self.has_dispositions && our_class.min(their_class) > Class::Accepted {
            return notifications(ours, theirs);
        }
        match our_class.cmp(&their_class) {
            Ordering::Greater => stronger("ours", ours, their_class),
            Ordering::Less => stronger("theirs", theirs, our_class),
            Ordering::Equal if our_class == Class::Reset => notifications(ours, theirs),
            Ordering::Equal => views(ours, theirs),
        }
    }
}

/// Every complaint of one side that the other side does not share.
fn stronger(side: &str, reading: &Reading, than: Class) -> BTreeSet<String> {
    let faults = reading.faults.iter().filter(|fault| fault.class > than);
    faults.map(|fault| name(side, fault)).collect()
}

/// Names a complaint by who has it, what it makes of the message, and what it is about.
fn name(side: &str, fault: &Fault) -> String {
    let effect = match fault.class {
        Class::Accepted => "discards",
        Class::Withdrawn => "withdraws",
        Class::Reset => "resets",
    };
    if view::has_meaning(fault.kind) {
        format!("{side} {effect}: {}", fault.label)
    } else {
        format!("{side} {effect}: attribute of a type that we do not know")
    }
}

fn notifications(ours: &Reading, theirs: &Reading) -> BTreeSet<String> {
    let (Some(our), Some(their)) = (ours.notification, theirs.notification) else {
        return BTreeSet::new();
    };
    let label = &ours.faults[0].label;
    (our != their)
        .then(|| format!("notification: {label}: {their} not {our}"))
        .into_iter()
        .collect()
}

fn views(ours: &Reading, theirs: &Reading) -> BTreeSet<String> {
    let withdrawn = ours.class() == Class::Withdrawn;
    let our_view = ours
        .understood
        .as_deref()
        .and_then(|message| view(message, withdrawn));
    let our_view = our_view.expect("what we encode can be read");
    let Some(encoded) = theirs.understood.as_deref() else {
        return BTreeSet::from(["encoder: refuses what it decoded".to_owned()]);
    };
    let Some(their_view) = view(encoded, withdrawn) else {
        return BTreeSet::from(["encoder: writes what cannot be read".to_owned()]);
    };
    let names: BTreeSet<&String> = our_view.keys().chain(their_view.keys()).collect();
    let unequal = names
        .into_iter()
        .filter(|name| our_view.get(*name) != their_view.get(*name));
    unequal
        .map(|name| unequal_value(name, (ours, &our_view), (theirs, &their_view)))
        .collect()
}

/// Names an unequal value by the complaint that explains it, if there is one.
fn unequal_value(value: &str, ours: (&Reading, &View), theirs: (&Reading, &View)) -> String {
    let complaint = |side, (reading, view): (&Reading, &View)| {
        let missing = !view.contains_key(value);
        let of_it = |kind: u8| missing && value == format!("attribute {kind}");
        let fault = reading.faults.iter().find(|fault| of_it(fault.kind))?;
        Some(name(side, fault))
    };
    if let Some(named) = complaint("ours", ours).or_else(|| complaint("theirs", theirs)) {
        return named;
    }
    let how = match (ours.1.contains_key(value), theirs.1.contains_key(value)) {
        (true, false) => "only ours",
        (false, true) => "only theirs",
        _ => "unequal",
    };
    format!("value: {value}: {how}")
}
