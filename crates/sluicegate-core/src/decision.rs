//! What a limiter answers.

use std::fmt;
use std::time::Duration;

/// The answer to a request for tokens. A refusal is data: it says when to come back, or that there is no use.
///
/// Every answer carries the standing of the bucket right after it: its `limit` (capacity in tokens; `u64::MAX` for
/// an unlimited quota), what is `remaining` (whole tokens), and `reset_after`, how long until it is full again if
/// nothing more is taken (none where it never will be by itself).
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::{bucket::Bucket, decision::Decision, quota::Quota};
///
/// let bucket = Bucket::new(Quota::per(2, Duration::from_secs(1))?);
/// let (answer, _) = bucket.take(bucket.start(), 3, 0);
/// match answer {
///     Decision::Granted { remaining, .. } => println!("{remaining} left"),
///     Decision::Later { retry_after: Some(wait), .. } => println!("again in {wait:?}"),
///     Decision::Later { retry_after: None, .. } => println!("when somebody puts tokens back"),
///     Decision::Never { limit, .. } => assert_eq!(limit, 2),
/// }
/// # Ok::<(), sluicegate_core::quota::QuotaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a refused request must not be served"]
// A tag of its own. Left alone, the compiler folds it into `reset_after`, and who asks only whether it is a grant waits for
// two divisions.
#[repr(u8)]
pub enum Decision {
    /// The tokens are the caller's.
    Granted {
        /// Capacity in tokens.
        limit: u64,
        /// Whole tokens left.
        remaining: u64,
        /// Time until the bucket is full again.
        reset_after: Option<Duration>,
    },
    /// Not now. Nothing was taken.
    Later {
        /// How long until the same request is granted if nobody else comes: a retry exactly then succeeds, one a
        /// nanosecond earlier does not. None for a stock, which only a `put` refills.
        retry_after: Option<Duration>,
        /// Capacity in tokens.
        limit: u64,
        /// Whole tokens left.
        remaining: u64,
        /// Time until the bucket is full again.
        reset_after: Option<Duration>,
    },
    /// Not ever: more than the capacity was asked for, the quota is a ban, or the tokens would flow only after the
    /// bucket's refill has ended (9.1 years after its start). Nothing was taken.
    Never {
        /// Capacity in tokens.
        limit: u64,
        /// Whole tokens left.
        remaining: u64,
        /// Time until the bucket is full again.
        reset_after: Option<Duration>,
    },
}

impl Decision {
    /// What is granted where there is no limit.
    pub const UNLIMITED: Self =
        Self::Granted { limit: u64::MAX, remaining: u64::MAX, reset_after: Some(Duration::ZERO) };

    /// Whether the tokens are the caller's.
    #[must_use]
    #[inline]
    pub const fn is_granted(&self) -> bool {
        matches!(self, Self::Granted { .. })
    }

    /// Whether asking again is no use, ever.
    #[must_use]
    #[inline]
    pub const fn is_never(&self) -> bool {
        matches!(self, Self::Never { .. })
    }

    /// The decision if it is a grant, so that `?` leaves where it is not.
    ///
    /// # Errors
    /// What was refused.
    ///
    /// ```
    /// use sluicegate_core::{bucket::Bucket, decision::Denied, quota::Quota};
    ///
    /// fn admit(bucket: &Bucket) -> Result<u64, Denied> {
    ///     let decision = bucket.take(bucket.start(), 3, 0).0.ok()?;
    ///     Ok(decision.remaining())
    /// }
    /// let denied = admit(&Bucket::new("2/s".parse::<Quota>()?)).unwrap_err();
    /// assert_eq!(denied.to_string(), "refused: never, the limit is 2");
    /// # Ok::<(), sluicegate_core::quota::QuotaError>(())
    /// ```
    pub const fn ok(self) -> Result<Self, Denied> {
        if self.is_granted() { Ok(self) } else { Err(Denied(self)) }
    }

