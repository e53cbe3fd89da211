//! Changing: read the interface, edit its list, put it back under its etag, watch, and look whether it is so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use sam_capture::provider::{
    ErrorClass, Fence, Holder, MESSAGE_MAX, NicId, Outcome, ProviderError, Version,
};
use serde_json::{Value, json};

use super::error::{NOT_REGISTERED, request_id};
use super::identity::Identity;
use super::interface::{Interface, is_ours, name_of};
use super::operation::{Watch, confirm, ended_by_azure, interface, wait};
use super::resource::{ResourceId, interface_named_in};
use super::{Azure, MOVE_API, NETWORK_API};
use crate::http::{Method, error, shortened};
use crate::purpose::Purpose;

/// Refusals of which it is remembered who the holder is.
const MAX_HINTS: usize = 256;

/// What becomes of an interface.
struct Edit<'a, F> {
    current: &'a Interface,
    document: Value,
    /// Whether an interface shows it.
    shows: F,
}

impl Azure {
    pub(super) fn assign(
        &mut self,
        identity: &Identity,
        addresses: &BTreeSet<Ipv4Addr>,
        version: Option<&Version>,
        fence: &dyn Fence,
    ) -> Result<Outcome, ProviderError> {
        let current = self.current(identity, &identity.nic, version)?;
        let held = |address: &Ipv4Addr| current.holds(*address);
        let missing: BTreeSet<Ipv4Addr> = addresses
            .iter()
            .copied()
            .filter(|address| !held(address))
            .collect();
        if missing.is_empty() {
            return Ok(Outcome::Done { request_id: None });
        }
        let edit = Edit {
            current: &current,
            document: current.with(&missing),
            shows: |nic: &Interface| addresses.iter().all(|address| nic.holds(*address)),
        };
        self.replace(edit, fence)
            .map_err(|failed| self.find_owner(failed, &missing))
    }

    pub(super) fn strip(
        &mut self,
        identity: &Identity,
        nic: &NicId,
        addresses: &BTreeSet<Ipv4Addr>,
        version: Option<&Version>,
        fence: &dyn Fence,
    ) -> Result<Outcome, ProviderError> {
        let current = self.current(identity, nic, version)?;
        for address in addresses {
            let Some(known) = current.configuration(*address) else {
                let message = format!("{address} is not on {nic} any more");
                return Err(error(ErrorClass::PreconditionLost, "Moved", &message));
            };
            check_ours(*address, known.name, known.primary)?;
        }
        self.remove(&current, addresses, fence)
    }

    pub(super) fn unassign(
        &mut self,
        identity: &Identity,
        addresses: &BTreeSet<Ipv4Addr>,
        version: Option<&Version>,
        fence: &dyn Fence,
    ) -> Result<Outcome, ProviderError> {
        let current = self.current(identity, &identity.nic, version)?;
        for address in addresses {
            let Some(known) = current.configuration(*address) else {
                let message = format!("{address} is not on {}", identity.nic);
                return Err(error(ErrorClass::AlreadyGone, "NotHere", &message));
            };
            check_ours(*address, known.name, known.primary)?;
        }
        self.remove(&current, addresses, fence)
    }

    pub(super) fn set_forwarding(
        &mut self,
        identity: &Identity,
        enabled: bool,
        version: Option<&Version>,
        fence: &dyn Fence,
    ) -> Result<Outcome, ProviderError> {
        let current = self.current(identity, &identity.nic, version)?;
        if current.forwarding() == enabled {
            return Ok(Outcome::Done { request_id: None });
        }
        let edit = Edit {
            current: &current,
            document: current.with_forwarding(enabled),
            shows: |nic: &Interface| nic.forwarding() == enabled,
        };
        self.replace(edit, fence)
    }

