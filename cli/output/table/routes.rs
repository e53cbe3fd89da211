//! `samctl routes`

use sam_router::view::{RouteAction, RouteOrigin, RouteRow, RoutesView};

use super::{Page, Text, optional, optional_node};

impl Text for RoutesView {
    fn write(&self, page: &mut Page) {
        page.line(format!("generation {}", self.generation));
        let rows = self.routes.iter().map(row).collect();
        let header = [
            "PREFIX",
            "ACTION",
            "INTERFACE",
            "NODE",
            "TUNNEL",
            "MTU (bytes)",
            "BECAUSE",
        ];
        page.table(header, rows, "no routes");
    }
}

fn row(route: &RouteRow) -> [String; 7] {
    [
        route.prefix.to_string(),
        action(route.action).into(),
        optional(route.interface.as_ref()),
        optional_node(route.node.as_ref()),
        optional(route.tunnel),
        optional(route.mtu),
        origin(route.origin).into(),
    ]
}

fn action(action: RouteAction) -> &'static str {
    match action {
        RouteAction::Local => "local",
        RouteAction::Lan => "lan",
        RouteAction::Tunnel => "tunnel",
        RouteAction::Withhold => "withhold",
        RouteAction::Unreachable => "unreachable",
        RouteAction::Blackhole => "blackhole",
    }
}

fn origin(origin: RouteOrigin) -> &'static str {
    match origin {
        RouteOrigin::Pool => "pool",
        RouteOrigin::Owned => "owned here",
        RouteOrigin::Bgp => "bgp",
        RouteOrigin::OwnOverlay => "own overlay",
        RouteOrigin::Overlay => "overlay",
        RouteOrigin::LanAddress => "own address on the lan",
    }
}
