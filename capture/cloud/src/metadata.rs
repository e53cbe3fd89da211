//! The metadata service of an instance: a neighbor that says who we are and gives out credentials.
//!
//! It answers over plain HTTP on a link-local address, so it is never called through a proxy. A 404 of it is an answer
//! ("there is no such thing"), anything else but success is none.

use sam_capture::provider::{ErrorClass, ProviderError};

use crate::http::{Answer, Call, Client, Method, SettingsError, error};
use crate::settings::Settings;

/// Where all three providers have it.
pub const ENDPOINT: &str = "http://169.254.169.254";

/// A metadata service.
#[derive(Debug)]
pub struct Metadata {
    client: Client,
    base: String,
    timeout: std::time::Duration,
}

impl Metadata {
    /// Makes a client of it.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let base = settings.endpoints.metadata.as_deref().unwrap_or(ENDPOINT);
        Ok(Self {
            client: Client::for_metadata(settings)?,
            base: base.trim_end_matches('/').to_owned(),
            timeout: settings.timeouts.metadata,
        })
    }

    /// Prepares a call; the path begins with a slash.
    #[must_use]
    pub fn call(&self, method: Method, path: &str) -> Call {
        Call::new(method, format!("{}{path}", self.base), self.timeout)
    }

    /// Makes a call, whatever is answered.
    ///
    /// # Errors
    /// When nothing is answered.
    pub fn send(&mut self, call: &Call) -> Result<Answer, ProviderError> {
        let sent = self.client.send(call);
        sent.map_err(|failure| {
            let mut failed = failure.into_error(false);
            failed.code = "MetadataUnreachable".to_owned();
            failed
        })
    }

    /// Returns the text of a successful answer.
    ///
    /// # Errors
    /// When it is none, or no text.
    pub fn text(&self, what: &str, answer: Answer) -> Result<String, ProviderError> {
        if !answer.is_success() {
            let message = format!("{what}: the metadata service answered {}", answer.status);
            return Err(error(ErrorClass::Unavailable, "MetadataRefused", &message));
        }
        String::from_utf8(answer.body).map_err(|_| unreadable(what))
    }

    /// Returns the time, by our own clock.
    #[must_use]
    pub fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.client.now()
    }
}

/// An answer of the metadata service that cannot be read.
#[must_use]
pub fn unreadable(what: &str) -> ProviderError {
    let message = format!("{what}: what the metadata service answered cannot be read");
    error(ErrorClass::Unavailable, "MetadataUnreadable", &message)
}
