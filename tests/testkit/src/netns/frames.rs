//! Hand-made IPv4 packets, put on a host's wire beside its kernel.

use sam_dataplane::Buffer;
use sam_dataplane::unit::Unit;
use sam_net::{Namespace, PacketSocket};

use crate::packet::{IPV4, Mac, frame};

/// Sends packets by an interface to the host or router with MAC address `to`, in order.
///
/// # Panics
/// When the interface cannot be opened or refuses one of them.
pub fn send_ipv4<'a>(
    host: &Namespace,
    interface: &str,
    to: Mac,
    packets: impl Iterator<Item = &'a [u8]> + Send,
) {
    let work = || {
        let mut socket = PacketSocket::open(interface, None).expect("a packet socket opens");
        for packet in packets {
            let mut buffer = Buffer::new();
            let fits = buffer.append(&frame(to, socket.mac(), IPV4, packet));
            assert!(fits, "longer than a buffer");
            let mut failures = Vec::new();
            socket.send_batch(&[Unit::plain(buffer)], &mut failures);
            assert!(failures.is_empty(), "a packet is sent: {failures:?}");
        }
    };
    host.enter(work).expect("the host can be entered");
}
