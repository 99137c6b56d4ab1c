//! One decision over charges on any keys of any tables: all or none.
//!
//! The keys are locked in one order, by their table's address and their shard's number, and the buckets that a table's keys
//! share after all its shards; the locks are held until all have answered, and then every charge keeps its outcome, or none
//! does. So nothing is rolled back, and whoever decides the other way round at the same time waits and does not lock out.
//! Nothing waits under these locks but for the next of them.

use sluicegate_core::bucket::{Bucket, State};
use sluicegate_core::decision::Decision;
use sluicegate_core::quota::Quota;

use super::hold::{Held, class_of};
use super::overflow::Overflow;
use super::shard::{Shard, Wanted};
use super::slot::BANDS;
use super::{Digest, Keys, lock};

/// What is asked of every charge of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// To take the tokens.
    Take,
    /// Whether they could be taken.
    Peek,
    /// To book them, where they are due within so many nanoseconds.
    Book(u64),
}

/// Which tables and quotas the charges are on, by their places.
pub(crate) trait Among {
    /// The table of a charge.
    fn table(&self, place: usize) -> &Keys;
    /// Its quota; none is the table's own.
    fn quota(&self, place: usize) -> Option<&Quota>;
    /// The same, where it is known more exactly.
    fn wanted(&self, place: usize) -> Wanted<'_> {
        self.quota(place).map_or(Wanted::Own, Wanted::Quota)
    }
}

/// A charge, and once it is decided what came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// None if there is nothing to charge.
    digest: Option<Digest>,
    n: u64,
    /// What the limit says.
    decision: Decision,
    /// When the tokens are there: nanoseconds since the table's start.
    due: u64,
    bucket: Held,
    /// The state if all keep their outcome, and if not. The two differ from what was before also where its quota has changed.
    next: State,
    stay: State,
}

impl Entry {
    /// A charge of `n`.
    pub(crate) const fn new(digest: Digest, n: u64) -> Self {
        Self { digest: Some(digest), n, ..Self::NOTHING }
    }

    /// A place where nothing is charged, and everything granted.
    pub(crate) const NOTHING: Self = Self {
        digest: None,
        n: 0,
        decision: Decision::UNLIMITED,
        due: 0,
        bucket: Held::Nowhere,
        next: State::FULL,
        stay: State::FULL,
    };

    /// What the limit says, or where it stands if it would have granted and another did not.
    pub(crate) const fn standing(&self) -> Decision {
        self.decision
    }

    /// What was charged where, if anything was.
    pub(crate) fn charged(&self) -> Option<Charged> {
        let is_shared = matches!(self.bucket, Held::Shared(_));
        self.digest.map(|digest| Charged { digest, n: self.n, is_shared })
    }

    /// When the tokens are there, in nanoseconds on the clock that the table was started on.
    pub(crate) const fn due(&self, table: &Keys) -> u64 {
        self.due.saturating_add(table.start)
    }

    /// Decides this charge on a state.
    fn ask(&mut self, asking: Asking, bucket: &Bucket, state: State, now: u64) {
        let (decision, next) = bucket.take(state, self.n, now);
        (self.decision, self.next, self.stay, self.due) = (decision, next, state, now);
        let (Asking::Book(most), Decision::Later { retry_after: Some(_), .. }) = (asking, decision) else {
            return;
        };
        let Some(booked) = bucket.book(state, self.n, now) else { return };
        let Some(due) = bucket.due_at(booked.position) else { return };
        if due.saturating_sub(now) <= most {
            (self.decision, self.next, self.due) = (bucket.peek(booked.state, now), booked.state, due);
        }
    }

    /// What is decided on a key for which there is no place, after it was [asked](Self::ask) as a new one: what takes a token
    /// can't be granted. Says whether it was refused for that.
    fn without_place(&mut self, bucket: &Bucket, now: u64) -> bool {
        let Decision::Granted { limit, .. } = self.decision else { return false };
        if self.next != self.stay {
            let later = Decision::Later { retry_after: None, limit, remaining: 0, reset_after: None };
            (self.decision, self.next) = (later, self.stay);
            return true;
        }
        if bucket.take(self.stay, 1, now).1 != self.stay {
            self.decision = Decision::Granted { limit, remaining: 0, reset_after: None };
        }
        false
    }

    /// The state that is kept. What would have been granted and is not kept stands as before.
    fn outcome(&mut self, is_kept: bool, bucket: &Bucket, now: u64) -> State {
        if is_kept {
            return self.next;
        }
        if self.decision.is_granted() && !matches!(self.bucket, Held::Unplaced(_)) {
            self.decision = bucket.peek(self.stay, now);
        }
        self.stay
    }
}

/// What a decision has taken from one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charged {
    pub(crate) digest: Digest,
    pub(crate) n: u64,
    /// Whether the key had no place of its own.
    pub(crate) is_shared: bool,
}

/// Decides over all `entries`; no two may be on the same key of the same table. `order` are their places, sorted by
/// [`Keys::order`]. Says whether all were granted, in which case they have kept their outcome (unless they were only asked).
pub(crate) fn decide(
    among: &impl Among,
    entries: &mut [Entry],
    order: &[usize],
    now: u64,
    asking: Asking,
) -> bool {
    Turn { among, entries, order, now, asking }.step(0, 0, true)
}