    /// Moves configurations in one call. Each is named with the NIC that it is on: if it is there no more, nothing moves.
    pub(super) fn seize(
        &mut self,
        identity: &Identity,
        addresses: &BTreeMap<Ipv4Addr, Holder>,
        fence: &dyn Fence,
    ) -> Result<Outcome, ProviderError> {
        let mut items = Vec::new();
        for (address, holder) in addresses {
            let source = source(*address, holder)?;
            let target = format!("{}/ipConfigurations/{}", identity.nic, name_of(*address));
            items.push(move_item(source.as_str(), &target));
        }
        let sent = self.move_configurations(identity, &items, Purpose::Change(fence));
        let answer = sent.map_err(|refused| match rules_out_moves(&refused) {
            true => self.without_moves(refused),
            false => refused,
        })?;
        let watch = Watch::new(fence, self.arm.timeouts.operation);
        let ended = wait(&mut self.arm, &answer, watch);
        ended.map_err(
            |failed| match rules_out_moves(&failed) || ended_by_azure(&failed) {
                true => self.without_moves(failed),
                false => failed,
            },
        )?;
        let own = ResourceId::of_interface(&identity.nic)?;
        let shows = |nic: &Interface| addresses.keys().all(|address| nic.holds(*address));
        confirm(&mut self.arm, &own, watch, shows)?;
        Ok(Outcome::Done {
            request_id: request_id(&answer),
        })
    }

    /// Remembers that moves do not work: from now on an address moves in two changes. Nothing has changed by what was
    /// refused, so that everything is decided anew at once; the reason is told with it.
    fn without_moves(&mut self, refused: ProviderError) -> ProviderError {
        self.moves = false;
        let message = format!(
            "addresses move in two changes from now on: {}",
            refused.message
        );
        let class = match refused.class == ErrorClass::Unknown {
            true => ErrorClass::Unknown,
            false => ErrorClass::PreconditionLost,
        };
        ProviderError {
            class,
            message: shortened(&message, MESSAGE_MAX),
            ..refused
        }
    }

    pub(super) fn move_configurations(
        &mut self,
        identity: &Identity,
        items: &[Value],
        purpose: Purpose<'_>,
    ) -> Result<crate::http::Answer, ProviderError> {
        let path = format!(
            "{}/moveIpConfigurations?api-version={MOVE_API}",
            identity.network
        );
        let body = json!({ "moveIpConfigurationItems": items });
        self.arm.change(Method::Post, &path, None, &body, purpose)
    }

    fn remove(
        &mut self,
        current: &Interface,
        addresses: &BTreeSet<Ipv4Addr>,
        fence: &dyn Fence,
    ) -> Result<Outcome, ProviderError> {
        let edit = Edit {
            current,
            document: current.without(addresses),
            shows: |nic: &Interface| !addresses.iter().any(|address| nic.holds(*address)),
        };
        self.replace(edit, fence)
    }

    /// The interface that is to be changed: at rest, in our subnet, and as it was when the change was decided. It is read,
    /// unless what is in hand is the very version that the decision rests on: then its etag tells with the change itself.
    fn current(
        &mut self,
        identity: &Identity,
        nic: &NicId,
        version: Option<&Version>,
    ) -> Result<Interface, ProviderError> {
        let id = ResourceId::of_interface(nic)?;
        let read = self.read.remove(nic);
        let read = read.filter(|read| version.is_some_and(|version| version.0 == read.etag()));
        let current = match read {
            Some(read) => read,
            None => interface(&mut self.arm, &id)?,
        };
        let subnet = current.subnet();
        if !subnet.is_some_and(|subnet| subnet.eq_ignore_ascii_case(&identity.subnet)) {
            let message = format!("{nic} is not in {}", identity.subnet);
            return Err(error(ErrorClass::Permanent, "OtherSubnet", &message));
        }
        if version.is_some_and(|version| version.0 != current.etag()) {
            let message = format!("{nic} is not as it was when this was decided");
            return Err(error(ErrorClass::PreconditionLost, "EtagChanged", &message));
        }
        if current.is_busy() {
            let message = format!("{nic} is in state {}", current.state());
            return Err(error(ErrorClass::Busy, "OperationUnderWay", &message));
        }
        Ok(current)
    }

    fn replace<F: Fn(&Interface) -> bool>(
        &mut self,
        edit: Edit<'_, F>,
        fence: &dyn Fence,
    ) -> Result<Outcome, ProviderError> {
        let id = ResourceId::of_interface(&NicId(edit.current.id().to_owned()))?;
        let path = format!("{}?api-version={NETWORK_API}", id.as_str());
        let etag = Some(edit.current.etag());
        let purpose = Purpose::Change(fence);
        let answer = self
            .arm
            .change(Method::Put, &path, etag, &edit.document, purpose)?;
        let watch = Watch::new(fence, self.arm.timeouts.operation);
        wait(&mut self.arm, &answer, watch)?;
        confirm(&mut self.arm, &id, watch, edit.shows)?;
        Ok(Outcome::Done {
            request_id: request_id(&answer),
        })
    }

