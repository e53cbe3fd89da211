//! Tokens of the instance's managed identity, straight from the metadata service.

use chrono::{DateTime, TimeDelta, Utc};
use sam_capture::provider::{ErrorClass, ProviderError};
use serde::Deserialize;

use crate::Secret;
use crate::http::{Method, error};
use crate::metadata::{Metadata, unreadable};

/// The identity's token, as far as it was fetched.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    current: Option<Token>,
    /// Which of several identities; without, the only one.
    pub(super) client_id: Option<String>,
}

#[derive(Debug)]
struct Token {
    text: Secret,
    expires: DateTime<Utc>,
    /// A new one is fetched from then on, so that none is missing when the service is slow.
    stale: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Document {
    access_token: String,
    /// Seconds, as text.
    expires_in: String,
}

/// Seconds for which a token may be good at most.
const MAX_SECONDS: i64 = 7 * 86_400;

impl Tokens {
    /// Returns a token that is good. From half its life on a new one is fetched; while none can be had, the old one
    /// is used to its end.
    pub(super) fn current(
        &mut self,
        metadata: &mut Metadata,
        audience: &str,
    ) -> Result<Secret, ProviderError> {
        let now = metadata.now();
        if let Some(known) = &self.current
            && now < known.stale
        {
            return Ok(known.text.clone());
        }
        match self.fetch(metadata, audience, now) {
            Ok(token) => Ok(self.current.insert(token).text.clone()),
            Err(failed) => match &self.current {
                Some(known) if now < known.expires => Ok(known.text.clone()),
                _ => Err(failed),
            },
        }
    }

    /// Forgets a token that the provider does not accept.
    pub(super) fn forget(&mut self) {
        self.current = None;
    }

    /// Returns until when the known one is good.
    pub(super) fn expires(&self) -> Option<DateTime<Utc>> {
        self.current.as_ref().map(|known| known.expires)
    }

    fn fetch(
        &self,
        metadata: &mut Metadata,
        audience: &str,
        now: DateTime<Utc>,
    ) -> Result<Token, ProviderError> {
        let encode =
            |text| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC);
        let mut path = format!(
            "/metadata/identity/oauth2/token?api-version=2018-02-01&resource={}",
            encode(audience)
        );
        if let Some(client) = &self.client_id {
            path = format!("{path}&client_id={}", encode(client));
        }
        let call = metadata.call(Method::Get, &path).with("metadata", "true");
        let answer = metadata.send(&call)?;
        if answer.status == 400 {
            let message = "the metadata service gives no token: does the instance have this managed identity?";
            return Err(error(ErrorClass::Denied, "NoIdentity", message));
        }
        let text = metadata.text("token", answer)?;
        let document: Document = serde_json::from_str(&text).map_err(|_| unreadable("token"))?;
        let seconds: i64 = document
            .expires_in
            .parse()
            .map_err(|_| unreadable("token"))?;
        let life = TimeDelta::seconds(seconds.clamp(0, MAX_SECONDS));
        Ok(Token {
            text: Secret::new(document.access_token),
            expires: now + life,
            stale: now + life / 2,
        })
    }
}
