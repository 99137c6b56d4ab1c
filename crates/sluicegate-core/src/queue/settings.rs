//! How a queue is to behave.

use std::time::Duration;

use super::SettingsError;
use super::class::Room;
use crate::clock::nanos;

/// More classes than this can't be.
const CLASSES: usize = 16;
/// A class's largest weight.
const HEAVIEST: u32 = 1000;

/// What a queue admits, in which order it serves, and what it sheds. In the beginning: first come, first served, and whoever finds
/// it full is refused.
///
/// ```
/// use sluicegate_core::queue::{Codel, Settings};
///
/// let settings = Settings::new(10_000)
///     .with_bytes(64 << 20)?
///     .with_codel(Codel::default().newest_first())
///     .with_classes(&[8, 1])?
///     .fair();
/// let error = settings.with_classes(&[3, 0]).unwrap_err();
/// assert_eq!(error.to_string(), "classes `[3, 0]`: expected 1 to 16 weights, each from 1 to 1000, such as [8, 1]");
/// # Ok::<(), sluicegate_core::queue::SettingsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub(super) bound: usize,
    pub(super) bytes: u64,
    pub(super) displaces_oldest: bool,
    pub(super) codel: Option<Codel>,
    pub(super) classes: Vec<u32>,
    pub(super) fair: bool,
    /// How long a line may be, in thousandths of what a service takes.
    pub(super) services: Option<u64>,
}

impl Settings {
    /// At most `bound` wait. With a bound of 0 an item is admitted only if a server is idle.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        let (bytes, classes) = (u64::MAX, vec![1]);
        Self { bound, bytes, displaces_oldest: false, codel: None, classes, fair: false, services: None }
    }

    /// And at most so many bytes.
    ///
    /// # Errors
    /// If it is zero.
    pub fn with_bytes(self, bytes: u64) -> Result<Self, SettingsError> {
        if bytes == 0 {
            let expected = "at least 1; a queue in which none may wait has a bound of 0";
            return Err(SettingsError { field: "bytes", value: bytes.to_string(), expected });
        }
        Ok(Self { bytes, ..self })
    }

    /// At the bound who has waited longest makes room, instead of who comes being refused. For items that age quickly, such as
    /// readings of which only the last counts.
    #[must_use]
    pub fn displacing_oldest(self) -> Self {
        Self { displaces_oldest: true, ..self }
    }

    /// Sheds what has waited too long while there is an overload.
    #[must_use]
    pub fn with_codel(self, codel: Codel) -> Self {
        Self { codel: Some(codel), ..self }
    }

    /// Classes of items, and the weight of each: its share of the servers and of the room, while others want theirs.
    ///
    /// # Errors
    /// If there are none or more than 16, or a weight is not from 1 to 1000.
    pub fn with_classes(self, weights: &[u32]) -> Result<Self, SettingsError> {
        let right = (1..=CLASSES).contains(&weights.len())
            && weights.iter().all(|weight| (1..=HEAVIEST).contains(weight));
        if !right {
            let expected = "1 to 16 weights, each from 1 to 1000, such as [8, 1]";
            return Err(SettingsError { field: "classes", value: format!("{weights:?}"), expected });
        }
        Ok(Self { classes: weights.to_vec(), ..self })
    }

    /// Within a class the keys take turns, and at the bound whoever has most in the line gives way.
    #[must_use]
    pub fn fair(self) -> Self {
        Self { fair: true, ..self }
    }

    /// Whether who waits is served in the order in which it came, whoever it is, and nobody who waits is turned away but for being late.
    ///
    /// ```
    /// use sluicegate_core::queue::Settings;
    ///
    /// assert!(Settings::new(10).keeps_order());
    /// assert!(!Settings::new(10).fair().keeps_order());
    /// ```
    #[must_use]
    pub fn keeps_order(&self) -> bool {
        self.codel.is_none() && !self.displaces_oldest && !self.fair && self.classes.len() == 1
    }

    /// Who would wait for longer than so many times what a service takes is refused at once, by what is ahead of it and how fast the
    /// line drains. Who is in the line is not shed for that, so nearly all refusals come at once. The line is as long as it should be
    /// whatever a service takes, and if that changes.
    ///
    /// What a service takes is what the line [is told](super::Queue::set_service), as by permits that are found out. If nobody tells,
    /// it is what nine of ten of those that were [served](super::Queue::served) take no longer than. While neither is known, 50 ms may
    /// be waited; and 5 ms always. [`Knee`](crate::concurrency::Knee) and [`Gradient`](crate::concurrency::Gradient) find out
    /// what to tell; with [`Aimd`](crate::concurrency::Aimd) or [`Fixed`](crate::concurrency::Fixed) it stays unknown, so it is 50 ms.
    ///
    /// # Errors
    /// If it is not more than zero, and at most 1000.
    ///
    /// ```
    /// use sluicegate_core::queue::{Offer, Queue, Refusal, Settings};
    ///
    /// const MS: u64 = 1_000_000;
    /// let settings = Settings::new(100).with_wait_of(1.5)?;
    /// let (mut queue, shed) = (Queue::with(&settings, 1), &mut Vec::new());
    /// queue.offer("a", 0, shed);
    /// queue.ready(20 * MS, shed); // it took 20 ms
    /// queue.set_service(Some(20 * MS));
    /// assert_eq!(queue.offer("b", 20 * MS, shed), Offer::Start("b"));
    /// assert!(matches!(queue.offer("c", 25 * MS, shed), Offer::Wait(_))); // for 15 ms
    /// assert_eq!(queue.offer("d", 25 * MS, shed), Offer::Refused("d", Refusal::TooLong)); // 35 are more than 30
    /// # Ok::<(), sluicegate_core::queue::SettingsError>(())
    /// ```
    pub fn with_wait_of(self, services: f64) -> Result<Self, SettingsError> {
        if !(services > 0.0 && services <= 1000.0) {
            let expected = "more than 0 and at most 1000, such as 1.5";
            return Err(SettingsError { field: "wait of services", value: services.to_string(), expected });
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to a million")]
        let thousandths = (services * 1000.0) as u64;
        Ok(Self { services: Some(thousandths), ..self })
    }

    /// The bounds.
    pub(super) fn room(&self) -> Room {
        Room { count: self.bound, bytes: self.bytes.into() }
    }
}

