//! The instance metadata service, version 2: facts as JSON, and the certificate of the instance.

use sam_capture::provider::{ErrorClass, ProviderError};
use serde::de::DeserializeOwned;

use crate::http::{Method, SettingsError, error};
use crate::metadata::{Metadata, unreadable};
use crate::settings::Settings;

/// The service.
#[derive(Debug)]
pub(super) struct InstanceMetadata {
    service: Metadata,
}

impl InstanceMetadata {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            service: Metadata::new(settings)?,
        })
    }

    /// Reads `/opc/v2/PATH`, which must be there.
    pub(super) fn read(&mut self, path: &str) -> Result<String, ProviderError> {
        let call = self.service.call(Method::Get, &format!("/opc/v2/{path}"));
        let call = call.with("authorization", "Bearer Oracle");
        let answer = self.service.send(&call)?;
        if answer.status == 404 {
            let message = format!("the metadata service does not know {path}");
            return Err(error(ErrorClass::Unavailable, "MetadataMissing", &message));
        }
        self.service.text(path, answer)
    }

    /// Reads a document.
    pub(super) fn document<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ProviderError> {
        let text = self.read(path)?;
        serde_json::from_str(&text).map_err(|_| unreadable(path))
    }
}
