//! As many as take about as long as they used to.

use std::any::Any;

use super::algorithm::{Algorithm, Bounds, Next, Why, whole};
use super::window::Window;
use crate::setting::SettingsError;

/// The share of the limit above which it counts as kept full.
const FULL: f64 = 0.75;

/// Gradient2 (Netflix, concurrency-limits): the limit follows the ratio of how long answers take over long to how long they take now, `L =
/// 0.8 L + 0.2 (g L + queue)` with `g = clamp(tolerance long/short, 0.5, 1)`.
///
/// Three things differ from what is published:
///
/// * **What it takes over long is pinned** while the limit is kept full. Otherwise it follows what is slow because of the limit, which
///   drifts up with it for as long as the overload lasts. Shorter times it always follows.
/// * **Pinned, it could never rise**, so a service that has become slower would be held at half of its worth. So when the limit has
///   fallen by a quarter and answers take as long as before, it is the service that is slower: what they take now is the new normal.
/// * **What was dropped counts**: a window in which half or more was dropped halves the limit, and others lower it by half of the part
///   that was dropped.
///
/// What it takes at first is what it knows: begin with a [first limit](super::Settings::with_first) that is surely not too high. It still
/// lets half as many again into the service as there is work for, and `queue` more. [`Knee`](super::Knee) needs less.
///
/// ```
/// use sluicegate_core::concurrency::Gradient;
///
/// let gradient = Gradient::default().with_tolerance(1.2)?.with_queue(2.0)?;
/// assert_eq!(gradient.with_tolerance(0.5).unwrap_err().field(), "tolerance");
/// # Ok::<(), sluicegate_core::concurrency::SettingsError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient {
    tolerance: f64,
    queue: f64,
    limit: f64,
    /// Nanoseconds an answer takes over long; none until it is known.
    long: Option<f64>,
    /// Of how many windows it is made, up to the memory.
    seen: f64,
    /// Limit and nanoseconds when it began to fall.
    top: Option<(f64, f64)>,
}

/// Windows that `long` is averaged over.
const MEMORY: f64 = 600.0;

/// 1.5 times as long is fine, and 4 may wait.
impl Default for Gradient {
    fn default() -> Self {
        Self { tolerance: 1.5, queue: 4.0, limit: 1.0, long: None, seen: 0.0, top: None }
    }
}

impl Gradient {
    /// How many times as long as usual answers may take.
    ///
    /// # Errors
    /// If it is not from 1 to 10.
    pub fn with_tolerance(self, tolerance: f64) -> Result<Self, SettingsError> {
        if !(1.0..=10.0).contains(&tolerance) {
            let expected = "from 1 to 10, such as 1.5";
            return Err(SettingsError { field: "tolerance", value: tolerance.to_string(), expected });
        }
        Ok(Self { tolerance, ..self })
    }

    /// How many may wait in the service.
    ///
    /// # Errors
    /// If it is not from 1 to 1000.
    pub fn with_queue(self, queue: f64) -> Result<Self, SettingsError> {
        if !(1.0..=1000.0).contains(&queue) {
            let expected = "from 1 to 1000, such as 4";
            return Err(SettingsError { field: "queue", value: queue.to_string(), expected });
        }
        Ok(Self { queue, ..self })
    }

    fn wants(&self, why: Why) -> Next {
        let limit = whole(self.limit);
        Next::new(limit, limit.saturating_mul(4), why)
    }

    /// What answers take over long, after a window in which they took so long.
    fn learn(&mut self, short: f64, full: bool) -> f64 {
        let long = *self.long.get_or_insert(short);
        let seen = (self.seen + 1.0).min(MEMORY);
        if full && short >= long {
            return long;
        }
        self.seen = seen;
        let mut next = if seen <= 10.0 {
            long + (short - long) / seen
        } else {
            long + (short - long) * 2.0 / (MEMORY + 1.0)
        };
        if next / short > 2.0 {
            next *= 0.95;
        }
        self.long = Some(next);
        next
    }

    /// Whether the limit has fallen and it did not help.
    fn in_vain(&mut self, short: f64) -> bool {
        let (limit, then) = *self.top.get_or_insert((self.limit, short));
        if self.limit > limit {
            self.top = Some((self.limit, short));
        }
        if self.limit > 0.75 * limit {
            return false;
        }
        self.top = None;
        short > 0.9 * then
    }
}

impl Algorithm for Gradient {
    fn first(&mut self, bounds: Bounds) -> Next {
        self.limit = bounds.first.into();
        self.wants(Why::First)
    }

    fn next(&mut self, window: &Window, bounds: Bounds) -> Next {
        let before = self.limit;
        let Some(short) = window.took().map(|nanos| nanos.max(1.0)).filter(|_| window.lost() < 0.5) else {
            if window.dropped() > 0 {
                self.limit = bounds.hold(before / 2.0);
                return self.wants(Why::Drops);
            }
            return self.wants(Why::Held);
        };
        let full = window.used() >= FULL;
        let mut long = self.learn(short, full);
        let mut why = Why::Waiting;
        if long * self.tolerance < short {
            if full && self.in_vain(short) {
                (self.long, long, why) = (Some(short), short, Why::Slower);
            }
        } else {
            self.top = None;
        }
        let gradient = (self.tolerance * long / short).clamp(0.5, 1.0);
        let wanted = 0.8 * before + 0.2 * (gradient * before + self.queue);
        let wanted = wanted * (1.0 - window.lost() / 2.0);
        let grows = window.refused() > 0 && window.most() >= window.limit().div_ceil(2);
        self.limit = bounds.hold(if grows { wanted } else { wanted.min(before) });
        if why != Why::Slower {
            why = match self.limit.total_cmp(&before) {
                std::cmp::Ordering::Greater => Why::Room,
                std::cmp::Ordering::Less if window.lost() > 0.0 => Why::Drops,
                std::cmp::Ordering::Less => Why::Waiting,
                std::cmp::Ordering::Equal => Why::Held,
            };
        }
        self.wants(why)
    }

    fn unhindered(&self) -> Option<f64> {
        self.long
    }

    fn is_same_as(&self, other: &dyn Any) -> bool {
        other.downcast_ref() == Some(self)
    }
}
