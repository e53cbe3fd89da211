//! The Core Services API, version 20160918: signed calls, JSON in and out, pages followed to their end.

use std::iter;
use std::net::Ipv4Addr;

use sam_capture::provider::{ErrorClass, NicId, ProviderError, Version};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{NOT_AUTHENTICATED, refused, request_id};
use super::identity::Identity;
use super::metadata::InstanceMetadata;
use super::shapes::{Instance, PrivateIp, Vnic, VnicAttachment, is_ocid};
use super::token::{Federation, Tokens};
use crate::http::{Answer, Call, Client, Method, SettingsError, error, send_together};
use crate::purpose::Purpose;
use crate::settings::Settings;

/// OCI as the instance reaches it.
#[derive(Debug)]
pub(super) struct Api {
    client: Client,
    /// Clients for calls at the same time, as many as were ever needed.
    lines: Vec<Client>,
    settings: Settings,
    pub(super) tokens: Tokens,
    pub(super) metadata: InstanceMetadata,
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

/// Calls at the same time at most.
const IN_FLIGHT: usize = 8;

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
            lines: Vec::new(),
            settings: settings.clone(),
            tokens: Tokens::default(),
            metadata: InstanceMetadata::new(settings)?,
        })
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the one that makes single calls, and those that make calls at the same time.
    pub(super) fn clients(&self) -> impl Iterator<Item = &Client> {
        iter::once(&self.client).chain(&self.lines)
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
        let call = self.sign(identity, ask)?;
        let answer = self.client.send_for(&call, ask.purpose)?;
        read_answer(answer, ask)
    }

    /// Makes calls for one purpose, up to [`IN_FLIGHT`] of them at the same time; each is answered by itself. After a
    /// failure no further changes are begun: they are not in the list of answers.
    pub(super) fn call_all(
        &mut self,
        identity: &Identity,
        asks: &[Ask<'_>],
    ) -> Vec<Result<Reply, ProviderError>> {
        let mut replies = Vec::with_capacity(asks.len());
        for round in asks.chunks(IN_FLIGHT) {
            replies.extend(self.call_together(identity, round));
            if round[0].purpose.changes() && replies.iter().any(Result::is_err) {
                break;
            }
        }
        replies
    }

    fn call_together(
        &mut self,
        identity: &Identity,
        asks: &[Ask<'_>],
    ) -> Vec<Result<Reply, ProviderError>> {
        let purpose = asks[0].purpose;
        let calls = match self.prepare(identity, asks) {
            Ok(calls) => calls,
            Err(failed) => return asks.iter().map(|_| Err(failed.clone())).collect(),
        };
        let answers = send_together(&mut self.lines, &calls, purpose);
        let answered = answers.into_iter().zip(asks);
        let replies = answered.map(|(answer, ask)| read_answer(answer?, ask));
        let mut replies: Vec<_> = replies.collect();
        let is_refused = |reply: &Result<Reply, ProviderError>| {
            let failed = reply.as_ref().err();
            failed.is_some_and(|failed| failed.code == NOT_AUTHENTICATED)
        };
        if replies.iter().any(is_refused) {
            self.tokens.forget();
        }
        for (reply, ask) in replies.iter_mut().zip(asks) {
            if is_refused(reply) {
                *reply = self.attempt(identity, ask);
            }
        }
        replies
    }

    /// Signs calls, and has a client for each.
    fn prepare(
        &mut self,
        identity: &Identity,
        asks: &[Ask<'_>],
    ) -> Result<Vec<Call>, ProviderError> {
        while self.lines.len() < asks.len() {
            let client = Client::new(&self.settings);
            let unfit = |unfit: SettingsError| unfit.to_string();
            let client = client
                .map_err(|failed| error(ErrorClass::Permanent, "Settings", &unfit(failed)))?;
            self.lines.push(client);
        }
        asks.iter().map(|ask| self.sign(identity, ask)).collect()
    }

    fn sign(&mut self, identity: &Identity, ask: &Ask<'_>) -> Result<Call, ProviderError> {
        let Identity { region, realm, .. } = identity;
        let known = |endpoint: &Option<String>, service: &str| {
            let usual = || format!("https://{service}.{region}.{realm}");
            let endpoint = endpoint.clone().unwrap_or_else(usual);
            endpoint.trim_end_matches('/').to_owned()
        };
        let changes = ask.purpose.changes();
        let timeout = if changes {
            self.settings.timeouts.change
        } else {
            self.settings.timeouts.read
        };
        let endpoint = known(&self.settings.endpoints.api, "iaas");
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
            endpoint: &known(&self.settings.endpoints.federation, "auth"),
            timeout: self.settings.timeouts.read,
        })?;
        signer.sign(call, self.client.now())
    }

    /// Reads a document and its version.
    fn read<T: DeserializeOwned>(
        &mut self,
        identity: &Identity,
        path: String,
    ) -> Result<(T, Version), ProviderError> {
        let reply = self.call(identity, &Ask::get(path))?;
        read_document(reply)
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

    /// Reads several private IPs at the same time.
    pub(super) fn private_ips_of(
        &mut self,
        identity: &Identity,
        ids: &[&str],
    ) -> Result<Vec<(PrivateIp, Version)>, ProviderError> {
        if !ids.iter().all(|id| is_ocid(id)) {
            return Err(illegible());
        }
        let asks = ids.iter().map(|id| Ask::get(format!("privateIps/{id}")));
        let replies = self.call_all(identity, &asks.collect::<Vec<_>>());
        replies
            .into_iter()
            .map(|reply| read_document(reply?))
            .collect()
    }

    /// Finds the private IPs with some addresses of a subnet.
    pub(super) fn private_ips_with(
        &mut self,
        identity: &Identity,
        subnet: &str,
        addresses: impl IntoIterator<Item = Ipv4Addr>,
    ) -> Result<Vec<PrivateIp>, ProviderError> {
        let addresses: Vec<Ipv4Addr> = addresses.into_iter().collect();
        let filter = |address: &Ipv4Addr| format!("subnetId={subnet}&ipAddress={address}");
        let asks = addresses.iter().map(|address| {
            let filter = filter(address);
            Ask::get(format!("privateIps?limit={PAGE}&{filter}"))
        });
        let replies = self.call_all(identity, &asks.collect::<Vec<_>>());
        let mut found = Vec::new();
        for (address, reply) in addresses.iter().zip(replies) {
            let reply = reply?;
            let listed = if reply.next_page.is_some() {
                self.private_ips(identity, &filter(address))?
            } else {
                parse(&reply.body)?
            };
            let listed = listed.into_iter();
            found.extend(listed.filter(|ip: &PrivateIp| ip.ip_address == *address));
        }
        Ok(found)
    }

    /// Lists private IPs, all pages of them.
    pub(super) fn private_ips(
        &mut self,
        identity: &Identity,
        filter: &str,
    ) -> Result<Vec<PrivateIp>, ProviderError> {
        self.list(identity, "privateIps", filter)
    }

    /// Lists whose the VNICs of our compartment are.
    pub(super) fn vnic_attachments(
        &mut self,
        identity: &Identity,
    ) -> Result<Vec<VnicAttachment>, ProviderError> {
        let filter = format!("compartmentId={}", identity.compartment);
        self.list(identity, "vnicAttachments", &filter)
    }

    /// Lists the virtual machines of our compartment.
    pub(super) fn instances(
        &mut self,
        identity: &Identity,
    ) -> Result<Vec<Instance>, ProviderError> {
        let filter = format!("compartmentId={}", identity.compartment);
        self.list(identity, "instances", &filter)
    }

    /// Reads all pages of a list.
    fn list<T: DeserializeOwned>(
        &mut self,
        identity: &Identity,
        kind: &str,
        filter: &str,
    ) -> Result<Vec<T>, ProviderError> {
        let first = format!("{kind}?limit={PAGE}&{filter}");
        let mut all: Vec<T> = Vec::new();
        let mut path = first.clone();
        for _ in 0..MAX_PAGES {
            let reply = self.call(identity, &Ask::get(path))?;
            all.extend(parse::<Vec<T>>(&reply.body)?);
            let Some(page) = reply.next_page else {
                return Ok(all);
            };
            if all.len() > MAX_ENTRIES {
                break;
            }
            let page: String = form_urlencoded::byte_serialize(page.as_bytes()).collect();
            path = format!("{first}&page={page}");
        }
        let message = format!("the list of {kind} has no end");
        Err(error(ErrorClass::Unavailable, "TooMuch", &message))
    }
}

fn read_answer(answer: Answer, ask: &Ask<'_>) -> Result<Reply, ProviderError> {
    if !answer.is_success() {
        return Err(refused(&answer, ask.purpose.changes()));
    }
    let header = |name: &str| answer.header(name).map(str::to_owned);
    Ok(Reply {
        version: header("etag").map(Version),
        next_page: header("opc-next-page").filter(|page| !page.is_empty()),
        request_id: request_id(&answer),
        body: answer.body,
    })
}

fn read_document<T: DeserializeOwned>(reply: Reply) -> Result<(T, Version), ProviderError> {
    let document = parse(&reply.body)?;
    let version = reply.version.ok_or_else(illegible)?;
    Ok((document, version))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ProviderError> {
    serde_json::from_slice(body).map_err(|_| illegible())
}

/// Of what is read; of a change the answer's text does not matter.
fn illegible() -> ProviderError {
    let message = "what OCI answered cannot be read";
    error(ErrorClass::Unavailable, "Illegible", message)
}
