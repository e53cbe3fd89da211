//! Azure Resource Manager's wire: JSON under a bearer token, to one origin only.

use sam_capture::provider::{ErrorClass, ProviderError};
use serde_json::Value;

use super::error::refused;
use super::token::Tokens;
use crate::http::{Answer, Call, Client, Method, SettingsError, error};
use crate::metadata::Metadata;
use crate::purpose::Purpose;
use crate::settings::{Settings, Timeouts};

/// Resource Manager as the instance's identity reaches it.
#[derive(Debug)]
pub(super) struct Arm {
    client: Client,
    pub(super) metadata: Metadata,
    pub(super) tokens: Tokens,
    endpoint: Option<String>,
    environment: Environment,
    pub(super) timeouts: Timeouts,
    /// Calls that the subscription has left, as far as answers tell: those that read, those that change.
    pub(super) left: (Option<u32>, Option<u32>),
}

/// Which of the clouds it is: each has its own Resource Manager.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Environment {
    #[default]
    Public,
    Government,
    China,
}

impl Environment {
    /// Reads the metadata service's name of it.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "" | "AzurePublicCloud" => Some(Self::Public),
            "AzureUSGovernmentCloud" => Some(Self::Government),
            "AzureChinaCloud" => Some(Self::China),
            _ => None,
        }
    }

    const fn endpoint(self) -> &'static str {
        match self {
            Self::Public => "https://management.azure.com",
            Self::Government => "https://management.usgovcloudapi.net",
            Self::China => "https://management.chinacloudapi.cn",
        }
    }
}

/// Headers that tell how many calls the subscription has left.
const READS_LEFT: &str = "x-ms-ratelimit-remaining-subscription-reads";
const WRITES_LEFT: &str = "x-ms-ratelimit-remaining-subscription-writes";

/// Pages of one answer at most.
const MAX_PAGES: usize = 500;

/// Entries of one answer at most, on all its pages.
const MAX_ENTRIES: usize = 20_000;

impl Arm {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let endpoint = settings.endpoints.api.as_deref();
        Ok(Self {
            client: Client::new(settings)?,
            metadata: Metadata::new(settings)?,
            tokens: Tokens::default(),
            endpoint: endpoint.map(|url| url.trim_end_matches('/').to_owned()),
            environment: Environment::default(),
            timeouts: settings.timeouts,
            left: (None, None),
        })
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    pub(super) const fn set_environment(&mut self, environment: Environment) {
        self.environment = environment;
    }

    /// Tells whether it is told where Resource Manager is.
    pub(super) const fn has_endpoint(&self) -> bool {
        self.endpoint.is_some()
    }

    fn endpoint(&self) -> &str {
        let usual = self.environment.endpoint();
        self.endpoint.as_deref().unwrap_or(usual)
    }

    /// Reads a document; the path begins with a slash and has its query.
    pub(super) fn get(&mut self, path: &str) -> Result<Value, ProviderError> {
        let url = format!("{}{path}", self.endpoint());
        let answer = self.ask(&url)?;
        read(&answer, false)
    }

