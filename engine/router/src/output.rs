//! The complete list of what comes out of the [`crate::Router`].

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use sam_capture::executor::Order;
use sam_capture::{Authority, Record};
use sam_dataplane::{FabricQuestion, LanQuestion, PathProbe, Snapshot};

use crate::config::BfdTiming;
use crate::events::Event;
use crate::foreign::Foreign;
use crate::journal::RuntimeState;
use crate::lan_role::VrrpPlan;

/// One thing to do.
#[derive(Debug)]
pub enum Output {
    /// Save, before anything that follows is done.
    Journal(RuntimeState),
    /// Publish to the packet path.
    Publish(Arc<Snapshot>),
    /// Make the WireGuard peers exactly these.
    WireGuardPeers(Vec<sam_wg::PeerConfig>),
    /// Make the BFD sessions exactly these, by address of the peer.
    BfdPeers(BTreeMap<Ipv4Addr, BfdTiming>),
    /// Listen for these BGP neighbors outside of the fabric and no others, and connect to them on their terms.
    Foreign(Foreign),
    /// Take part in this election on the LAN, in no other.
    Vrrp(Option<VrrpPlan>),
    /// An order for a BGP connection: connect, send or close.
    Bgp(BgpOrder),
    /// Send a probe of a tunnel's size.
    Probe(PathProbe),
    /// This may be done at the provider of the cloud from now on, and nothing else.
    Authority(Authority),
    /// Write into the journal of captures, before anything that follows is done.
    CaptureRecord(Record),
    /// Call the provider of the cloud.
    Cloud(Order),
    /// Ask a LAN who has an address.
    AskLan(LanQuestion),
    /// Ask another router whether an address lives with it.
    AskFabric(FabricQuestion),
    /// Tell operators.
    Event(Event),
}

/// An order for a BGP connection.
#[derive(Debug)]
pub enum BgpOrder {
    /// Open a TCP connection to port 179: of a foreign neighbor on its terms, of a node bound to our overlay address.
    Connect {
        /// Its id.
        connection: sam_bgp::ConnectionId,
        /// Where to.
        address: Ipv4Addr,
    },
    /// Write bytes.
    Send(sam_bgp::ConnectionId, Vec<u8>),
    /// Close after the bytes sent so far.
    Close(sam_bgp::ConnectionId),
}
