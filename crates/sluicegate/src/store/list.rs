//! Keys that are charged together.

use std::sync::Arc;

use sluicegate_core::quota::Quota;

use super::{Charge, StoreError, check_distinct};

/// One key of a limit, and its quota: what a [`Charge`] is of.
///
/// ```
/// use sluicegate::store::{StoreKey, key};
///
/// let client = StoreKey::new("per-client", key([Some(b"10.0.0.1".as_slice())]), "10/s".parse()?);
/// assert_eq!(client.space(), "per-client");
/// let ann = StoreKey::new("per-user", "ann", "10/s".parse()?);
/// assert_eq!(ann.key(), b"ann");
/// # Ok::<(), sluicegate::quota::QuotaError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreKey {
    space: Arc<str>,
    key: Arc<[u8]>,
    quota: Quota,
}

impl StoreKey {
    /// This key of this space: any bytes, or text.
    #[must_use]
    pub fn new(space: impl Into<Arc<str>>, key: impl AsRef<[u8]>, quota: Quota) -> Self {
        Self { space: space.into(), key: key.as_ref().into(), quota }
    }

    /// The name of the limit.
    #[must_use]
    pub fn space(&self) -> &str {
        &self.space
    }

    /// The key's bytes.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Its quota.
    #[must_use]
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }

    /// A charge of `n` tokens.
    #[must_use]
    pub fn charge(&self, n: u64) -> Charge<'_> {
        Charge::new(&self.space, &self.key, &self.quota).of(n)
    }
}

/// Keys that are charged together: all of them, or none. A list of lists is flat: it charges each of their keys.
///
/// ```
/// use sluicegate::store::{StoreKeys, StoreKey};
///
/// let key = |space: &str| StoreKey::new(space, *b"ann", "10/s".parse().expect("a quota"));
/// let reading = StoreKeys::new([key("reads"), key("requests")])?;
/// let all = StoreKeys::of([reading, key("everything").into()])?;
/// assert_eq!(all.keys().iter().map(StoreKey::space).collect::<Vec<_>>(), ["reads", "requests", "everything"]);
/// assert!(StoreKeys::of([all, key("reads").into()]).is_err(), "each key once");
/// # Ok::<(), sluicegate::store::StoreError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreKeys {
    keys: Arc<[StoreKey]>,
}

impl StoreKeys {
    /// All of these.
    ///
    /// # Errors
    /// If a key of a space is there twice, under whatever quota.
    pub fn new(keys: impl IntoIterator<Item = StoreKey>) -> Result<Self, StoreError> {
        let keys: Arc<[StoreKey]> = keys.into_iter().collect();
        let charges: Vec<Charge<'_>> = keys.iter().map(|key| key.charge(0)).collect();
        check_distinct(&charges)?;
        Ok(Self { keys })
    }

    /// All of all of these.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of(lists: impl IntoIterator<Item = Self>) -> Result<Self, StoreError> {
        Self::new(lists.into_iter().flat_map(|list| list.keys.to_vec()))
    }

    /// The keys, in order.
    #[must_use]
    pub fn keys(&self) -> &[StoreKey] {
        &self.keys
    }

    /// Charges of so much each.
    ///
    /// # Errors
    /// If there are not as many amounts as keys.
    pub fn charges(&self, amount: Amount<'_>) -> Result<Vec<Charge<'_>>, StoreError> {
        let each = match amount {
            Amount::Same(n) => return Ok(self.keys.iter().map(|key| key.charge(n)).collect()),
            Amount::Each(each) => each,
        };
        if each.len() != self.keys.len() {
            return Err(StoreError::Amounts { given: each.len(), expected: self.keys.len() });
        }
        Ok(self.keys.iter().zip(each).map(|(key, n)| key.charge(*n)).collect())
    }
}

/// One key alone.
impl From<StoreKey> for StoreKeys {
    fn from(key: StoreKey) -> Self {
        Self { keys: Arc::new([key]) }
    }
}

/// How many tokens of several keys: a number is as many of each, a slice is one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount<'a> {
    /// As many of each key.
    Same(u64),
    /// So many of each key, in order.
    Each(&'a [u64]),
}

impl From<u64> for Amount<'_> {
    fn from(n: u64) -> Self {
        Self::Same(n)
    }
}

impl<'a> From<&'a [u64]> for Amount<'a> {
    fn from(each: &'a [u64]) -> Self {
        Self::Each(each)
    }
}

impl<'a> From<&'a Vec<u64>> for Amount<'a> {
    fn from(each: &'a Vec<u64>) -> Self {
        Self::Each(each)
    }
}

impl<'a, const N: usize> From<&'a [u64; N]> for Amount<'a> {
    fn from(each: &'a [u64; N]) -> Self {
        Self::Each(each)
    }
}
