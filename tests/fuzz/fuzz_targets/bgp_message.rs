//! Decodes one message; what decodes must be a fixed point of encode and decode.
//!
//! The first byte chooses session and message type, the rest is the body, so that no input is lost on
//! marker and length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sam_bgp::wire::{DecodeContext, Ipv6Context};

#[path = "../../../bgp/tests/wire/fixed_point.rs"]
mod fixed_point;

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else {
        return;
    };
    let Ok(len) = u16::try_from(19 + body.len()) else {
        return;
    };
    // Types of messages go up to 5; the bit above them is free.
    let kind = choice & 0x07;
    let add_path = choice & 0x40 != 0;
    let context = DecodeContext {
        four_octet_as: choice & 0x10 == 0,
        ibgp: choice & 0x20 == 0,
        add_path,
        extended: choice & 0x80 != 0,
        ipv6: (choice & 0x08 != 0).then_some(Ipv6Context { add_path }),
    };
    let message = [&[0xff; 16][..], &len.to_be_bytes(), &[kind], body].concat();
    fixed_point::check_frame(&message, context);
    fixed_point::check(&message, context);
});
