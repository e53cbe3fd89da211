//! Credentials of the instance's role: fetched when needed, renewed before they end.

use chrono::{DateTime, TimeDelta, Utc};
use sam_capture::provider::{ErrorClass, ProviderError};
use serde::Deserialize;

use super::metadata::InstanceMetadata;
use crate::Secret;
use crate::http::error;
use crate::metadata::unreadable;

/// Credentials for a while.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) key_id: String,
    pub(super) secret: Secret,
    pub(super) token: Option<Secret>,
    pub(super) expires: DateTime<Utc>,
}

/// The role's credentials, as far as they were fetched.
#[derive(Debug, Default)]
pub(super) struct RoleCredentials {
    current: Option<Credentials>,
}

/// New credentials are there at least this long before the old ones end.
const RENEWAL: TimeDelta = TimeDelta::minutes(5);

/// What the metadata service writes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    code: String,
    #[serde(default)]
    access_key_id: String,
    #[serde(default)]
    secret_access_key: String,
    #[serde(default)]
    token: String,
    expiration: Option<String>,
}

const PATH: &str = "meta-data/iam/security-credentials/";

impl RoleCredentials {
    /// Returns credentials that are good: the known ones, or new ones when those end soon. While new ones cannot be
    /// had, the known ones are used to their end.
    pub(super) fn current(
        &mut self,
        metadata: &mut InstanceMetadata,
    ) -> Result<&Credentials, ProviderError> {
        let now = metadata.now();
        let known = self.current.as_ref().map(|known| known.expires);
        if known.is_none_or(|expires| now + RENEWAL >= expires) {
            match fetch(metadata) {
                Ok(credentials) => self.current = Some(credentials),
                Err(_) if known.is_some_and(|expires| now < expires) => {}
                Err(failed) => return Err(failed),
            }
        }
        self.current.as_ref().ok_or_else(no_role)
    }

    /// Forgets credentials that the provider does not accept.
    pub(super) fn forget(&mut self) {
        self.current = None;
    }

    /// Returns until when the known ones are good.
    pub(super) fn expires(&self) -> Option<DateTime<Utc>> {
        self.current.as_ref().map(|known| known.expires)
    }
}

fn no_role() -> ProviderError {
    let message = "the instance has no role: attach an instance profile";
    error(ErrorClass::Denied, "NoRole", message)
}

fn fetch(metadata: &mut InstanceMetadata) -> Result<Credentials, ProviderError> {
    let roles = metadata.find(PATH)?.ok_or_else(no_role)?;
    let role = roles.lines().next().unwrap_or_default().trim();
    if role.is_empty() || role.contains('/') {
        return Err(no_role());
    }
    let text = metadata.read(&format!("{PATH}{role}"))?;
    let document: Document = serde_json::from_str(&text).map_err(|_| unreadable("credentials"))?;
    if document.code != "Success" {
        let message = format!(
            "the metadata service gives no credentials: {}",
            document.code
        );
        return Err(error(ErrorClass::Denied, "NoCredentials", &message));
    }
    let expires = document.expiration.as_deref();
    let expires = expires.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let expires = expires.ok_or_else(|| unreadable("credentials"))?;
    if document.access_key_id.is_empty() || document.secret_access_key.is_empty() {
        return Err(unreadable("credentials"));
    }
    Ok(Credentials {
        key_id: document.access_key_id,
        secret: Secret::new(document.secret_access_key),
        token: (!document.token.is_empty()).then(|| Secret::new(document.token)),
        expires: expires.to_utc(),
    })
}
