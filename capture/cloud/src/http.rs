//! The one HTTP client: what a call is, what comes back, and whether a failed one may have had an effect.
//!
//! Nothing is repeated here, no redirect is followed, no connection is used twice, and every answer has a bound. What
//! is shown of a call or a failure never contains a header's value or a query.

use std::fmt;
use std::panic::resume_unwind;
use std::slice;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use sam_capture::provider::{ErrorClass, MESSAGE_MAX, ProviderError, Standing};
use ureq::http::{Request, Response};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, RustlsConnector};
use ureq::{Agent, Body, Proxy, ProxyProtocol};

use crate::names::LastGoodResolver;
use crate::purpose::Purpose;
use crate::settings::{Egress, Settings, Timeouts};
use crate::underlay::{Keeper, Sent, UnderlayConnector, WitnessConnector};

/// Bytes of an answer's body at most; a NIC with all its addresses has a tenth of it.
pub const MAX_BODY: u64 = 4 << 20;

/// Methods that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Replaces.
    Put,
    /// Anything else.
    Post,
    /// Removes.
    Delete,
}

impl Method {
    /// Returns it as on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// A call.
#[derive(Clone)]
pub struct Call {
    /// Method.
    pub method: Method,
    /// URL, as a whole.
    pub url: String,
    /// Headers; Host and Content-Length come by themselves.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// How long it may take, as a whole.
    pub timeout: Duration,
}

impl Call {
    /// Makes a call without headers and body.
    #[must_use]
    pub fn new(method: Method, url: impl Into<String>, timeout: Duration) -> Self {
        Self {
            method,
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.split('?').next().unwrap_or_default();
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| *name).collect();
        let length = self.body.len();
        write!(f, "{} {url} {names:?}, {length} bytes", self.method.name())
    }
}

/// An answer, whatever its status.
#[derive(Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} bytes", self.status, self.body.len())
    }
}

impl Answer {
    /// Returns the first header of this name, which is in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Tells whether the status is one of success.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// Returns how long the provider wants to be left alone, at most an hour.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds: u64 = self.header("retry-after")?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds.min(3600)))
    }

    /// Reads a refusal: by what its code means where that is `known`, else by its status. Refused is refused, but after a server
    /// error nobody knows what became of a change.
    pub(crate) fn refusal(
        &self,
        known: Option<ErrorClass>,
        changes: bool,
        code: &str,
        message: &str,
    ) -> ProviderError {
        let unclassified = known.is_none() && self.status < 500;
        let class = match known {
            Some(ErrorClass::Throttled(_)) => ErrorClass::Throttled(self.retry_after()),
            Some(class) => class,
            None if self.status < 500 => ErrorClass::Permanent,
            None if changes => ErrorClass::Unknown,
            None => ErrorClass::Unavailable,
        };
        ProviderError {
            unclassified,
            ..error(class, code, message)
        }
    }

    #[cfg(test)]
    pub(crate) fn of(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let headers = headers.iter();
        Self {
            status,
            headers: headers
                .map(|&(name, value)| (name.into(), value.into()))
                .collect(),
            body: body.into(),
        }
    }

    /// Returns the time at which it was answered, by the clock of who answered.
    fn date(&self) -> Option<DateTime<Utc>> {
        let date = DateTime::parse_from_rfc2822(self.header("date")?).ok()?;
        Some(date.to_utc())
    }
}

/// No answer, or none as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whether anything of the request was sent, so that it may have had an effect.
    pub sent: bool,
    /// What happened.
    pub reason: String,
}

impl Failure {
    /// Says what it means for an operation: after a change that was sent nobody knows.
    #[must_use]
    pub fn into_error(self, changes: bool) -> ProviderError {
        let (class, code) = match (self.sent, changes) {
            (false, _) => (ErrorClass::Unavailable, "NotReachable"),
            (true, false) => (ErrorClass::Unavailable, "AnswerLost"),
            (true, true) => (ErrorClass::Unknown, "AnswerLost"),
        };
        error(class, code, &self.reason)
    }
}

/// Makes an error in our own words.
#[must_use]
pub fn error(class: ErrorClass, code: &str, message: &str) -> ProviderError {
    ProviderError {
        class,
        code: shortened(code, MAX_CODE),
        message: shortened(message, MESSAGE_MAX),
        request_id: None,
        unclassified: false,
    }
}

/// Bytes of a provider's code that are kept.
const MAX_CODE: usize = 120;

/// Cuts a text to a length, and takes control characters out of it.
#[must_use]
pub fn shortened(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for letter in text.chars() {
        let letter = if letter.is_control() { ' ' } else { letter };
        if shown.len() + letter.len_utf8() > most {
            break;
        }
        shown.push(letter);
    }
    shown
}

/// Settings that make no client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {message}")]
pub struct SettingsError {
    /// Which setting.
    pub setting: &'static str,
    /// What is wrong with it, without its value.
    pub message: String,
}

