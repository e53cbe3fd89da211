//! Parameters of the Query wire: `Name=value`, lists as `Name.1`, `Name.2`, filters as lists of names with lists of
//! values.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::http::Request;
use crate::policy::matches_exactly;
use crate::wire::Problem;

/// The form of a request.
#[derive(Debug)]
pub(super) struct Parameters {
    list: Vec<(String, String)>,
}

/// A condition on what is listed.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) name: String,
    values: Vec<String>,
}

impl Filter {
    /// Tells whether one of these is wanted; `*` and `?` are wildcards.
    pub(super) fn admits<T: AsRef<str>>(&self, found: impl IntoIterator<Item = T>) -> bool {
        found.into_iter().any(|found| {
            let mut values = self.values.iter();
            values.any(|value| matches_exactly(value, found.as_ref()))
        })
    }

    /// Returns a filter of another name for the same values.
    pub(super) fn renamed(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            values: self.values.clone(),
        }
    }
}

impl Parameters {
    /// Reads the query of a GET, or the body of a POST.
    pub(super) fn of(request: &Request) -> Self {
        let text = match request.method.as_str() {
            "GET" => request.query.as_bytes(),
            _ => &request.body,
        };
        Self {
            list: form_urlencoded::parse(text).into_owned().collect(),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.list.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns a parameter that must be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, Problem> {
        self.text(name).ok_or_else(|| missing(name))
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None => Ok(false),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(text) => Err(invalid(name, text)),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<usize>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| invalid(name, text))
    }

    /// Returns a list in the order of its numbers.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        let mut found: BTreeMap<u32, &str> = BTreeMap::new();
        for (key, value) in &self.list {
            let number = key
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('.'));
            if let Some(number) = number.and_then(|number| number.parse().ok()) {
                found.insert(number, value);
            }
        }
        found.into_values().collect()
    }

    /// Returns a list of addresses.
    pub(super) fn addresses(&self, name: &str) -> Result<Vec<Ipv4Addr>, Problem> {
        let texts = self.list(name).into_iter();
        texts
            .map(|text| text.parse().map_err(|_| invalid(name, text)))
            .collect()
    }

    pub(super) fn filters(&self) -> Vec<Filter> {
        let mut filters = Vec::new();
        for number in 1..=MAX_FILTERS {
            let Some(name) = self.text(&format!("Filter.{number}.Name")) else {
                break;
            };
            let values = self.list(&format!("Filter.{number}.Value"));
            filters.push(Filter {
                name: name.to_owned(),
                values: values.into_iter().map(str::to_owned).collect(),
            });
        }
        filters
    }
}

/// EC2's bound.
const MAX_FILTERS: u32 = 50;

pub(super) fn missing(name: &str) -> Problem {
    let message = format!("The request must contain the parameter {name}");
    Problem::new(400, "MissingParameter", message)
}

pub(super) fn invalid(name: &str, value: &str) -> Problem {
    let message = format!("Value ({value}) for parameter {name} is invalid.");
    Problem::new(400, "InvalidParameterValue", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_filters_are_read_by_their_numbers() {
        let request = Request {
            method: "POST".into(),
            body:
                b"Action=X&Ip.10=j&Ip.2=b&Ip.1=a&Filter.1.Name=tag%3Ak&Filter.1.Value.1=v*&Dry=TRUE"
                    .to_vec(),
            ..Request::default()
        };
        let parameters = Parameters::of(&request);
        assert_eq!(parameters.list("Ip"), ["a", "b", "j"]);
        let filters = parameters.filters();
        assert_eq!(filters[0].name, "tag:k");
        assert!(filters[0].admits(["value"]));
        assert!(!filters[0].admits(["other"]));
        assert_eq!(parameters.flag("Dry"), Ok(true));
        assert_eq!(parameters.flag("Absent"), Ok(false));
        assert!(parameters.addresses("Ip").is_err());
        assert!(parameters.required("Absent").is_err());
    }
}
