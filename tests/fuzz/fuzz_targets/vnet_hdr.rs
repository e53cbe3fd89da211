//! What the kernel says beside a packet: no header makes the reader panic, and what is read can be written again with
//! the same meaning, or is refused by name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sam_net::LinkType;
use sam_net::vnet_hdr::{LEN, decode, encode};

fuzz_target!(|data: &[u8]| {
    let Some((header, packet)) = data.split_first_chunk::<LEN>() else {
        return;
    };
    let Ok(offload) = decode(*header, packet.len()) else {
        return;
    };
    for link in [LinkType::Ethernet, LinkType::Ip] {
        if let Ok(written) = encode(offload, packet, link) {
            assert_eq!(decode(written, packet.len()), Ok(offload));
        }
    }
});
