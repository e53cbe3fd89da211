//! `samctl counters`

use sam_router::view::CountersView;

use super::{Page, Text, node};

impl Text for CountersView {
    fn write(&self, page: &mut Page) {
        page.title("Packet workers");
        let rows = self.workers.iter().map(|worker| {
            let number = worker.worker.to_string();
            let (free, all) = (worker.buffers_free, worker.buffers);
            [
                number,
                worker.lan_rx_units.to_string(),
                worker.tun_rx_units.to_string(),
                worker.tunnel_rx_packets.to_string(),
                format!("{free} of {all}"),
            ]
        });
        page.table(
            [
                "WORKER",
                "FROM LAN",
                "FROM HOST",
                "FROM TUNNELS",
                "BUFFERS FREE",
            ],
            rows.collect(),
            "none answered in time",
        );
        page.title("Counters");
        let rows = self.counters.iter().map(|counter| {
            [
                counter.name.clone(),
                counter.value.to_string(),
                counter.text.clone(),
            ]
        });
        page.table(["NAME", "VALUE", "MEANING"], rows.collect(), "none");

        let seen: Vec<_> = self.drops.iter().filter(|drop| drop.total > 0).collect();
        page.title("Drops (packets)");
        let rows = seen.iter().map(|drop| {
            let (total, minute) = (drop.total.to_string(), drop.last_minute.to_string());
            [drop.reason.clone(), total, minute, drop.text.clone()]
        });
        let none = "none";
        page.table(
            ["REASON", "TOTAL", "LAST MINUTE", "MEANING"],
            rows.collect(),
            none,
        );
        let silent = self.drops.len() - seen.len();
        if silent > 0 {
            page.line(format!(
                "reasons that have not occurred: {silent} (see -o json)"
            ));
        }

        page.title("Refused routes");
        let rows = self.rejections.iter().map(|rejection| {
            [
                node(&rejection.node),
                rejection.reason.clone(),
                rejection.count.to_string(),
            ]
        });
        page.table(["PEER", "REASON", "ROUTES"], rows.collect(), "none");
        page.title("Events");
        page.line(format!(
            "{} repetitions held back, {} lost",
            self.events_suppressed, self.events_lost
        ));
    }
}
