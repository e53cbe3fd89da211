//! Cuts a stream into messages as a session does, and decodes each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sam_bgp::wire::{DecodeContext, frame};

#[path = "../../../bgp/tests/wire/fixed_point.rs"]
mod fixed_point;

fuzz_target!(|input: &[u8]| {
    let context = DecodeContext {
        four_octet_as: true,
        ibgp: true,
        add_path: false,
        // The wider of both limits; the narrower one is a comparison more.
        extended: true,
        ipv6: None,
    };
    let mut stream = input;
    fixed_point::check_frame(stream, context);
    while let Ok(Some(len)) = frame(stream, context) {
        let (message, rest) = stream.split_at(len);
        fixed_point::check(message, context);
        stream = rest;
        fixed_point::check_frame(stream, context);
    }
});
