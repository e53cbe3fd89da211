//! `samctl tunnels`

use sam_router::view::{TunnelRow, TunnelsView};

use super::{Page, Text, node, optional, optional_ago};

impl Text for TunnelsView {
    fn write(&self, page: &mut Page) {
        page.line(format!("listening on udp port {}", self.listen_port));
        let rows = self.tunnels.iter().map(row).collect();
        let header = [
            "TUNNEL",
            "NODE",
            "OVERLAY",
            "ENCAP",
            "STATE",
            "ENDPOINT",
            "HANDSHAKE",
            "HEARD",
            "RX (packets)",
            "RX (bytes)",
            "TX (packets)",
            "TX (bytes)",
            "MTU (bytes)",
            "PSK",
        ];
        page.table(header, rows, "no tunnels");
        let waiting = self
            .tunnels
            .iter()
            .filter(|tunnel| !tunnel.up && tunnel.attempts > 0);
        for tunnel in waiting {
            let (name, attempts) = (node(&tunnel.node), tunnel.attempts);
            page.line(format!(
                "{name} has not answered {attempts} handshake initiations"
            ));
        }
        for tunnel in &self.tunnels {
            if let Some(said) = tunnel.complaint() {
                let (text, count) = (said.text(&node(&tunnel.node)), said.count);
                page.line(format!("{text} ({count} times)"));
            }
            for text in [tunnel.fault_text(), tunnel.path_mtu_text()]
                .into_iter()
                .flatten()
            {
                page.line(format!("{}: {text}", node(&tunnel.node)));
            }
        }
        for conflict in &self.identity_conflicts {
            page.line(format!(
                "two routers seem to run as {}: {} alternated {} times",
                node(&conflict.node),
                conflict.evidence,
                conflict.count
            ));
        }
    }
}

fn state(tunnel: &TunnelRow) -> &'static str {
    match (&tunnel.fault, tunnel.up) {
        (Some(_), _) => "refused",
        (None, true) => "up",
        (None, false) => "down",
    }
}

fn row(tunnel: &TunnelRow) -> [String; 14] {
    let endpoint = match (&tunnel.endpoint, &tunnel.configured_endpoint) {
        (Some(address), _) => address.to_string(),
        (None, Some(name)) => format!("{name} (unresolved)"),
        (None, None) => "-".into(),
    };
    [
        tunnel.tunnel.to_string(),
        node(&tunnel.node),
        tunnel.overlay.to_string(),
        tunnel.encap.clone(),
        state(tunnel).into(),
        endpoint,
        optional_ago(tunnel.last_handshake_s),
        optional_ago(tunnel.last_received_s),
        tunnel.rx_packets.to_string(),
        tunnel.rx_bytes.to_string(),
        tunnel.tx_packets.to_string(),
        tunnel.tx_bytes.to_string(),
        tunnel.mtu_sum(),
        optional(tunnel.preshared_key.then_some("yes")),
    ]
}
