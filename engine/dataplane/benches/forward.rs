//! A batch through one forwarder, from LAN frames to sealed trains, in the lab of the tests.

#![expect(clippy::unwrap_used, reason = "the lab is that of the tests")]

#[path = "../tests/forwarder/lab.rs"]
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
mod lab;

use criterion::{Criterion, Throughput};
use lab::{A, B, LAN, Lab, frame, superpacket, tcp, udp};
use sam_dataplane::{Egress, Offload};

fn forwards(criterion: &mut Criterion) {
    let small = udp(A.host, B.host, 64, &[1; 64]);
    let long = tcp(A.host, B.host, 1, &[2; 45 * 1380]);
    let mut group = criterion.benchmark_group("forward");
    for (name, count, ip, offload) in [
        ("64 datagrams of 64 bytes", 64, small, Offload::default()),
        ("one superpacket of 45", 1, long, superpacket(1380)),
    ] {
        let Lab { mut a, now, .. } = Lab::connected();
        let bytes = frame(A.router_mac, A.host_mac, &ip);
        group.throughput(Throughput::Bytes(count * ip.len() as u64));
        group.bench_function(name, |run| {
            run.iter(|| {
                for _ in 0..count {
                    let unit = a.unit(&bytes, offload);
                    a.with(|forwarder, io| forwarder.handle_frame(LAN, unit, io, now));
                }
                a.flush(now);
                let mut trains = 0;
                while let Some(egress) = a.tx.pop() {
                    if let Egress::Train { buffer, .. } = egress {
                        trains += 1;
                        a.pool.give(buffer);
                    }
                }
                assert!(trains > 0);
            });
        });
        assert_eq!(a.drops(), vec![]);
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    forwards(&mut criterion);
    criterion.final_summary();
}
