//! Changes: each address is a call of its own, under the version that was observed of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use sam_capture::provider::{Entry, ErrorClass, Fence, Holder, Outcome, ProviderError, Version};
use serde_json::json;

use super::Oci;
use super::api::Ask;
use super::identity::Identity;
use super::shapes::{is_ocid, mark};
use crate::http::{Method, error};
use crate::purpose::Purpose;

/// The number of a request, if it has one.
type Done = Result<Option<String>, ProviderError>;

impl Oci {
    pub(super) fn assign(
        &mut self,
        identity: &Identity,
        addresses: &BTreeSet<Ipv4Addr>,
        fence: &dyn Fence,
    ) -> Result<Outcome, ProviderError> {
        each(addresses, |address| self.create(identity, *address, fence))
    }

    fn create(&mut self, identity: &Identity, address: Ipv4Addr, fence: &dyn Fence) -> Done {
        let body = json!({
            "vnicId": identity.nic,
            "ipAddress": address,
            "displayName": format!("samctl {address}"),
            "freeformTags": mark(),
        });
        let ask = Ask::change(Method::Post, "privateIps", Purpose::Change(fence));
        match self.api.call(identity, &ask.with_body(body)) {
            Ok(reply) => Ok(reply.request_id),
            Err(failed) => self.explain(identity, address, failed),
        }
    }

    /// How OCI says that an address is in use is not published. So whatever is said against the address, who has it
    /// decides.
    fn explain(&mut self, identity: &Identity, address: Ipv4Addr, failed: ProviderError) -> Done {
        if !matches!(
            failed.class,
            ErrorClass::PreconditionLost
                | ErrorClass::Permanent
                | ErrorClass::Busy
                | ErrorClass::Capacity
        ) {
            return Err(failed);
        }
        let Ok(Some(found)) = self.find(identity, address) else {
            return Err(failed);
        };
        let class = match (found.is_on(&identity.nic), found.is_primary()) {
            (true, false) => return Ok(failed.request_id),
            _ if failed.class == ErrorClass::Capacity => return Err(failed),
            (_, true) => ErrorClass::LocalOwner,
            (false, false) => ErrorClass::Held,
        };
        Err(ProviderError { class, ..failed })
    }

    pub(super) fn seize(
        &mut self,
        identity: &Identity,
        addresses: &BTreeMap<Ipv4Addr, Holder>,
        fence: &dyn Fence,
    ) -> Result<Outcome, ProviderError> {
        for (address, holder) in addresses {
            observed(*address, &holder.entry)?;
        }
        each(addresses, |(address, holder)| {
            self.take(identity, *address, &holder.entry, fence)
        })
    }

    fn take(
        &mut self,
        identity: &Identity,
        address: Ipv4Addr,
        entry: &Entry,
        fence: &dyn Fence,
    ) -> Done {
        let (id, version) = observed(address, entry)?;
        let mut body = json!({ "vnicId": identity.nic });
        if let Some(seen) = self.known.at(id, version)
            && !seen.is_marked()
        {
            body["freeformTags"] = json!(seen.marked_tags());
        }
        let path = format!("privateIps/{id}");
        let ask = Ask::change(Method::Put, path, Purpose::Change(fence));
        let ask = ask.with_body(body).if_match(version.clone());
        let taken = self.api.call(identity, &ask);
        self.known.forget(id);
        match taken {
            Ok(reply) => Ok(reply.request_id),
            Err(failed) if failed.class == ErrorClass::Denied => {
                Err(self.denied_or_gone(identity, address, id, failed))
            }
            Err(failed) => Err(failed),
        }
    }

    /// Who may not take a private IP and who is late for one hears the same. A list without it tells that it has gone;
    /// that is worth another look, and is no release.
    fn denied_or_gone(
        &mut self,
        identity: &Identity,
        address: Ipv4Addr,
        id: &str,
        failed: ProviderError,
    ) -> ProviderError {
        match self.find(identity, address) {
            Ok(found) if found.as_ref().is_none_or(|found| found.id != id) => ProviderError {
                class: ErrorClass::PreconditionLost,
                ..failed
            },
            Ok(_) | Err(_) => failed,
        }
    }

