//! Why a layer did not pass a request on: one flat type for all layers.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use sluicegate::decision::Decision;
use sluicegate::queue::Rejected;
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
    /// No room to wait for a permit. It says why, and when to come back.
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
        }
    }
}

impl Error for Refused {}

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
