//! What a bucket has lent to threads, as arithmetic: how much, what of it is spent, and what of the bucket's room it keeps.
//!
//! A share is a few tokens that were taken from the bucket together and are spent one by one later. In the bucket's state they
//! are spent. What is spent from a share is not told to the state at once; so until it is told (*settled*) the bucket counts
//! all that was lent as if it still lay in the share, and keeps its room: while L tokens are lent, the bucket fills to C - L
//! at the most (`Bucket::hold`). Were it to fill further, what lies in the shares and what is in the bucket could be more
//! than C together, and all of it be granted at one instant.
//!
//! # Why no span grants too much
//! In units, let S be what is spent in the state, L what is lent and not settled, and f(t) what has flowed by t. A share
//! remembers an instant not before its last spending.
//!
//! Take a span from a to b. G is what was granted in it straight from the bucket, H what was spent in it from shares and is
//! settled. From the first decision of the span that the state knows of, S >= f(a) + G + H + L: a take at t >= a first raises S
//! to f(t) + L, and then adds what it takes to S and G; lending adds to S and L; settling raises S to f(t) + L for the instant
//! t that the share remembers, then moves what was spent from L to H, if it is in the span, and takes back from S and L what
//! was not spent. Of all that was spent in the span, the last that was taken from the bucket, straight or to be lent, was
//! taken when S <= f(t) + C held after it, with t <= b; right after that all of the span's grants are in G, H or L. So they
//! are at most S - f(a) <= C + f(b) - f(a). (If the state knows of none of them they are all in L, which is at most C / 4.)
//! What is put lowers S by as much, which is why the bound is net of it. Nowhere do instants have to come in order.
//!
//! # What that costs
//! Raising S to f + L where u of the L tokens are spent already leaves the bucket u tokens below full, though a plain cell may
//! be full then. So it may lag behind a plain cell by u, which is at most C / 4. Where S is higher by itself nothing is
//! raised; so this does not add up, and it ends as soon as both are full.

use crate::bucket::{Bucket, State};
use crate::quota::Refill;
use crate::units::HORIZON;

/// The bits of a share's word that count tokens; those above hold its instant, in nanoseconds.
const LEFT_BITS: u32 = 8;
/// The last instant there is room for: 2.2 years after the bucket's start. Later, nothing is lent.
const LAST: u64 = u64::MAX >> LEFT_BITS;
/// The most that a share holds: beyond, what is saved at the shared state is no longer worth telling from nothing.
const MOST: u64 = (1 << LEFT_BITS) - 1;
/// The least that is worth lending. The models count in ones.
const LEAST: u64 = if cfg!(sluicegate_loom) { 1 } else { 8 };
/// All shares hold at most one part in so many of the capacity, and one is lent at most so much of what is there, over the
/// number of stripes.
const PART: u64 = 4;
/// The shortest patience, in nanoseconds.
const PATIENCE: u64 = 100_000;
/// Where the whole capacity flows in less than this, in nanoseconds, nothing is lent.
const QUICK: u64 = 1000;

/// How a quota's tokens are lent to so many stripes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    stripes: u64,
    most: u64,
    patience: u64,
}

impl Sizes {
    /// What suits this quota and that many stripes: shares that together hold at most a fourth of the capacity, each at most
    /// 255 tokens. Where a share would be smaller than 8 tokens, or the whole capacity flows in a microsecond, nothing is ever
    /// lent.
    #[must_use]
    pub(crate) fn new(bucket: &Bucket, stripes: usize) -> Self {
        let stripes = u64::try_from(stripes).unwrap_or(u64::MAX).max(1);
        let quota = bucket.quota();
        let counted = !matches!(quota.refill(), Refill::Unlimited | Refill::Ban);
        let capacity = quota.capacity();
        let share = (capacity / PART.saturating_mul(stripes)).min(MOST);
        let is_quick = time_of(bucket, capacity).is_some_and(|nanos| nanos < QUICK);
        let most = if counted && share >= LEAST && !is_quick { share } else { 0 };
        // One token more: for what rounding may withhold.
        let all = time_of(bucket, (most * stripes).saturating_add(1)).unwrap_or(HORIZON);
        Self { stripes, most, patience: all.max(PATIENCE) }
    }

    /// The most tokens that one share holds; 0 where nothing is ever lent.
    #[must_use]
    pub const fn share(&self) -> u64 {
        self.most
    }

    /// The most tokens that all shares hold together.
    #[must_use]
    pub const fn lent(&self) -> u64 {
        self.most * self.stripes
    }

    /// How long a share that nobody spends from is left alone, in nanoseconds: as long as what all shares hold takes to flow,
    /// and at least 0.1 ms. After that its thread, or the next that looks after the bucket, gives it back.
    #[must_use]
    pub const fn patience(&self) -> u64 {
        self.patience
    }

