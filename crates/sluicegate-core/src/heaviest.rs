//! Who weighs most of all, in memory for a few.
//!
//! Space-Saving, after A. Metwally, D. Agrawal and A. El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data
//! Streams", ICDT 2005: a number of counters, each for somebody by name. Who has one is added to it; who has none, while all are
//! taken, takes over the least, with what it counts. So a counter may count too much, and it is known by how much at most.

#[cfg(all(test, not(sluicegate_loom)))]
mod tests;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use crate::clock::nanos;

/// Who weighs most, of any number who are told apart by 64 bits. `T` is what is kept of each who is on the list: its name.
///
/// Of `m` counters and `N`, the weight of all:
///
/// * whoever weighs more than `N / m` is on the list;
/// * each on the list weighs no more than [`at_most`](Weighed::at_most), no less than [`at_least`](Weighed::at_least), and the
///   two are no more than `N / m` apart (and 2, once weights were halved: they are whole numbers);
/// * who is not on it weighs no more than [`rest`](Self::rest), which is at most `N / m`.
///
/// All weights are halved each time a span is over, and rounded down: so the list tells of the last spans, and what is long ago
/// fades. That is what "weighs" means above. Sums stop at `u64::MAX`, and what was promised holds short of that.
///
/// Noting takes O(log m), and once a span O(m log m); memory is for `m` names, whoever comes.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::heaviest::Heaviest;
///
/// let mut heaviest = Heaviest::new(2, Duration::from_secs(60));
/// for name in ["ann", "bob", "ann", "eve", "ann"] {
///     let id = name.bytes().fold(0, |id, byte| id << 8 | u64::from(byte));
///     heaviest.note(id, 10, 0, || name.to_owned());
/// }
/// let top = heaviest.top(0, 1);
/// assert_eq!((top[0].item.as_str(), top[0].at_most, top[0].at_least), ("ann", 30, 30));
/// let later = heaviest.top(60_000_000_000, 1);
/// assert_eq!(later[0].at_most, 15);
/// ```
#[derive(Clone, Debug)]
pub struct Heaviest<T> {
    counters: Vec<Counter<T>>,
    /// Places of counters, as a heap: each counts no more than the two at twice its index plus one and two.
    heap: Vec<usize>,
    /// Where the counter of an id is.
    places: HashMap<u64, usize>,
    /// How many counters there may be.
    most: usize,
    /// Nanoseconds; never, if 0.
    span: u64,
    /// How many spans of the clock were over when it was last looked at.
    spans: u64,
    total: u64,
}

#[derive(Clone, Debug)]
struct Counter<T> {
    id: u64,
    at_most: u64,
    at_least: u64,
    /// Its index in the heap.
    at: usize,
    item: T,
}

/// One who is on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed<'a, T> {
    /// Who it is.
    pub item: &'a T,
    /// It weighs no more.
    pub at_most: u64,
    /// It weighs no less.
    pub at_least: u64,
}

impl<'a, T> Weighed<'a, T> {
    const fn of(counter: &'a Counter<T>) -> Self {
        Self { item: &counter.item, at_most: counter.at_most, at_least: counter.at_least }
    }
}

impl<T> Heaviest<T> {
    /// With so many counters, and weights that are halved whenever the clock shows a multiple of `span` (never, if that is
    /// zero). Without a counter nobody is on the list.
    #[must_use]
    pub fn new(counters: usize, span: Duration) -> Self {
        Self {
            counters: Vec::new(),
            heap: Vec::new(),
            places: HashMap::new(),
            most: counters,
            span: nanos(span),
            spans: 0,
            total: 0,
        }
    }

    /// Whether `id` is on the list at `now`: then [`note`](Self::note) at the same instant asks for no name.
    pub fn has(&mut self, id: u64, now: u64) -> bool {
        self.pass(now);
        self.places.contains_key(&id)
    }

