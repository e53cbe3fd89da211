//! Verbs that look into BGP messages and files; all but the dump need no router.

use std::fs;

use sam_bgp::PathAttributes;
use sam_bgp::wire::{DecodeContext, Message, Nlri, Notification, PathId, Update, code, subcode};
use samctl::exit::Exit;
use serde_json::Value;

use crate::run::{difference, folder, run, scratch};
use crate::server::Server;

const CONTEXT: DecodeContext = DecodeContext {
    four_octet_as: true,
    ibgp: true,
    add_path: false,
    extended: false,
    ipv6: None,
};

#[test]
fn messages_are_shown_with_verdict_meaning_and_fields() {
    let goodbye = Notification::cease_with_text(subcode::ADMIN_SHUTDOWN, "back at\u{1b}noon");
    let messages = [update(), Message::Notification(goodbye).encode(CONTEXT)].concat();

    let text = run(&["bgp", "decode", &hex(&messages)]);

    assert_eq!((text.exit, text.stderr.as_str()), (Exit::Ok, ""));
    let expected = folder("tests/cli/views/bgp-decode.txt");
    assert_eq!(difference(&expected, &text.stdout), None);
    assert!(!text.stdout.contains('\u{1b}'), "no control characters");
}

/// RFC 7911: the same bytes mean one thing or the other, by what was agreed on.
#[test]
fn path_identifiers_are_read_when_asked_for() {
    let identified = DecodeContext {
        add_path: true,
        ..CONTEXT
    };
    let update = Update {
        announced: vec![Nlri {
            prefix: "10.77.60.20/32".parse().expect("a prefix"),
            path_id: Some(PathId(7)),
        }],
        attributes: Some(PathAttributes::local([10, 99, 0, 2].into())),
        ..Update::default()
    };
    let message = hex(&Message::Update(update).encode(identified));

    let text = run(&["bgp", "decode", "--add-path", &message]);

    assert_eq!(text.exit, Exit::Ok, "{}", text.stdout);
    let said = "announces 10.77.60.20/32 id 7";
    assert!(text.stdout.contains(said), "{}", text.stdout);
    let without = run(&["bgp", "decode", &message]);
    assert!(!without.stdout.contains(said), "{}", without.stdout);
}

#[test]
fn what_the_router_would_refuse_is_exit_5_with_the_answer() {
    let mut message = update();
    message[18] = 9;

    let json = run(&["-o", "json", "bgp", "decode", &hex(&message)]);

    assert_eq!(json.exit, Exit::ChecksFailed);
    let view: Value = serde_json::from_str(&json.stdout).expect("JSON");
    let first = &view["messages"][0];
    assert_eq!(first["verdict"], "refused");
    let answer = &first["answer"];
    let expected = (
        u64::from(code::HEADER),
        u64::from(subcode::BAD_MESSAGE_TYPE),
    );
    assert_eq!(
        (answer["code"].as_u64(), answer["subcode"].as_u64()),
        (Some(expected.0), Some(expected.1))
    );
    assert_eq!(answer["data_hex"], "09");
    let yaml = run(&["-o", "yaml", "bgp", "decode", &hex(&message)]);
    let same: Value = serde_saphyr::from_str(&yaml.stdout).expect("YAML");
    assert_eq!(same, view);
}

#[test]
fn what_is_not_hexadecimal_is_a_wrong_command_line() {
    for text in ["fe1", "xyz", ""] {
        let refused = run(&["bgp", "decode", text]);
        assert_eq!(
            (refused.exit, refused.stdout.as_str()),
            (Exit::Usage, ""),
            "{text}"
        );
        assert!(refused.stderr.contains("help: "), "{}", refused.stderr);
    }
}

#[test]
fn a_dump_is_written_byte_for_byte() {
    let server = Server::start("mrt");
    let file = scratch("mrt-file").join("rib.mrt");
    let path = file.to_str().expect("UTF-8");
    let printed = run(&["--socket", server.socket(), "bgp", "mrt", "dump", path]);
    assert_eq!((printed.exit, printed.stdout.as_str()), (Exit::Ok, ""));
    let dump = fs::read(&file).expect("written");
    let printed = run(&["--socket", server.socket(), "bgp", "mrt", "dump"]);
    assert_eq!(printed.stdout.as_bytes(), dump);
    assert_eq!(server.asked(), ["GET /v1/bgp/mrt", "GET /v1/bgp/mrt"]);
}

#[test]
fn a_file_that_holds_no_mrt_is_a_failure_that_names_the_record() {
    let file = scratch("mrt-broken").join("rib.mrt");
    fs::write(&file, b"no records").expect("written");
    let path = file.to_str().expect("UTF-8");

    let printed = run(&["bgp", "mrt", "read", path]);

    assert_eq!(printed.exit, Exit::Failed);
    assert!(
        printed.stdout.starts_with("PROBLEM record 1: "),
        "{}",
        printed.stdout
    );
    assert!(
        printed.stderr.contains("bad records in "),
        "{}",
        printed.stderr
    );
    let missing = run(&["bgp", "mrt", "read", "/nonexistent"]);
    assert_eq!(missing.exit, Exit::Failed);
}

fn update() -> Vec<u8> {
    let prefixes = ["0.0.0.0/0", "10.77.60.20/32"];
    let update = Update {
        announced: prefixes
            .iter()
            .map(|text| text.parse::<ipnet::Ipv4Net>().expect("a prefix").into())
            .collect(),
        attributes: Some(PathAttributes {
            local_pref: Some(400),
            ..PathAttributes::local([10, 99, 0, 2].into())
        }),
        ..Update::default()
    };
    Message::Update(update).encode(CONTEXT)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
