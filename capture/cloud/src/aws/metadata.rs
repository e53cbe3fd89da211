//! The instance metadata service, version 2: a token first, then facts by path.

use chrono::{DateTime, TimeDelta, Utc};
use sam_capture::provider::{ErrorClass, ProviderError};

use crate::Secret;
use crate::http::{Method, SettingsError, error, shortened};
use crate::metadata::Metadata;
use crate::settings::Settings;

/// The service with its token, which is good for many questions.
#[derive(Debug)]
pub(super) struct InstanceMetadata {
    service: Metadata,
    token: Option<Token>,
}

#[derive(Debug)]
struct Token {
    text: Secret,
    /// A new one is fetched from then on: whoever asks for one each time is refused under load.
    stale: DateTime<Utc>,
}

/// Lifetime of a token, the longest that is given out.
const TOKEN_SECONDS: i64 = 21_600;

/// The part of its lifetime, in percent, after which a new one is fetched.
const STALE_PERCENT: i32 = 80;

impl InstanceMetadata {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            service: Metadata::new(settings)?,
            token: None,
        })
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.service.now()
    }

    /// Reads `/latest/PATH`; `None` when there is no such thing.
    pub(super) fn find(&mut self, path: &str) -> Result<Option<String>, ProviderError> {
        let mut answer = self.ask(path)?;
        if answer.status == 401 {
            self.token = None;
            answer = self.ask(path)?;
        }
        if answer.status == 404 {
            return Ok(None);
        }
        self.service.text(path, answer).map(Some)
    }

    /// Reads `/latest/PATH`, which must be there.
    pub(super) fn read(&mut self, path: &str) -> Result<String, ProviderError> {
        self.find(path)?.ok_or_else(|| {
            let message = format!(
                "the metadata service does not know {}",
                shortened(path, 200)
            );
            error(ErrorClass::Unavailable, "MetadataMissing", &message)
        })
    }

    fn ask(&mut self, path: &str) -> Result<crate::http::Answer, ProviderError> {
        let token = self.token()?;
        let call = self.service.call(Method::Get, &format!("/latest/{path}"));
        let call = call.with("x-aws-ec2-metadata-token", token.expose());
        self.service.send(&call)
    }

    fn token(&mut self) -> Result<Secret, ProviderError> {
        let now = self.service.now();
        if let Some(token) = &self.token
            && now < token.stale
        {
            return Ok(token.text.clone());
        }
        let call = self.service.call(Method::Put, "/latest/api/token");
        let call = call.with(
            "x-aws-ec2-metadata-token-ttl-seconds",
            TOKEN_SECONDS.to_string(),
        );
        let answer = self.service.send(&call).map_err(|mut failed| {
            failed.message = format!(
                "no token: {} (in a namespace or container: is the hop limit of the instance's metadata options \
                 high enough?)",
                failed.message
            );
            failed
        })?;
        let given = answer.header("x-aws-ec2-metadata-token-ttl-seconds");
        let given = given.and_then(|text| text.parse().ok());
        let lifetime = TimeDelta::seconds(given.unwrap_or(TOKEN_SECONDS).clamp(1, TOKEN_SECONDS));
        let text = Secret::new(self.service.text("api/token", answer)?);
        let token = self.token.insert(Token {
            text,
            stale: now + lifetime * STALE_PERCENT / 100,
        });
        Ok(token.text.clone())
    }
}