    /// This decision for who is refused for another reason than the tokens, as by a line that is full: a grant becomes `Later`,
    /// at once.
    #[must_use]
    #[inline]
    pub const fn refused(self) -> Denied {
        match self {
            Self::Granted { limit, remaining, reset_after } => {
                Denied(Self::Later { retry_after: Some(Duration::ZERO), limit, remaining, reset_after })
            }
            other => Denied(other),
        }
    }

    /// How long to wait before asking again: zero where granted, none where asking again is no use by itself.
    #[must_use]
    #[inline]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Granted { .. } => Some(Duration::ZERO),
            Self::Later { retry_after, .. } => *retry_after,
            Self::Never { .. } => None,
        }
    }

    /// The bucket's capacity in tokens.
    #[must_use]
    #[inline]
    pub const fn limit(&self) -> u64 {
        let (Self::Granted { limit, .. } | Self::Later { limit, .. } | Self::Never { limit, .. }) = self;
        *limit
    }

    /// Whole tokens left after this decision.
    #[must_use]
    #[inline]
    pub const fn remaining(&self) -> u64 {
        let (Self::Granted { remaining, .. } | Self::Later { remaining, .. } | Self::Never { remaining, .. }) =
            self;
        *remaining
    }

    /// Time until the bucket is full again if nothing more is taken; none where it never will be by itself.
    #[must_use]
    #[inline]
    pub const fn reset_after(&self) -> Option<Duration> {
        let (Self::Granted { reset_after, .. }
        | Self::Later { reset_after, .. }
        | Self::Never { reset_after, .. }) = self;
        *reset_after
    }

    /// The one decision over two limits that must both grant: `Never` before `Later` before `Granted`; of two
    /// `Later`, the one that takes longer, since a retry then passes both; of two `Granted`, the tighter.
    pub fn and(self, other: Self) -> Self {
        let first = match (&self, &other) {
            (Self::Later { retry_after: mine, .. }, Self::Later { retry_after: theirs, .. }) => {
                // A stock without tokens has no instant of its own, so no wait is longer.
                match (mine, theirs) {
                    (None, _) => true,
                    (_, None) => false,
                    (Some(mine), Some(theirs)) => mine >= theirs,
                }
            }
            (Self::Granted { remaining: mine, .. }, Self::Granted { remaining: theirs, .. }) => {
                mine <= theirs
            }
            _ => self.severity() >= other.severity(),
        };
        if first { self } else { other }
    }

    const fn severity(&self) -> u8 {
        match self {
            Self::Granted { .. } => 0,
            Self::Later { .. } => 1,
            Self::Never { .. } => 2,
        }
    }
}

/// A refusal as an error; made by [`Decision::ok`] and by whatever can't go on without a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied(Decision);

impl Denied {
    /// The refusal: `Later` or `Never`.
    pub const fn decision(&self) -> Decision {
        self.0
    }

    /// How long to wait before asking again; none where asking again is no use by itself.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after()
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {}", self.0)
    }
}

impl std::error::Error for Denied {}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted { limit, remaining, .. } => write!(f, "granted, {remaining} of {limit} left"),
            Self::Later { retry_after: Some(wait), .. } => write!(f, "later, in {wait:?}"),
            Self::Later { retry_after: None, .. } => f.write_str("later, when tokens are put back"),
            Self::Never { limit, .. } => write!(f, "never, the limit is {limit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(remaining: u64) -> Decision {
        Decision::Granted { limit: 9, remaining, reset_after: None }
    }
    fn later(millis: Option<u64>) -> Decision {
        let retry_after = millis.map(Duration::from_millis);
        Decision::Later { retry_after, limit: 9, remaining: 0, reset_after: None }
    }

    #[test]
    fn together_the_sterner_the_longer_the_tighter_counts() {
        let never = Decision::Never { limit: 9, remaining: 0, reset_after: None };
        for (one, other, both) in [
            (granted(3), granted(2), granted(2)),
            (granted(3), later(Some(1)), later(Some(1))),
            (later(Some(1)), later(Some(5)), later(Some(5))),
            (later(None), later(Some(5)), later(None)),
            (later(Some(5)), never, never),
        ] {
            assert_eq!(one.and(other), both);
            assert_eq!(other.and(one), both);
        }
    }
}
