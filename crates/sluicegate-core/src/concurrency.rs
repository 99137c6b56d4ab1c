//! How many requests may be in flight at once, found out while they are.
//!
//! A service works on so many requests at a time; what is sent beyond that waits in it, where nobody can shed it or change its order. A
//! **limit** of those in flight keeps them outside. How many that should be depends on the service, and changes with it, so it is learned:
//!
//! | [`Algorithm`] | what it does |
//! | --- | --- |
//! | [`Fixed`] | what the settings say |
//! | [`Aimd`] | one more while it goes well, a tenth less when requests are dropped or too slow |
//! | [`Gradient`] | as many as take about as long as they used to |
//! | [`Knee`] | as many as the service works on at once, and hardly any that wait there; from 1 to 10 000 without a setting |
//!
//! # What is counted
//! A request is admitted by [`begin`](Concurrency::begin) and holds a place until it has [`end`](Concurrency::end)ed, which for an answer
//! in a stream is when the stream has. Its [`Outcome`] is what is learned from: an answer's time; a timeout or a refusal by the service as
//! a drop, whatever time it took; from a request whose caller has left, only that it took at least as long as it did, and only if that is
//! longer than an answer takes. So neither can an overload in which everything times out freeze the limit, nor can callers lower it by leaving,
//! unless not one of a hundred waits for its answer: then [`Knee`] takes it that they take too long.
//!
//! The limit changes between [windows](Window) only, and never grows while less than half of it was used.
//!
//! Who finds no place is turned away, or waits in a line before the limit, if there is one:
//! [`begin_or_wait`](Concurrency::begin_or_wait). That more is wanted shows either way; that it is more than the service can do shows only
//! when some are turned away.
//!
//! # Partitions
//! [Shares](Settings::with_shares) of the limit can be guaranteed. A partition may use more than its share while the others don't need theirs;
//! the limit holds for all together, exactly.

mod aimd;
mod algorithm;
mod changes;
mod fixed;
mod gradient;
mod knee;
mod settings;
mod shares;
#[cfg(test)]
mod tests;
mod window;

pub use crate::setting::SettingsError;
pub use aimd::Aimd;
pub use algorithm::{Algorithm, Bounds, Change, Next, Why};
pub use changes::Changes;
pub use fixed::Fixed;
pub use gradient::Gradient;
pub use knee::Knee;
pub use settings::Settings;
pub use window::Window;

use shares::Shares;

/// An answer that takes longer than so many times the mean of the window before counts as if it took that long.
const LONGEST: f64 = 4.0;

/// Why a request is not admitted. Nothing is held then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// As many are in flight as may be.
    Limit,
    /// The places that are left are kept for other partitions.
    Share,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was answered: its time tells how busy the service is.
    Good,
    /// It was not answered in time, or the service said that it has too much to do.
    Dropped,
    /// Who had asked has left, or nothing is known: it took at least this long.
    Cancelled,
}

/// A place that a request holds. It is to be [ended](Concurrency::end) once, or the place is lost.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the place is held until it is ended"]
pub struct Ticket {
    partition: usize,
    began: u64,
    /// The number of the window that it belongs to.
    window: u64,
    /// How many were in flight with it.
    place: u32,
}

impl Ticket {
    /// When it began.
    #[must_use]
    pub const fn began(&self) -> u64 {
        self.began
    }

    /// The partition that it was asked for.
    #[must_use]
    pub const fn partition(&self) -> usize {
        self.partition
    }
}

/// The machine. Time is nanoseconds on any one clock; if that steps back, a request has taken no time.
///
/// ```
/// use sluicegate_core::concurrency::{Concurrency, Knee, Outcome, Settings};
///
/// const MILLI: u64 = 1_000_000;
/// let mut limits = Concurrency::new(Settings::default(), Knee::default());
/// // A service with one worker that needs 10 ms, and more to do than it can.
/// let (mut now, mut free, mut running) = (0, 0, std::collections::VecDeque::new());
/// for _ in 0..10_000 {
///     while let Ok(ticket) = limits.begin(now, 0) {
///         free = free.max(now) + 10 * MILLI;
///         running.push_back((free, ticket));
///     }
///     let (done, ticket) = running.pop_front().unwrap();
///     now = done;
///     limits.end(ticket, now, Outcome::Good);
/// }
/// assert!(limits.limit() <= 2, "one is worked on, and one waits");
/// ```
#[derive(Clone, Debug)]
pub struct Concurrency<A> {
    algorithm: A,
    settings: Settings,
    shares: Shares,
    limit: u32,
    /// After how many requests the window is over.
    samples: u64,
    /// What the limit is once the window is closed.
    after: Option<u32>,
    window: Window,
    /// What one answer counts at the most, in nanoseconds.
    cap: u64,
    /// What the last window has shown.
    last: Option<Window>,
    /// The last change, and how many there were.
    changed: Option<Change>,
    changes: Changes,
}

