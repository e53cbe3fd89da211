//! Pages: as many entries as the caller or the scenario wants, and a token that says where to go on.

use super::parameters::{Parameters, invalid};
use crate::cloud::Cloud;
use crate::wire::{Call, Problem};

/// What MaxResults may be.
const MAX_RESULTS: std::ops::RangeInclusive<usize> = 5..=1000;

/// Cuts a page out of all entries.
pub(super) fn page<T>(
    cloud: &Cloud,
    call: &Call<'_>,
    parameters: &Parameters,
    all: Vec<T>,
) -> Result<(Vec<T>, Option<String>), Problem> {
    let wanted = parameters.number("MaxResults")?;
    if let Some(number) = wanted.filter(|number| !MAX_RESULTS.contains(number)) {
        return Err(invalid("maxResults", &number.to_string()));
    }
    let start = match parameters.text("NextToken") {
        None => 0,
        Some(token) => {
            let (operation, start): (String, usize) = call
                .seal
                .open("page", token)
                .ok_or_else(|| invalid("nextToken", token))?;
            if operation != call.operation {
                return Err(invalid("nextToken", token));
            }
            start
        }
    };
    let size = cloud.settings.page_size.min(wanted.unwrap_or(usize::MAX));
    let end = start.saturating_add(size);
    let token = (end < all.len()).then(|| call.seal.close("page", &(call.operation, end)));
    Ok((all.into_iter().skip(start).take(size).collect(), token))
}
