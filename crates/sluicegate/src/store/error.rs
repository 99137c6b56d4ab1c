//! Why a store has no answer.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why a store has no answer. A refusal is none of these: it is an answer.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::store::StoreError;
///
/// let error = StoreError::Timeout { after: Duration::from_millis(100) };
/// assert_eq!(error.to_string(), "the store has not answered within 100ms");
/// assert!(error.is_outage());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The store can't do this: the field, its value, and what would be right. Nothing was changed.
    Unsupported {
        /// What it is about: `burst`, `interval`, `space`.
        field: &'static str,
        /// The value that was given.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// Two charges of one request are on the same key of the same space. Nothing was changed.
    Twice {
        /// The space.
        space: String,
        /// The key, as far as it is text.
        key: String,
        /// The place of the second charge.
        place: usize,
    },
    /// Another number of amounts than there are charges. Nothing was changed.
    Amounts {
        /// How many were given.
        given: usize,
        /// How many charges there are.
        expected: usize,
    },
    /// The store can't be reached, or is not asked because it could not be a moment ago. Nothing was decided.
    Away {
        /// What is known of why; none where it was not asked.
        cause: Option<Arc<dyn Error + Send + Sync>>,
    },
    /// The store has not answered in time. Whether it has decided is not known; tokens that it has taken all the same are lost
    /// until they have flowed back: less is granted than might have been, never more.
    Timeout {
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection broke after the request had left. Whether the store has decided is not known, as after a
    /// [`Timeout`](Self::Timeout).
    Lost {
        /// What is known of why.
        cause: Arc<dyn Error + Send + Sync>,
    },
    /// Under the name that the store has for a key, somebody else keeps something. Nothing was changed. The store is not at fault,
    /// and other keys are as they should be.
    Foreign {
        /// The name that the store has for the key, as far as it is text.
        name: String,
        /// What is there.
        what: String,
    },
    /// The store has answered what can't be right, or has refused to do its work.
    Broken {
        /// What is wrong, and where that can be, what would help.
        what: String,
        /// What it comes from, if anything.
        cause: Option<Arc<dyn Error + Send + Sync>>,
    },
}

impl StoreError {
    /// Whether the store is at fault, so that another answer is needed for as long as it is; not what it was asked.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Timeout { .. } | Self::Lost { .. } | Self::Broken { .. })
    }

    /// A field that a store can't do; for stores.
    pub fn unsupported(field: &'static str, value: impl fmt::Display, expected: impl Into<String>) -> Self {
        Self::Unsupported { field, value: value.to_string(), expected: expected.into() }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported { field, value, expected } => {
                write!(f, "{field} `{value}`: expected {expected}")
            }
            Self::Twice { space, key, place } => {
                write!(f, "charge {place}: `{key}` of `{space}` is charged already: expected each key once")
            }
            Self::Amounts { given, expected } => {
                write!(f, "{given} amounts: expected one for each of {expected} charges")
            }
            Self::Away { cause: Some(cause) } => write!(f, "the store can't be reached: {cause}"),
            Self::Away { cause: None } => {
                f.write_str("the store could not be reached, and is not asked for a moment")
            }
            Self::Timeout { after } => write!(f, "the store has not answered within {after:?}"),
            Self::Lost { cause } => {
                write!(f, "the connection to the store broke before it had answered: {cause}")
            }
            Self::Foreign { name, what } => {
                write!(
                    f,
                    "`{name}` holds {what}: expected a bucket, or nothing; delete it, or use another prefix"
                )
            }
            Self::Broken { what, .. } => write!(f, "the store does not work: {what}"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Away { cause: Some(cause) }
            | Self::Broken { cause: Some(cause), .. }
            | Self::Lost { cause } => Some(&**cause),
            _ => None,
        }
    }
}
