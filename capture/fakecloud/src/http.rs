//! Requests and answers as values, so that every wire is a function and no socket.

use std::net::{IpAddr, Ipv4Addr};

use chrono::TimeDelta;
use serde_json::Value;

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Method, upper case.
    pub method: String,
    /// Path, still encoded.
    pub path: String,
    /// Query, still encoded, without the question mark.
    pub query: String,
    /// Headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Who called; tells which instance asks its metadata service.
    pub peer: Option<IpAddr>,
}

impl Request {
    /// Returns the first header of this name, which is in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns a value of the query, decoded.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// Returns the parts of the path, decoded where that gives text.
    pub(crate) fn segments(&self) -> Vec<String> {
        let parts = self.path.split('/').filter(|part| !part.is_empty());
        parts
            .map(|part| percent_encoding::percent_decode_str(part).decode_utf8_lossy())
            .map(|part| part.into_owned())
            .collect()
    }

    /// Tells whether an address stands anywhere in the path, query or body, as a whole.
    pub(crate) fn mentions(&self, address: Ipv4Addr) -> bool {
        let address = address.to_string();
        let body = String::from_utf8_lossy(&self.body);
        let texts = [self.path.as_str(), self.query.as_str(), &body];
        let part_of_address = |c: char| c.is_ascii_digit() || c == '.';
        texts.iter().any(|text| {
            text.split(|c| !part_of_address(c))
                .any(|word| word == address)
        })
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("content-type", content_type.to_owned())],
            body: body.into(),
        }
    }

    pub(crate) fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "text/plain", body)
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Returns the first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// How long the answer is held back.
    pub wait: TimeDelta,
    /// The answer.
    pub delivery: Delivery,
}

/// Whether the caller hears of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It gets this answer.
    Answer(Response),
    /// It gets the head of this answer and half of its body, then the connection closes.
    Cut(Response),
    /// The connection closes without an answer.
    Closed,
    /// Nothing comes until the caller gives up.
    Silence,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_mentioned_as_a_whole_only() {
        let request = Request {
            body: b"PrivateIpAddress.1=10.0.0.10&x=1".to_vec(),
            path: "/a/10.0.0.20/b".into(),
            ..Request::default()
        };
        assert!(request.mentions(Ipv4Addr::new(10, 0, 0, 10)));
        assert!(request.mentions(Ipv4Addr::new(10, 0, 0, 20)));
        assert!(!request.mentions(Ipv4Addr::new(10, 0, 0, 1)));
        assert!(!request.mentions(Ipv4Addr::new(10, 0, 0, 2)));
    }
}