    /// Adds to what `id` weighs, at `now` (nanoseconds). `name` is asked only if it comes on the list for that; who leaves it for
    /// that is returned. A clock that steps back halves nothing.
    pub fn note(&mut self, id: u64, weight: u64, now: u64, name: impl FnOnce() -> T) -> Option<T> {
        self.pass(now);
        if weight == 0 || self.most == 0 {
            return None;
        }
        if let Some(&place) = self.places.get(&id) {
            self.total = self.total.saturating_add(weight);
            let counter = &mut self.counters[place];
            counter.at_most = counter.at_most.saturating_add(weight);
            counter.at_least = counter.at_least.saturating_add(weight);
            let at = counter.at;
            self.sink(at);
            return None;
        }
        // What is not ours comes first: if it panics, nothing has changed.
        let item = name();
        self.total = self.total.saturating_add(weight);
        if self.counters.len() < self.most {
            let (place, at) = (self.counters.len(), self.heap.len());
            self.counters.push(Counter { id, at_most: weight, at_least: weight, at, item });
            self.heap.push(place);
            self.places.insert(id, place);
            self.rise(at);
            return None;
        }
        let place = self.heap[0];
        let least = &mut self.counters[place];
        self.places.remove(&least.id);
        let at_most = least.at_most.saturating_add(weight);
        let gone = std::mem::replace(least, Counter { id, at_most, at_least: weight, at: 0, item });
        self.places.insert(id, place);
        self.sink(0);
        Some(gone.item)
    }

    /// The `k` who weigh most at `now`, by what they weigh at most, the heaviest first. Whoever weighs more than the last of them
    /// may weigh is among them.
    pub fn top(&mut self, now: u64, k: usize) -> Vec<Weighed<'_, T>> {
        self.pass(now);
        let mut all: Vec<_> = self.counters.iter().map(Weighed::of).collect();
        all.sort_by_key(|one| Reverse((one.at_most, one.at_least)));
        all.truncate(k);
        all
    }

    /// What somebody who is not on the list weighs at most. Without a counter nobody knows.
    pub fn rest(&mut self, now: u64) -> u64 {
        self.pass(now);
        if self.counters.len() < self.most {
            0
        } else {
            self.heap.first().map_or(u64::MAX, |_| self.weight(0))
        }
    }

    /// What all weigh together.
    pub fn total(&mut self, now: u64) -> u64 {
        self.pass(now);
        self.total
    }

    /// Halves for each span that is over since it was last looked at. Since all are rounded down, what is no less than another stays so,
    /// and all together are no less than the sum of them.
    fn pass(&mut self, now: u64) {
        let spans = now.checked_div(self.span).unwrap_or(0);
        if spans <= self.spans {
            return;
        }
        let times = u32::try_from(spans - self.spans).unwrap_or(u32::MAX);
        self.spans = spans;
        let halved = |weight: u64| weight.checked_shr(times).unwrap_or(0);
        self.total = halved(self.total);
        self.counters.retain_mut(|counter| {
            (counter.at_most, counter.at_least) = (halved(counter.at_most), halved(counter.at_least));
            counter.at_most > 0
        });
        // What is sorted is a heap.
        let counters = &mut self.counters;
        self.heap = (0..counters.len()).collect();
        self.heap.sort_by_key(|&place| counters[place].at_most);
        self.heap.iter().enumerate().for_each(|(at, &place)| counters[place].at = at);
        self.places = counters.iter().enumerate().map(|(place, counter)| (counter.id, place)).collect();
    }

    fn weight(&self, at: usize) -> u64 {
        self.counters[self.heap[at]].at_most
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        for at in [one, other] {
            self.counters[self.heap[at]].at = at;
        }
    }

    /// Brings one who has become heavier to its place in the heap.
    fn sink(&mut self, mut at: usize) {
        loop {
            let below = (2 * at + 1..self.heap.len().min(2 * at + 3)).min_by_key(|&below| self.weight(below));
            let Some(below) = below.filter(|&below| self.weight(below) < self.weight(at)) else { return };
            self.swap(at, below);
            at = below;
        }
    }

    /// The same for one who is new at the end.
    fn rise(&mut self, mut at: usize) {
        while at > 0 && self.weight(at) < self.weight((at - 1) / 2) {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }
}
