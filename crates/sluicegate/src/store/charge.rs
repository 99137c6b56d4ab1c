//! What is charged: so many tokens of a key's bucket.

use sluicegate_core::quota::Quota;

use super::StoreError;

/// So many tokens of one key's bucket: part of a decision over several.
///
/// The quota travels with the charge: nothing has to be created before, and it may be another than last time. The key then
/// keeps the tokens it has, or what it owes.
///
/// ```
/// use sluicegate::store::Charge;
///
/// let quota = "100/m".parse()?;
/// let charge = Charge::new("per-client", b"10.0.0.1", &quota);
/// assert_eq!(charge.n, 1);
/// assert_eq!(charge.of(5).n, 5);
/// # Ok::<(), sluicegate::quota::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge<'a> {
    /// The name of the limit: a space of keys of its own. The same key in two spaces is two keys. It is an operator's to
    /// choose, not a client's: stores bound the keys of a space, and not all bound the spaces.
    pub space: &'a str,
    /// Any bytes, also none. One made of several parts is best made by [`key`](super::key); in one space, keys are made in
    /// one way, or two ways may make the same bytes.
    pub key: &'a [u8],
    /// How much the key may have.
    pub quota: &'a Quota,
    /// Tokens.
    pub n: u64,
}

impl<'a> Charge<'a> {
    /// A charge of one token.
    #[must_use]
    pub const fn new(space: &'a str, key: &'a [u8], quota: &'a Quota) -> Self {
        Self { space, key, quota, n: 1 }
    }

    /// The same charge of `n` tokens.
    #[must_use]
    pub const fn of(self, n: u64) -> Self {
        Self { n, ..self }
    }
}

/// A key made of `parts`, each of which may be absent. Parts are told apart by their lengths, which come before them.
///
/// ```
/// use sluicegate::store::key;
///
/// let part = |part: &'static str| Some(part.as_bytes());
/// assert_ne!(key([part("a"), part("bc")]), key([part("ab"), part("c")]));
/// assert_ne!(key([None]), key([part("")]));
/// ```
#[must_use]
pub fn key<'a>(parts: impl IntoIterator<Item = Option<&'a [u8]>>) -> Vec<u8> {
    let mut key = Vec::new();
    crate::keyed::encode(parts, |piece| key.extend_from_slice(piece));
    key
}

/// Whether each key of each space is charged once; for stores, which ask before they decide.
///
/// # Errors
/// The first charge of a key that another before it is of.
pub fn check_distinct(charges: &[Charge<'_>]) -> Result<(), StoreError> {
    let id = |place: usize| (charges[place].space, charges[place].key);
    let twice = if charges.len() <= 8 {
        (1..charges.len()).find(|&place| (0..place).any(|before| id(before) == id(place)))
    } else {
        let mut places: Vec<usize> = (0..charges.len()).collect();
        places.sort_by_key(|&place| (id(place), place));
        let seconds = places.windows(2).filter(|pair| id(pair[0]) == id(pair[1])).map(|pair| pair[1]);
        seconds.min()
    };
    let Some(place) = twice else { return Ok(()) };
    let (space, key) = id(place);
    Err(StoreError::Twice {
        space: space.to_owned(),
        key: String::from_utf8_lossy(key).escape_debug().to_string(),
        place,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_twice_is_named_also_among_many() {
        let quota = Quota::unlimited();
        let keys: Vec<[u8; 1]> = (0..20).map(|key| [key + b'a']).collect();
        let mut charges: Vec<Charge<'_>> = keys.iter().map(|key| Charge::new("s", key, &quota)).collect();
        charges.push(Charge::new("t", b"b", &quota));
        assert!(check_distinct(&charges).is_ok(), "another space is another key");
        charges.insert(12, Charge::new("s", b"c", &quota).of(5));
        charges.push(Charge::new("t", b"b", &quota));
        let error = check_distinct(&charges).unwrap_err();
        assert_eq!(error.to_string(), "charge 12: `c` of `s` is charged already: expected each key once");
        let few = [charges[2], charges[1], charges[12]];
        assert!(matches!(check_distinct(&few), Err(StoreError::Twice { place: 2, .. })));
    }
}
