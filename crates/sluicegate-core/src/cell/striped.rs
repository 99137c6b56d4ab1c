//! A cell for many cores: threads spend from shares of their own.
//!
//! One word that every core writes is passed from core to core, and each write waits until it has come. Where that wait is
//! what limits a service, a [`StripedCell`] helps: under contention it lends each thread's *stripe*, a cache line of its own,
//! a few tokens at a time, and most takes touch nothing else.

use std::cell::Cell as Counter;
use std::fmt;

use super::shares::{Ledger, Share};
use super::{Cell, Retired};
use crate::bucket::{Bucket, State};
use crate::decision::{Decision, Denied};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, PoisonError};

pub use super::shares::Sizes;

/// Lost races after which a thread has the state split.
const RACES: u64 = 4;

/// The state of one bucket, for threads that would wait for each other at a plain [`Cell`].
///
/// It is in one of two ways:
///
/// * **whole**: a plain cell, with every answer the same. So it begins, and so it stays while no two threads write at one
///   time, and for ever where the capacity is too small to be shared ([`Sizes`]).
/// * **split**: some tokens are lent to stripes, and a thread spends from its own by one compare-and-swap on a line that
///   nobody else touches. What is not lent is under a lock, which is taken once for up to 255 tokens. Threads that have lost a
///   few races split it, while enough is there.
///
/// Before anything is refused, all shares are taken back, and it is whole again: so a refusal is as exact as a cell's, its
/// `retry_after` too, and each that follows reads the one word, however many stripes there are, until somebody puts or the
/// time has come. Shares that lie idle for long are taken back too.
///
/// # Bounds
/// Never more than the bucket's own: in any span at most C + q·t/I, exactly, since the bucket keeps the room of what is lent.
/// Nothing is refused while its tokens lie in a share.
///
/// Less than the bucket's own by what is forgotten: what flows while the bucket is full overflows, and while it is split and
/// nearly full, the bucket takes tokens for still there that were just spent from shares, and so itself for full. At any time it
/// has at most so many tokens less than a plain cell would have as its shares hold together: a quarter of C, and at
/// most 255 a stripe. So who asks all the time gets at least C + q·t/I - 1 less these. It does not add up; while the bucket
/// is whole, or not nearly full, nothing is forgotten; and left alone until it is full, which takes up to [`Sizes::patience`]
/// longer than it would a plain cell, it has all of C.
///
/// A stripe may serve several threads; it is then as right, and slower.
///
/// ```
/// use sluicegate_core::{bucket::Bucket, cell::striped::StripedCell, quota::Quota};
///
/// let bucket = Bucket::new("10000/s".parse::<Quota>()?);
/// let cell = StripedCell::new(&bucket, 8);
/// assert!(cell.take(&bucket, 0, 1, 0).is_ok());
/// cell.split(&bucket, 0, 0); // as contention would
/// assert!(cell.take(&bucket, 0, 1, 0).is_ok());
/// assert_eq!(cell.available(&bucket, 0), 9998);
/// assert_eq!(cell.take_up_to(&bucket, 20_000, 0), 9998);
/// let refused = cell.take(&bucket, 0, 1, 0).unwrap_err();
/// assert_eq!(refused.retry_after().unwrap().as_micros(), 100);
/// # Ok::<(), sluicegate_core::quota::QuotaError>(())
/// ```
pub struct StripedCell {
    /// The state while it is whole; retired while it is split.
    apart: Apart,
    stripes: Box<[Stripe]>,
    sizes: Sizes,
    /// What is not lent, while it is split. Who holds the lock splits the cell, makes it whole, and is the only one to raise a
    /// share.
    split: Mutex<Option<Ledger>>,
}

/// On cache lines of its own, and its neighbour's: processors fetch them in pairs.
#[repr(align(128))]
struct Apart(Cell);

/// What belongs to a thread, or to few.
#[repr(align(128))]
struct Stripe {
    share: AtomicU64,
    /// Races lost since it was last split. Only a hint: who shares the stripe may overwrite it.
    races: AtomicU64,
}

impl StripedCell {
    /// The cell of a new bucket, for so many threads (rounded up to a power of two, from 1 to 64) that decide at one time.
    /// More may come; some then share a stripe.
    #[must_use]
    pub fn new(bucket: &Bucket, stripes: usize) -> Self {
        let stripes = stripes.clamp(1, 64).next_power_of_two();
        let stripe = |_| Stripe { share: AtomicU64::new(0), races: AtomicU64::new(0) };
        Self {
            apart: Apart(Cell::new(bucket.start())),
            stripes: (0..stripes).map(stripe).collect(),
            sizes: Sizes::new(bucket, stripes),
            split: Mutex::new(None),
        }
    }

    /// How its tokens are lent.
    #[must_use]
    pub const fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// How many stripes it has.
    #[must_use]
    pub fn stripes(&self) -> usize {
        self.stripes.len()
    }

    /// Whether tokens are lent now.
    #[must_use]
    pub fn is_split(&self) -> bool {
        self.cell().load().is_err()
    }

