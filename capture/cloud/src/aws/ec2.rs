//! EC2's Query wire, version 2016-11-15: signed forms out, XML in, pages followed to their end.

use std::fmt::Display;
use std::time::Duration;

use sam_capture::provider::{ErrorClass, ProviderError};
use serde::Deserialize;

use super::credentials::RoleCredentials;
use super::error::{is_about_credentials, refused};
use super::metadata::InstanceMetadata;
use super::shapes::{Done, Page};
use super::sigv4::{Scope, sign};
use crate::http::{Call, Client, Method, SettingsError, error, shortened};
use crate::purpose::Purpose;
use crate::settings::{Settings, Timeouts};

/// EC2 as the instance's role reaches it.
#[derive(Debug)]
pub(super) struct Ec2 {
    client: Client,
    pub(super) credentials: RoleCredentials,
    endpoint: Option<String>,
    timeouts: Timeouts,
}

/// An action with its parameters.
#[derive(Debug, Clone)]
pub(super) struct Form {
    action: &'static str,
    parameters: Vec<(String, String)>,
}

impl Form {
    pub(super) const fn new(action: &'static str) -> Self {
        Self {
            action,
            parameters: Vec::new(),
        }
    }

    pub(super) const fn action(&self) -> &'static str {
        self.action
    }

    pub(super) fn with(mut self, name: &str, value: impl Display) -> Self {
        self.parameters.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds `NAME.1`, `NAME.2`, ...
    pub(super) fn with_list<T: Display>(
        mut self,
        name: &str,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        for (index, value) in values.into_iter().enumerate() {
            self = self.with(&format!("{name}.{}", index + 1), value);
        }
        self
    }

    /// Adds a filter; each form has at most a few, numbered by the caller.
    pub(super) fn with_filter<T: Display>(
        self,
        number: u8,
        name: &str,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        let filter = format!("Filter.{number}");
        self.with(&format!("{filter}.Name"), name)
            .with_list(&format!("{filter}.Value"), values)
    }

    fn encoded(&self) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", self.action);
        form.append_pair("Version", "2016-11-15");
        form.extend_pairs(&self.parameters);
        form.finish()
    }
}

/// A change is answered within a second or two; later it is not worth waiting for.
const LONGEST_CHANGE: Duration = Duration::from_secs(10);

/// Pages of one answer at most.
const MAX_PAGES: usize = 500;

/// Entries of one answer at most, on all its pages: more than the biggest subnet has addresses.
const MAX_ENTRIES: usize = 100_000;

