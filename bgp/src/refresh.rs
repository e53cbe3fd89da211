//! Refreshes: everything told again, by a peer or to it (RFC 2918, RFC 7313).

use crate::config::PeerId;
use crate::policy::Policies;
use crate::session::RefreshStep;
use crate::speaker::Speaker;
use crate::wire::Family;

impl<P: Policies> Speaker<P> {
    /// Does what a ROUTE-REFRESH of a peer asks for, or notes what it says.
    pub(crate) fn on_refresh(&mut self, peer: PeerId, family: Family, step: RefreshStep) {
        let now = self.now;
        match (family, step) {
            (Family::Ipv4Unicast, RefreshStep::Asked) => self.tables.refresh(peer),
            (Family::Ipv4Unicast, RefreshStep::Begins) => self.tables.begin_refresh(peer, now),
            (Family::Ipv4Unicast, RefreshStep::Ends) => self.tables.end_refresh(peer, now),
            (Family::Ipv6Unicast, RefreshStep::Asked) => self.ipv6.refresh(peer),
            (Family::Ipv6Unicast, RefreshStep::Begins) => self.ipv6.begin_refresh(peer, now),
            (Family::Ipv6Unicast, RefreshStep::Ends) => self.ipv6.end_refresh(peer, now),
        }
    }
}