/// The same over buckets of one table that are all in this shard, which is locked.
pub(super) fn decide_locked(
    among: &impl Among,
    shard: &mut Shard,
    entries: &mut [Entry],
    now: u64,
    asking: Asking,
) -> bool {
    let mut order = [0; BANDS];
    (0..entries.len()).zip(&mut order).for_each(|(place, at)| *at = place);
    let order = &order[..entries.len()];
    let mut turn = Turn { among, entries, order, now, asking };
    turn.table(0).is_none_or(|table| turn.locked(shard, table, (0, 0, order.len()), true))
}

struct Turn<'a, A> {
    among: &'a A,
    entries: &'a mut [Entry],
    order: &'a [usize],
    now: u64,
    asking: Asking,
}

impl<'a, A: Among> Turn<'a, A> {
    fn table(&self, at: usize) -> Option<&'a Keys> {
        let among: &'a A = self.among;
        self.order.get(at).map(|&place| among.table(place))
    }

    fn shard(&self, at: usize) -> Option<usize> {
        let place = self.order[at];
        self.entries[place].digest.map(|digest| self.among.table(place).shard_of(digest))
    }

    /// Decides the entries from place `at` of the order on: those of one shard, and with that locked the rest. `begin` is
    /// where this table's begin, if it isn't at `at`. Says whether all of them were granted, and all before.
    fn step(&mut self, at: usize, begin: usize, before: bool) -> bool {
        let Some(table) = self.table(at) else { return before };
        let same_table =
            |turn: &Self, at: usize| turn.table(at).is_some_and(|other| std::ptr::eq(other, table));
        let begin = if at > 0 && same_table(self, at - 1) { begin } else { at };
        let Some(part) = self.shard(at) else { return self.step(at + 1, begin, before) };
        let mut end = at + 1;
        while same_table(self, end) && self.shard(end) == Some(part) {
            end += 1;
        }
        self.locked(&mut lock(&table.shards()[part].0), table, (begin, at, end), before)
    }

    /// The same, where those from `at` to `end` are in this shard.
    fn locked(
        &mut self,
        shard: &mut Shard,
        table: &Keys,
        (begin, at, end): (usize, usize, usize),
        before: bool,
    ) -> bool {
        let same_table =
            |turn: &Self, at: usize| turn.table(at).is_some_and(|other| std::ptr::eq(other, table));
        let now = self.now.saturating_sub(table.start);
        let order = self.order;
        let mut granted = before;
        for (nth, &place) in order[at..end].iter().enumerate() {
            let wanted = self.among.wanted(place);
            // What makes room moves slots, so it is over once one is remembered.
            let held = table.hold(shard, self.entries[place].digest, wanted, now, nth);
            let entry = &mut self.entries[place];
            (entry.bucket, entry.stay) = held;
            let Some(class) = class_of(shard, entry.bucket) else { continue };
            let state = entry.stay;
            entry.ask(self.asking, shard.bucket(class), state, now);
            let is_unplaced = matches!(entry.bucket, Held::Unplaced(_));
            if is_unplaced && entry.without_place(shard.bucket(class), now) && self.asking != Asking::Peek {
                table.crowding.0.refused();
            }
            granted &= entry.decision.is_granted();
        }
        let is_shared = |turn: &Self, place: usize| matches!(turn.entries[place].bucket, Held::Shared(_));
        let mut more = (end..order.len()).take_while(|&at| same_table(self, at));
        let is_last = !more.any(|at| self.shard(at).is_some());
        let mut overflow = None;
        if is_last && order[begin..end].iter().any(|&place| is_shared(self, place)) {
            let mut buckets = lock(&table.overflow);
            buckets.tidy(now);
            for &place in &order[begin..end] {
                if is_shared(self, place) {
                    granted &= self.ask_shared(table, &mut buckets, begin..end, place, now);
                }
            }
            overflow = Some(buckets);
        }

        let granted = self.step(end, begin, granted);

        let is_kept = granted && self.asking != Asking::Peek;
        if let Some(mut buckets) = overflow {
            for &place in &order[begin..end] {
                if let Held::Shared(at) = self.entries[place].bucket {
                    let shared = buckets.at(at);
                    shared.state = self.entries[place].outcome(is_kept, &shared.bucket, now);
                }
            }
        }
        // A slot that is inserted moves others, so first those that have theirs.
        for is_placed in [true, false] {
            for &place in &order[at..end] {
                let entry = &mut self.entries[place];
                let (Some(class), Some(digest)) = (class_of(shard, entry.bucket), entry.digest) else {
                    continue;
                };
                if is_placed == matches!(entry.bucket, Held::Slot(_) | Held::Moved(..)) {
                    let state = entry.outcome(is_kept, shard.bucket(class), now);
                    table.keep(shard, digest, entry.bucket, state, now);
                }
            }
        }
        granted
    }

    /// Decides an entry on a shared bucket, as if those before it on the same had kept their outcome.
    fn ask_shared(
        &mut self,
        table: &Keys,
        buckets: &mut Overflow,
        range: std::ops::Range<usize>,
        place: usize,
        now: u64,
    ) -> bool {
        if self.asking != Asking::Peek {
            table.crowding.0.overflowed();
        }
        let at = buckets.place(self.among.wanted(place).quota(), now);
        let before = self.order[range].iter().take_while(|&&other| other != place);
        let last =
            before.map(|&other| self.entries[other]).filter(|other| other.bucket == Held::Shared(at)).last();
        let shared = buckets.at(at);
        let entry = &mut self.entries[place];
        entry.bucket = Held::Shared(at);
        entry.ask(self.asking, &shared.bucket, last.map_or(shared.state, |last| last.next), now);
        // What stays if nothing is kept is what was there before all of them.
        entry.stay = shared.state;
        entry.decision.is_granted()
    }
}