    /// What to lend where so many tokens are there.
    pub(super) const fn of(&self, available: u64) -> u64 {
        let part = available / (PART * self.stripes);
        let share = if part < self.most { part } else { self.most };
        if share < LEAST { 0 } else { share }
    }
}

/// Nanoseconds in which so many tokens flow, at most as many as the capacity; none where they never do.
fn time_of(bucket: &Bucket, tokens: u64) -> Option<u64> {
    let tokens = tokens.min(bucket.quota().capacity());
    bucket.due_at(bucket.units_of(bucket.quota().capacity()).saturating_add(bucket.units_of(tokens)))
}

/// What a thread has: so many tokens, and an instant, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share(u64);

impl Share {
    pub(super) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub(super) const fn to_word(self) -> u64 {
        self.0
    }

    /// All of a share's word but its tokens.
    pub(super) const WITHOUT_TOKENS: u64 = !MOST;

    /// So many tokens, lent at an instant; none of them past the last.
    pub(super) const fn new(left: u64, at: u64) -> Self {
        if at > LAST { Self(LAST << LEFT_BITS) } else { Self(at << LEFT_BITS | left) }
    }

    pub(super) const fn left(self) -> u64 {
        self.0 & MOST
    }

    /// When it was lent or last spent from.
    pub(super) const fn at(self) -> u64 {
        self.0 >> LEFT_BITS
    }

    /// The share after `n` tokens are spent; none where there are fewer, or where it has been left alone so long that it must
    /// be given back, or where `now` is before it was last spent from.
    #[inline(always)]
    pub(super) fn spend(self, n: u64, now: u64, sizes: &Sizes) -> Option<Self> {
        let left = self.left();
        (left >= n && self.is_fresh(now, sizes)).then(|| Self(now << LEFT_BITS | (left - n)))
    }

    /// Whether its thread has been here not long ago, and not later than now.
    #[inline(always)]
    pub(super) const fn is_fresh(self, now: u64, sizes: &Sizes) -> bool {
        // Wraps where the share is from later.
        now.wrapping_sub(self.at()) <= sizes.patience && now <= LAST
    }

    /// Whether it has been left alone for too long. One that seems to be from later has not.
    pub(super) const fn is_stale(self, now: u64, sizes: &Sizes) -> bool {
        now.saturating_sub(self.at()) > sizes.patience
    }
}

/// A bucket's state while tokens of it are lent, and to whom.
#[derive(Debug)]
pub(super) struct Ledger {
    /// With what is lent as spent.
    state: State,
    /// Lent and not settled, in all.
    lent: u64,
    /// The same, a stripe.
    of: Box<[u64]>,
    /// When all shares were last looked after.
    pub(super) tended: u64,
}

impl Ledger {
    pub(super) fn new(state: State, stripes: usize, now: u64) -> Self {
        Self { state, lent: 0, of: vec![0; stripes].into_boxed_slice(), tended: now }
    }

    /// The whole state, if nothing is lent.
    pub(super) fn whole(&self) -> Option<State> {
        (self.lent == 0).then_some(self.state)
    }

    /// The state, with what is lent as spent.
    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// What is lent to a stripe and not settled.
    pub(super) fn lent_to(&self, stripe: usize) -> u64 {
        self.of[stripe]
    }

    /// Takes `n` tokens that are not lent, if they are there.
    pub(super) fn take(&mut self, bucket: &Bucket, n: u64, now: u64) -> bool {
        match bucket.after(bucket.hold(self.state, self.lent, now), n, now) {
            Some(next) => {
                self.state = next;
                true
            }
            None => false,
        }
    }

    /// Lends to a stripe that has nothing, as many tokens as suit what is there.
    pub(super) fn lend(&mut self, bucket: &Bucket, sizes: &Sizes, stripe: usize, now: u64) -> Share {
        let there = bucket.available(bucket.hold(self.state, self.lent, now), now);
        let share = if now <= LAST { sizes.of(there) } else { 0 };
        if share == 0 || !self.take(bucket, share, now) {
            return Share::new(0, now);
        }
        self.lent += share;
        self.of[stripe] = share;
        Share::new(share, now)
    }

    /// Accounts for what was spent from a stripe's share, which goes on.
    pub(super) fn settle(&mut self, bucket: &Bucket, stripe: usize, share: Share) {
        let lent = self.of[stripe];
        self.state = bucket.hold(self.state, self.lent, share.at());
        self.lent -= lent - share.left();
        self.of[stripe] = share.left();
    }

    /// Accounts for what was spent from a stripe's share, and takes back what was not.
    pub(super) fn give_back(&mut self, bucket: &Bucket, stripe: usize, share: Share) {
        let lent = std::mem::take(&mut self.of[stripe]);
        (self.state, self.lent) = given_back((self.state, self.lent), bucket, lent, share);
    }

