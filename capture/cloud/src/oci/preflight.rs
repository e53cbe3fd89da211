//! What the instance may do, without doing it.
//!
//! Changes are asked for in a version that nothing has, and of things that cannot be changed so: our own primary private
//! IP, the network address of the subnet. Who may not do them hears that there is no such thing; who may, that the version
//! is wrong or the address impossible.

use sam_capture::provider::{ErrorClass, Permission, ProviderError, Version};
use serde_json::json;

use super::Oci;
use super::api::Ask;
use super::identity::Identity;
use crate::http::Method;
use crate::purpose::Purpose;

/// A version that nothing has.
const NO_VERSION: &str = "samctl-preflight";

impl Oci {
    pub(super) fn preflight(&mut self, identity: &Identity) -> Vec<Permission> {
        let nic = &identity.nic;
        let vnic = self.api.vnic(identity, nic);
        let forwards = vnic
            .as_ref()
            .ok()
            .and_then(|(vnic, _)| vnic.skip_source_dest_check);
        let mut permissions = vec![judge("GetVnic", vnic.map(drop))];
        let listed = self.api.private_ips(identity, &format!("vnicId={nic}"));
        let primary = listed.as_ref().ok().and_then(|listed| {
            let own = listed.iter().find(|ip| ip.is_primary() && ip.is_on(nic))?;
            Some(own.id.clone())
        });
        permissions.push(judge("ListPrivateIps", listed.map(drop)));
        let attached = self.api.vnic_attachments(identity);
        permissions.push(judge("ListVnicAttachments", attached.map(drop)));
        let instances = self.api.instances(identity);
        permissions.push(judge("ListInstances", instances.map(drop)));
        let create = json!({ "vnicId": nic, "ipAddress": identity.prefix.network() });
        let check = json!({ "skipSourceDestCheck": forwards.unwrap_or(false) });
        let mut probes = vec![
            (
                "CreatePrivateIp",
                Method::Post,
                "privateIps".to_owned(),
                create,
            ),
            ("UpdateVnic", Method::Put, format!("vnics/{nic}"), check),
        ];
        if let Some(id) = primary {
            let path = format!("privateIps/{id}");
            let stay = json!({ "vnicId": nic });
            probes.push(("UpdatePrivateIp", Method::Put, path.clone(), stay));
            probes.push(("DeletePrivateIp", Method::Delete, path, json!(null)));
        }
        for (action, method, path, body) in probes {
            let mut ask = Ask::change(method, path, Purpose::Look);
            ask = ask.if_match(Version(NO_VERSION.to_owned()));
            if !body.is_null() {
                ask = ask.with_body(body);
            }
            permissions.push(judge(action, self.api.call(identity, &ask).map(drop)));
        }
        permissions
    }
}

/// Tells from an answer whether the action is permitted.
fn judge(action: &str, answered: Result<(), ProviderError>) -> Permission {
    let permitted = || (Some(true), "permitted".to_owned());
    let (granted, detail) = match answered {
        Ok(()) => permitted(),
        Err(failed) if failed.code == "NoEtagMatch" || failed.code == "InvalidParameter" => {
            permitted()
        }
        Err(failed) if failed.class == ErrorClass::Denied => (Some(false), failed.to_string()),
        Err(failed) => (None, failed.to_string()),
    };
    Permission {
        action: action.to_owned(),
        granted,
        detail,
    }
}
