//! How a [`Keyed`] is made.

use std::fmt;
use std::hash::Hash;

use sluicegate_core::clock::{Clock, SystemClock};
use sluicegate_core::quota::Quota;

use super::heaviest::Names;
use super::{BANDS, Classify, Keyed, MAX_KEYS, kinds};
use crate::keyed::{AtCap, Keys};

/// How many quotas all classes may have together.
pub(super) const MAX_QUOTAS: usize = 500;

/// A [`Keyed`] to be.
///
/// ```
/// use sluicegate::keyed::{AtCap, Keyed};
///
/// let clients = Keyed::<str>::builder()
///     .class(["10/s".parse()?, "100/m".parse()?]) // number 0: both, all or none
///     .class(["1000/s".parse()?])
///     .classify(|name| usize::from(name.starts_with("internal:")))
///     .max_keys(1_000_000)
///     .at_cap(AtCap::Evict)
///     .build()?;
/// assert_eq!(clients.peek("ann", 0).remaining(), 10);
/// assert_eq!(clients.peek("internal:backup", 0).remaining(), 1000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct KeyedBuilder<K: ?Sized> {
    classes: Vec<Vec<Quota>>,
    classify: Option<Box<Classify<K>>>,
    max_keys: usize,
    at_cap: AtCap,
    pub(super) names: Option<Names<K>>,
}

impl<K: Hash + ?Sized> KeyedBuilder<K> {
    pub(super) const fn new() -> Self {
        Self { classes: Vec::new(), classify: None, max_keys: MAX_KEYS, at_cap: AtCap::Share, names: None }
    }

    /// One more class of keys, with its quotas: 1 to 8. Where there are several, a decision takes from each of them, or from
    /// none, and a key has a bucket for each. Classes are numbered from 0.
    #[must_use]
    pub fn class(mut self, quotas: impl IntoIterator<Item = Quota>) -> Self {
        self.classes.push(quotas.into_iter().collect());
        self
    }

    /// Says which class a key is of, by its number; one past the last counts as the last. It is asked when a key comes that
    /// isn't known, and the answer is kept with the key until that is forgotten, so it should be quick, and stay the
    /// same as a rule. It is called under no lock. Without it all are of class 0.
    #[must_use]
    pub fn classify(self, classify: impl Fn(&K) -> usize + Send + Sync + 'static) -> Self {
        Self { classify: Some(Box::new(classify)), ..self }
    }

    /// At most so many buckets (at most 2^31; 100 000 if nothing is said). A key has one for each of its quotas, until
    /// all of them are full again.
    #[must_use]
    pub fn max_keys(self, max_keys: usize) -> Self {
        Self { max_keys, ..self }
    }

    /// What becomes of new keys where there are as many as there may be. They share one bucket, if nothing is said.
    #[must_use]
    pub fn at_cap(self, at_cap: AtCap) -> Self {
        Self { at_cap, ..self }
    }

    /// The limiter, on the system's clock.
    ///
    /// # Errors
    /// If there is no class, one has no quota or more than 8, or all have more than 500.
    pub fn build(self) -> Result<Keyed<K>, KeyedError> {
        self.build_with(SystemClock::new())
    }

    /// The limiter, on a clock of your own.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_with<C: Clock>(self, clock: C) -> Result<Keyed<K, C>, KeyedError> {
        if self.classes.is_empty() {
            return Err(KeyedError::NoClass { class: 0, classes: 0 });
        }
        check(&self.classes.iter().map(Vec::len).collect::<Vec<_>>())?;
        let keys = Keys::new(Quota::ban(), self.max_keys, clock.now()).with_at_cap(self.at_cap);
        let classes = (0..).zip(&self.classes).map(|(class, quotas)| kinds(class, quotas)).collect();
        Ok(Keyed::of(keys, classes, self.classify, self.names, clock))
    }
}

/// Whether classes can have so many quotas.
pub(super) fn check(quotas: &[usize]) -> Result<(), KeyedError> {
    if let Some(class) = quotas.iter().position(|quotas| !(1..=BANDS).contains(quotas)) {
        return Err(KeyedError::Quotas { class, quotas: quotas[class] });
    }
    let all = quotas.iter().sum();
    if all > MAX_QUOTAS { Err(KeyedError::TooMany { quotas: all }) } else { Ok(()) }
}

impl<K: ?Sized> fmt::Debug for KeyedBuilder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedBuilder")
            .field("classes", &self.classes)
            .field("max_keys", &self.max_keys)
            .field("at_cap", &self.at_cap)
            .finish_non_exhaustive()
    }
}

/// Why a [`Keyed`] is not made or changed.
///
/// ```
/// use sluicegate::keyed::Keyed;
///
/// let error = Keyed::<str>::builder().class([]).build().unwrap_err();
/// assert_eq!(error.to_string(), "class 0 has 0 quotas: expected 1 to 8");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyedError {
    /// There is no such class.
    NoClass {
        /// Its number.
        class: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// A class has no quota, or too many.
    Quotas {
        /// The class.
        class: usize,
        /// How many it has.
        quotas: usize,
    },
    /// The classes have too many quotas.
    TooMany {
        /// How many they have together.
        quotas: usize,
    },
    /// There are as many keys as there may be, and this one has no place among them in which its class could be kept.
    NoPlace {
        /// How many there may be.
        max_keys: usize,
    },
}

impl fmt::Display for KeyedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoClass { classes: 0, .. } => write!(f, "there is no class: expected one or more"),
            Self::NoClass { class, classes } => {
                write!(f, "class {class} is not there: expected 0 to {}", classes.saturating_sub(1))
            }
            Self::Quotas { class, quotas } => {
                write!(f, "class {class} has {quotas} quotas: expected 1 to {BANDS}")
            }
            Self::TooMany { quotas } => {
                write!(f, "the classes have {quotas} quotas: expected at most {MAX_QUOTAS}")
            }
            Self::NoPlace { max_keys } => {
                write!(f, "max_keys {max_keys} is reached: expected a higher one, or a key that has a place")
            }
        }
    }
}

impl std::error::Error for KeyedError {}