    /// The state as it would be if all shares were given back now.
    pub(super) fn with_all_back(&self, bucket: &Bucket, shares: impl Iterator<Item = Share>) -> State {
        let lent = self.of.iter().copied().zip(shares).filter(|(lent, _)| *lent > 0);
        lent.fold((self.state, self.lent), |so_far, (lent, share)| given_back(so_far, bucket, lent, share)).0
    }

    /// Puts `n` tokens if there is room for all of them whatever is still in the shares.
    pub(super) fn put(&mut self, bucket: &Bucket, n: u64, now: u64) -> bool {
        let (put, next) = bucket.put_beside(self.state, self.lent, n, now);
        if put == n {
            self.state = next;
        }
        put == n
    }
}

/// The state, and what is lent, after a share of which so much was lent is given back.
fn given_back((state, all): (State, u64), bucket: &Bucket, lent: u64, share: Share) -> (State, u64) {
    if lent == 0 {
        return (state, all);
    }
    let state = bucket.hold(state, all, share.at());
    (bucket.put(state, share.left(), share.at()).1, all - lent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(quota: &str, stripes: usize) -> Sizes {
        Sizes::new(&Bucket::new(quota.parse().unwrap()), stripes)
    }

    #[test]
    fn shares_hold_a_fourth_of_the_capacity_and_small_buckets_lend_nothing() {
        assert_eq!((sizes("1000/s", 8).share(), sizes("1000/s", 8).lent()), (31, 248));
        assert_eq!(sizes("1000000/s", 8).share(), 255);
        assert_eq!((sizes("256/s", 8).share(), sizes("255/s", 8).share()), (8, 0));
        for nothing in ["ban", "unlimited", "stock 100", "31/ns burst 10000"] {
            assert_eq!(sizes(nothing, 8).share(), 0, "{nothing}");
        }
        assert_eq!(sizes("stock 1000000", 64).lent(), 64 * 255);
    }

    #[test]
    fn patience_is_as_long_as_what_is_lent_takes_to_flow() {
        assert_eq!(sizes("1000/s", 8).patience(), 249_000_000);
        assert_eq!(sizes("100000000/s", 8).patience(), PATIENCE);
        assert_eq!(sizes("stock 10000", 8).patience(), HORIZON);
    }

    #[test]
    fn little_is_lent_of_little() {
        let sizes = sizes("1000000/s", 8);
        assert_eq!([1_000_000, 8160, 8159, 256, 255].map(|there| sizes.of(there)), [255, 255, 254, 8, 0]);
    }

    #[test]
    fn a_share_is_spent_in_order_and_while_it_is_fresh() {
        let sizes = sizes("1000/s", 8);
        let share = Share::new(3, 1001);
        assert_eq!((share.left(), share.at()), (3, 1001));
        let next = share.spend(2, 2000, &sizes).unwrap();
        assert_eq!((next.left(), next.at()), (1, 2000));
        assert_eq!(next.spend(2, 2000, &sizes), None, "there is one");
        assert_eq!(next.spend(1, 1999, &sizes), None, "before it was spent from");
        let late = 2000 + sizes.patience();
        assert!(next.spend(1, late, &sizes).is_some() && next.spend(1, late + 1, &sizes).is_none());
        assert!(next.is_stale(late + 1, &sizes) && !next.is_stale(late, &sizes) && !next.is_stale(0, &sizes));
    }

    #[test]
    fn past_the_last_instant_nothing_is_lent() {
        let sizes = sizes("stock 10000", 8);
        assert!(Share::new(3, LAST).spend(1, LAST, &sizes).is_some());
        for past in [LAST + 1, HORIZON, u64::MAX] {
            assert_eq!(Share::new(3, past).left(), 0);
            assert_eq!(Share::new(3, LAST).spend(1, past, &sizes), None);
        }
        let (bucket, mut ledger) =
            (Bucket::new("stock 10000".parse().unwrap()), Ledger::new(State::FULL, 8, 0));
        assert_eq!(ledger.lend(&bucket, &sizes, 0, u64::MAX).left(), 0);
        assert_eq!(ledger.whole(), Some(State::FULL));
    }

    #[test]
    fn the_bucket_keeps_the_room_of_what_is_lent() {
        let bucket = Bucket::new("1000/s".parse().unwrap());
        let sizes = Sizes::new(&bucket, 8);
        let mut ledger = Ledger::new(bucket.start(), 8, 0);
        let share = ledger.lend(&bucket, &sizes, 3, 0);
        assert_eq!(share.left(), 31);
        let later = 1_000_000_000;
        assert!(!ledger.take(&bucket, 970, later), "31 lie in the share");
        assert!(ledger.take(&bucket, 969, later));
        ledger.give_back(&bucket, 3, share);
        let whole = ledger.whole().unwrap();
        assert_eq!(bucket.available(whole, later), 31);
    }
}
