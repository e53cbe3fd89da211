//! `samctl events`: one line per event, `time name key=value …`.

use sam_router::Event;
use serde::Deserialize;
use serde_json::Value;

use super::{Mark, colored};

/// Renders one event: the time in UTC, the name, then the members.
///
/// An object without a name (the router says how many events a slow reader missed) shows its members only; members
/// and events of a newer router are shown, too.
#[must_use]
pub fn event_line(event: &Value, color: bool) -> String {
    let Value::Object(members) = event else {
        return event.to_string();
    };
    let mut words = Vec::new();
    if let Some(time) = members.get("time") {
        words.push(time.as_f64().map_or_else(|| scalar(time), utc));
    }
    if let Some(name) = members.get("event") {
        let mark = match Event::deserialize(event) {
            Ok(event) if event.is_warning() => Mark::Attention,
            Ok(_) => Mark::Strong,
            Err(_) => Mark::Dim,
        };
        words.push(colored(color, mark, &scalar(name)));
    }
    let others = members
        .iter()
        .filter(|(key, value)| !matches!(key.as_str(), "time" | "event") && !value.is_null());
    words.extend(others.map(|(key, value)| format!("{key}={}", scalar(value))));
    words.join(" ")
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

/// Seconds since the Unix epoch as a time of RFC 3339 with milliseconds.
pub(super) fn utc(seconds: f64) -> String {
    let Ok(since) = std::time::Duration::try_from_secs_f64(seconds) else {
        return "-".into();
    };
    let (whole, milliseconds) = (since.as_secs(), since.subsec_millis());
    let (year, month, day) = date(whole / SECONDS_PER_DAY);
    let (hour, minute, second) = (whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
///
/// 1. Count years from March, so that the leap day is the last day of a year.
/// 2. Take out eras of 400 years, then the year within the era, then the month within the year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_FROM_MARCH_OF_YEAR_0;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let leap_days = day_of_era / 1_460 + day_of_era / 146_096 - day_of_era / 36_524;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

const SECONDS_PER_DAY: u64 = 86_400;
const DAYS_PER_ERA: u64 = 146_097;
const DAYS_FROM_MARCH_OF_YEAR_0: u64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_one_line_of_names_and_values() {
        let cases = [
            (r#"{"event":"session-up","node":2}"#, "session-up node=2"),
            (
                r#"{"time":1795262400.25,"event":"session-down","node":2,"reason":"hold timer"}"#,
                r#"2026-11-21T12:00:00.250Z session-down node=2 reason="hold timer""#,
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
            (r#"{"missed":7}"#, "missed=7"),
            ("3", "3"),
        ];
        for (event, line) in cases {
            assert_eq!(
                event_line(&serde_json::from_str(event).unwrap(), false),
                line
            );
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let cases = [
            (0.0, "1970-01-01T00:00:00.000Z"),
            (951_782_399.0, "2000-02-28T23:59:59.000Z"),
            (951_782_400.0, "2000-02-29T00:00:00.000Z"),
            (951_868_800.0, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599.999, "2024-12-31T23:59:59.999Z"),
            (4_107_542_400.0, "2100-03-01T00:00:00.000Z"),
            (f64::NAN, "-"),
            (-1.0, "-"),
        ];
        for (seconds, text) in cases {
            assert_eq!(utc(seconds), text);
        }
    }
}
