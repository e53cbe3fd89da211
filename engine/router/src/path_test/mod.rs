//! `samctl test`: whom to try to reach, and what the outcome means. The trying itself is the runtime's.
//!
//! | file | owns |
//! |---|---|
//! | `sweep` | which packet size to try next |
//! | `findings` | what was found out about one node |
//! | `judgement` | findings and the state of the router, turned into checks |
//! | `matrix` | the tests of all routers in one |

mod findings;
mod judgement;
mod matrix;
mod sweep;

use std::net::Ipv4Addr;

use sam_capture::NodeId;

pub use findings::{Findings, Transfer};
pub use sweep::{Sweep, SweepResult};

use crate::Router;
use crate::peers::other_nodes;

/// TCP port at which a router answers the tests of the others, at its overlay address and through tunnels only.
pub const TEST_PORT: u16 = 5179;

/// A node to try to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestTarget {
    /// The node.
    pub node: NodeId,
    /// Its overlay address.
    pub overlay: Ipv4Addr,
    /// The MTU of the tunnel to it as computed, and lowered by what was learnt.
    pub mtu: u16,
    /// Whether longer packets are cut although they have DF set.
    pub cuts: bool,
}

impl Router {
    /// Lists the nodes to try, all others or one of them.
    #[must_use]
    pub fn test_targets(&self, only: Option<NodeId>) -> Vec<TestTarget> {
        let plans = self.tunnel_plans();
        let wanted =
            other_nodes(&self.config).filter(|node| only.is_none_or(|only| only == node.id));
        let target = |node: &crate::config::Node| {
            let plan = plans.get(&node.id)?;
            Some(TestTarget {
                node: node.id,
                overlay: node.overlay,
                mtu: plan.mtu,
                cuts: plan.force_fragment,
            })
        };
        wanted.filter_map(target).collect()
    }
}
