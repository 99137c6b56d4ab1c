//! Reads the RateLimit fields: lists of strings with parameters (RFC 9651).
use sluicegate_testkit::client::Answer;
use std::collections::BTreeMap;

/// The integer parameters of one policy or limit.
pub(crate) type Parameters = BTreeMap<String, u64>;

/// A field's items by their name. Empty if the field is missing; panics if it is malformed.
pub(crate) fn items(answer: &Answer, field: &str) -> BTreeMap<String, Parameters> {
    let lines = answer.headers.get_all(field).into_iter();
    let text = lines.map(|line| line.to_str().expect("a field of ASCII")).collect::<Vec<_>>().join(", ");
    let mut items = BTreeMap::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (name, after) = string(rest).unwrap_or_else(|| panic!("{field}: {text}"));
        let (parameters, after) = after.split_once(',').unwrap_or((after, ""));
        assert!(items.insert(name, parse(parameters)).is_none(), "twice in {field}: {text}");
        rest = after.trim_start_matches([' ', '\t']);
    }
    items
}

/// `RateLimit`: what is left, by policy.
pub(crate) fn remaining(answer: &Answer) -> BTreeMap<String, u64> {
    items(answer, "ratelimit").into_iter().map(|(name, parameters)| (name, parameters["r"])).collect()
}

fn string(text: &str) -> Option<(String, &str)> {
    let inside = text.strip_prefix('"')?;
    let mut name = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((name, &inside[at + 1..])),
            '\\' => name.push(chars.next().filter(|(_, c)| matches!(c, '"' | '\\'))?.1),
            ' '..='~' => name.push(c),
            _ => return None,
        }
    }
    None
}

fn parse(parameters: &str) -> Parameters {
    let parts = parameters.split(';').skip(1).map(|part| part.trim_start_matches(' '));
    let pairs = parts.filter_map(|part| {
        let (key, value) = part.split_once('=')?;
        // Other parameters, such as the partition key, are no integers.
        Some((key.to_owned(), value.parse().ok()?))
    });
    pairs.collect()
}
