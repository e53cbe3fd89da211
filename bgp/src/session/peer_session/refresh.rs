//! ROUTE-REFRESH in a session (RFC 2918, RFC 7313): asking, being asked, and where the peer begins and ends.

use std::time::Instant;

use super::super::fsm::{ConnectionEvent, ConnectionState};
use super::super::negotiated::Negotiated;
use super::super::occasion::Occasion;
use super::super::outbox::SessionOutput;
use super::super::refreshing::RefreshStep;
use super::PeerSession;
use crate::input::ConnectionId;
use crate::wire::{Family, Message, RouteRefresh};

impl PeerSession {
    /// Asks the peer for all its routes of a family, if it knows how.
    pub(crate) fn request_refresh(&mut self, family: Family) {
        let able = self.established().filter(|connection| {
            let agreed = connection.negotiated.as_ref();
            agreed.is_some_and(|agreed| agreed.route_refresh && agreed.speaks(family))
        });
        if let Some(id) = able.map(|connection| connection.id) {
            let request = RouteRefresh::of(family, RouteRefresh::REQUEST);
            self.send(id, &Message::RouteRefresh(request));
        }
    }

    /// Handles a ROUTE-REFRESH. Of a family that is not spoken and of a subtype that is not known it says nothing (RFC 7313
    /// section 5), nor do marks that were not agreed on.
    pub(super) fn handle_refresh(&mut self, id: ConnectionId, refresh: RouteRefresh, now: Instant) {
        let occasion = Occasion::plain(ConnectionEvent::RouteRefresh, "unexpected ROUTE-REFRESH");
        let state = self.step(id, occasion, now);
        let connection = self.connection_mut(id);
        let (Some(ConnectionState::Established), Some(connection)) = (state, connection) else {
            return;
        };
        let family = Family::from_wire(refresh.afi, refresh.safi);
        let agreed = connection.negotiated.as_ref();
        let speaks = |family: &Family| agreed.is_some_and(|agreed| agreed.speaks(*family));
        let Some(family) = family.filter(speaks) else {
            return;
        };
        let enhanced = agreed.is_some_and(|agreed: &Negotiated| agreed.enhanced_refresh);
        let step = match refresh.subtype {
            RouteRefresh::REQUEST => {
                connection.refreshing.ask(family, now);
                self.refresh(now);
                return;
            }
            RouteRefresh::BEGIN if enhanced => RefreshStep::Begins,
            RouteRefresh::END if enhanced => RefreshStep::Ends,
            _ => return,
        };
        self.outbox.push(SessionOutput::Refresh(family, step));
    }

    /// Has everything sent again if the peer asked for it and its time has come.
    pub(super) fn refresh(&mut self, now: Instant) {
        for connection in &mut self.connections {
            while let Some(family) = connection.refreshing.take_due(now) {
                let asked = SessionOutput::Refresh(family, RefreshStep::Asked);
                self.outbox.push(asked);
            }
        }
    }
}
