//! Resource Graph: the part of its language that finds machines by their properties. What the caller may not read is not
//! there; what this does not understand is refused.

use serde_json::{Map, Value, json};

use super::interface::malformed;
use super::resource::machine_id;
use super::{answer, permit};
use crate::cloud::{Cloud, Instance};
use crate::http::Response;
use crate::wire::{Call, Problem};

/// Rows of a page at most.
const PAGE: usize = 1000;

/// A step of a query, behind the table.
#[derive(Debug)]
enum Step<'a> {
    /// Rows whose property is this text, whatever its case.
    Where(&'a str, &'a str),
    /// Columns, each with the path of what is in it.
    Project(Vec<(&'a str, &'a str)>),
    /// By id, as the rows are anyway.
    Order,
}

pub(super) fn query(cloud: &Cloud, call: &Call<'_>) -> Result<Response, Problem> {
    let body: Value = serde_json::from_slice(&call.request.body)
        .map_err(|error| malformed(&format!("Could not parse the body: {error}")))?;
    let text = body["query"].as_str().unwrap_or_default();
    let steps = parse(text).ok_or_else(|| {
        let message = format!("the fake does not understand the query: {text}");
        Problem::new(400, "BadRequest", message)
    })?;
    let token = body["options"]["$skipToken"].as_str();
    let start = match token {
        None => 0,
        Some(token) => call
            .seal
            .open("rows", token)
            .ok_or_else(|| malformed("the $skipToken is not ours"))?,
    };
    let size = body["options"]["$top"].as_u64().unwrap_or(u64::MAX);
    let size = usize::try_from(size).unwrap_or(usize::MAX).min(PAGE);
    let size = size.min(cloud.settings.page_size);
    let rows = rows(cloud, call, &body["subscriptions"], &steps);
    let shown: Vec<&Value> = rows.iter().skip(start).take(size).collect();
    let end = start.saturating_add(size);
    let mut page = json!({
        "totalRecords": rows.len(), "count": shown.len(), "data": shown, "facets": [], "resultTruncated": "false",
    });
    if end < rows.len() {
        page["$skipToken"] = json!(call.seal.close("rows", &end));
    }
    Ok(answer(call, 200, &page))
}

/// Finds the rows of a query, of subscriptions that are ours.
fn rows(cloud: &Cloud, call: &Call<'_>, subscriptions: &Value, steps: &[Step<'_>]) -> Vec<Value> {
    let mut subscriptions = subscriptions.as_array().into_iter().flatten();
    let read = "Microsoft.Compute/virtualMachines/read";
    let permitted = permit(cloud, call, read, &call.request.path, None).is_ok();
    if !permitted || !subscriptions.any(|known| *known == json!(cloud.settings.account)) {
        return Vec::new();
    }
    let mut rows: Vec<Value> = { cloud.instances.values() }
        .map(|instance| row(cloud, instance))
        .collect();
    for step in steps {
        match step {
            Step::Where(path, text) => rows.retain(|row| {
                let found = find(row, path).as_str();
                found.is_some_and(|found| found.eq_ignore_ascii_case(text))
            }),
            Step::Project(columns) => {
                for row in &mut rows {
                    let shown = columns
                        .iter()
                        .map(|(name, path)| ((*name).to_owned(), find(row, path).clone()));
                    *row = Value::Object(shown.collect::<Map<_, _>>());
                }
            }
            Step::Order => {}
        }
    }
    rows
}

fn row(cloud: &Cloud, instance: &Instance) -> Value {
    let settings = &cloud.settings;
    let state = if instance.running {
        "running"
    } else {
        "deallocated"
    };
    let state = json!({
        "code": format!("PowerState/{state}"), "displayStatus": format!("VM {state}"), "level": "Info",
    });
    json!({
        "id": machine_id(cloud, &instance.id),
        "name": instance.id,
        "type": "microsoft.compute/virtualmachines",
        "location": settings.region,
        "resourceGroup": settings.group.to_lowercase(),
        "subscriptionId": settings.account,
        "tags": instance.tags,
        "properties": {
            "hardwareProfile": { "vmSize": instance.kind },
            "extended": { "instanceView": { "powerState": state } },
        },
    })
}

fn find<'a>(row: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(row, |value, part| &value[part])
}

fn parse(text: &str) -> Option<Vec<Step<'_>>> {
    let mut parts = text.split('|').map(str::trim);
    let table = parts.next()?;
    if !table.eq_ignore_ascii_case("resources") {
        return None;
    }
    parts.map(step).collect()
}

fn step(text: &str) -> Option<Step<'_>> {
    let (verb, rest) = text.split_once(' ')?;
    match verb {
        "where" => {
            let (path, value) = rest.split_once("=~")?;
            let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?;
            (!value.contains('\'')).then_some(Step::Where(path.trim(), value))
        }
        "project" => {
            let columns = rest.split(',').map(|column| {
                let column = column.trim();
                let Some((name, value)) = column.split_once('=') else {
                    return Some((column, column));
                };
                let value = value.trim().strip_prefix("tostring(")?;
                Some((name.trim(), value.strip_suffix(')')?))
            });
            columns.collect::<Option<_>>().map(Step::Project)
        }
        "order" => (rest == "by id asc").then_some(Step::Order),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_no_query() {
        let query =
            "Resources | where type =~ 'x' | project id, s = tostring(a.b) | order by id asc";
        assert_eq!(parse(query).map(|steps| steps.len()), Some(3));
        for query in [
            "",
            "Machines | where type =~ 'x'",
            "Resources | where type == 'x'",
            "Resources | where type =~ 'x' or 'y'",
            "Resources | project a = b",
            "Resources | order by name asc",
            "Resources | summarize count()",
        ] {
            assert!(parse(query).is_none(), "{query}");
        }
    }
}
