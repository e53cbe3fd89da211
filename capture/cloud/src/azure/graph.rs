//! Which machines of the resource group run, by Resource Graph: one query for all of them, under the permission to read
//! machines that the identity has anyway. Of those that it may not read nothing is said. What Resource Graph says may be
//! a minute old.

use std::collections::BTreeMap;

use sam_capture::provider::{ErrorClass, ProviderError};
use serde_json::{Value, json};

use super::identity::Identity;
use super::{Azure, GRAPH_API};
use crate::http::error;

/// Rows of a page at most, as Resource Graph has it.
const PAGE: usize = 1000;

/// Pages of one answer at most.
const MAX_PAGES: usize = 50;

impl Azure {
    /// Asks whether the machines of the resource group run, and takes it in.
    ///
    /// # Errors
    /// When nobody says, or has said lately.
    pub(super) fn follow_machines(&mut self, identity: &Identity) -> Result<(), ProviderError> {
        let told = self.ask_running(identity);
        self.machines.follow(told, self.arm.client().now())
    }

    /// Tells whether a machine runs, if that is known. Case does not count in its id.
    pub(super) fn runs(&self, machine: &str) -> Option<bool> {
        self.machines.runs(&machine.to_lowercase())
    }

    fn ask_running(
        &mut self,
        identity: &Identity,
    ) -> Result<BTreeMap<String, bool>, ProviderError> {
        let path = format!("/providers/Microsoft.ResourceGraph/resources?api-version={GRAPH_API}");
        let mut body = json!({
            "subscriptions": [identity.subscription],
            "query": query(&identity.group),
            "options": { "resultFormat": "objectArray", "$top": PAGE },
        });
        let mut running = BTreeMap::new();
        for _ in 0..MAX_PAGES {
            let answer = self.arm.query(&path, &body)?;
            let rows = answer["data"].as_array().ok_or_else(|| {
                let message = "what Resource Graph answered cannot be read";
                error(ErrorClass::Unavailable, "Illegible", message)
            })?;
            running.extend(rows.iter().filter_map(machine));
            match answer["$skipToken"].as_str() {
                None | Some("") => return Ok(running),
                Some(token) => body["options"]["$skipToken"] = json!(token),
            }
        }
        let message = "the list of machines has no end";
        Err(error(ErrorClass::Unavailable, "TooMuch", message))
    }
}

/// The query; the name of a resource group has no quotes.
fn query(group: &str) -> String {
    let group = group.replace(['\'', '\\'], "");
    format!(
        "Resources | where type =~ 'microsoft.compute/virtualmachines' | where resourceGroup =~ '{group}' \
         | project id, state = tostring(properties.extended.instanceView.powerState.code) | order by id asc"
    )
}

/// Reads a row. A state that nobody knows says nothing.
fn machine(row: &Value) -> Option<(String, bool)> {
    let id = row["id"].as_str()?.to_lowercase();
    let runs = match row["state"].as_str()? {
        "PowerState/running" | "PowerState/starting" => true,
        "PowerState/stopping"
        | "PowerState/stopped"
        | "PowerState/deallocating"
        | "PowerState/deallocated" => false,
        _ => return None,
    };
    Some((id, runs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_nobody_knows_says_nothing() {
        let row = |state: &str| machine(&json!({"id": "/X", "state": state}));
        assert_eq!(row("PowerState/running"), Some(("/x".into(), true)));
        assert_eq!(row("PowerState/deallocated"), Some(("/x".into(), false)));
        assert_eq!(row("PowerState/hibernating"), None);
        assert_eq!(row(""), None);
        assert_eq!(machine(&json!({"state": "PowerState/running"})), None);
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_the_query() {
        let query = query("rg' or 1 == 1 or '");
        assert_eq!(query.matches('\'').count(), 4, "{query}");
    }
}