    /// Reads all pages of a list.
    pub(super) fn list(&mut self, path: &str) -> Result<Vec<Value>, ProviderError> {
        let mut url = format!("{}{path}", self.endpoint());
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let answer = self.ask(&url)?;
            let mut page = read(&answer, false)?;
            let Value::Array(entries) = page["value"].take() else {
                return Err(illegible(false));
            };
            all.extend(entries);
            if all.len() > MAX_ENTRIES {
                break;
            }
            match page["nextLink"].as_str() {
                None | Some("") => return Ok(all),
                Some(link) => link.clone_into(&mut url),
            }
        }
        let message = "a list has no end";
        Err(error(ErrorClass::Unavailable, "TooMuch", message))
    }

    /// Reads what is asked for by a document.
    pub(super) fn query(&mut self, path: &str, body: &Value) -> Result<Value, ProviderError> {
        let url = format!("{}{path}", self.endpoint());
        let mut call = Call::new(Method::Post, url, self.timeouts.read);
        call = call.with("content-type", "application/json");
        call.body = body.to_string().into_bytes();
        let answer = self.send(&call, Purpose::Look)?;
        read(&answer, false)
    }

    /// Reads from a URL that Resource Manager gave.
    pub(super) fn ask(&mut self, url: &str) -> Result<Answer, ProviderError> {
        let call = Call::new(Method::Get, url, self.timeouts.read);
        self.send(&call, Purpose::Look)
    }

    /// Changes something, or only asks whether it could; the answer is one of success.
    pub(super) fn change(
        &mut self,
        method: Method,
        path: &str,
        etag: Option<&str>,
        body: &Value,
        purpose: Purpose<'_>,
    ) -> Result<Answer, ProviderError> {
        let url = format!("{}{path}", self.endpoint());
        let patience = if purpose.changes() {
            self.timeouts.change
        } else {
            self.timeouts.read
        };
        let mut call = Call::new(method, url, patience);
        call = call.with("content-type", "application/json");
        if let Some(etag) = etag {
            call = call.with("if-match", etag);
        }
        call.body = body.to_string().into_bytes();
        self.send(&call, purpose)
    }

    /// Sends a call. When its token is refused, which is before anything happens, then once more with a new one.
    fn send(&mut self, call: &Call, purpose: Purpose<'_>) -> Result<Answer, ProviderError> {
        self.check_origin(&call.url)?;
        let mut answer = self.attempt(call, purpose)?;
        if answer.status == 401 {
            self.tokens.forget();
            answer = self.attempt(call, purpose)?;
        }
        if answer.is_success() {
            Ok(answer)
        } else {
            Err(refused(&answer, purpose.changes()))
        }
    }

    fn attempt(&mut self, call: &Call, purpose: Purpose<'_>) -> Result<Answer, ProviderError> {
        let audience = format!("{}/", self.environment.endpoint());
        let token = self.tokens.current(&mut self.metadata, &audience)?;
        let call = call
            .clone()
            .with("authorization", format!("Bearer {}", token.expose()));
        let answer = self.client.send_for(&call, purpose)?;
        let left = |kind: &str| answer.header(kind)?.trim().parse().ok();
        let (reads, writes) = self.left;
        self.left = (left(READS_LEFT).or(reads), left(WRITES_LEFT).or(writes));
        Ok(answer)
    }

    /// The token goes to Resource Manager only, wherever a link in an answer leads.
    fn check_origin(&self, url: &str) -> Result<(), ProviderError> {
        let rest = url.strip_prefix(self.endpoint());
        if rest.is_some_and(|rest| rest.starts_with('/')) {
            return Ok(());
        }
        let message = "a link in an answer leads elsewhere than to Resource Manager";
        Err(error(ErrorClass::Permanent, "ForeignLink", message))
    }
}

/// Reads the document of an answer.
pub(super) fn read(answer: &Answer, changes: bool) -> Result<Value, ProviderError> {
    serde_json::from_slice(&answer.body).map_err(|_| illegible(changes))
}

fn illegible(changes: bool) -> ProviderError {
    let class = if changes {
        ErrorClass::Unknown
    } else {
        ErrorClass::Unavailable
    };
    let message = "what Resource Manager answered cannot be read";
    error(class, "Illegible", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_resource_manager_only() {
        let settings = Settings::new("02:00:00:00:00:01".parse().expect("an address"));
        let mut arm = Arm::new(&settings).expect("a client");
        let good = |arm: &Arm, url: &str| arm.check_origin(url).is_ok();
        assert!(good(&arm, "https://management.azure.com/subscriptions/s"));
        for url in [
            "https://management.azure.com",
            "https://management.azure.com.example.com/x",
            "https://management.azure.com@example.com/x",
            "http://management.azure.com/x",
            "https://management.usgovcloudapi.net/x",
        ] {
            assert!(!good(&arm, url), "{url}");
        }
        arm.set_environment(Environment::Government);
        assert!(good(&arm, "https://management.usgovcloudapi.net/x"));
    }
}
