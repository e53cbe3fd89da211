//! Errors that end a session before or beside UPDATEs: header, OPEN and ROUTE-REFRESH.
//!
//! One row per rule of RFC 4271 sections 6.1 and 6.2 and of the RFCs named in the row, with code,
//! subcode and data of the NOTIFICATION.

use sam_bgp::wire::{DecodeContext, Message, Notification, RouteRefresh, frame};

use crate::bytes::{INTERNAL, message};

#[test]
fn a_broken_header_is_answered_with_the_code_of_section_6_1() {
    for (rule, stream, subcode, data) in broken_headers() {
        let expected = Notification {
            code: 1,
            subcode,
            data,
        };

        assert_eq!(
            frame(&stream, INTERNAL).expect_err(rule).notification,
            expected,
            "{rule}"
        );
        assert_eq!(
            Message::decode(&stream, INTERNAL)
                .expect_err(rule)
                .notification,
            expected
        );
    }
}

#[test]
fn frames_are_delivered_when_they_are_whole() {
    let first = message(2, &[0, 0, 0, 0]);
    let stream = [&first[..], &message(4, &[])].concat();

    for len in 0..first.len() {
        assert_eq!(frame(&stream[..len], INTERNAL), Ok(None), "{len}");
    }
    assert_eq!(frame(&stream[..first.len()], INTERNAL), Ok(Some(23)));
    assert_eq!(frame(&stream, INTERNAL), Ok(Some(23)));
    assert_eq!(frame(&stream[23..], INTERNAL), Ok(Some(19)));
}

#[test]
fn a_long_message_is_possible_where_it_was_offered_but_no_long_open() {
    let extended = DecodeContext {
        extended: true,
        ipv6: None,
        ..INTERNAL
    };
    for (kind, len) in [(2, 4097), (2, 65_535), (3, 65_535), (5, 4097), (1, 4096)] {
        assert_eq!(
            frame(&with_len(kind, len), extended),
            Ok(None),
            "{kind} {len}"
        );
    }
    for (kind, len) in [(1, 4097), (4, 20), (4, 4097), (2, 22)] {
        let error = frame(&with_len(kind, len), extended).expect_err("refused");
        let expected = Notification {
            code: 1,
            subcode: 2,
            data: len.to_be_bytes().to_vec(),
        };
        assert_eq!(error.notification, expected, "{kind} {len}");
    }
}

#[test]
fn lengths_at_the_limits_are_possible() {
    for (kind, len) in [(1, 29), (2, 23), (2, 4096), (3, 21), (5, 23)] {
        assert_eq!(
            frame(&with_len(kind, len), INTERNAL),
            Ok(None),
            "{kind} {len}"
        );
    }
}

#[test]
fn a_message_that_is_not_whole_is_refused() {
    let whole = message(2, &[0, 0, 0, 0]);
    for bytes in [
        &whole[..22],
        &[&whole[..], &[0]].concat(),
        &whole[..10],
        &[],
    ] {
        let error = Message::decode(bytes, INTERNAL).expect_err("not one message");
        assert_eq!(
            (error.notification.code, error.notification.subcode),
            (1, 2)
        );
    }
}

#[test]
fn a_bad_open_is_answered_with_the_code_of_section_6_2() {
    for (rule, body, subcode, data) in bad_opens() {
        let error = Message::decode(&message(1, &body), INTERNAL).expect_err(rule);

        let expected = Notification {
            code: 2,
            subcode,
            data: data.to_vec(),
        };
        assert_eq!(error.notification, expected, "{rule}");
    }
}

#[test]
fn an_unusual_open_is_accepted() {
    for (rule, body) in unusual_opens() {
        assert!(
            Message::decode(&message(1, &body), INTERNAL).is_ok(),
            "{rule}"
        );
    }
}

#[test]
fn a_route_refresh_of_wrong_length_is_answered_with_the_message() {
    for body in [&[0, 1, 0][..], &[], &[0, 1, 1, 1, 0]] {
        let whole = message(5, body);

        let error = Message::decode(&whole, INTERNAL).unwrap_err();

        assert_eq!(
            error.notification,
            Notification {
                code: 7,
                subcode: 1,
                data: whole
            }
        );
    }
}

#[test]
fn an_unknown_route_refresh_subtype_is_left_to_the_session() {
    let decoded = Message::decode(&message(5, &[0, 1, 9, 1]), INTERNAL);

    let expected = RouteRefresh {
        afi: 1,
        subtype: 9,
        safi: 1,
    };
    assert_eq!(decoded, Ok(Message::RouteRefresh(expected)));
}

#[test]
fn errors_are_shown_with_reason_and_code_in_words() {
    let error = frame(&with_len(4, 20), INTERNAL).unwrap_err();

    assert_eq!(
        error.to_string(),
        "bad message length: Message Header Error/Bad Message Length"
    );
}

