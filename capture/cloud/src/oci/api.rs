//! The Core Services API, version 20160918: signed calls, JSON in and out, pages followed to their end.

use sam_capture::provider::{ErrorClass, NicId, ProviderError, Version};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{NOT_AUTHENTICATED, refused, request_id};
use super::identity::Identity;
use super::metadata::InstanceMetadata;
use super::shapes::{PrivateIp, Vnic, is_ocid};
use super::token::{Federation, Tokens};
use crate::http::{Call, Client, Method, SettingsError, error};
use crate::purpose::Purpose;
use crate::settings::{Endpoints, Settings, Timeouts};

/// OCI as the instance reaches it.
#[derive(Debug)]
pub(super) struct Api {
    client: Client,
    pub(super) tokens: Tokens,
    pub(super) metadata: InstanceMetadata,
    endpoints: Endpoints,
    timeouts: Timeouts,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Ask<'a> {
    method: Method,
    path: String,
    body: Option<Value>,
    version: Option<Version>,
    purpose: Purpose<'a>,
}

impl<'a> Ask<'a> {
    /// Reads.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::Get,
            path: path.into(),
            body: None,
            version: None,
            purpose: Purpose::Look,
        }
    }

    /// Changes something.
    pub(super) fn change(method: Method, path: impl Into<String>, purpose: Purpose<'a>) -> Self {
        Self {
            method,
            path: path.into(),
            body: None,
            version: None,
            purpose,
        }
    }

    pub(super) fn with_body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Only if the version is still this one.
    pub(super) fn if_match(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Reply {
    body: Vec<u8>,
    version: Option<Version>,
    next_page: Option<String>,
    pub(super) request_id: Option<String>,
}

/// Pages of one answer at most.
const MAX_PAGES: usize = 500;

/// Entries of one answer at most, on all its pages: more than the biggest subnet has addresses.
const MAX_ENTRIES: usize = 100_000;

/// Entries that are asked for in a page.
const PAGE: usize = 500;

impl Api {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            client: Client::new(settings)?,
            tokens: Tokens::default(),
            metadata: InstanceMetadata::new(settings)?,
            endpoints: settings.endpoints.clone(),
            timeouts: settings.timeouts,
        })
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Makes a call. When it is refused for token or time, which is before anything happens, then once more with what
    /// is known by then.
    pub(super) fn call(
        &mut self,
        identity: &Identity,
        ask: &Ask<'_>,
    ) -> Result<Reply, ProviderError> {
        match self.attempt(identity, ask) {
            Err(failed) if failed.code == NOT_AUTHENTICATED => {
                self.tokens.forget();
                self.attempt(identity, ask)
            }
            answered => answered,
        }
    }

    fn attempt(&mut self, identity: &Identity, ask: &Ask<'_>) -> Result<Reply, ProviderError> {
        let Identity { region, realm, .. } = identity;
        let known = |endpoint: &Option<String>, service: &str| {
            let usual = || format!("https://{service}.{region}.{realm}");
            let endpoint = endpoint.clone().unwrap_or_else(usual);
            endpoint.trim_end_matches('/').to_owned()
        };
        let changes = ask.purpose.changes();
        let timeout = if changes {
            self.timeouts.change
        } else {
            self.timeouts.read
        };
        let endpoint = known(&self.endpoints.api, "iaas");
        let mut call = Call::new(
            ask.method,
            format!("{endpoint}/20160918/{}", ask.path),
            timeout,
        );
        if let Some(body) = &ask.body {
            call.body = body.to_string().into_bytes();
        }
        if let Some(Version(etag)) = &ask.version {
            call = call.with("if-match", etag);
        }
        let signer = self.tokens.signer(&mut Federation {
            client: &mut self.client,
            metadata: &mut self.metadata,
            endpoint: &known(&self.endpoints.federation, "auth"),
            timeout: self.timeouts.read,
        })?;
        let call = signer.sign(call, self.client.now())?;
        let answer = self.client.send_for(&call, ask.purpose)?;
        if !answer.is_success() {
            return Err(refused(&answer, changes));
        }
        let header = |name: &str| answer.header(name).map(str::to_owned);
        Ok(Reply {
            version: header("etag").map(Version),
            next_page: header("opc-next-page").filter(|page| !page.is_empty()),
            request_id: request_id(&answer),
            body: answer.body,
        })
    }

    /// Reads a document and its version.
    fn read<T: DeserializeOwned>(
        &mut self,
        identity: &Identity,
        path: String,
    ) -> Result<(T, Version), ProviderError> {
        let reply = self.call(identity, &Ask::get(path))?;
        let document = parse(&reply.body)?;
        let version = reply.version.ok_or_else(illegible)?;
        Ok((document, version))
    }

    /// Reads a VNIC. That ours is not there means that we may not see it.
    pub(super) fn vnic(
        &mut self,
        identity: &Identity,
        id: &NicId,
    ) -> Result<(Vnic, Version), ProviderError> {
        let (vnic, version): (Vnic, Version) = self.read(identity, format!("vnics/{id}"))?;
        if is_ocid(&vnic.subnet_id) {
            Ok((vnic, version))
        } else {
            Err(illegible())
        }
    }

    /// Reads a private IP.
    pub(super) fn private_ip(
        &mut self,
        identity: &Identity,
        id: &str,
    ) -> Result<(PrivateIp, Version), ProviderError> {
        if !is_ocid(id) {
            return Err(illegible());
        }
        let (ip, version): (PrivateIp, Version) =
            self.read(identity, format!("privateIps/{id}"))?;
        Ok((ip, version))
    }

    /// Lists private IPs, all pages of them.
    pub(super) fn private_ips(
        &mut self,
        identity: &Identity,
        filter: &str,
    ) -> Result<Vec<PrivateIp>, ProviderError> {
        let first = format!("privateIps?limit={PAGE}&{filter}");
        let mut all: Vec<PrivateIp> = Vec::new();
        let mut path = first.clone();
        for _ in 0..MAX_PAGES {
            let reply = self.call(identity, &Ask::get(path))?;
            all.extend(parse::<Vec<PrivateIp>>(&reply.body)?);
            let Some(page) = reply.next_page else {
                return Ok(all);
            };
            if all.len() > MAX_ENTRIES {
                break;
            }
            let page: String = form_urlencoded::byte_serialize(page.as_bytes()).collect();
            path = format!("{first}&page={page}");
        }
        let message = "the list of private IPs has no end";
        Err(error(ErrorClass::Unavailable, "TooMuch", message))
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ProviderError> {
    serde_json::from_slice(body).map_err(|_| illegible())
}

/// Of what is read; of a change the answer's text does not matter.
fn illegible() -> ProviderError {
    let message = "what OCI answered cannot be read";
    error(ErrorClass::Unavailable, "Illegible", message)
}
