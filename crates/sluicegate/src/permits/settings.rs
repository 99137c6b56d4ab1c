//! How many may be in flight, and what is done with those who can't be.

use std::any::Any;

use sluicegate_core::concurrency::{self, Algorithm};
use sluicegate_core::queue::{self, Entry};

/// How [`Permits`](super::Permits) are to behave: how many there are, or what finds that out, and the line of those who wait.
///
/// ```
/// use sluicegate::concurrency::{self, Knee};
/// use sluicegate::permits::{Permits, Settings};
/// use sluicegate::queue::{self, Codel};
/// use sluicegate::timer::ManualTime;
///
/// let line = queue::Settings::new(100).with_codel(Codel::default());
/// let fixed = Settings::new(8, line.clone());
/// let found_out = Settings::new(8, line).adaptive(concurrency::Settings::default(), Knee::default());
/// assert_eq!(Permits::with(fixed, ManualTime::new()).concurrency(), 8);
/// assert_eq!(Permits::with(found_out, ManualTime::new()).concurrency(), 10);
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) places: Places,
    pub(super) line: queue::Settings,
    pub(super) names: Vec<String>,
}

/// How many there are.
#[derive(Debug)]
pub(super) enum Places {
    Fixed(usize),
    Adaptive { settings: concurrency::Settings, algorithm: Found },
}

impl Clone for Places {
    fn clone(&self) -> Self {
        match self {
            Self::Fixed(concurrency) => Self::Fixed(*concurrency),
            Self::Adaptive { settings, algorithm } => {
                Self::Adaptive { settings: settings.clone(), algorithm: (**algorithm).copy() }
            }
        }
    }
}

/// What finds out how many there are to be.
pub(super) type Found = Box<dyn Finds>;

pub(super) trait Finds: Algorithm + Any + Send {
    fn copy(&self) -> Found;
}

impl<A: Algorithm + Any + Send + Clone> Finds for A {
    fn copy(&self) -> Found {
        Box::new(self.clone())
    }
}

impl Settings {
    /// So many permits, and in front of them a line of these settings.
    #[must_use]
    pub const fn new(concurrency: usize, line: queue::Settings) -> Self {
        Self { places: Places::Fixed(concurrency), line, names: Vec::new() }
    }

    /// What the partitions that have a share are called, in the order of the shares. Where other settings are
    /// [applied](super::Permits::apply) later, one keeps who waits and who is in flight by its name, whatever its number is then.
    /// Without names, or with fewer or more of them than shares, by its number.
    ///
    /// ```
    /// use sluicegate::concurrency::{self, Fixed};
    /// use sluicegate::permits::{Permits, Settings};
    /// use sluicegate::queue;
    /// use sluicegate::timer::ManualTime;
    ///
    /// let shares = |shares: &[f64], names: &[&str]| {
    ///     let limit = concurrency::Settings::default().with_limits(4, 4).unwrap().with_shares(shares).unwrap();
    ///     let settings = Settings::new(4, queue::Settings::new(10)).adaptive(limit, Fixed);
    ///     settings.with_names(names.iter().map(ToString::to_string).collect())
    /// };
    /// let permits = Permits::with(shares(&[0.5], &["pay"]), ManualTime::new());
    /// let _held = permits.try_enter_of(0).unwrap();
    /// permits.apply(shares(&[0.25, 0.5], &["ask", "pay"]));
    /// let in_flight: Vec<_> = permits.standing().partitions.iter().map(|part| part.in_flight).collect();
    /// assert_eq!(in_flight, [0, 1, 0]);
    /// ```
    #[must_use]
    pub fn with_names(self, names: Vec<String>) -> Self {
        Self { names, ..self }
    }

    /// How many permits there are is found out by `algorithm`, by what becomes of those who [hold](super::Permit::end) one. There are as
    /// many as `settings` say to begin with, whatever [`new`](Self::new) was told. Each partition of the settings has a line of
    /// its own.
    ///
    /// Where such settings are [applied](super::Permits::apply) again, what was found out is kept if the algorithm
    /// [says](Algorithm::is_same_as) that it is the same; else the new one goes on from there.
    #[must_use]
    pub fn adaptive(
        self,
        settings: concurrency::Settings,
        algorithm: impl Algorithm + Clone + Send + 'static,
    ) -> Self {
        Self { places: Places::Adaptive { settings, algorithm: Box::new(algorithm) }, ..self }
    }
}

/// Who asks for a permit, as far as the line is to know it. Without more: of the first class and partition, without a deadline, bytes or a
/// key of its own.
///
/// ```
/// use sluicegate::permits::Who;
///
/// let who = Who { key: 42, class: 1, deadline: 50_000_000, ..Who::default() };
/// assert_eq!((who.bytes, who.partition), (0, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Who {
    /// For a line that is fair among keys: a number of the client's, or the hash of its name.
    pub key: u64,
    /// Its class, in the order of the [queue's settings](queue::Settings::with_classes). One that there is not is the last.
    pub class: usize,
    /// When its work is to be done at the latest: nanoseconds on the timer's clock. `u64::MAX` if it never is too late. Nobody
    /// looks at it where permits have [no timer](super::Permits::new).
    pub deadline: u64,
    /// When it is to have its permit at the latest: who would wait longer does not want to, however long the work takes then.
    /// `u64::MAX` if it waits for as long as there is any use in it. Nobody looks at it without a timer either.
    pub begun_by: u64,
    /// How many bytes it holds while it waits.
    pub bytes: u64,
    /// Its partition, in the order of the [shares](concurrency::Settings::with_shares). One that has none is everybody else's.
    pub partition: usize,
}

impl Default for Who {
    fn default() -> Self {
        Self { key: 0, class: 0, deadline: u64::MAX, begun_by: u64::MAX, bytes: 0, partition: 0 }
    }
}

impl Who {
    /// What the line is told.
    pub(super) const fn sits(&self, seat: usize) -> Entry<usize> {
        let entry = Entry::new(seat).keyed(self.key).in_class(self.class).sized(self.bytes);
        entry.until(self.deadline).begun_by(self.begun_by)
    }
}