/// Rule, start of a stream, subcode and data of the message header error.
#[rustfmt::skip] // One rule, one line.
fn broken_headers() -> Vec<(&'static str, Vec<u8>, u8, Vec<u8>)> {
    let mut desynchronized = message(4, &[]);
    desynchronized[15] = 0xfe;
    vec![
        ("marker", desynchronized, 1, vec![]),
        ("length below the header", with_len(4, 18), 2, vec![0, 18]),
        ("length 0", with_len(2, 0), 2, vec![0, 0]),
        ("length above 4096", with_len(2, 4097), 2, vec![0x10, 1]),
        ("OPEN below 29", with_len(1, 28), 2, vec![0, 28]),
        ("UPDATE below 23", with_len(2, 22), 2, vec![0, 22]),
        ("NOTIFICATION below 21", with_len(3, 20), 2, vec![0, 20]),
        ("KEEPALIVE above 19", with_len(4, 20), 2, vec![0, 20]),
        ("type 0", with_len(0, 19), 3, vec![0]),
        ("type 6", with_len(6, 19), 3, vec![6]),
        ("type 255", with_len(255, 4096), 3, vec![255]),
    ]
}

/// Rule, body of the OPEN, subcode and data of the OPEN message error.
#[rustfmt::skip] // One rule, one line.
fn bad_opens() -> Vec<(&'static str, Vec<u8>, u8, &'static [u8])> {
    vec![
        ("6.2 version 3", open(|body| body[0] = 3), 1, &[0, 4][..]),
        ("6.2 version 5", open(|body| body[0] = 5), 1, &[0, 4]),
        ("7607 AS 0", open(|body| body[1..3].fill(0)), 2, &[]),
        ("7607 AS 0 in four octets", open_with(&[2, 6, 65, 4, 0, 0, 0, 0]), 2, &[]),
        ("6.2 hold time 1", open(|body| body[4] = 1), 6, &[]),
        ("6.2 hold time 2", open(|body| body[4] = 2), 6, &[]),
        ("6286 2.2 identifier 0", open(|body| body[5..9].fill(0)), 3, &[]),
        ("6.2 parameter type 1", open_with(&[1, 1, 0]), 4, &[]),
        ("6.2 parameter type 3", open_with(&[2, 2, 2, 0, 3, 0]), 4, &[]),
        ("9072 2 type 255 not first", open_with(&[2, 2, 2, 0, 255, 0]), 4, &[]),
        ("9072 2 type 255 within", open_with(&[255, 0, 3, 255, 0, 0]), 4, &[]),
        ("6.2 parameters longer than the message", open(|body| body[9] = 1), 0, &[]),
        ("6.2 parameters shorter than the message", open(|body| body.push(0)), 0, &[]),
        ("6.2 parameter overruns", open_with(&[2, 3, 2, 0]), 0, &[]),
        ("6.2 parameter without a length", open_with(&[2, 2, 2, 0, 2]), 0, &[]),
        ("9072 2 length too long", open_with(&[255, 0, 5, 2, 0, 0]), 0, &[]),
        ("9072 2 length too short", open_with(&[255, 0, 2, 2, 0, 0]), 0, &[]),
        ("9072 2 no length", open_with(&[255, 0]), 0, &[]),
        ("5492 4 capability overruns", open_with(&[2, 3, 65, 4, 0]), 0, &[]),
        ("6.2 known capability of wrong length", open_with(&[2, 5, 1, 3, 0, 1, 0]), 0, &[]),
    ]
}

/// Rule, body of the OPEN.
#[rustfmt::skip] // One rule, one line.
fn unusual_opens() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("4.2 hold time 0", open(|body| body[4] = 0)),
        ("4.2 hold time 3", open(|body| body[4] = 3)),
        ("4.2 largest hold time", open(|body| body[3..5].fill(255))),
        ("5492 4 unknown capability", open_with(&[2, 3, 200, 1, 7])),
        ("5492 4 repeated capability", open_with(&[2, 4, 2, 0, 2, 0])),
        ("5492 4 parameter without capabilities", open_with(&[2, 0])),
        ("6286 2.1 identifier that is no unicast address", open(|body| body[5..9].fill(255))),
    ]
}

/// A bare header that claims a type and a length.
fn with_len(kind: u8, len: u16) -> Vec<u8> {
    [&[0xff; 16][..], &len.to_be_bytes(), &[kind]].concat()
}

/// The body of a good OPEN without capabilities, changed.
fn open(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = vec![4, 0xfd, 0xe9, 0, 9, 192, 0, 2, 1, 0];
    change(&mut body);
    body
}

/// The body of an OPEN with these optional parameters.
fn open_with(parameters: &[u8]) -> Vec<u8> {
    open(|body| {
        body[9] = u8::try_from(parameters.len()).expect("short");
        body.extend(parameters);
    })
}
