//! Packets that came, with what the packet path said: each verdict is shown as it was said, at the stage that it is of.

use sam_dataplane::decision::Way;
use sam_dataplane::trace::{TapPoint, TapRecord};
use sam_dataplane::{DropReason, Gso, TunnelId, Verdict};

use super::packet;
use super::tests::{facts, names, net, ping};
use crate::fixture::address;
use crate::testnet::Net;
use crate::view::{LiveTraceView, StageResult, TraceProtocol, TraceQuery};
use crate::{LAN_PORT, TUN_PORT};

const TO_TUNNEL: Verdict = Verdict::Forwarded(Way::Tunnel {
    tunnel: TunnelId(0),
    mtu: 1440,
});
const TO_LAN: Verdict = Verdict::Forwarded(Way::Lan {
    port: LAN_PORT,
    mtu: 1500,
});
const FROM_TUNNEL: TapPoint = TapPoint::Inner(TunnelId(0));
const FROM_LAN: TapPoint = TapPoint::Lan(LAN_PORT);

/// A record of the first bytes of a packet.
fn record(point: TapPoint, query: &TraceQuery, verdict: Verdict) -> TapRecord {
    let at = net().now;
    let packet = packet::write(query).unwrap();
    let bytes = match point {
        TapPoint::Lan(_) => [&[0; 14][..], &packet].concat(),
        TapPoint::Tun | TapPoint::Inner(_) | TapPoint::Outer | TapPoint::Dropped => packet,
    };
    TapRecord {
        point,
        outbound: false,
        at,
        length: bytes.len(),
        data: bytes[..bytes.len().min(134)].into(),
        gso: Gso::None,
        remote: None,
        tunnel: None,
        verdict: Some(verdict),
    }
}

fn trace(net: &Net, record: &TapRecord) -> Option<LiveTraceView> {
    let router = &net.stations[&1].router;
    router.trace_live(record, 1.5, &facts(), net.now)
}

#[test]
fn each_verdict_is_shown_at_its_stage() {
    let net = net();
    let (out, back) = (
        ping(address(11), address(10)),
        ping(address(10), address(11)),
    );
    let withheld = ping(address(11), address(99));
    let dropped = Verdict::Dropped;
    for (point, query, said, outcome, reason, last) in [
        (
            FROM_LAN,
            &out,
            TO_TUNNEL,
            "forwarded",
            None,
            "encapsulation",
        ),
        (FROM_TUNNEL, &back, TO_LAN, "forwarded", None, "neighbor"),
        (
            FROM_TUNNEL,
            &back,
            Verdict::Waits(DropReason::NeighborFailed),
            "waits",
            Some("neighbor-failed"),
            "neighbor",
        ),
        (
            FROM_LAN,
            &out,
            Verdict::Waits(DropReason::TunnelNoSession),
            "waits",
            Some("tunnel-no-session"),
            "encapsulation",
        ),
        (
            FROM_LAN,
            &withheld,
            dropped(DropReason::PoolWithheld),
            "dropped",
            Some("pool-withheld"),
            "route",
        ),
        (
            FROM_LAN,
            &out,
            dropped(DropReason::TxQueueFull),
            "dropped",
            Some("tx-queue-full"),
            "encapsulation",
        ),
        (
            TapPoint::Dropped,
            &back,
            dropped(DropReason::NeighborFailed),
            "dropped",
            Some("neighbor-failed"),
            "neighbor",
        ),
        (
            FROM_LAN,
            &out,
            dropped(DropReason::FrameNotForUs),
            "dropped",
            Some("frame-not-for-us"),
            "filter",
        ),
    ] {
        let view = trace(&net, &record(point, query, said)).unwrap();

        assert_eq!(view.verdict.outcome.name(), outcome, "{said:?}: {view:#?}");
        assert_eq!(view.verdict.reason.as_deref(), reason, "{said:?}");
        let decisive = view.stages.iter().rfind(|stage| stage.name != "icmp");
        let decisive = decisive.unwrap();
        assert_eq!(decisive.name, last, "{said:?}: {view:#?}");
        let is_drop = decisive.result == StageResult::Drop;
        assert_eq!(is_drop, outcome == "dropped", "{said:?}");
    }
}

