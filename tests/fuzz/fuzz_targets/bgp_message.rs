//! Decodes one message; what decodes must be a fixed point of encode and decode.
//!
//! The first byte chooses session and message type, the rest is the body, so that no input is lost on
//! marker and length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sam_bgp::wire::DecodeContext;

#[path = "../../../bgp/tests/wire/fixed_point.rs"]
mod fixed_point;

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else {
        return;
    };
    let Ok(len) = u16::try_from(19 + body.len()) else {
        return;
    };
    let kind = choice & 0x0f;
    let context = DecodeContext {
        four_octet_as: choice & 0x10 == 0,
        ibgp: choice & 0x20 == 0,
        add_path: choice & 0x40 != 0,
        extended: choice & 0x80 != 0,
    };
    let message = [&[0xff; 16][..], &len.to_be_bytes(), &[kind], body].concat();
    fixed_point::check_frame(&message, context);
    fixed_point::check(&message, context);
});
