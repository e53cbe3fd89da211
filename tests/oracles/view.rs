//! A message taken apart without any codec under test: what it says, as a map from names to bytes.
//!
//! Reads only what a codec wrote, so it may be simple. What the RFCs give no meaning is left out: the order of
//! attributes, communities and prefixes, repetitions, unused flag bits, the attributes of no routes; and so is what
//! no session of ours negotiates, other address families, and unknown attributes that are not passed on.

use std::collections::{BTreeMap, BTreeSet};

/// What a message says.
pub(crate) type View = BTreeMap<String, Vec<u8>>;

/// Takes a message apart; `None` when it is broken, which a codec that encodes must not produce. With `withdrawn`,
/// its routes count as withdrawn.
pub(crate) fn view(message: &[u8], withdrawn: bool) -> Option<View> {
    let (header, body) = message.split_at_checked(19)?;
    match header[18] {
        1 => open(body),
        2 => update(body, withdrawn),
        kind => Some(View::from([(
            format!("body of type {kind}"),
            body.to_vec(),
        )])),
    }
}

fn open(body: &[u8]) -> Option<View> {
    let (fixed, mut parameters) = body.split_at_checked(10)?;
    let extended = parameters.first() == Some(&255);
    if extended {
        parameters = parameters.get(3..)?;
    }
    let mut capabilities: BTreeMap<u8, BTreeSet<&[u8]>> = BTreeMap::new();
    while !parameters.is_empty() {
        let mut value = cut(&mut parameters, 1, extended)?.1;
        while !value.is_empty() {
            let (code, value) = cut(&mut value, 1, false)?;
            capabilities.entry(code[0]).or_default().insert(value);
        }
    }
    let capabilities = capabilities.into_iter().map(|(code, values)| {
        let values = values.into_iter().collect::<Vec<_>>().concat();
        (format!("capability {code}"), values)
    });
    let fixed = [(
        "version, AS, hold time, identifier".to_owned(),
        fixed[..9].to_vec(),
    )];
    Some(capabilities.chain(fixed).collect())
}

fn update(body: &[u8], withdraw: bool) -> Option<View> {
    let mut rest = body;
    let mut withdrawn = prefixes(field(&mut rest)?)?;
    let mut attributes = field(&mut rest)?;
    let mut announced = prefixes(rest)?;
    let in_body = !announced.is_empty();
    let mut values: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    let mut reach_next_hop = None;
    while let Some(flags) = attributes.first().copied() {
        let (head, value) = cut(&mut attributes, 2, flags & 0x10 != 0)?;
        match (head[1], value) {
            (14, [0, 1, 1, 4, nexthop @ ..]) => {
                reach_next_hop = Some(nexthop.get(..4)?.to_vec());
                announced.extend(prefixes(nexthop.get(5..)?)?);
            }
            (15, [0, 1, 1, field @ ..]) => withdrawn.extend(prefixes(field)?),
            (14 | 15, _) => {}
            (kind, _) if (kind == 0 || !has_meaning(kind)) && flags & 0xc0 != 0xc0 => {}
            (kind, value) => {
                values.entry(kind).or_insert_with(|| ordered(kind, value));
            }
        }
    }
    if let Some(next_hop) = reach_next_hop.filter(|_| !in_body) {
        values.insert(3, next_hop);
    }
    if withdraw {
        withdrawn.append(&mut announced);
    }
    withdrawn.retain(|prefix| !announced.contains(prefix));
    if announced.is_empty() {
        values.clear();
    }
    let values = values
        .into_iter()
        .map(|(kind, value)| (format!("attribute {kind}"), value));
    let routes = [("announced", announced), ("withdrawn", withdrawn)].map(|(name, routes)| {
        (
            name.to_owned(),
            routes.into_iter().collect::<Vec<_>>().concat(),
        )
    });
    Some(values.chain(routes).collect())
}

/// Sorts what is a set.
fn ordered(kind: u8, value: &[u8]) -> Vec<u8> {
    let size = match kind {
        8 => 4,
        16 => 8,
        32 => 12,
        _ => return value.to_vec(),
    };
    let items: BTreeSet<&[u8]> = value.chunks(size).collect();
    items.into_iter().collect::<Vec<_>>().concat()
}

/// Reads prefixes, each as its length and its bytes, with the bits after its length cleared.
fn prefixes(mut field: &[u8]) -> Option<BTreeSet<Vec<u8>>> {
    let mut prefixes = BTreeSet::new();
    while let Some((bits, rest)) = field.split_first() {
        let (bytes, rest) = rest.split_at_checked(usize::from(bits.div_ceil(8)))?;
        let mut prefix = [&[*bits], bytes].concat();
        if let (Some(last), unused @ 1..) =
            (prefix.last_mut(), bytes.len() * 8 - usize::from(*bits))
        {
            *last &= 0xff << unused;
        }
        prefixes.insert(prefix);
        field = rest;
    }
    Some(prefixes)
}

/// Cuts off a field with a two-octet length.
fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    cut(rest, 0, true).map(|(_, field)| field)
}

/// Cuts off `head` bytes, a length of one octet or two, and a value of that length.
fn cut<'a>(rest: &mut &'a [u8], head: usize, long: bool) -> Option<(&'a [u8], &'a [u8])> {
    let (head, after) = rest.split_at_checked(head)?;
    let (len, after) = after.split_at_checked(if long { 2 } else { 1 })?;
    let len = len
        .iter()
        .fold(0, |len, byte| len << 8 | usize::from(*byte));
    let (value, after) = after.split_at_checked(len)?;
    *rest = after;
    Some((head, value))
}

/// Tells whether an attribute type has a meaning for us; 0 stands for no single attribute.
pub(crate) const fn has_meaning(kind: u8) -> bool {
    matches!(kind, 0..=10 | 14..=18 | 32)
}
