//! Messages built byte by byte, without the encoder under test.

use sam_bgp::wire::DecodeContext;

/// An internal session with four-octet AS numbers.
pub(crate) const INTERNAL: DecodeContext = DecodeContext {
    four_octet_as: true,
    ibgp: true,
    add_path: false,
    extended: false,
    ipv6: None,
};
/// An external session with four-octet AS numbers.
pub(crate) const EXTERNAL: DecodeContext = DecodeContext {
    four_octet_as: true,
    ibgp: false,
    add_path: false,
    extended: false,
    ipv6: None,
};
/// An internal session with two-octet AS numbers.
pub(crate) const TWO_OCTET: DecodeContext = DecodeContext {
    four_octet_as: false,
    ibgp: true,
    add_path: false,
    extended: false,
    ipv6: None,
};

/// An internal session whose prefixes stand behind path identifiers.
pub(crate) const ADD_PATH: DecodeContext = DecodeContext {
    add_path: true,
    ..INTERNAL
};

/// Puts a correct header before a body.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(19 + body.len()).expect("short");
    [&[0xff; 16][..], &len.to_be_bytes(), &[kind], body].concat()
}

/// Builds an attribute with a one-octet length.
pub(crate) fn attribute(flags: u8, kind: u8, value: &[u8]) -> Vec<u8> {
    [
        &[flags, kind, u8::try_from(value.len()).expect("short")],
        value,
    ]
    .concat()
}

/// Builds an attribute with a two-octet length.
pub(crate) fn long_attribute(flags: u8, kind: u8, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).expect("short").to_be_bytes();
    [&[flags | 0x10, kind], &len[..], value].concat()
}

/// Builds an UPDATE of three raw fields.
pub(crate) fn update(withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Vec<u8> {
    let withdrawn_len = u16::try_from(withdrawn.len()).expect("short").to_be_bytes();
    let attributes_len = u16::try_from(attributes.len())
        .expect("short")
        .to_be_bytes();
    message(
        2,
        &[
            &withdrawn_len,
            withdrawn,
            &attributes_len,
            attributes,
            announced,
        ]
        .concat(),
    )
}
