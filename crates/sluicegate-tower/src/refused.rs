//! Why a layer did not pass a request on: one flat type for all layers.

use std::any::Any;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use sluicegate::decision::Decision;
use sluicegate::queue::{Refusal, Rejected};
use sluicegate::store::StoreError;

/// Any error: what every layer's error is, unless `with_error` names another.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Which error a layer has: [`Boxed`], or one of your [`Own`]. Whatever it is, [`Refused`] and the inner service's error must
/// turn into it.
///
/// A layer names its error by such a kind and not by the error itself, because of `BoxError`: were that a part of a
/// future's type, the compiler could not see that an `async` block which waits for such a future is `Send`.
pub trait ErrorKind {
    /// The error.
    type Error;
}

/// The error is a [`BoxError`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boxed;

impl ErrorKind for Boxed {
    type Error = BoxError;
}

/// The error is an `E`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own<E>(PhantomData<fn() -> E>);

impl<E> ErrorKind for Own<E> {
    type Error = E;
}

/// Why a layer did not pass a request on, or did not wait for its answer.
///
/// ```
/// use sluicegate::permits::Permits;
/// use sluicegate_tower::refused::Refused;
///
/// let full = Permits::new(0, 0).enter().unwrap_err();
/// assert_eq!(Refused::Queue(full).to_string(), "the queue is full: 0 of 0 wait");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Over a quota. The decision says when to come back.
    Quota(Decision),
    /// No room to wait for a permit, or no use in waiting. It says why, and when to come back. Who is late already is [`Late`](Self::Late).
    Queue(Rejected),
    /// The deadline has passed, and what was under way was dropped.
    Late {
        /// Whether the request had reached the innermost service; none where that is not known, see
        /// [`Opaque`](crate::admission::Opaque).
        admitted: Option<bool>,
    },
    /// Nobody can say whether it is over a quota: the store that its limits are in is away, and what is answered then is no.
    Away {
        /// When the store is asked again; none where that is not known.
        retry_after: Option<Duration>,
    },
    /// It was not sent, since it would most likely have been refused.
    Throttled {
        /// How many of 100 requests are not sent.
        percent: u8,
    },
    /// The time that the request says it has left can't be read.
    Malformed,
}

impl Refused {
    /// When it makes sense to come back; none where that is not known, or never.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Quota(decision) => decision.retry_after(),
            Self::Queue(rejected) => rejected.retry_after(),
            Self::Late { .. } | Self::Throttled { .. } | Self::Malformed => None,
            Self::Away { retry_after } => *retry_after,
        }
    }

    /// The refusal that an error of a layer below is: one itself, or one in a [`BoxError`].
    ///
    /// ```
    /// use sluicegate_tower::refused::{BoxError, Refused};
    ///
    /// let error: BoxError = Refused::Late { admitted: None }.into();
    /// assert_eq!(Refused::found_in(&error), Some(&Refused::Late { admitted: None }));
    /// assert_eq!(Refused::found_in(&"something else"), None);
    /// ```
    #[must_use]
    pub fn found_in<E: 'static>(error: &E) -> Option<&Self> {
        let error: &dyn Any = error;
        error.downcast_ref().or_else(|| error.downcast_ref::<BoxError>()?.downcast_ref())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quota(decision) => write!(f, "over a quota: {decision}"),
            Self::Queue(rejected) => rejected.fmt(f),
            Self::Late { admitted } => f.write_str(match admitted {
                None => "the deadline has passed",
                Some(false) => "the deadline has passed before the request was served",
                Some(true) => "the deadline has passed while the request was served",
            }),
            Self::Away { .. } => f.write_str("the store of its limits is away"),
            Self::Throttled { percent } => {
                write!(f, "most requests are refused, so {percent} in 100 are not sent")
            }
            Self::Malformed => f.write_str("the time that the request has left can't be read"),
        }
    }
}

impl Error for Refused {}

/// Who waited for a permit until its deadline had passed is late, as with any other deadline.
impl From<Rejected> for Refused {
    fn from(rejected: Rejected) -> Self {
        if rejected.why() == Refusal::Late {
            Self::Late { admitted: Some(false) }
        } else {
            Self::Queue(rejected)
        }
    }
}

/// So that layers whose only error is `Refused` can ask a store. What went wrong there is not in it.
impl From<StoreError> for Refused {
    fn from(_: StoreError) -> Self {
        Self::Away { retry_after: None }
    }
}

/// So that layers around a service that never fails can have `Refused` as their only error.
impl From<Infallible> for Refused {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