/// When a queue is overloaded, and what it sheds then: controlled delay, in the form that folly's servers have it.
///
/// If for 100 ms no wait is shorter than 5 ms, the line is not a burst that will be over: it stands. Then what has waited for more
/// than 10 ms is shed when a server is ready. (Nichols and Jacobson, Controlling Queue Delay, ACM Queue 2012; Maurer, Fail at Scale,
/// ACM Queue 2015.) A line that is empty at least once in 100 ms does not become overloaded.
///
/// Three things are different here. The shortest wait is not that of one interval after the other, which takes one or two of
/// them to see it, by chance: it is that of the last one and a half. An overload does not end because one wait was short: in front of
/// few servers that is a matter of chance, and each time all would wait for long until it is noticed anew. It ends with an interval in
/// which more than one server of twenty found nobody waiting, and in which fewer were shed than half as many as servers were ready. And
/// the newest is never shed by this: a server would be idle for it.
///
/// # Few servers
/// These times are for services that are short beside them, or for many servers. Else a target of twice what a service takes is
/// right: with services of 10 ms at nine tenths of what the servers can do, a simulation shed 0.04 % with 16 servers, 1.8 % with
/// 4 (0.2 % with 20 ms, 40 ms, 200 ms) and 9.5 % with one (3.5 %).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codel {
    /// Nanoseconds, as the others.
    pub(super) target: u64,
    pub(super) most: u64,
    pub(super) interval: u64,
    pub(super) newest_first: bool,
}

/// 5 ms, 10 ms, 100 ms; always the oldest first.
impl Default for Codel {
    fn default() -> Self {
        Self { target: 5_000_000, most: 10_000_000, interval: 100_000_000, newest_first: false }
    }
}

impl Codel {
    /// Overloaded if the shortest wait of an `interval` and a half is longer than `target`; while it is, what waited for more than `most` is
    /// shed.
    ///
    /// # Errors
    /// If the target is zero, `most` is less than it, or the interval is less than `most`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sluicegate_core::queue::Codel;
    ///
    /// let ms = Duration::from_millis;
    /// assert_eq!(Codel::new(ms(5), ms(10), ms(100))?, Codel::default());
    /// assert_eq!(Codel::new(ms(5), ms(2), ms(100)).unwrap_err().field(), "most");
    /// # Ok::<(), sluicegate_core::queue::SettingsError>(())
    /// ```
    pub fn new(target: Duration, most: Duration, interval: Duration) -> Result<Self, SettingsError> {
        let wrong = |field, value: Duration, expected| {
            Err(SettingsError { field, value: format!("{value:?}"), expected })
        };
        if target.is_zero() {
            return wrong("target", target, "more than zero, such as 5ms");
        }
        if most < target {
            return wrong("most", most, "at least the target, such as twice as much");
        }
        if interval < most {
            return wrong("interval", interval, "at least as long as what may wait, such as 100ms");
        }
        let (target, most, interval) = (nanos(target), nanos(most), nanos(interval));
        Ok(Self { target, most, interval, newest_first: false })
    }

    /// While there is an overload, who came last is served first: somebody's answer is quick then, where all would be slow
    /// otherwise (adaptive LIFO).
    #[must_use]
    pub const fn newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }
}
