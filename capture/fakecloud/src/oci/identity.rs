//! Who has a key: users of the scenario, and instances, which turn their certificate into tokens.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::key::{self, PublicKey};
use super::{answer, certificate, invalid};
use crate::Time;
use crate::cloud::Cloud;
use crate::http::Response;
use crate::seal::Seal;
use crate::wire::{Call, Denial, Principal, Problem};

/// How long a token is good.
const TOKEN_TIME: TimeDelta = TimeDelta::minutes(20);

/// What a token says; the names are OCI's.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    ptype: String,
    #[serde(rename = "opc-instance")]
    instance: String,
    #[serde(rename = "opc-compartment")]
    compartment: String,
    #[serde(rename = "opc-tenant")]
    tenant: String,
    iat: i64,
    exp: i64,
    /// The public key of the session.
    jwk: String,
}

/// Finds who has a key: `ST$` and a token, or `TENANCY/USER/FINGERPRINT`.
pub(super) fn by_key(
    cloud: &Cloud,
    seal: &Seal,
    key_id: &str,
    now: Time,
) -> Result<(Principal, PublicKey), Denial> {
    if let Some(token) = key_id.strip_prefix("ST$") {
        let (_, sealed) = token.split_once('.').ok_or(Denial::Unknown)?;
        let claims: Claims = seal.open("oci token", sealed).ok_or(Denial::Unknown)?;
        if claims.exp < now.timestamp() {
            return Err(Denial::Expired);
        }
        let key = PublicKey::from_jwk(&claims.jwk).ok_or(Denial::Unknown)?;
        return Ok((instance(cloud, &claims.instance), key));
    }
    let mut parts = key_id.splitn(2, '/');
    let tenancy = parts.next().filter(|name| *name == cloud.settings.account);
    let user = tenancy.and_then(|_| parts.next()).ok_or(Denial::Unknown)?;
    let known = cloud.settings.keys.get(user).ok_or(Denial::Unknown)?;
    let principal = Principal {
        name: known.id.clone(),
        role: known.role.clone(),
    };
    let key = PublicKey::from_pem(&known.secret).ok_or(Denial::Unknown)?;
    Ok((principal, key))
}

/// Finds whose certificate it is: `TENANCY/fed-x509/FINGERPRINT`.
pub(super) fn by_certificate(
    cloud: &Cloud,
    key_id: &str,
) -> Result<(Principal, PublicKey), Denial> {
    let start = format!("{}/fed-x509/", cloud.settings.account);
    let wanted = key_id.strip_prefix(&start).ok_or(Denial::Unknown)?;
    let mut known = cloud.instances.keys();
    let found = known.find(|name| {
        let certificate = certificate::of_instance(cloud, name);
        certificate.is_some_and(|known| certificate::fingerprint(&known) == wanted)
    });
    let name = found.ok_or(Denial::Unknown)?;
    let key = key::lab_public_key().ok_or(Denial::Unknown)?;
    Ok((instance(cloud, name), key))
}

/// An instance may do what its role allows now, whenever its token was made.
fn instance(cloud: &Cloud, name: &str) -> Principal {
    let instance = cloud.instances.get(name);
    let role = instance.and_then(|instance| instance.role.clone());
    Principal {
        name: name.to_owned(),
        role: role.unwrap_or_default(),
    }
}

/// What an instance sends for a token.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    certificate: String,
    public_key: String,
    #[serde(default)]
    intermediate_certificates: Vec<String>,
}

/// POST /v1/x509: a token for a session key, to who signs with the key of the certificate.
pub(super) fn federate(cloud: &Cloud, call: &Call<'_>) -> Result<Response, Problem> {
    let wanted: Wanted =
        serde_json::from_slice(&call.request.body).map_err(|error| invalid(error.to_string()))?;
    let same = |text: &str, known: Option<Vec<u8>>| {
        let sent = STANDARD.decode(text).ok();
        sent.is_some() && sent == known
    };
    let own = certificate::of_instance(cloud, &call.principal.name);
    let issuer = wanted.intermediate_certificates.iter();
    let mut issuer = issuer.filter(|text| same(text, certificate::of_issuer()));
    if !same(&wanted.certificate, own) || issuer.next().is_none() {
        let message = "the certificate is not that of the signature, or its issuer is missing";
        return Err(Problem::new(401, "NotAuthenticated", message));
    }
    let key = PublicKey::from_pem(&wanted.public_key);
    let key = key.ok_or_else(|| invalid("publicKey is no RSA key"))?;
    let claims = Claims {
        sub: call.principal.name.clone(),
        ptype: "instance".to_owned(),
        instance: call.principal.name.clone(),
        compartment: cloud.settings.group.clone(),
        tenant: cloud.settings.account.clone(),
        iat: call.now.timestamp(),
        exp: (call.now + TOKEN_TIME).timestamp(),
        jwk: key.jwk(),
    };
    let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "HS256", "typ": "JWT" }).to_string());
    let sealed = call.seal.close("oci token", &claims);
    let token = format!("{header}.{sealed}");
    Ok(answer(call, 200, &json!({ "token": token })))
}