/// Makes calls for one purpose at the same time, each once and by a client of its own, of which there must be as many. What
/// [`Client::send_for`] says of one is true of each of them; the first question is asked for all.
pub fn send_together(
    clients: &mut [Client],
    calls: &[Call],
    purpose: Purpose<'_>,
) -> Vec<Result<Answer, ProviderError>> {
    if let Err(fenced) = purpose.check() {
        return calls.iter().map(|_| Err(fenced.clone())).collect();
    }
    let changes = purpose.changes();
    let keeper = Keeper::new();
    let mut verdicts = vec![Ok(()); calls.len()];
    // The reason is this thread's alone, and connections must be free to go anywhere: so they ask from elsewhere.
    let sent: Vec<Result<Answer, Failure>> = thread::scope(|scope| {
        let lines = clients.iter_mut().zip(calls).enumerate();
        let workers = lines.map(|(number, (client, call))| {
            let door = changes.then(|| client.sent.guard(number, &keeper));
            let worker = thread::Builder::new().name("call".to_owned());
            let worker = worker.spawn_scoped(scope, move || {
                let answer = client.send(call);
                drop(door);
                answer
            });
            worker.map_err(|error| Failure {
                sent: false,
                reason: error.to_string(),
            })
        });
        let workers: Vec<_> = workers.collect();
        keeper.keep(|number| {
            verdicts[number] = purpose.check();
            verdicts[number].is_ok()
        });
        let ended = workers.into_iter().map(|worker| {
            worker.and_then(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        ended.collect()
    });
    let answers = sent.into_iter().zip(verdicts);
    let judged = answers.map(|(sent, verdict)| {
        verdict.and_then(|()| sent.map_err(|failure| failure.into_error(changes)))
    });
    judged.collect()
}

/// A client: for one provider, or for a metadata service.
pub struct Client {
    agent: Agent,
    sent: Sent,
    clock: fn() -> SystemTime,
    offset: Option<TimeDelta>,
    /// When the last answer came, by our clock and by the provider's.
    answered: Option<(Instant, DateTime<Utc>)>,
}

impl Client {
    /// Makes the client that calls a provider.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        Self::build(&settings.egress, settings.timeouts, settings.clock)
    }

    /// Makes the client that calls the metadata service: directly, for that service is a neighbor, and refuses whom a
    /// proxy sends.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn for_metadata(settings: &Settings) -> Result<Self, SettingsError> {
        Self::build(&Egress::default(), settings.timeouts, settings.clock)
    }

    fn build(
        egress: &Egress,
        timeouts: Timeouts,
        clock: fn() -> SystemTime,
    ) -> Result<Self, SettingsError> {
        let proxy = proxy(egress)?;
        let sent = Sent::default();
        let connector = ()
            .chain(ConnectProxyConnector::default())
            .chain(UnderlayConnector {
                source: egress.source,
                interface: egress.interface.clone(),
            })
            .chain(RustlsConnector::default())
            .chain(WitnessConnector {
                sent: sent.clone(),
                proxied: proxy.is_some(),
            });
        let tls = TlsConfig::builder().root_certs(roots(egress)?).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .timeout_resolve(Some(timeouts.connect))
            .timeout_connect(Some(timeouts.connect))
            .user_agent(concat!("samctl/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy)
            .tls_config(tls)
            .build();
        let names = LastGoodResolver::<DefaultResolver>::default();
        let agent = Agent::with_parts(config, connector, names);
        Ok(Self {
            agent,
            sent,
            clock,
            offset: None,
            answered: None,
        })
    }

    /// Makes a call, once.
    ///
    /// # Errors
    /// When no answer came, or not as a whole.
    pub fn send(&mut self, call: &Call) -> Result<Answer, Failure> {
        self.sent.clear();
        let answer = self.exchange(call).map_err(|reason| Failure {
            sent: self.sent.is_set(),
            reason,
        })?;
        if let Some(date) = answer.date() {
            self.offset = Some(date - self.local_time());
        }
        self.answered = Some((Instant::now(), self.now()));
        Ok(answer)
    }

    /// Makes a call for a purpose, once. A change is asked for twice: before anything, and when the connection stands,
    /// for names, TCP and TLS may take seconds.
    ///
    /// # Errors
    /// [`ErrorClass::Fenced`] when the reason for the change has ended, and nothing was sent; else what a missing answer
    /// means for the purpose.
    pub fn send_for(&mut self, call: &Call, purpose: Purpose<'_>) -> Result<Answer, ProviderError> {
        let (clients, calls) = (slice::from_mut(self), slice::from_ref(call));
        let mut answers = send_together(clients, calls, purpose);
        answers.pop().expect("each call has an answer")
    }

    fn exchange(&self, call: &Call) -> Result<Answer, String> {
        let mut request = Request::builder().method(call.method.name()).uri(&call.url);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let malformed = |_| "the request cannot be written".to_owned();
        let timeout = Some(call.timeout);
        let ran = if call.method == Method::Get {
            let request = request.body(()).map_err(malformed)?;
            let request = self.agent.configure_request(request);
            self.agent.run(request.timeout_global(timeout).build())
        } else {
            let request = request.body(&call.body[..]).map_err(malformed)?;
            let request = self.agent.configure_request(request);
            self.agent.run(request.timeout_global(timeout).build())
        };
        let response = ran.map_err(|error| explain(&error))?;
        read(response).map_err(|error| explain(&error))
    }

    /// Returns the provider's time, as far as its answers tell it.
    ///
    /// A clock that is off by more than a quarter of an hour is not corrected: somebody has to look at it.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let usable = |offset: &TimeDelta| (NOISE..=MAX_OFFSET).contains(&offset.abs());
        let offset = self.offset.filter(usable);
        self.local_time() + offset.unwrap_or_default()
    }

    /// Returns how far the provider's clock was ahead of ours at the last answer, to about a second.
    #[must_use]
    pub const fn clock_offset(&self) -> Option<TimeDelta> {
        self.offset
    }

    /// Says how we stood with the provider at its last answer, with credentials that end at `expires`.
    #[must_use]
    pub fn standing(&self, expires: Option<DateTime<Utc>>) -> Standing {
        let Some((answered, then)) = self.answered else {
            return Standing::default();
        };
        Standing {
            answered: Some(answered),
            clock_ahead: self.offset.map(|offset| offset.num_seconds()),
            credentials: expires.map(|at| (at - then).to_std().unwrap_or_default()),
            ..Standing::default()
        }
    }

    fn local_time(&self) -> DateTime<Utc> {
        DateTime::from((self.clock)())
    }
}

impl fmt::Debug for Client {
    /// Shows nothing of the settings: a proxy's may have a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.offset.map(|offset| offset.num_seconds());
        f.debug_struct("Client")
            .field("offset_seconds", &offset)
            .finish_non_exhaustive()
    }
}

/// Less is the resolution of a Date header, and the time that an answer takes.
const NOISE: TimeDelta = TimeDelta::seconds(3);

/// More is not a clock that is a little off.
const MAX_OFFSET: TimeDelta = TimeDelta::minutes(15);

fn proxy(egress: &Egress) -> Result<Option<Proxy>, SettingsError> {
    let wrong = |message: &str| SettingsError {
        setting: "proxy",
        message: message.to_owned(),
    };
    let Some(url) = &egress.proxy else {
        return Ok(None);
    };
    let parsed = Proxy::new(url.expose()).map_err(|_| wrong("it is no URL of a proxy"))?;
    let protocol = parsed.protocol();
    if !matches!(protocol, ProxyProtocol::Http | ProxyProtocol::Https) {
        return Err(wrong("only http:// and https:// proxies are spoken to"));
    }
    let mut builder = Proxy::builder(protocol)
        .host(parsed.host())
        .port(parsed.port())
        .no_proxy(&egress.no_proxy);
    if let Some(name) = parsed.username() {
        builder = builder.username(name);
    }
    if let Some(password) = parsed.password() {
        builder = builder.password(password);
    }
    let proxy = builder.build();
    proxy
        .map(Some)
        .map_err(|_| wrong("it is no URL of a proxy"))
}

fn roots(egress: &Egress) -> Result<RootCerts, SettingsError> {
    let wrong = |message: &str| SettingsError {
        setting: "roots",
        message: message.to_owned(),
    };
    let Some(pem) = &egress.roots else {
        return Ok(RootCerts::WebPki);
    };
    let mut certificates = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(_) => return Err(wrong("it is not PEM")),
        }
    }
    if certificates.is_empty() {
        return Err(wrong("it has no certificate"));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

fn read(mut response: Response<Body>) -> Result<Answer, ureq::Error> {
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let headers = headers.collect();
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(MAX_BODY);
    Ok(Answer {
        status,
        headers,
        body: body.read_to_vec()?,
    })
}

/// Says what happened; ureq's own words may contain the URL.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a foreign list that grows; what is not worth words of its own has failed all the same"
)]
fn explain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(at) => format!("timed out ({at})"),
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => "the name of the host is not known".to_owned(),
        ureq::Error::BodyExceedsLimit(most) => format!("the answer has more than {most} bytes"),
        ureq::Error::ConnectProxyFailed(_) => "the proxy refused".to_owned(),
        ureq::Error::Rustls(error) => format!("TLS: {error}"),
        ureq::Error::Tls(reason) => format!("TLS: {reason}"),
        ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => {
            "the answer is not HTTP".to_owned()
        }
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => "the URL is wrong".to_owned(),
        _ => "the call failed".to_owned(),
    }
}
