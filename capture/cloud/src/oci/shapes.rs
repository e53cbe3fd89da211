//! OCI's documents, as far as they are read.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use sam_capture::provider::{Entry, NicId, Version};
use serde::Deserialize;

/// A VNIC.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Vnic {
    pub(super) subnet_id: String,
    pub(super) skip_source_dest_check: Option<bool>,
}

/// A private IP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PrivateIp {
    pub(super) id: String,
    pub(super) ip_address: Ipv4Addr,
    pub(super) is_primary: Option<bool>,
    pub(super) vnic_id: Option<String>,
    pub(super) freeform_tags: Option<BTreeMap<String, String>>,
}

/// That a VNIC is an instance's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VnicAttachment {
    pub(super) instance_id: String,
    /// There when it is attached.
    pub(super) vnic_id: Option<String>,
    pub(super) lifecycle_state: String,
}

impl VnicAttachment {
    /// Tells whether it is not of the past.
    pub(super) fn stands(&self) -> bool {
        self.lifecycle_state != "DETACHED"
    }
}

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instance {
    pub(super) id: String,
    lifecycle_state: String,
}

impl Instance {
    /// Tells whether its addresses are in use: from its start on until it stands still.
    pub(super) fn runs(&self) -> bool {
        !["STOPPED", "TERMINATING", "TERMINATED"].contains(&self.lifecycle_state.as_str())
    }
}

/// The tag by which we know our own, and its value.
const MARK: (&str, &str) = ("samctl", "capture");

impl PrivateIp {
    pub(super) fn is_primary(&self) -> bool {
        self.is_primary == Some(true)
    }

    pub(super) fn is_on(&self, nic: &NicId) -> bool {
        self.vnic_id.as_ref() == Some(&nic.0)
    }

    /// Returns the VNIC that it is on. One that is on none is on nobody's, so nobody takes it from there.
    pub(super) fn nic(&self) -> NicId {
        let id = self.vnic_id.as_deref();
        NicId(id.unwrap_or("unassigned").to_owned())
    }

    pub(super) fn is_marked(&self) -> bool {
        let tags = self.freeform_tags.as_ref();
        let value = tags.and_then(|tags| tags.get(MARK.0));
        value.is_some_and(|value| value == MARK.1)
    }

    pub(super) fn entry(&self, version: Option<Version>) -> Entry {
        Entry {
            primary: self.is_primary(),
            ours: Some(self.is_marked()),
            id: Some(self.id.clone()),
            version,
        }
    }

    /// Returns its tags with our mark.
    pub(super) fn marked_tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.freeform_tags.clone().unwrap_or_default();
        tags.extend(mark());
        tags
    }
}

/// Returns the tags of a private IP that we make.
pub(super) fn mark() -> BTreeMap<String, String> {
    BTreeMap::from([(MARK.0.to_owned(), MARK.1.to_owned())])
}

/// Tells whether a text may be put into a URL as an OCID or a name.
pub(super) fn is_ocid(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_look_like_an_ocid_gets_into_no_url() {
        assert!(is_ocid("ocid1.tenancy.oc1..lab"));
        for text in [
            "",
            "..",
            "a/b",
            "a?b",
            "a b",
            "a%2f",
            "a\"b",
            &"a".repeat(256),
        ] {
            assert!(!is_ocid(text), "{text}");
        }
    }

    #[test]
    fn the_mark_keeps_other_tags() {
        let text = r#"{"id": "x", "ipAddress": "10.0.0.1", "isPrimary": null, "vnicId": null,
            "freeformTags": {"owner": "me", "samctl": "other"}}"#;
        let ip: PrivateIp = serde_json::from_str(text).expect("a private IP");
        assert!(!ip.is_marked() && !ip.is_primary() && !ip.is_on(&NicId("v".into())));
        let tags = ip.marked_tags();
        assert_eq!(
            (tags["owner"].as_str(), tags["samctl"].as_str()),
            ("me", "capture")
        );
    }
}
