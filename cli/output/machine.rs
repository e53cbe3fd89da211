//! JSON and YAML, as the router sent it.

use serde_json::Value;

use crate::exit::{Exit, Failure};

/// Renders JSON, indented, with a line end.
#[must_use]
pub fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Renders YAML.
///
/// # Errors
/// When the value is nested too deeply for YAML.
pub fn yaml(value: &Value) -> Result<String, Failure> {
    serde_saphyr::to_string(value)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot print as YAML: {error}")))
}