impl<A: Algorithm> Concurrency<A> {
    /// Nothing is in flight, and the limit is the first one.
    #[must_use]
    pub fn new(settings: Settings, mut algorithm: A) -> Self {
        let next = algorithm.first(settings.bounds);
        let limit = next.limit.clamp(settings.bounds.min, settings.bounds.max);
        Self {
            algorithm,
            shares: Shares::new(&settings.shares),
            limit,
            samples: next.samples.into(),
            after: next.after,
            window: Window::new(0, limit, 0, 0, u64::MAX),
            cap: u64::MAX,
            last: None,
            changed: None,
            changes: Changes::default(),
            settings,
        }
    }

    /// A request of a partition asks for a place. Partitions are numbered as their [shares](Settings::with_shares) are; without those
    /// any number will do.
    ///
    /// # Errors
    /// If there is no place for it, so that it is turned away; that is counted, and nothing else has changed.
    pub fn begin(&mut self, now: u64, partition: usize) -> Result<Ticket, Refusal> {
        self.begin_or_wait(now, partition).inspect_err(|_| self.turn_away(1))
    }

    /// As [`begin`](Self::begin), for a request that can wait for a place. If it is turned away later, or leaves,
    /// [`turn_away`](Self::turn_away) is to be told.
    ///
    /// # Errors
    /// If there is no place for it now; that is counted, and nothing else has changed.
    pub fn begin_or_wait(&mut self, now: u64, partition: usize) -> Result<Ticket, Refusal> {
        self.give_up_dip(now);
        if self.window.begun() == 0 && self.window.refused() == 0 {
            // Windows begin with their first request: the silence before it tells nothing. Who was turned away since the last one was.
            let (number, away) = (self.window.number(), self.window.turned_away());
            self.window = Window::new(number, self.limit, now, self.shares.in_flight(), self.cap);
            self.window.turn_away(away);
        }
        self.window.pass(now, self.shares.in_flight());
        if let Err(refusal) = self.shares.take(partition, self.limit, now) {
            if self.window.is_open() {
                self.window.refuse();
            }
            return Err(refusal);
        }
        let window = if self.window.is_open() {
            self.window.begin(now, self.shares.in_flight());
            self.window.close(now, self.samples, self.settings.window);
            self.window.number()
        } else {
            u64::MAX
        };
        Ok(Ticket { partition, began: now, window, place: self.shares.in_flight() })
    }

    /// A request has ended, and its place is free. Returns how that has changed the limit, if it has.
    #[expect(clippy::needless_pass_by_value, reason = "a request ends once")]
    pub fn end(&mut self, ticket: Ticket, now: u64, outcome: Outcome) -> Option<Change> {
        self.window.pass(now, self.shares.in_flight());
        self.shares.give_back(ticket.partition);
        if ticket.window == self.window.number() {
            self.window.end(&ticket, now, outcome);
        }
        self.window.close(now, self.samples, self.settings.window);
        let usual = self.last.as_ref().and_then(Window::spent).unwrap_or(0.0);
        if self.window.settle(now, usual) {
            self.cap = self.window.took().map_or(u64::MAX, |took| algorithm::nanos(took * LONGEST));
            let (number, in_flight) = (self.window.number() + 1, self.shares.in_flight());
            let window = |limit, cap| Window::new(number, limit, now, in_flight, cap);
            // Begun before the algorithm is asked: if that panics, the limit stays, and it is asked again after a window.
            let over = std::mem::replace(&mut self.window, window(self.limit, self.cap));
            let next = self.algorithm.next(self.last.insert(over), self.settings.bounds);
            (self.samples, self.after) = (next.samples.into(), next.after);
            let change = self.turn_to(next.limit, next.why);
            self.window = window(self.limit, self.cap);
            return change;
        }
        let after = self.after.filter(|_| !self.window.is_open())?;
        self.turn_to(after, Why::DipOver)
    }

