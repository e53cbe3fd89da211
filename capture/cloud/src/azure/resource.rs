//! Ids of resources: paths that become part of a URL to which a token goes, so that not every text is one.

use sam_capture::provider::{ErrorClass, NicId, ProviderError};

use crate::http::{error, shortened};

/// The id of a resource, as in `/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/networkInterfaces/N`.
/// Case does not count in it.
#[derive(Debug, Clone)]
pub(super) struct ResourceId(String);

/// Bytes of an id at most.
const MAX_LENGTH: usize = 1024;

impl ResourceId {
    /// Takes a text as id.
    pub(super) fn parse(text: &str) -> Result<Self, ProviderError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.()".contains(&byte);
        let shape = text.len() <= MAX_LENGTH
            && starts_with(text, "/subscriptions/")
            && !text.ends_with('/')
            && !text.contains("//")
            && !text.split('/').any(|part| part == "." || part == "..");
        if shape && text.bytes().all(good) {
            return Ok(Self(text.to_owned()));
        }
        let message = format!("'{}' is no id of a resource", shortened(text, 200));
        Err(error(ErrorClass::Permanent, "NoResourceId", &message))
    }

    /// Takes the id of a network interface.
    pub(super) fn of_interface(nic: &NicId) -> Result<Self, ProviderError> {
        let id = Self::parse(&nic.0)?;
        if id.name_of("networkInterfaces").is_some() && id.parent("networkInterfaces") == id.0 {
            return Ok(id);
        }
        let message = format!("'{}' is no network interface", shortened(&nic.0, 200));
        Err(error(ErrorClass::Permanent, "NoResourceId", &message))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name that follows a kind.
    pub(super) fn name_of(&self, kind: &str) -> Option<&str> {
        let mut parts = self.0.split('/');
        parts.find(|part| part.eq_ignore_ascii_case(kind))?;
        parts.next()
    }

    /// Returns the id up to the name that follows a kind; without that kind, the whole.
    pub(super) fn parent(&self, kind: &str) -> &str {
        let mut end = 0;
        let mut found = false;
        for part in self.0.split('/') {
            end += part.len() + 1;
            if found {
                return &self.0[..end - 1];
            }
            found = part.eq_ignore_ascii_case(kind);
        }
        &self.0
    }
}

/// Finds the interface in a text that names one of its ipConfigurations, as refusals do.
pub(super) fn interface_named_in(message: &str) -> Option<NicId> {
    let start = message.rfind("/subscriptions/")?;
    let text = message[start..].split_whitespace().next()?;
    let text = text.trim_end_matches(['.', ',', '\'', '"']);
    let id = ResourceId::parse(text).ok()?;
    id.name_of("networkInterfaces")?;
    Some(NicId(id.parent("networkInterfaces").to_owned()))
}

pub(super) fn starts_with(text: &str, start: &str) -> bool {
    let head = text.as_bytes().get(..start.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIC: &str =
        "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network/networkInterfaces/nic-a";

    #[test]
    fn what_could_lead_a_token_elsewhere_is_no_id() {
        assert!(ResourceId::parse(NIC).is_ok());
        for text in [
            "",
            "nic-a",
            "https://example.com/",
            "/subscriptions/s/../x",
            "/subscriptions/s?x=1",
            "/subscriptions/s#x",
            "/subscriptions//x",
            "/subscriptions/s/%2e%2e",
            "/subscriptions/s@example.com/ x",
        ] {
            assert!(ResourceId::parse(text).is_err(), "{text}");
        }
        let configuration = NicId(format!("{NIC}/ipConfigurations/x"));
        assert!(ResourceId::of_interface(&configuration).is_err());
    }

    #[test]
    fn parts_are_found_whatever_their_case() {
        let id = format!("{}/ipConfigurations/x", NIC.replace("networkI", "NETWORKI"));
        let id = ResourceId::parse(&id).expect("an id");
        assert_eq!(id.name_of("networkInterfaces"), Some("nic-a"));
        assert!(NIC.eq_ignore_ascii_case(id.parent("networkInterfaces")));
    }

    #[test]
    fn a_refusal_names_the_holder() {
        let message = format!(
            "IP configuration {NIC}/ipConfigurations/samctl-1 is using the private IP address 10.0.0.9 which is \
             already allocated to resource {NIC}-other/ipConfigurations/primary."
        );
        assert_eq!(
            interface_named_in(&message),
            Some(NicId(format!("{NIC}-other")))
        );
        assert_eq!(interface_named_in("already allocated"), None);
    }
}