    /// Takes `n` tokens, all or none, for the thread whose stripe this is; a number past the last counts from the first again.
    ///
    /// A grant comes without the bucket's standing, which only all stripes together know; see [`peek`](Self::peek).
    ///
    /// # Errors
    /// A refusal, as the bucket's own. Nothing was taken.
    #[inline(always)]
    pub fn take(&self, bucket: &Bucket, stripe: usize, n: u64, now: u64) -> Result<(), Denied> {
        if self.spend(stripe, n, now) {
            return Ok(());
        }
        let taken = match self.take_whole(bucket, n, now) {
            (Ok(taken), 1) => taken,
            (Ok(taken), _) => {
                self.lost_a_race(bucket, stripe, now);
                taken
            }
            (Err(Retired), _) => self.take_split(bucket, stripe, n, now),
        };
        match taken {
            Ok(()) => Ok(()),
            // What to say is worked out here, where it costs nothing if nobody looks at it.
            Err(Refused(state)) => Err(bucket.answer(state, None, n, now).refused()),
        }
    }

    /// Spends from the stripe's own share, if that has as much.
    #[inline(always)]
    fn spend(&self, stripe: usize, n: u64, now: u64) -> bool {
        let word = &self.stripe(stripe).share;
        let mut share = Share::from_word(word.load(Ordering::Acquire));
        loop {
            let Some(next) = share.spend(n, now, &self.sizes) else { return false };
            let (old, new) = (share.to_word(), next.to_word());
            match word.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(actual) => share = Share::from_word(actual),
            }
        }
    }

    /// Takes while it is whole. Says also in how many tries.
    #[inline(always)]
    fn take_whole(&self, bucket: &Bucket, n: u64, now: u64) -> (Result<Result<(), Refused>, Retired>, u32) {
        let tries = Counter::new(0);
        let taken = self.cell().update(|state| {
            tries.set(tries.get() + 1);
            let next = bucket.after(state, n, now);
            (if next.is_some() { Ok(()) } else { Err(Refused(state)) }, next)
        });
        (taken, tries.get())
    }

    #[cold]
    fn lost_a_race(&self, bucket: &Bucket, stripe: usize, now: u64) {
        let races = &self.stripe(stripe).races;
        let lost = races.load(Ordering::Relaxed) + 1;
        races.store(lost % RACES, Ordering::Relaxed);
        if lost >= RACES && self.sizes.share() > 0 {
            self.split(bucket, stripe, now);
        }
    }

    /// Begins to lend, whether there is contention or not, beginning with this stripe: where it isn't split already and enough
    /// is there. For tests, and for who knows beforehand; contention does it by itself.
    pub fn split(&self, bucket: &Bucket, stripe: usize, now: u64) {
        let stripe = self.number(stripe);
        let mut split = self.lock();
        let enough = |state| self.sizes.of(bucket.available(state, now)) > 0;
        if split.is_some() || !self.cell().load().is_ok_and(enough) {
            return;
        }
        let Ok(state) = self.cell().retire() else { return };
        let ledger = split.insert(Ledger::new(state, self.stripes.len(), now));
        self.lend(ledger, bucket, stripe, now);
        self.unite_if_nothing_is_lent(&mut split);
    }

    /// Takes while it is split: from what is not lent, then from all shares. Apart, so that the rest is small.
    #[inline(never)]
    fn take_split(&self, bucket: &Bucket, stripe: usize, n: u64, now: u64) -> Result<(), Refused> {
        let stripe = self.number(stripe);
        let mut split = self.lock();
        self.tend(&mut split, bucket, now);
        let Some(ledger) = &mut *split else {
            // It was made whole meanwhile, and nobody splits it while the lock is held; so the cell answers.
            return self.take_whole(bucket, n, now).0.unwrap_or(Err(Refused(bucket.start())));
        };
        let own = self.withdraw(stripe);
        ledger.give_back(bucket, stripe, own);
        if ledger.take(bucket, n, now) {
            // A thread that seldom comes needs no share, and what it had would lie there.
            if own.is_fresh(now, &self.sizes) {
                self.lend(ledger, bucket, stripe, now);
            } else {
                self.stripe(stripe).share.store(Share::new(0, now).to_word(), Ordering::Release);
            }
            return Ok(());
        }
        let state = self.reclaimed(ledger, bucket);
        let next = bucket.after(state, n, now);
        self.make_whole(&mut split, next.unwrap_or(state));
        if next.is_some() { Ok(()) } else { Err(Refused(state)) }
    }

    /// Takes as many tokens as there are, `n` at the most, those in the shares too, and says how many.
    pub fn take_up_to(&self, bucket: &Bucket, n: u64, now: u64) -> u64 {
        self.on_whole(
            bucket,
            || self.cell().take_up_to(bucket, n, now),
            |state| bucket.take_up_to(state, n, now),
        )
    }

    /// Puts `n` tokens, as many as there is room for, and says how many those were.
    pub fn put(&self, bucket: &Bucket, n: u64, now: u64) -> u64 {
        if let Ok(put) = self.cell().put(bucket, n, now) {
            return put;
        }
        if let Some(ledger) = &mut *self.lock()
            && ledger.put(bucket, n, now)
        {
            return n;
        }
        self.on_whole(bucket, || self.cell().put(bucket, n, now), |state| bucket.put(state, n, now))
    }

    /// Whole tokens that could be taken now, those in the shares too. Reads all stripes while it is split.
    #[must_use]
    pub fn available(&self, bucket: &Bucket, now: u64) -> u64 {
        bucket.available(self.state(bucket), now)
    }

    /// What a take of `n` would answer, without a change. Reads all stripes while it is split.
    pub fn peek(&self, bucket: &Bucket, n: u64, now: u64) -> Decision {
        bucket.take(self.state(bucket), n, now).0
    }

    /// The state, as it is with all shares.
    fn state(&self, bucket: &Bucket) -> State {
        if let Ok(state) = self.cell().load() {
            return state;
        }
        let split = self.lock();
        match &*split {
            Some(ledger) => {
                ledger.with_all_back(bucket, (0..self.stripes.len()).map(|stripe| self.look(stripe)))
            }
            None => self.cell().load().unwrap_or(State::FULL),
        }
    }

    /// An operation on the whole: on the cell as it is, or on the state after all shares were taken back.
    fn on_whole<T: Default>(
        &self,
        bucket: &Bucket,
        on_cell: impl Fn() -> Result<T, Retired>,
        on_state: impl FnOnce(State) -> (T, State),
    ) -> T {
        if let Ok(answer) = on_cell() {
            return answer;
        }
        let mut split = self.lock();
        let Some(ledger) = &mut *split else {
            // Nobody splits it while the lock is held, so the cell answers.
            return on_cell().unwrap_or_default();
        };
        let (answer, next) = on_state(self.reclaimed(ledger, bucket));
        self.make_whole(&mut split, next);
        answer
    }

    /// Takes all shares back: the whole state.
    fn reclaimed(&self, ledger: &mut Ledger, bucket: &Bucket) -> State {
        for stripe in 0..self.stripes.len() {
            if ledger.lent_to(stripe) > 0 {
                ledger.give_back(bucket, stripe, self.withdraw(stripe));
            }
        }
        ledger.state()
    }

    /// Ends the lending, under the lock: nothing is lent any more.
    fn make_whole(&self, split: &mut Option<Ledger>, state: State) {
        *split = None;
        self.cell().revive(state);
    }

    /// Once in a while: accounts for what was spent, and takes back what lies idle.
    fn tend(&self, split: &mut Option<Ledger>, bucket: &Bucket, now: u64) {
        let Some(ledger) = split else { return };
        if now.saturating_sub(ledger.tended) <= self.sizes.patience() {
            return;
        }
        ledger.tended = now;
        for stripe in 0..self.stripes.len() {
            if ledger.lent_to(stripe) == 0 {
                continue;
            }
            let share = self.look(stripe);
            if share.is_stale(now, &self.sizes) {
                ledger.give_back(bucket, stripe, self.withdraw(stripe));
            } else {
                ledger.settle(bucket, stripe, share);
            }
        }
        self.unite_if_nothing_is_lent(split);
    }

    fn unite_if_nothing_is_lent(&self, split: &mut Option<Ledger>) {
        if let Some(state) = split.as_ref().and_then(Ledger::whole) {
            self.make_whole(split, state);
        }
    }

    /// Lends to a stripe that has nothing, under the lock.
    fn lend(&self, ledger: &mut Ledger, bucket: &Bucket, stripe: usize, now: u64) {
        let share = ledger.lend(bucket, &self.sizes, stripe, now);
        self.stripe(stripe).share.store(share.to_word(), Ordering::Release);
    }

    /// Takes a stripe's share away; from here on nothing can be spent there. It is told what its thread did last, so that a thread
    /// that is not idle is known for it.
    fn withdraw(&self, stripe: usize) -> Share {
        let word = &self.stripe(stripe).share;
        Share::from_word(word.fetch_and(Share::WITHOUT_TOKENS, Ordering::AcqRel))
    }

    fn look(&self, stripe: usize) -> Share {
        Share::from_word(self.stripe(stripe).share.load(Ordering::Acquire))
    }

    #[inline(always)]
    const fn cell(&self) -> &Cell {
        &self.apart.0
    }

    #[inline(always)]
    fn stripe(&self, stripe: usize) -> &Stripe {
        &self.stripes[self.number(stripe)]
    }

    #[inline(always)]
    fn number(&self, stripe: usize) -> usize {
        stripe & (self.stripes.len() - 1)
    }

    /// What is done under the lock can't be left half done, so a panic elsewhere breaks nothing.
    fn lock(&self) -> MutexGuard<'_, Option<Ledger>> {
        self.split.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StripedCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripedCell")
            .field("stripes", &self.stripes.len())
            .field("is_split", &self.is_split())
            .finish_non_exhaustive()
    }
}

/// The whole state that tokens were refused in.
struct Refused(State);