    /// Looks who has an address that was refused: a refusal says where, but not whether it is that NIC's own address.
    fn find_owner(
        &mut self,
        failed: ProviderError,
        addresses: &BTreeSet<Ipv4Addr>,
    ) -> ProviderError {
        let named = interface_named_in(&failed.message);
        let (ErrorClass::Held, Some(named)) = (&failed.class, named) else {
            return failed;
        };
        let nic = ResourceId::of_interface(&named);
        let Ok(nic) = nic.and_then(|id| interface(&mut self.arm, &id)) else {
            // Whatever it is, it is one of them: the network is asked of each.
            self.hint(addresses.iter().copied(), &named);
            return failed;
        };
        let found = nic.configurations();
        let found = found.filter(|known| addresses.contains(&known.address));
        let found: Vec<_> = found.collect();
        self.hint(found.iter().map(|known| known.address), &named);
        let class = if found.iter().any(|known| known.primary) {
            ErrorClass::LocalOwner
        } else {
            ErrorClass::Held
        };
        ProviderError { class, ..failed }
    }

    /// Remembers where addresses may be.
    fn hint(&mut self, addresses: impl Iterator<Item = Ipv4Addr>, nic: &NicId) {
        for address in addresses {
            if self.hints.len() < MAX_HINTS || self.hints.contains_key(&address) {
                self.hints.insert(address, nic.clone());
            }
        }
    }
}

pub(super) fn move_item(source: &str, target: &str) -> Value {
    json!({
        "sourceIpConfiguration": { "id": source },
        "targetIpConfiguration": { "id": target },
    })
}

/// Tells whether a refusal is about moving as such, not about what was to be moved, nor about a token that is renewed.
fn rules_out_moves(refused: &ProviderError) -> bool {
    let not_of = |codes: &[&str]| !codes.contains(&refused.code.as_str());
    let as_such = match refused.class {
        ErrorClass::Permanent => not_of(&OF_ADDRESSES),
        ErrorClass::Denied => not_of(&OF_TOKENS),
        ErrorClass::Held
        | ErrorClass::LocalOwner
        | ErrorClass::AlreadyGone
        | ErrorClass::Capacity
        | ErrorClass::Throttled(_)
        | ErrorClass::PreconditionLost
        | ErrorClass::Busy
        | ErrorClass::Unavailable
        | ErrorClass::Unknown
        | ErrorClass::Fenced => false,
    };
    as_such || refused.code == NOT_REGISTERED
}

/// Refusals of an address, whichever way it comes.
const OF_ADDRESSES: [&str; 2] = [
    "PrivateIPAddressNotInSubnet",
    "PrivateIPAddressInReservedRange",
];
/// Refusals of a token, which the next one has not.
const OF_TOKENS: [&str; 4] = [
    "AuthenticationFailed",
    "ExpiredAuthenticationToken",
    "InvalidAuthenticationToken",
    "InvalidAuthenticationTokenTenant",
];

/// Returns the configuration that holds an address, which must be one of ours on the NIC that is named.
fn source(address: Ipv4Addr, holder: &Holder) -> Result<ResourceId, ProviderError> {
    let id = ResourceId::parse(holder.entry.id.as_deref().unwrap_or_default())?;
    if !holder
        .nic
        .0
        .eq_ignore_ascii_case(id.parent("networkInterfaces"))
    {
        let message = format!("{address}: {} is not on {}", id.as_str(), holder.nic);
        return Err(error(ErrorClass::Permanent, "OtherNic", &message));
    }
    let name = id.name_of("ipConfigurations").unwrap_or_default();
    check_ours(address, name, holder.entry.primary)?;
    Ok(id)
}

/// What somebody configured by hand stays, whoever decided otherwise.
fn check_ours(address: Ipv4Addr, name: &str, primary: bool) -> Result<(), ProviderError> {
    if primary {
        let message = format!("{address} is the own address of a NIC");
        return Err(error(ErrorClass::LocalOwner, "PrimaryAddress", &message));
    }
    if is_ours(name) {
        return Ok(());
    }
    let message = format!("{address} is held by the configuration '{name}', which is not ours");
    Err(error(ErrorClass::Permanent, "NotOurs", &message))
}