    /// So many that [would have waited](Self::begin_or_wait) were turned away, or have left. [`Knee`] looks for a lower limit only while
    /// there are some. While a window's last requests are waited for, they are counted with it.
    pub const fn turn_away(&mut self, many: u64) {
        self.window.turn_away(many);
    }

    /// A request that was given a place has not used it: the place is free, and nothing is learned.
    #[expect(clippy::needless_pass_by_value, reason = "as of a request that ends")]
    pub fn forget(&mut self, ticket: Ticket, now: u64) {
        self.window.pass(now, self.shares.in_flight());
        self.shares.give_back(ticket.partition);
        if ticket.window == self.window.number() {
            self.window.forget(&ticket);
        }
    }

    /// So many requests are in flight already that did not [begin](Self::begin) here, such as under other settings. They are of no
    /// partition that has a share, and teach nothing; each is to be [released](Self::release) once.
    pub fn carry(&mut self, in_flight: u32) {
        self.carry_of(usize::MAX, in_flight);
    }

    /// The same, of a partition: each is to be released as [one of it](Self::release_of).
    pub fn carry_of(&mut self, partition: usize, in_flight: u32) {
        self.shares.carry(partition, in_flight);
    }

    /// One of those that were [carried](Self::carry) over has ended.
    pub fn release(&mut self, now: u64) {
        self.release_of(usize::MAX, now);
    }

    /// The same, of those of a [partition](Self::carry_of).
    pub fn release_of(&mut self, partition: usize, now: u64) {
        self.window.pass(now, self.shares.in_flight());
        self.shares.give_back(partition);
    }

    /// A dip that lasts too long has lost its load, and must not be in the way of the next one.
    fn give_up_dip(&mut self, now: u64) {
        let Some(after) = self.after.filter(|_| self.window.is_open()) else { return };
        let usual = self.last.as_ref().and_then(Window::spent).unwrap_or(0.0);
        let expected = algorithm::float(self.samples) / f64::from(self.limit) * usual;
        let span = algorithm::nanos(2.0 * expected).saturating_add(self.settings.window);
        if self.window.age(now) > span {
            self.after = None;
            self.turn_to(after, Why::DipOver);
        }
    }

    fn turn_to(&mut self, limit: u32, why: Why) -> Option<Change> {
        let to = limit.clamp(self.settings.bounds.min, self.settings.bounds.max);
        let from = std::mem::replace(&mut self.limit, to);
        let change = (from != to).then_some(Change { from, to, why })?;
        self.changes.count(why);
        self.changed = Some(change);
        self.changed
    }

    /// How many may be in flight.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// How many are in flight.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.shares.in_flight()
    }

    /// How many of a partition are in flight.
    #[must_use]
    pub fn in_flight_of(&self, partition: usize) -> u32 {
        self.shares.of(partition)
    }

    /// How many of the limit are a partition's, whatever the others do.
    #[must_use]
    pub fn guarantee(&self, partition: usize) -> u32 {
        self.shares.guarantee(partition, self.limit)
    }

    /// How many more of a partition could begin now.
    pub fn room(&mut self, partition: usize, now: u64) -> u32 {
        self.shares.room(partition, self.limit, now)
    }

    /// When places that are kept for some partition may be free for others, though none ends. None without shares.
    #[must_use]
    pub fn lends_at(&self) -> Option<u64> {
        self.shares.forgets_at()
    }

    /// How many partitions are told apart: those with a share, and everybody else.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.shares.partitions()
    }

    /// How often the limit was changed, and why.
    #[must_use]
    pub const fn changes(&self) -> Changes {
        self.changes
    }

    /// What the last window has shown; none until one is over.
    #[must_use]
    pub const fn last(&self) -> Option<&Window> {
        self.last.as_ref()
    }

    /// How the limit was last changed. That is what the last [`end`](Self::end) returned that returned something, unless a dip was given up
    /// since, because its load had gone.
    #[must_use]
    pub const fn changed(&self) -> Option<Change> {
        self.changed
    }

    /// How many nanoseconds a request takes that does not wait in the service, as far as that is known.
    #[must_use]
    pub fn service(&self) -> Option<u64> {
        self.algorithm.unhindered().map(algorithm::nanos)
    }

    /// What chooses the limit.
    #[must_use]
    pub const fn algorithm(&self) -> &A {
        &self.algorithm
    }
}
