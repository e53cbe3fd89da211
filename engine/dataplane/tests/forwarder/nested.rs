//! GRE and GUE inside of WireGuard: the same packets arrive, nothing of it shows outside, and nothing else is taken.

use sam_dataplane::encap::{Framing, Gre, Gue, Nested, Payload};
use sam_dataplane::{Carrier, DropReason, Gso, Lane};

use crate::lab::*;
use crate::plain::GUE;

impl Lab {
    /// Puts a framing around everything that the two routers seal for each other.
    pub(crate) fn nest(&mut self, carrier: Carrier, framing: Framing) {
        let now = self.now;
        for (router, own, far) in [(&mut self.a, A, B), (&mut self.b, B, A)] {
            let nested = Nested {
                carrier,
                framing,
                own: own.overlay,
                far: far.overlay,
            };
            router.install(now, |snapshot| {
                snapshot.tunnels[0].nested = Some(nested);
                snapshot.tunnels[0].mtu = 1440 - nested.header();
            });
        }
    }

    pub(crate) fn nested(carrier: Carrier, framing: Framing) -> Self {
        let mut lab = Self::connected();
        lab.nest(carrier, framing);
        lab
    }
}

/// Every framing, and the bytes that it adds to an inner packet, with its own IPv4 header.
fn framings() -> [(Carrier, Framing, u16); 4] {
    let gre = |key, checksum| Framing::Gre(Gre { key, checksum });
    [
        (Carrier::GRE, gre(None, false), 24),
        (Carrier::GRE, gre(Some(7), true), 32),
        (GUE, Framing::Gue(Gue::Variant1), 28),
        (GUE, Framing::Gue(Gue::Variant0(Payload::Ipip)), 32),
    ]
}

#[test]
fn packets_cross_both_ways_with_the_ttl_of_two_hops() {
    for (carrier, framing, _) in framings() {
        let mut lab = Lab::nested(carrier, framing);
        lab.send_a(&udp(A.host, B.host, 64, b"hello"));
        lab.send_b(&udp(B.host, A.host, 64, b"hi"));
        let arrived = (lab.at_server()[0].0.clone(), lab.at_client()[0].0.clone());
        let expected = (
            udp(A.host, B.host, 62, b"hello"),
            udp(B.host, A.host, 62, b"hi"),
        );
        assert_eq!(arrived, expected, "{framing:?}");
        assert_eq!((lab.a.drops(), lab.b.drops()), (vec![], vec![]));
        lab.assert_no_buffer_is_lost();
    }
}

#[test]
fn a_superpacket_travels_as_one_train_of_full_packets_and_arrives_whole() {
    for (carrier, framing, header) in framings() {
        let mut lab = Lab::nested(carrier, framing);
        let size = 1440 - header - 40;
        let payload: Vec<u8> = (0..=250).cycle().take(40 * usize::from(size)).collect();
        let sent = partial(tcp(A.host, B.host, 1, &payload));

        lab.send_a_with(&sent, superpacket(size));

        let arrived = lab.at_server();
        assert_eq!(arrived.len(), 1, "{framing:?}");
        assert_eq!(arrived[0].1.gso, Gso::Tcp { size }, "{framing:?}");
        assert_eq!(arrived[0].0, edit(sent, |header| header[8] -= 2));
        let train = &lab.trains[0];
        assert_eq!((train.lane, train.segment), (Lane::WireGuard, 1440 + 32));
        assert_eq!(train.bytes.len(), 40 * (1440 + 32), "{framing:?}");
        lab.assert_no_buffer_is_lost();
    }
}

#[test]
fn congestion_marks_pass_through_both_headers() {
    for (carrier, framing, _) in framings() {
        let mut lab = Lab::nested(carrier, framing);
        lab.remark = Some(3);
        lab.send_a(&with_ecn(udp(A.host, B.host, 64, b"x"), 2));
        assert_eq!(lab.at_server()[0].0[1], 3, "{framing:?}");
        lab.send_a(&udp(A.host, B.host, 64, b"x"));
        assert_eq!(lab.b.drops(), [(DropReason::EcnCeNotEct, 1)], "{framing:?}");
    }
}

#[test]
fn what_the_far_router_itself_sends_needs_no_framing_and_what_it_forwards_does() {
    for (carrier, framing, _) in framings() {
        let mut lab = Lab::nested(carrier, framing);
        lab.b
            .install(lab.now, |snapshot| snapshot.tunnels[0].nested = None);
        let now = lab.now;
        lab.b.host_packet(&udp(B.overlay, A.overlay, 64, b"x"), now);
        lab.settle();
        assert_eq!(lab.a.counter("tun-tx-units"), 1, "{framing:?}");

        lab.b.host_packet(&udp(B.overlay, A.host, 64, b"x"), now);
        lab.send_b(&udp(B.host, A.host, 64, b"x"));
        assert_eq!(
            lab.a.drops(),
            [(DropReason::EncapMissing, 2)],
            "{framing:?}"
        );
        lab.assert_no_buffer_is_lost();
    }
}

#[test]
fn inner_sources_must_live_behind_the_tunnel() {
    for (carrier, framing, _) in framings() {
        let mut lab = Lab::nested(carrier, framing);
        lab.b.install(lab.now, |snapshot| {
            add_route(snapshot, silent(A), sam_dataplane::NextHop::Lan(LAN));
        });
        lab.send_b(&udp(silent(A), A.host, 64, b"x"));
        assert_eq!(
            lab.a.drops(),
            [(DropReason::SourceNotAllowed, 1)],
            "{framing:?}"
        );
    }
}