#[test]
fn the_stages_are_those_of_a_packet_on_paper_but_for_what_precedes_the_engine() {
    let net = net();
    let query = TraceQuery {
        protocol: TraceProtocol::Tcp,
        port: Some(22),
        ..ping(address(11), address(10))
    };
    let live = trace(&net, &record(FROM_LAN, &query, TO_TUNNEL)).unwrap();

    let paper = super::tests::trace(&net, &query);
    let expected: Vec<&str> = names(&paper.stages)
        .into_iter()
        .filter(|name| !matches!(*name, "arp" | "filter"))
        .collect();
    assert_eq!(names(&live.stages), expected);
    assert_eq!(
        (live.from, live.to, live.length),
        (address(11), address(10), 84)
    );
    assert_eq!((live.what.as_str(), live.time), ("tcp port 0 to 22", 1.5));
}

#[test]
fn a_superpacket_is_measured_by_its_wire_packets() {
    let net = net();
    let query = TraceQuery {
        protocol: TraceProtocol::Tcp,
        size: 60_000,
        ..ping(address(11), address(10))
    };
    let mut superpacket = record(FROM_LAN, &query, TO_TUNNEL);
    superpacket.gso = Gso::Tcp { size: 1400 };

    let view = trace(&net, &superpacket).unwrap();

    assert!(!names(&view.stages).contains(&"fragments"), "{view:#?}");
    let text = |name: &str| {
        let stage = view.stages.iter().find(|stage| stage.name == name);
        &stage.unwrap().text
    };
    assert!(text("packet").contains("60000 bytes in wire packets of at most 1440"));
    assert!(text("mtu").starts_with("1440 bytes;"), "{}", text("mtu"));
    assert_eq!(view.length, 60_000);
}

#[test]
fn a_change_since_then_is_said() {
    let net = net();
    let nobodys = ping(address(11), address(99));
    let view = trace(&net, &record(FROM_LAN, &nobodys, TO_TUNNEL)).unwrap();

    assert_eq!(view.verdict.outcome.name(), "forwarded");
    let note = view.stages.last().unwrap();
    assert!(note.text.contains("has changed since"), "{note:?}");
}

#[test]
fn what_is_broken_is_dropped_at_the_packet_and_what_is_no_packet_is_not_shown() {
    let net = net();
    let query = ping(address(11), address(10));
    let reason = DropReason::IpChecksum;
    let mut broken = record(FROM_LAN, &query, Verdict::Dropped(reason));
    broken.data[14 + 10] ^= 1;
    let view = trace(&net, &broken).unwrap();
    assert_eq!(names(&view.stages), ["entrance", "packet"]);
    assert_eq!(view.verdict.reason.as_deref(), Some("ip-checksum"));

    for (point, verdict) in [
        (TapPoint::Outer, Verdict::Keepalive),
        (FROM_LAN, Verdict::Arp { answered: true }),
        (TapPoint::Tun, Verdict::Handshake),
    ] {
        assert_eq!(trace(&net, &record(point, &query, verdict)), None);
    }
    let mut unsaid = record(FROM_LAN, &query, TO_TUNNEL);
    unsaid.verdict = None;
    assert_eq!(trace(&net, &unsaid), None);
    for length in [0, 13, 14, 33] {
        let mut short = record(FROM_LAN, &query, Verdict::Dropped(reason));
        (short.data, short.length) = (short.data[..length].into(), length);
        assert_eq!(trace(&net, &short), None, "{length} bytes");
    }
    let host = record(
        TapPoint::Tun,
        &query,
        Verdict::Dropped(DropReason::ForwardedByKernel),
    );
    let view = trace(&net, &host).unwrap();
    assert!(view.stages[0].text.starts_with("this host"), "{view:#?}");
    assert_ne!(LAN_PORT, TUN_PORT);
}
