//! `samctl events`: one line per event, `name key=value …`.

use sam_router::Event;
use serde::Deserialize;
use serde_json::Value;

use super::{Mark, colored};

/// Renders one line of the stream: the time when the router gives one, the name, then the members.
///
/// What is no event object is shown as it came, so that nothing of a newer router gets lost.
#[must_use]
pub fn event_line(line: &str, color: bool) -> String {
    let Ok(Value::Object(mut members)) = serde_json::from_str(line) else {
        return line.to_owned();
    };
    let event = Event::deserialize(Value::Object(members.clone()));
    let time = members
        .remove("time")
        .map(|time| format!("{} ", scalar(&time)));
    let Some(name) = members.remove("event") else {
        return line.to_owned();
    };
    let mark = match event {
        Ok(event) if event.is_warning() => Mark::Attention,
        Ok(_) => Mark::Strong,
        Err(_) => Mark::Dim,
    };
    let mut text = time.unwrap_or_default();
    text.push_str(&colored(color, mark, &scalar(&name)));
    for (key, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        text.push_str(&format!(" {key}={}", scalar(value)));
    }
    text
}

/// A value without quotes where none are needed.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() || text.contains([' ', '"', '=']) => {
            value.to_string()
        }
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(scalar).collect::<Vec<_>>().join(","),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_one_line_of_names_and_values() {
        let cases = [
            (r#"{"event":"session-up","node":2}"#, "session-up node=2"),
            (
                r#"{"time":"2026-11-21T12:00:00Z","event":"session-down","node":2,"reason":"hold timer expired"}"#,
                r#"2026-11-21T12:00:00Z session-down node=2 reason="hold timer expired""#,
            ),
            (
                r#"{"event":"duplicate-owner","address":"10.0.0.1","nodes":[1,2]}"#,
                "duplicate-owner address=10.0.0.1 nodes=1,2",
            ),
            (
                r#"{"event":"owner-changed","address":"10.0.0.1","from":null,"to":2}"#,
                "owner-changed address=10.0.0.1 to=2",
            ),
            (r#"{"event":"of-tomorrow","x":1}"#, "of-tomorrow x=1"),
            ("not json", "not json"),
            (r#"{"no":"name"}"#, r#"{"no":"name"}"#),
        ];
        for (line, text) in cases {
            assert_eq!(event_line(line, false), text);
        }
    }
}
