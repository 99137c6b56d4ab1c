//! What decides how many may be in flight: one trait for all ways to decide it.

use std::any::Any;
use std::fmt;

use super::window::Window;

/// A way to choose the limit. It is asked once a [window](Window), never for a single request. It borrows nothing.
///
/// ```
/// use sluicegate_core::concurrency::{Algorithm, Bounds, Concurrency, Next, Settings, Why, Window};
///
/// /// One more for each window in which somebody was refused. Not a good idea.
/// #[derive(Debug)]
/// struct Upwards(u32);
///
/// impl Algorithm for Upwards {
///     fn first(&mut self, bounds: Bounds) -> Next {
///         self.0 = bounds.first;
///         Next::new(self.0, 10, Why::First)
///     }
///     fn next(&mut self, window: &Window, _: Bounds) -> Next {
///         self.0 += u32::from(window.refused() > 0);
///         Next::new(self.0, 10, Why::Room)
///     }
/// }
///
/// let limits = Concurrency::new(Settings::default(), Upwards(0));
/// assert_eq!(limits.limit(), 10);
/// ```
pub trait Algorithm: fmt::Debug + Concrete {
    /// The limit to begin with, and how long the first window is.
    fn first(&mut self, bounds: Bounds) -> Next;

    /// A window is over: what the limit is during the next one.
    fn next(&mut self, window: &Window, bounds: Bounds) -> Next;

    /// How long a request takes that does not wait in the service, in nanoseconds, if that is estimated.
    fn unhindered(&self) -> Option<f64> {
        None
    }

    /// Whether it finds out what the limit should be. Then what another has found out before is what it had better begin with, whatever the
    /// first limit of the settings is.
    fn learns(&self) -> bool {
        true
    }

    /// Whether the other is the same algorithm with the same parameters, both before they were asked for anything: then what this one has
    /// found out since holds for the other too. Never, unless an implementation says so; for one that derives `PartialEq` that is
    /// `other.downcast_ref() == Some(self)`.
    fn is_same_as(&self, other: &dyn Any) -> bool {
        let _ = other;
        false
    }
}

/// What an algorithm is, of whatever type it is known as. All that borrow nothing are, by themselves.
pub trait Concrete: Any {
    /// The algorithm itself, to be told apart from others.
    fn concrete(&self) -> &dyn Any;
}

impl<A: Any> Concrete for A {
    fn concrete(&self) -> &dyn Any {
        self
    }
}

impl<A: Algorithm + ?Sized> Algorithm for Box<A> {
    fn first(&mut self, bounds: Bounds) -> Next {
        (**self).first(bounds)
    }

    fn next(&mut self, window: &Window, bounds: Bounds) -> Next {
        (**self).next(window, bounds)
    }

    fn unhindered(&self) -> Option<f64> {
        (**self).unhindered()
    }

    fn learns(&self) -> bool {
        (**self).learns()
    }

    fn is_same_as(&self, other: &dyn Any) -> bool {
        // Boxed or not, it is the algorithms that are compared.
        (**self).is_same_as(other.downcast_ref::<Self>().map_or(other, |other| (**other).concrete()))
    }
}

/// Between what the limit stays. `min` ≤ `first` ≤ `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At least 1.
    pub min: u32,
    /// At most this.
    pub max: u32,
    /// What it is at first.
    pub first: u32,
}

impl Bounds {
    /// The limit within the bounds, whatever was computed; the least if that is not a number.
    #[must_use]
    pub fn hold(self, limit: f64) -> f64 {
        if limit.is_nan() { f64::from(self.min) } else { limit.clamp(self.min.into(), self.max.into()) }
    }
}

/// What an algorithm wants of the next window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// How many may be in flight. What is out of bounds is moved to the nearest bound.
    pub limit: u32,
    /// After how many requests the window is over, if that is before its time; 10 at least.
    pub samples: u32,
    /// How many may be in flight while the window's last requests are waited for. None if as many as during the window.
    pub after: Option<u32>,
    /// Why the limit is what it is.
    pub why: Why,
}

impl Next {
    /// A window of so many requests with this limit.
    #[must_use]
    pub const fn new(limit: u32, samples: u32, why: Why) -> Self {
        Self { limit, samples, after: None, why }
    }
}

/// Why a limit is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// It is the one to begin with.
    First,
    /// There was no reason to change it.
    Held,
    /// Requests were refused, and with more of them in flight none takes longer.
    Room,
    /// Requests were refused, but in bursts: on the average there was room, or all who were refused waited and none was turned away.
    Bursts,
    /// The last ones in flight only wait in the service.
    Waiting,
    /// Too many requests came to nothing: they timed out, or the service said that it has too much to do.
    Drops,
    /// A few less for a moment, to see whether the others are quicker then.
    Dip,
    /// That moment is over.
    DipOver,
    /// The service itself has become slower; less in flight does not help.
    Slower,
}

impl Why {
    /// As a part of a sentence, to be read after "since" or a colon. [`Display`](fmt::Display) is a word or two, which does not change.
    ///
    /// ```
    /// use sluicegate_core::concurrency::Why;
    ///
    /// assert_eq!(Why::Drops.to_string(), "drops");
    /// assert_eq!(Why::Drops.in_words(), "too many requests timed out, or the service said that it has too much to do");
    /// ```
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::First => "that is the first limit",
            Self::Held => "there was no reason to change it",
            Self::Room => "some had to wait, and with more at the service none takes longer",
            Self::Bursts => "some had to wait, though there was room on the average: they come in bursts",
            Self::Waiting => "the last ones at the service only waited there",
            Self::Drops => "too many requests timed out, or the service said that it has too much to do",
            Self::Dip => "with a few less for a moment it is seen whether the others are quicker",
            Self::DipOver => "a moment with a few less is over",
            Self::Slower => "the service has become slower, and less at once does not help",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Held => "held",
            Self::Room => "room",
            Self::Bursts => "bursts",
            Self::Waiting => "waiting",
            Self::Drops => "drops",
            Self::Dip => "dip",
            Self::DipOver => "dip over",
            Self::Slower => "slower",
        })
    }
}

/// The limit was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it was.
    pub from: u32,
    /// What it is.
    pub to: u32,
    /// Why.
    pub why: Why,
}

/// A whole number of places, rounded.
pub(super) fn whole(limit: f64) -> u32 {
    u32::try_from(nanos(limit)).unwrap_or(u32::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates, and what isn't a number is 0"
)]
pub(super) const fn nanos(time: f64) -> u64 {
    time.round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "a mean: beyond 2^53 it may be rounded")]
pub(super) const fn float(n: u64) -> f64 {
    n as f64
}
