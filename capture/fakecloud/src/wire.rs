//! What the provider wires have in common: a call, who makes it, and what can go wrong before it is understood.

use chrono::TimeDelta;

use crate::Time;
use crate::cloud::{Cause, Cloud};
use crate::fault::OperationTrouble;
use crate::http::{Request, Response};
use crate::nic::Nic;
use crate::seal::Seal;

/// A provider's way to ask, to answer and to refuse.
pub(crate) trait Wire: std::fmt::Debug {
    /// Names the operation that a request asks for.
    fn operation(&self, request: &Request) -> String;

    /// Finds out who asks.
    fn authenticate(
        &self,
        cloud: &Cloud,
        seal: &Seal,
        request: &Request,
        now: Time,
    ) -> Result<Principal, Denial>;

    /// Does what is asked for.
    fn execute(&self, cloud: &mut Cloud, call: &Call<'_>) -> Result<Response, Problem>;

    /// Names what calls are counted together with this one: at most providers all that read, and all that change.
    fn throttled_action<'a>(&self, _operation: &'a str, writes: bool) -> &'a str {
        if writes { "write" } else { "read" }
    }

    /// Says in an answer how many such calls are left, where the provider does.
    fn with_rest(&self, response: Response, _writes: bool, _left: u32) -> Response {
        response
    }

    /// Puts a denial into the provider's words.
    fn deny(&self, denial: &Denial) -> Problem;

    /// Puts a refusal into the provider's form.
    fn render(&self, problem: &Problem, request_id: &str) -> Response;

    /// Answers what an instance asks its metadata service.
    fn metadata(&self, cloud: &Cloud, question: &Question<'_>) -> Response;
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    /// Instance or key.
    pub(crate) name: String,
    pub(crate) role: String,
}

/// Why a call is not even looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denial {
    /// It says not who asks.
    Anonymous,
    /// Its signature or token cannot be read.
    Malformed(&'static str),
    /// Nobody has this key or token, or the signature is wrong.
    Unknown,
    /// The token is too old.
    Expired,
    /// It was made at another time than now.
    Skewed,
    /// Too many calls.
    Throttled(TimeDelta),
}

/// A call that is understood.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    pub(crate) operation: &'a str,
    pub(crate) principal: &'a Principal,
    pub(crate) seal: &'a Seal,
    pub(crate) id: &'a str,
    pub(crate) now: Time,
    /// The time that reads are of.
    pub(crate) as_of: Time,
    pub(crate) partial: Option<usize>,
    pub(crate) revoked: bool,
    pub(crate) trouble: Option<OperationTrouble>,
}

/// What an instance asks its metadata service.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) request: &'a Request,
    pub(crate) instance: &'a str,
    /// Path as the instance sees it.
    pub(crate) path: &'a str,
    pub(crate) seal: &'a Seal,
    pub(crate) now: Time,
    pub(crate) as_of: Time,
}

/// A refusal in a provider's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    /// Code and message of what is behind it.
    pub(crate) detail: Option<(String, String)>,
    /// Seconds.
    pub(crate) retry_after: Option<u32>,
}

impl Problem {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
            detail: None,
            retry_after: None,
        }
    }
}

impl Call<'_> {
    /// Tells whether the caller may do this, to this NIC.
    pub(crate) fn may(&self, cloud: &Cloud, permission: &str, nic: Option<&Nic>) -> bool {
        let policy = cloud.roles.get(&self.principal.role);
        !self.revoked && policy.is_some_and(|policy| policy.permits(permission, nic))
    }

    /// Returns the part of a batch that a fault lets through, and whether that is not all.
    pub(crate) fn portion<T>(&self, mut batch: Vec<T>) -> (Vec<T>, bool) {
        let Some(count) = self.partial.filter(|count| *count < batch.len()) else {
            return (batch, false);
        };
        batch.truncate(count);
        (batch, true)
    }

    pub(crate) fn cause(&self) -> Cause {
        Cause {
            principal: self.principal.name.clone(),
            operation: self.operation.to_owned(),
            request: self.id.to_owned(),
            now: self.now,
        }
    }
}

/// Tells whether an operation of this name only reads.
pub(crate) fn reads(operation: &str) -> bool {
    ["Describe", "Get", "List", "Check"]
        .iter()
        .any(|verb| operation.starts_with(verb))
}

/// How far the clock of a caller may be off.
pub(crate) const MAX_SKEW: TimeDelta = TimeDelta::minutes(5);
