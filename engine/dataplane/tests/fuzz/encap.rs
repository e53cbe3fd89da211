//! Arbitrary tunnel packets: each framing refuses them or finds an inner packet at their end, which it writes back.

use sam_dataplane::encap::nested::Content;
use sam_dataplane::encap::{Framing, Gre, Gue, Nested, Payload, Vxlan};
use sam_dataplane::merged::{offload_of, offload_on_link};
use sam_dataplane::{Carrier, Gso, Offload};

pub(crate) fn check(data: &[u8]) {
    let Some((&[kind, value, high, low], packet)) = data.split_first_chunk() else {
        return;
    };
    let framing = framing(kind, value);
    if let Ok(inner) = framing.parse(packet) {
        assert!(packet.ends_with(inner));
        let mut again = [&vec![0; framing.header()][..], inner].concat();
        mirrored(framing).write(&mut again);
        // What follows GUE of variant 1 directly must be an IP packet, or it is another variant.
        let is_ip = inner.first().is_some_and(|first| first >> 6 == 1);
        if is_ip || framing != Framing::Gue(Gue::Variant1) {
            assert_eq!(framing.parse(&again), Ok(inner), "{framing:?}");
        }
    }
    let tunnel = Nested {
        carrier: match framing {
            Framing::Gue(_) => Carrier::Udp { port: 6080 },
            Framing::Ipip | Framing::Gre(_) | Framing::Fou(_) | Framing::Vxlan(_) => Carrier::GRE,
        },
        framing,
        own: [10, 99, 0, 1].into(),
        far: [10, 99, 0, 2].into(),
    };
    if let Ok(Content::Framed { inner, .. }) = tunnel.parse(packet) {
        assert!(inner.start <= inner.end && inner.end <= packet.len());
    }
    let mtu = u16::from_be_bytes([high, low]);
    let Offload { gso, .. } = offload_of(packet, mtu);
    if let Gso::Tcp { size } = gso {
        assert!(size < mtu && usize::from(mtu) < packet.len());
    }
    if let Some(Offload {
        gso: Gso::Tcp { .. },
        ..
    }) = offload_on_link(packet, mtu.into())
    {
        assert!(usize::from(mtu) < packet.len());
    }
}

fn framing(kind: u8, value: u8) -> Framing {
    let key = (value & 1 != 0).then_some(u32::from(value));
    match kind % 8 {
        0 => Framing::Ipip,
        1 => Framing::Gre(Gre {
            key,
            checksum: value & 2 != 0,
        }),
        2 => Framing::Fou(Payload::Ipip),
        3 => Framing::Fou(Payload::Gre),
        4 => Framing::Gue(Gue::Variant0(Payload::Ipip)),
        5 => Framing::Gue(Gue::Variant0(Payload::Gre)),
        6 => Framing::Gue(Gue::Variant1),
        _ => Framing::Vxlan(Vxlan {
            vni: value.into(),
            from: [0; 6],
            to: [2, 0, 0, 0, 0, value],
        }),
    }
}

/// The framing of the far end.
fn mirrored(framing: Framing) -> Framing {
    if let Framing::Vxlan(Vxlan { vni, from, to }) = framing {
        Framing::Vxlan(Vxlan {
            vni,
            from: to,
            to: from,
        })
    } else {
        framing
    }
}
