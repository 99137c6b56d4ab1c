//! What was seen in several windows, and how two such differ.

use crate::concurrency::algorithm::float;
use crate::concurrency::window::Window;

/// Which way the knee is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Above both.
    Up,
    /// Below both.
    Down,
    /// Between.
    Still,
}

/// Sums over windows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pool {
    good: f64,
    dropped: f64,
    begun: f64,
    /// In flight when one began.
    places: f64,
    /// Nanoseconds, those without an answer included.
    spent: f64,
    /// Nanoseconds squared.
    variance: f64,
}

/// How the times of two pools differ, for how many were in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slope {
    /// 0 if no longer with more in flight; 1 if in proportion.
    waits: f64,
    /// Its standard error.
    error: f64,
    /// The same if the service is far beyond the knee: then times vary little, but all of them by the same accidents.
    far: f64,
}

/// Times in a row are alike, since who waits, waits for the same: as if there were fewer.
const ALIKE: f64 = 1.2;

/// What work is taken to vary by, as a part of its mean, where times don't show it.
const SPREAD: f64 = 0.7;

impl Pool {
    pub(super) fn of(window: &Window) -> Self {
        let good = float(window.good());
        Self {
            good,
            dropped: float(window.dropped()),
            begun: float(window.begun()),
            places: window.place() * float(window.begun()),
            spent: window.spent().unwrap_or(0.0) * good,
            variance: window.variance().unwrap_or(0.0) * good,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.good += other.good;
        self.dropped += other.dropped;
        self.begun += other.begun;
        self.places += other.places;
        self.spent += other.spent;
        self.variance += other.variance;
    }

    /// Nanoseconds for each answer, none without any.
    pub(super) fn spent(&self) -> Option<f64> {
        (self.good > 0.0).then(|| (self.spent / self.good).max(1.0))
    }

    fn place(&self) -> f64 {
        (self.places / self.begun.max(1.0)).max(1.0)
    }

    /// The part that was not dropped.
    fn kept(&self) -> f64 {
        self.good / (self.good + self.dropped).max(1.0)
    }

    /// Standard error of the logarithm of the time.
    fn error(&self) -> f64 {
        self.spent().map_or(1.0, |mean| ALIKE * (self.variance / self.good).sqrt() / mean / self.good.sqrt())
    }

    /// Whether times have changed, by more than by accident.
    pub(super) fn differs(&self, other: &Self) -> bool {
        let (Some(one), Some(two)) = (self.spent(), other.spent()) else { return true };
        (one / two).ln().abs() > (3.0 * self.error().hypot(other.error())).max(0.2)
    }

    /// How much longer it takes with more in flight than in `less`. None if there weren't more, or nothing is known.
    pub(super) fn against(&self, less: &Self) -> Option<Slope> {
        let more = (self.place() / less.place()).ln();
        if more < 0.01 {
            return None;
        }
        let (one, two) = match (self.spent(), less.spent()) {
            (Some(one), Some(two)) => (one, two),
            // Nobody has waited for an answer: then it takes too long.
            (None, _) => return Some(Slope { waits: 1.0, error: 0.0, far: 0.0 }),
            (Some(_), None) => return None,
        };
        // Time for an answer, and the part of requests that have one: both tell.
        let longer = one / two * (less.kept() / self.kept().max(1e-3));
        let error = self.error().hypot(less.error()) / more;
        let far = SPREAD * (1.0 / self.good + 1.0 / less.good).sqrt() / more;
        Some(Slope { waits: longer.ln() / more, error, far: error.max(far) })
    }
}

impl Slope {
    /// From 0 to 1.
    pub(super) const fn waits(self) -> f64 {
        self.waits.clamp(0.0, 1.0)
    }

    /// Whether a far larger limit may be tried: nothing speaks against it.
    pub(super) fn may_grow(self) -> bool {
        self.waits - self.error / 2.0 < 0.5
    }

    /// Which way it is to the knee; none if that can't be told yet. A guess will do for a `rough` answer, and when there is no doubt left.
    pub(super) fn way(self, rough: bool, doubt: f64) -> Option<Way> {
        let (error, unsure) = if rough { (self.far / 2.0, self.far) } else { (self.error, self.error) };
        if self.waits + error * doubt < 0.3 {
            Some(Way::Up)
        } else if self.waits - error * doubt > 0.75 {
            Some(Way::Down)
        } else if unsure < 0.25 || doubt <= 0.0 {
            Some(Way::Still)
        } else {
            None
        }
    }
}
