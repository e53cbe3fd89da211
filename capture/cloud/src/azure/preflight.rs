//! What the identity may do, without doing it; and whether addresses can be moved in one change.
//!
//! Azure tells a caller its own permissions. Where it does not, a PUT of the own NIC under an etag that it cannot have
//! tells as much: 412 comes after authorization. A move of a configuration that is not there tells whether moves exist.

use sam_capture::provider::{ErrorClass, Outcome, Permission, ProviderError};
use serde_json::Value;

use super::Azure;
use super::change::move_item;
use super::error::{NOT_REGISTERED, is_missing};
use super::identity::Identity;
use super::operation::interface;
use super::resource::ResourceId;
use super::{AUTHORIZATION_API, NETWORK_API};
use crate::http::Method;
use crate::purpose::Purpose;

/// What is needed of a NIC, and of the network around it.
const OF_NIC: [&str; 2] = [
    "Microsoft.Network/networkInterfaces/read",
    "Microsoft.Network/networkInterfaces/write",
];
const OF_NETWORK: [&str; 2] = [
    "Microsoft.Network/virtualNetworks/read",
    "Microsoft.Network/virtualNetworks/subnets/join/action",
];
/// What is needed of the resource group, to know which machines run; only where they are listed.
const MACHINES: &str = "Microsoft.Compute/virtualMachines/read";
const MOVE: &str = "Microsoft.Network/virtualNetworks/moveIpConfigurations/action";

/// A configuration that nobody has.
const NOBODYS: &str = "samctl-preflight";

impl Azure {
    /// Whether addresses move in one change decides what follows. So a look that could not tell, in passing, has failed,
    /// whatever else it found.
    pub(super) fn preflight(&mut self, identity: &Identity) -> Outcome {
        let moving = self.probe_move(identity);
        let mut found = self.permissions(identity);
        match moving {
            Ok(moving) => {
                found.push(moving);
                Outcome::Permissions(found)
            }
            Err(failed) => {
                found.push(unknown(MOVE, &failed));
                Outcome::PermissionsInPart { found, failed }
            }
        }
    }

    /// All of them but that to move.
    fn permissions(&mut self, identity: &Identity) -> Vec<Permission> {
        let mut permissions = Vec::new();
        for (scope, actions) in [(&identity.nic.0, OF_NIC), (&identity.network, OF_NETWORK)] {
            let granted = self.granted_on(scope);
            permissions.extend(actions.map(|action| match &granted {
                Ok(granted) => told(action, permits(granted, action)),
                Err(failed) => unknown(action, failed),
            }));
        }
        if let Some(write) = permissions
            .iter_mut()
            .find(|known| known.action == OF_NIC[1])
            && write.granted.is_none()
        {
            *write = self.probe_write(identity);
        }
        permissions.push(self.may_read_machines(identity));
        permissions
    }

    /// A role that is assigned on our own machine alone does for everything else.
    fn may_read_machines(&mut self, identity: &Identity) -> Permission {
        match self.granted_on(&identity.group_id()) {
            Ok(granted) if permits(&granted, MACHINES) => told(MACHINES, true),
            Ok(_) => Permission {
                action: MACHINES.to_owned(),
                granted: None,
                detail: "not of the resource group: machines that are stopped keep their addresses"
                    .to_owned(),
            },
            Err(failed) => unknown(MACHINES, &failed),
        }
    }

    fn granted_on(&mut self, scope: &str) -> Result<Vec<Value>, ProviderError> {
        let path = format!(
            "{scope}/providers/Microsoft.Authorization/permissions?api-version={AUTHORIZATION_API}"
        );
        self.arm.list(&path)
    }

    fn probe_write(&mut self, identity: &Identity) -> Permission {
        let action = OF_NIC[1];
        match self.write_in_vain(identity) {
            Ok(()) => told(action, true),
            Err(failed) if failed.class == ErrorClass::PreconditionLost => told(action, true),
            Err(failed) if failed.class == ErrorClass::Denied => Permission {
                granted: Some(false),
                ..unknown(action, &failed)
            },
            Err(failed) => unknown(action, &failed),
        }
    }