    pub(super) fn unassign(
        &mut self,
        identity: &Identity,
        addresses: &BTreeMap<Ipv4Addr, Entry>,
        fence: &dyn Fence,
    ) -> Result<Outcome, ProviderError> {
        for (address, entry) in addresses {
            observed(*address, entry)?;
        }
        each(addresses, |(address, entry)| {
            self.delete(identity, *address, entry, fence)
        })
    }

    /// Deletes a private IP of our own VNIC. OCI would delete it wherever it is; so it is looked at first, and deleted
    /// in the version that was observed only.
    fn delete(
        &mut self,
        identity: &Identity,
        address: Ipv4Addr,
        entry: &Entry,
        fence: &dyn Fence,
    ) -> Done {
        let (id, version) = observed(address, entry)?;
        let (ip, current) = self.api.private_ip(identity, id)?;
        if !ip.is_on(&identity.nic) || ip.ip_address != address || current != *version {
            self.known.forget(id);
            let message = format!("{address} is not on our VNIC as it was observed");
            return Err(error(ErrorClass::PreconditionLost, "NotOurs", &message));
        }
        let path = format!("privateIps/{id}");
        let ask = Ask::change(Method::Delete, path, Purpose::Change(fence));
        let deleted = self.api.call(identity, &ask.if_match(version.clone()));
        self.known.forget(id);
        deleted.map(|reply| reply.request_id)
    }

    pub(super) fn set_forwarding(
        &mut self,
        identity: &Identity,
        enabled: bool,
        version: Option<&Version>,
        fence: &dyn Fence,
    ) -> Result<Outcome, ProviderError> {
        let version = version.ok_or_else(|| not_observed("the VNIC"))?;
        let path = format!("vnics/{}", identity.nic);
        let ask = Ask::change(Method::Put, path, Purpose::Change(fence));
        let ask = ask.with_body(json!({ "skipSourceDestCheck": enabled }));
        let reply = self.api.call(identity, &ask.if_match(version.clone()))?;
        Ok(Outcome::Done {
            request_id: reply.request_id,
        })
    }
}

/// Returns name and version of a private IP that is to be changed.
fn observed(address: Ipv4Addr, entry: &Entry) -> Result<(&str, &Version), ProviderError> {
    match (&entry.id, &entry.version) {
        (Some(id), Some(version)) if is_ocid(id) => Ok((id, version)),
        _ => Err(not_observed(&address.to_string())),
    }
}

fn not_observed(what: &str) -> ProviderError {
    let message = format!("{what} is changed in a version that was observed only");
    error(ErrorClass::Permanent, "NotObserved", &message)
}

/// Changes one after the other, up to the first failure. When some were changed before it, then what there is now must
/// be looked at.
fn each<T>(
    all: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    mut change: impl FnMut(T) -> Done,
) -> Result<Outcome, ProviderError> {
    let all = all.into_iter();
    let number = all.len();
    let mut request_id = None;
    for (done, item) in all.enumerate() {
        match change(item) {
            Ok(id) => request_id = id,
            Err(failed) if done == 0 => return Err(failed),
            Err(failed) => {
                let ProviderError { class, message, .. } = &failed;
                let message = format!("{done} of {number} were changed, then {class}: {message}");
                return Err(ProviderError {
                    request_id: failed.request_id.clone(),
                    ..error(ErrorClass::Unknown, &failed.code, &message)
                });
            }
        }
    }
    Ok(Outcome::Done { request_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_after_changes_is_not_knowing() {
        let failing = |at: u8| {
            each([0, 1, 2], |item| {
                if item == at {
                    return Err(error(ErrorClass::Fenced, "Fenced", "ended"));
                }
                Ok(Some(item.to_string()))
            })
        };
        let failed = failing(0).expect_err("nothing was changed");
        assert_eq!(failed.class, ErrorClass::Fenced);
        let failed = failing(2).expect_err("not all were changed");
        assert_eq!(failed.class, ErrorClass::Unknown);
        assert_eq!(failed.message, "2 of 3 were changed, then fenced: ended");
        let done = Outcome::Done {
            request_id: Some("2".into()),
        };
        assert_eq!(failing(3), Ok(done));
    }
}
