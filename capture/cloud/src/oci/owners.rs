//! Whose the VNICs of our subnet are, and whether those machines run. A VNIC is one instance's as long as it exists, so
//! that it is asked for once whose it is, and then only what the instances do.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use sam_capture::provider::ProviderError;

use super::Oci;
use super::identity::Identity;
use super::shapes::VnicAttachment;

/// Whose the VNICs of our subnet are.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// Instances by VNIC; none where no attachment tells: in another compartment, or while it is being attached.
    instances: BTreeMap<String, Option<String>>,
    asked: Option<DateTime<Utc>>,
}

/// When it is asked again whose a VNIC is that nobody seems to have.
const ASK_AGAIN: TimeDelta = TimeDelta::minutes(30);

impl Owners {
    /// Tells whether it must be asked whose these VNICs are.
    fn is_due(&self, vnics: &BTreeSet<&str>, now: DateTime<Utc>) -> bool {
        let rested = self.asked.is_none_or(|asked| now - asked >= ASK_AGAIN);
        vnics.iter().any(|vnic| match self.instances.get(*vnic) {
            None => true,
            Some(None) => rested,
            Some(Some(_)) => false,
        })
    }

    fn learn(
        &mut self,
        vnics: &BTreeSet<&str>,
        attachments: Vec<VnicAttachment>,
        now: DateTime<Utc>,
    ) {
        let attached = attachments.into_iter().filter(VnicAttachment::stands);
        let attached = attached.filter_map(|known| Some((known.vnic_id?, known.instance_id)));
        let mut attached: BTreeMap<String, String> = attached.collect();
        let vnics = vnics.iter();
        let instances = vnics.map(|vnic| ((*vnic).to_owned(), attached.remove(*vnic)));
        self.instances = instances.collect();
        self.asked = Some(now);
    }
}

impl Oci {
    /// Asks whether the machines run that have these VNICs.
    ///
    /// # Errors
    /// When nobody says, or has said lately.
    pub(super) fn follow_machines(
        &mut self,
        identity: &Identity,
        vnics: &BTreeSet<&str>,
    ) -> Result<(), ProviderError> {
        let told = self.ask_running(identity, vnics);
        self.machines.follow(told, self.api.client().now())
    }

    /// Tells whether the machine that has a VNIC runs, if that is known.
    pub(super) fn runs(&self, vnic: &str) -> Option<bool> {
        let instance = self.owners.instances.get(vnic)?.as_ref()?;
        self.machines.runs(instance)
    }

    fn ask_running(
        &mut self,
        identity: &Identity,
        vnics: &BTreeSet<&str>,
    ) -> Result<BTreeMap<String, bool>, ProviderError> {
        let now = self.api.client().now();
        if self.owners.is_due(vnics, now) {
            let attachments = self.api.vnic_attachments(identity)?;
            self.owners.learn(vnics, attachments, now);
        }
        let instances = self.api.instances(identity)?.into_iter();
        let runs = instances.map(|instance| {
            let runs = instance.runs();
            (instance.id, runs)
        });
        Ok(runs.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_a_vnic_is_is_asked_once_and_again_after_a_while_where_nobody_has_it() {
        let start = DateTime::UNIX_EPOCH;
        let mut owners = Owners::default();
        let both = BTreeSet::from(["a", "b"]);
        assert!(owners.is_due(&both, start));
        let attachment = |vnic: &str, state: &str| VnicAttachment {
            instance_id: format!("machine-{vnic}"),
            vnic_id: Some(vnic.to_owned()),
            lifecycle_state: state.to_owned(),
        };
        let attachments = vec![attachment("a", "ATTACHED"), attachment("b", "DETACHED")];
        owners.learn(&both, attachments, start);
        assert_eq!(owners.instances["a"].as_deref(), Some("machine-a"));
        assert_eq!(owners.instances["b"], None);

        let soon = start + TimeDelta::seconds(20);
        assert!(!owners.is_due(&both, soon));
        assert!(
            owners.is_due(&BTreeSet::from(["a", "c"]), soon),
            "a new one"
        );
        let later = start + ASK_AGAIN;
        assert!(owners.is_due(&both, later));
        assert!(!owners.is_due(&BTreeSet::from(["a"]), later));
    }
}
