//! `samctl discovery`

use sam_router::facts::CounterFacts;
use sam_router::view::{DiscoveryConfigured, DiscoveryView, HomeRow, MachineRow, SightingRow};

use super::{Page, Text, ago, optional};

impl Text for DiscoveryView {
    fn write(&self, page: &mut Page) {
        if let Some(machines) = &self.machines {
            let rows = machines.iter().map(machine).collect();
            let header = ["ADDRESS", "INTERFACE", "CLAIM", "SINCE", "LISTED"];
            page.title("Machines that the provider lists");
            return page.table(header, rows, "none was listed");
        }
        let Some(configured) = &self.configured else {
            return page.line("off: addresses are owned by configuration and order only");
        };
        let gate = if self.gate_open { "open" } else { "closed" };
        let heard = match self.heard_s {
            Some(heard) => ago(heard),
            None => "nobody yet".to_owned(),
        };
        page.pairs(&[
            ("LAN", optional(self.interface.as_ref())),
            ("gate", format!("{gate} ({})", self.gate_reason)),
            ("rules", rules(configured)),
            ("last heard", heard),
        ]);
        page.title("Hosts that live here");
        let rows = self.homes.iter().map(row).collect();
        let header = ["ADDRESS", "MAC", "STATE", "CLAIM", "SINCE", "SEEN"];
        page.table(header, rows, "none was heard");
        for (title, rows) in [
            ("Other MACs that use the address of a host", &self.disputes),
            ("MACs that have taken the address of a host", &self.changes),
        ] {
            if rows.is_empty() {
                continue;
            }
            page.title(title);
            let row = |row: &SightingRow| {
                let (count, last) = (row.count.to_string(), ago(row.last_s));
                [row.address.to_string(), row.mac.clone(), count, last]
            };
            let rows = rows.iter().map(row).collect();
            page.table(["ADDRESS", "MAC", "COUNT", "LAST"], rows, "");
        }
        if !self.counters.is_empty() {
            page.title("Counts");
            let row = |counter: &CounterFacts| {
                let count = counter.value.to_string();
                [counter.name.clone(), count, counter.text.clone()]
            };
            let rows = self.counters.iter().map(row).collect();
            page.table(["NAME", "COUNT", "MEANING"], rows, "");
        }
    }
}

fn rules(configured: &DiscoveryConfigured) -> String {
    let sweep = match configured.sweep {
        0 => "no sweep".to_owned(),
        per_second => format!("sweep of {per_second} addresses per second"),
    };
    format!(
        "a host is kept for {} of silence; {sweep}; {} addresses per MAC; {} bindings",
        ago(configured.expiry_s),
        configured.per_mac,
        configured.bindings
    )
}

fn machine(machine: &MachineRow) -> [String; 5] {
    [
        machine.address.to_string(),
        machine.nic.clone(),
        optional(machine.claim.as_ref()),
        ago(machine.since_s),
        ago(machine.seen_s),
    ]
}

fn row(home: &HomeRow) -> [String; 6] {
    [
        home.address.to_string(),
        home.mac.clone(),
        home.state.clone(),
        optional(home.claim.as_ref()),
        ago(home.since_s),
        ago(home.seen_s),
    ]
}
