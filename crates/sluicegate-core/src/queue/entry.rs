//! What comes to a queue, and what becomes of it.

/// What is offered: an item, and what the queue is to know of it. A bare item is one of no size, of the only key, in the first
/// class, wanted however late.
///
/// ```
/// use sluicegate_core::queue::Entry;
///
/// let entry = Entry::new("GET /").sized(312).keyed(42).in_class(1).until(50_000_000);
/// assert_eq!(Entry::from("GET /"), Entry::new("GET /"));
/// assert_ne!(entry, "GET /".into());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an entry does nothing unless offered"]
pub struct Entry<T> {
    pub(super) item: T,
    pub(super) size: u64,
    pub(super) key: u64,
    pub(super) class: usize,
    pub(super) deadline: u64,
    pub(super) begun_by: u64,
}

impl<T> Entry<T> {
    /// A bare item.
    pub const fn new(item: T) -> Self {
        Self { item, size: 0, key: 0, class: 0, deadline: u64::MAX, begun_by: u64::MAX }
    }

    /// It takes so many bytes while it waits.
    pub const fn sized(mut self, bytes: u64) -> Self {
        self.size = bytes;
        self
    }

    /// Whose it is, for a queue that is fair among keys: a number of the client's, or the hash of its name.
    pub const fn keyed(mut self, key: u64) -> Self {
        self.key = key;
        self
    }

    /// Its class, from 0 on, in the order of the settings. A class that there is not is the last.
    pub const fn in_class(mut self, class: usize) -> Self {
        self.class = class;
        self
    }

    /// The last instant at which it is of use, on the clock of the calls.
    pub const fn until(mut self, deadline: u64) -> Self {
        self.deadline = deadline;
        self
    }

    /// The last instant at which it may begin: whoever would wait longer does not want to. A deadline is for the work, this is for the
    /// wait alone.
    pub const fn begun_by(mut self, latest: u64) -> Self {
        self.begun_by = latest;
        self
    }

    /// The same with another item, which is made of this one.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Entry<U> {
        let Self { item, size, key, class, deadline, begun_by } = self;
        Entry { item: make(item), size, key, class, deadline, begun_by }
    }

    /// How many bytes it takes while it waits.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The last instant at which it may begin; the end of time (`u64::MAX`) where there is none.
    #[must_use]
    pub const fn begins_by(&self) -> u64 {
        self.begun_by
    }

    /// The last instant at which it is of use; the end of time (`u64::MAX`) where there is none.
    #[must_use]
    pub const fn deadline(&self) -> u64 {
        self.deadline
    }
}

impl<T> From<T> for Entry<T> {
    fn from(item: T) -> Self {
        Self::new(item)
    }
}

/// A place in the line. Tickets of one queue are never used twice, and those of who came later are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    pub(super) number: u64,
    pub(super) slot: usize,
}

impl Ticket {
    /// How many tickets its queue had given before.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.number
    }
}

/// Why an item is turned away, on its arrival or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// As many wait as may, or as many bytes.
    Full,
    /// Nothing is admitted any more.
    Closed,
    /// It has more bytes than may wait at all: only an idle server could take it.
    TooLarge,
    /// Its deadline has passed.
    Late,
    /// By what is ahead of it, how fast the line drains and what a service usually takes, it would be late. Never while a server
    /// would be idle for it.
    Hopeless,
    /// It has waited too long in a queue that is overloaded.
    Overloaded,
    /// It waited, and its place was given to another.
    Displaced,
    /// It was to [begin](Entry::begun_by) by an instant that has passed; or would begin later, by what is ahead of it and how fast
    /// the line drains; or would wait for longer than [so many services](super::Settings::with_wait_of).
    TooLong,
}

/// What becomes of an item on its arrival.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer<T> {
    /// A server was idle, and no longer is: it serves this now.
    Start(T),
    /// It waits.
    Wait(Ticket),
    /// It is turned away, and so is nobody in its stead.
    Refused(T, Refusal),
}

/// What waited, and is given up. It is the caller's again.
#[derive(Debug, PartialEq, Eq)]
pub struct Shed<T> {
    /// The ticket it had.
    pub ticket: Ticket,
    /// The item.
    pub item: T,
    /// Why.
    pub why: Refusal,
}

/// Who waited, taken [out](super::Queue::move_out) of one queue for [another](super::Queue::move_in).
#[derive(Debug)]
pub struct Moved<T> {
    /// The ticket it had.
    pub ticket: Ticket,
    /// Since when it waits. Who comes first is first; before all others is who has been out and came back.
    pub since: Option<u64>,
    /// What it was offered as.
    pub entry: Entry<T>,
}

impl<T> Entry<T> {
    /// The item.
    pub const fn item(&self) -> &T {
        &self.item
    }
}
