//! Verbs that show a view: fetch the JSON, then print it as it is or as text made from it.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Streams;
use crate::args::Format;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::{Text, machine};

/// Whom to ask and how to print.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The router.
    pub client: &'a Client,
    /// Form of the output.
    pub format: Format,
}

/// An answer: what came and what it means.
#[derive(Debug)]
pub struct Document<V> {
    /// What came, fields unknown to this program included.
    pub json: Value,
    /// What it means.
    pub view: V,
}

impl Request<'_> {
    /// Fetches a view.
    ///
    /// # Errors
    /// When no router answers, it refuses, or it speaks another version of the API.
    pub fn document<V: DeserializeOwned>(&self, path: &str) -> Result<Document<V>, Failure> {
        let body = self.client.fetch(path)?;
        self.read(path, &body)
    }

    /// Gives an order that takes its time, and reads the answer.
    ///
    /// # Errors
    /// When no router answers in time, it refuses, or it speaks another version of the API.
    pub fn order<V: DeserializeOwned>(
        &self,
        path: &str,
        order: &Value,
        patience: Duration,
    ) -> Result<Document<V>, Failure> {
        let body = self.client.order_within(path, order, patience)?;
        self.read(path, &body)
    }

    fn read<V: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<Document<V>, Failure> {
        let unreadable = |error: serde_json::Error| {
            let error = format!("the router's answer to {path} cannot be read: {error}");
            Failure::new(Exit::Failed, error)
                .remedy("compare the versions of router and tool with `samctl version`")
        };
        let json: Value = serde_json::from_slice(body).map_err(unreadable)?;
        let view = V::deserialize(&json).map_err(unreadable)?;
        Ok(Document { json, view })
    }

    /// Prints a view.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn print<V: Text>(
        &self,
        document: &Document<V>,
        streams: &mut Streams<'_>,
    ) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => document.view.text(streams.color_stdout),
            Format::Json => machine::json(&document.json),
            Format::Yaml => machine::yaml(&document.json)?,
        };
        streams.stdout.write_all(text.as_bytes())?;
        Ok(streams.stdout.flush()?)
    }
}

/// Fetches and prints a view.
///
/// # Errors
/// When it cannot be fetched or written.
pub fn show<V: DeserializeOwned + Text>(
    request: &Request<'_>,
    path: &str,
    streams: &mut Streams<'_>,
) -> Result<Exit, Failure> {
    let document = request.document::<V>(path)?;
    request.print(&document, streams)?;
    Ok(Exit::Ok)
}
