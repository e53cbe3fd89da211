//! Changes: each address is a call of its own, under the version that was observed of it; several go at the same time.

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
        let ask = |address: &Ipv4Addr| {
            let body = json!({
                "vnicId": identity.nic,
                "ipAddress": address,
                "displayName": format!("samctl {address}"),
                "freeformTags": mark(),
            });
            let ask = Ask::change(Method::Post, "privateIps", Purpose::Change(fence));
            (*address, ask.with_body(body))
        };
        let asks = addresses.iter().map(ask).collect();
        self.change_all(identity, asks, |oci, address, failed| {
            oci.explain(identity, address, failed)
        })
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
        // What is seen says what the code may not.
        Err(ProviderError {
            class,
            unclassified: false,
            ..failed
        })
    }

    pub(super) fn seize(
        &mut self,
        identity: &Identity,
        addresses: &BTreeMap<Ipv4Addr, Holder>,
        fence: &dyn Fence,
    ) -> Result<Outcome, ProviderError> {
        let mut asks = Vec::new();
        let mut ids = BTreeMap::new();
        for (address, holder) in addresses {
            let (id, version) = observed(*address, &holder.entry)?;
            let mut body = json!({ "vnicId": identity.nic });
            if let Some(seen) = self.known.at(id, version)
                && !seen.is_marked()
            {
                body["freeformTags"] = json!(seen.marked_tags());
            }
            let path = format!("privateIps/{id}");
            let ask = Ask::change(Method::Put, path, Purpose::Change(fence));
            asks.push((*address, ask.with_body(body).if_match(version.clone())));
            ids.insert(*address, id);
        }
        ids.values().for_each(|id| self.known.forget(id));
        self.change_all(identity, asks, |oci, address, failed| {
            if failed.class != ErrorClass::Denied {
                return Err(failed);
            }
            Err(oci.denied_or_gone(identity, address, ids[&address], failed))
        })
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
                unclassified: false,
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
        let mut asks = Vec::new();
        for (address, (id, version)) in self.check_ours(identity, addresses)? {
            let path = format!("privateIps/{id}");
            let ask = Ask::change(Method::Delete, path, Purpose::Change(fence));
            asks.push((address, ask.if_match(version.clone())));
            self.known.forget(id);
        }
        self.change_all(identity, asks, |_, _, failed| Err(failed))
    }

    /// Looks whether all are on our VNIC as they were observed: OCI would delete them wherever they are.
    fn check_ours<'a>(
        &mut self,
        identity: &Identity,
        addresses: &'a BTreeMap<Ipv4Addr, Entry>,
    ) -> Result<BTreeMap<Ipv4Addr, (&'a str, &'a Version)>, ProviderError> {
        let observed = addresses
            .iter()
            .map(|(address, entry)| Ok((*address, observed(*address, entry)?)));
        let observed: BTreeMap<_, _> = observed.collect::<Result<_, ProviderError>>()?;
        let ids: Vec<&str> = observed.values().map(|(id, _)| *id).collect();
        let found = self.api.private_ips_of(identity, &ids)?;
        for ((address, (id, version)), (ip, current)) in observed.iter().zip(&found) {
            if !ip.is_on(&identity.nic) || ip.ip_address != *address || current != *version {
                self.known.forget(id);
                let message = format!("{address} is not on our VNIC as it was observed");
                return Err(error(ErrorClass::PreconditionLost, "NotOurs", &message));
            }
        }
        Ok(observed)
    }

    /// Sends changes, and says what became of them as a whole; `explain` finds out more about a refusal, which may be that
    /// it is as wanted.
    fn change_all(
        &mut self,
        identity: &Identity,
        asks: Vec<(Ipv4Addr, Ask<'_>)>,
        mut explain: impl FnMut(&mut Self, Ipv4Addr, ProviderError) -> Done,
    ) -> Result<Outcome, ProviderError> {
        let (addresses, asks): (Vec<Ipv4Addr>, Vec<Ask<'_>>) = asks.into_iter().unzip();
        let replies = self.api.call_all(identity, &asks);
        let explained = addresses.iter().zip(replies).map(|(address, reply)| {
            let reply = reply.map(|reply| reply.request_id);
            reply.or_else(|failed| explain(self, *address, failed))
        });
        summary(addresses.len(), explained.collect())
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

/// Says what became of several changes, of which the last may not have been sent. When some happened and some did not,
/// or one of them may have, then what there is now must be looked at.
fn summary(number: usize, all: Vec<Done>) -> Result<Outcome, ProviderError> {
    let changed = all.iter().filter(|done| done.is_ok()).count();
    let mut request_id = None;
    let mut failures = Vec::new();
    for done in all {
        match done {
            Ok(id) => request_id = id,
            Err(failed) => failures.push(failed),
        }
    }
    let open = |failed: &ProviderError| failed.class == ErrorClass::Unknown;
    let worst = failures.iter().position(open).unwrap_or(0);
    if failures.is_empty() {
        return Ok(Outcome::Done { request_id });
    }
    let failed = failures.swap_remove(worst);
    if changed == 0 {
        return Err(failed);
    }
    let ProviderError { class, message, .. } = &failed;
    let message = format!("{changed} of {number} were changed, then {class}: {message}");
    Err(ProviderError {
        request_id: failed.request_id.clone(),
        unclassified: failed.unclassified,
        ..error(ErrorClass::Unknown, &failed.code, &message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_after_changes_is_not_knowing() {
        let good = |id: &str| Ok(Some(id.to_owned()));
        let bad = |class| Err(error(class, "Code", "ended"));
        let failed = |all| summary(3, all).expect_err("not all were changed");

        let all = failed(vec![bad(ErrorClass::Fenced), bad(ErrorClass::Fenced)]);
        assert_eq!(all.class, ErrorClass::Fenced, "nothing was changed");
        let open = failed(vec![bad(ErrorClass::Held), bad(ErrorClass::Unknown)]);
        assert_eq!(open.class, ErrorClass::Unknown, "something may have been");
        let part = failed(vec![good("0"), bad(ErrorClass::Fenced), good("2")]);
        assert_eq!(part.class, ErrorClass::Unknown);
        assert_eq!(part.message, "2 of 3 were changed, then fenced: ended");
        let done = Outcome::Done {
            request_id: Some("2".into()),
        };
        assert_eq!(summary(2, vec![good("1"), good("2")]), Ok(done));
    }
}