impl Ec2 {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            client: Client::new(settings)?,
            credentials: RoleCredentials::default(),
            endpoint: settings.endpoints.api.clone(),
            timeouts: settings.timeouts,
        })
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Asks for something that comes in pages, and returns all of it.
    pub(super) fn describe<P: Page>(
        &mut self,
        metadata: &mut InstanceMetadata,
        region: &str,
        form: &Form,
    ) -> Result<Vec<P::Entry>, ProviderError> {
        let mut all = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let form = match &next {
                None => form.clone(),
                Some(token) => form.clone().with("NextToken", token),
            };
            let body = self.call(metadata, region, &form, Purpose::Look)?;
            let page: P = parse(&body, form.action, false)?;
            let (entries, token) = page.into_parts();
            all.extend(entries);
            if all.len() > MAX_ENTRIES {
                break;
            }
            match token.filter(|token| !token.is_empty()) {
                None => return Ok(all),
                Some(token) => next = Some(token),
            }
        }
        let message = format!("the answer to {} has no end", form.action);
        Err(error(ErrorClass::Unavailable, "TooMuch", &message))
    }

    /// Changes something, and returns the number of the request.
    pub(super) fn change(
        &mut self,
        metadata: &mut InstanceMetadata,
        region: &str,
        form: &Form,
        purpose: Purpose<'_>,
    ) -> Result<Option<String>, ProviderError> {
        let body = self.call(metadata, region, form, purpose)?;
        let done: Done = parse(&body, form.action, true)?;
        if done.done == Some(false) {
            let message = format!("{} says that it was not done", form.action);
            return Err(error(ErrorClass::Unknown, "NotDone", &message));
        }
        Ok(done.request_id.map(|id| shortened(&id, 100)))
    }

    /// Makes a call. When it is refused for credentials or time, which is before anything happens, then once more with
    /// what is known by then.
    pub(super) fn call(
        &mut self,
        metadata: &mut InstanceMetadata,
        region: &str,
        form: &Form,
        purpose: Purpose<'_>,
    ) -> Result<String, ProviderError> {
        match self.attempt(metadata, region, form, purpose) {
            Err(failed) if is_about_credentials(&failed.code) => {
                self.credentials.forget();
                self.attempt(metadata, region, form, purpose)
            }
            answered => answered,
        }
    }

    fn attempt(
        &mut self,
        metadata: &mut InstanceMetadata,
        region: &str,
        form: &Form,
        purpose: Purpose<'_>,
    ) -> Result<String, ProviderError> {
        let credentials = self.credentials.current(metadata)?;
        let endpoint = self.endpoint.clone();
        let endpoint = endpoint.unwrap_or_else(|| default_endpoint(region));
        let endpoint = endpoint.trim_end_matches('/');
        let timeout = if purpose.changes() {
            self.timeouts.change.min(LONGEST_CHANGE)
        } else {
            self.timeouts.read
        };
        let mut call = Call::new(Method::Post, format!("{endpoint}/"), timeout).with(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        );
        call.body = form.encoded().into_bytes();
        let scope = Scope {
            region,
            service: "ec2",
        };
        let call = sign(call, host(endpoint), credentials, scope, self.client.now());
        let changes = purpose.changes();
        let answer = self.client.send_for(&call, purpose)?;
        if !answer.is_success() {
            return Err(refused(&answer, changes));
        }
        String::from_utf8(answer.body).map_err(|_| illegible(form.action, changes))
    }
}

fn parse<T: for<'de> Deserialize<'de>>(
    body: &str,
    action: &str,
    changes: bool,
) -> Result<T, ProviderError> {
    quick_xml::de::from_str(body).map_err(|_| illegible(action, changes))
}

fn illegible(action: &str, changes: bool) -> ProviderError {
    let class = if changes {
        ErrorClass::Unknown
    } else {
        ErrorClass::Unavailable
    };
    let message = format!("what was answered to {action} cannot be read");
    error(class, "Illegible", &message)
}

/// Returns the part of a URL that goes into the header Host.
fn host(endpoint: &str) -> &str {
    let rest = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// Where EC2 is in a region; partitions have domains of their own.
fn default_endpoint(region: &str) -> String {
    let domain = match region {
        region if region.starts_with("cn-") => "amazonaws.com.cn",
        region if region.starts_with("eusc-") => "amazonaws.eu",
        region if region.starts_with("us-iso-") => "c2s.ic.gov",
        region if region.starts_with("us-isob-") => "sc2s.sgov.gov",
        _ => "amazonaws.com",
    };
    format!("https://ec2.{region}.{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_its_domain() {
        let endpoints = [
            ("eu-central-1", "https://ec2.eu-central-1.amazonaws.com"),
            ("us-gov-west-1", "https://ec2.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "https://ec2.cn-north-1.amazonaws.com.cn"),
        ];
        for (region, endpoint) in endpoints {
            assert_eq!(default_endpoint(region), endpoint);
        }
        assert_eq!(host("http://127.0.0.1:8080/x"), "127.0.0.1:8080");
    }

    #[test]
    fn lists_and_filters_are_numbered() {
        let form = Form::new("DescribeNetworkInterfaces").with_filter(1, "subnet-id", ["s"]);
        let form = form.with_list("PrivateIpAddress", ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(
            form.encoded(),
            "Action=DescribeNetworkInterfaces&Version=2016-11-15&Filter.1.Name=subnet-id&Filter.1.Value.1=s\
             &PrivateIpAddress.1=10.0.0.1&PrivateIpAddress.2=10.0.0.2"
        );
    }
}