    fn write_in_vain(&mut self, identity: &Identity) -> Result<(), ProviderError> {
        let id = ResourceId::of_interface(&identity.nic)?;
        let nic = interface(&mut self.arm, &id)?;
        let path = format!("{}?api-version={NETWORK_API}", id.as_str());
        let same = nic.with_forwarding(nic.forwarding());
        let etag = Some("W/\"00000000-0000-0000-0000-000000000000\"");
        let put = self
            .arm
            .change(Method::Put, &path, etag, &same, Purpose::Look);
        put.map(drop)
    }

    /// A complaint about the configuration that is not there means that everything else is.
    fn probe_move(&mut self, identity: &Identity) -> Result<Permission, ProviderError> {
        let source = format!("{}/ipConfigurations/{NOBODYS}", identity.nic);
        let item = move_item(&source, &format!("{source}-target"));
        let answered = self.move_configurations(identity, &[item], Purpose::Look);
        let refused = answered.err();
        let names = |refused: &ProviderError| refused.message.contains(NOBODYS);
        if let Some(refused) = refused.as_ref().filter(|refused| !names(refused))
            && !is_answer(refused)
        {
            return Err(refused.clone());
        }
        self.moves = refused
            .as_ref()
            .is_some_and(|refused| refused.class != ErrorClass::Denied && names(refused));
        Ok(match refused {
            // Without the feature nobody may, and two changes do what one would have done.
            Some(refused) if !self.moves => Permission {
                granted: (refused.class == ErrorClass::Denied).then_some(false),
                ..unknown(MOVE, &refused)
            },
            _ => told(MOVE, self.moves),
        })
    }
}

/// Tells whether a refusal rules out moves: nobody may, or there are none. Any other may be another one a moment later.
fn is_answer(refused: &ProviderError) -> bool {
    match refused.code.as_str() {
        "AuthorizationFailed" | "LinkedAuthorizationFailed" | NOT_REGISTERED => true,
        _ => is_missing(refused),
    }
}

fn told(action: &str, granted: bool) -> Permission {
    Permission {
        action: action.to_owned(),
        granted: Some(granted),
        detail: if granted {
            "permitted"
        } else {
            "no role permits it"
        }
        .to_owned(),
    }
}

fn unknown(action: &str, failed: &ProviderError) -> Permission {
    Permission {
        action: action.to_owned(),
        granted: None,
        detail: failed.to_string(),
    }
}

/// Tells whether any role permits an action.
fn permits(granted: &[Value], action: &str) -> bool {
    let lists = |role: &Value, name: &str| {
        let patterns = role[name].as_array().map_or(&[][..], Vec::as_slice);
        let mut patterns = patterns.iter().filter_map(Value::as_str);
        patterns.any(|pattern| matches(pattern, action))
    };
    granted
        .iter()
        .any(|role| lists(role, "actions") && !lists(role, "notActions"))
}

/// Matches an action against a pattern in which `*` stands for any text; case does not count.
fn matches(pattern: &str, action: &str) -> bool {
    let pattern = pattern.to_lowercase();
    let action = action.to_lowercase();
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = action.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        if let Some(former) = last.replace(part) {
            let Some((_, behind)) = rest.split_once(former) else {
                return false;
            };
            rest = behind;
        }
    }
    last.map_or(rest.is_empty(), |last: &str| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns_of_roles_match_as_azure_says() {
        let write = "Microsoft.Network/networkInterfaces/write";
        for pattern in [
            "*",
            "*/write",
            "microsoft.network/*",
            "Microsoft.Network/networkInterfaces/*",
            "Microsoft.Network/*/write",
            "*Network*Interfaces*",
            write,
        ] {
            assert!(matches(pattern, write), "{pattern}");
        }
        for pattern in [
            "",
            "*/read",
            "Microsoft.Network",
            "Microsoft.Compute/*",
            "*/write/action",
        ] {
            assert!(!matches(pattern, write), "{pattern}");
        }
    }

    #[test]
    fn what_a_role_excludes_another_may_permit() {
        let action = OF_NIC[1];
        let narrow = json!({"actions": ["*"], "notActions": ["*/write"]});
        assert!(!permits(std::slice::from_ref(&narrow), action));
        assert!(permits(&[narrow, json!({"actions": [action]})], action));
        assert!(!permits(&[], action));
    }
}
