//! When a router may act on its LAN, as it is written: `single-router`, or the settings of an election.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::finding::Findings;
use super::node::{Node, Value};
use super::read::{At, Field, Fields, Read, mapping};

mapping! {
    /// The election among the routers of one LAN.
    Vrrp {
        /// Number of the virtual router.
        "vrid" => vrid: u16,
        /// The address that moves with the master.
        "address" => address: Ipv4Addr,
        /// Priority.
        "priority" => priority: u16,
        /// Interval of advertisements.
        "interval" => interval: Duration,
        /// Whether a backup takes over from a master of lower priority.
        "preempt" => preempt: bool,
        /// Addresses of the other routers; multicast without.
        "peers" => peers: Vec<At<Ipv4Addr>>,
        /// Addresses of routers of other makes that take part by multicast.
        "routers" => routers: Vec<At<Ipv4Addr>>,
        /// Version of the protocol.
        "version" => version: u16,
        /// Penalties.
        "track" => track: Track,
    }
}

mapping! {
    /// What is taken from the priority while something does not work.
    Track {
        /// No BGP session is up.
        "bgp" => bgp: u16,
        /// No tunnel to another site is up.
        "tunnels" => tunnels: u16,
        /// A thread of this router stands still.
        "engine" => engine: u16,
    }
}

mapping! {
    /// A gate with settings.
    Gate {
        /// The election among the routers of one LAN.
        "vrrp" => vrrp: Vrrp,
    }
}

/// When this router may answer.
#[derive(Debug, Clone)]
pub(crate) enum ActiveWhen {
    /// Always.
    SingleRouter,
    /// While it is the master.
    Vrrp(Box<At<Vrrp>>),
}

impl Read for ActiveWhen {
    fn read(node: &Node, key: &str, findings: &mut Findings) -> Option<Self> {
        match &node.value {
            Value::Text(text) if text == "single-router" => Some(Self::SingleRouter),
            Value::Map(_) => {
                let gate = Gate::read(node, key, findings)?;
                let help = "write `{vrrp: {vrid: 60, address: 10.77.60.254}}`";
                let vrrp = gate.vrrp.required("vrrp", node.span, help, findings)?;
                Some(Self::Vrrp(Box::new(vrrp.clone())))
            }
            Value::Empty | Value::Text(_) | Value::List(_) => {
                let found = node.value.describe();
                findings
                    .error(
                        node.span,
                        format!(
                            "`{key}` must be `single-router` or `{{vrrp: {{...}}}}`, not {found}"
                        ),
                    )
                    .help("for example `{vrrp: {vrid: 60, address: 10.77.60.254}}`");
                None
            }
        }
    }
}
