//! A key as it is kept: 24 bytes.

use sluicegate_core::bucket::State;
use sluicegate_core::units::HORIZON;

use super::Digest;

/// The bits of the second word that tell which of its shard's quotas the state belongs to. All of them set is no quota's number.
const CLASS: u64 = 0x3ff;

/// How many quotas a shard could number.
pub(super) const CLASSES: usize = 0x3ff;

/// The bits that tell until when a key is kept though it may be as if never used: the number of the minute that it is not any more,
/// since the table's start, or [`FOREVER`]. There are more of them than minutes in a bucket's life.
const KEPT: u64 = FOREVER << KEPT_AT;
const KEPT_AT: u32 = 10;
const FOREVER: u64 = 0x7f_ffff;
const _: () = assert!(HORIZON.saturating_add(KEPT_FOR) / MINUTE < FOREVER);
const MINUTE: u64 = 60 * 1_000_000_000;

/// How long a key whose quota has changed is kept at the most, in nanoseconds: an hour, longer than it takes to roll a change
/// out. Were it forgotten once it is full by a small quota, the next charge by a large one would find it new, and full again.
const KEPT_FOR: u64 = 60 * MINUTE;

/// The bits that tell a key's buckets apart: a bandwidth each.
const BAND: u64 = 0x7 << BAND_AT;
const BAND_AT: u32 = 33;

/// How many buckets a key can have.
pub(super) const BANDS: usize = 8;

/// One bucket of a key: the first half of its digest, the rest, and the state.
///
/// The rest is the digest's second half but for the bits that the class takes and whether it is kept; the lowest of those are
/// told by the shard. So 96 bits of the digest are compared in a table of 16 shards, and 105 in one of 8192: of ten million keys, two
/// are taken for one once in 10^17 tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) hash: u64,
    rest: u64,
    pub(super) state: State,
}

impl Slot {
    /// A place where no key is. Its hash is the greatest, so that a search for any other ends there without a second look.
    pub(super) const FREE: Self = Self { hash: u64::MAX, rest: u64::MAX, state: State::FULL };

    pub(super) const fn new(digest: Digest, class: u16, state: State) -> Self {
        Self { hash: digest.0[0], rest: digest.0[1] & !(CLASS | KEPT) | class as u64, state }
    }

    /// No class has all bits set, so no key's rest is this.
    #[inline]
    pub(super) const fn is_free(&self) -> bool {
        self.rest == u64::MAX
    }

    /// Whether this is the bucket that a digest stands for.
    #[inline]
    pub(super) const fn is(&self, digest: Digest) -> bool {
        self.hash == digest.0[0] && (self.rest ^ digest.0[1]) & !(CLASS | KEPT) == 0 && !self.is_free()
    }

    /// Which of its key's buckets this is, if it is one of the key whose first bucket has this digest.
    #[inline]
    pub(super) const fn band_of(&self, digest: Digest) -> Option<usize> {
        let differs = (self.rest ^ digest.0[1]) & !(CLASS | KEPT);
        if self.hash != digest.0[0] || differs & !BAND != 0 || self.is_free() {
            return None;
        }
        Some((differs >> BAND_AT) as usize)
    }

    /// Whether two are of one key.
    pub(super) const fn is_beside(&self, other: &Self) -> bool {
        self.hash == other.hash && (self.rest ^ other.rest) & !(CLASS | KEPT | BAND) == 0
    }

    #[inline]
    pub(super) const fn class(&self) -> u16 {
        (self.rest & CLASS) as u16
    }

    pub(super) const fn set_class(&mut self, class: u16) {
        self.rest = self.rest & !CLASS | class as u64;
    }

    /// Whether it is kept at `now` though it may be as if never used.
    #[inline]
    pub(super) const fn is_kept(&self, now: u64) -> bool {
        self.rest & KEPT != 0 && (self.is_kept_for_good() || self.kept() > now / MINUTE)
    }

    /// Whether it is kept until somebody lets it go.
    #[inline]
    pub(super) const fn is_kept_for_good(&self) -> bool {
        self.kept() == FOREVER
    }

    /// Keeps it for so many nanoseconds, rounded up to a whole minute and at most [`KEPT_FOR`], or longer if it is kept longer.
    pub(super) const fn keep_for(&mut self, nanos: u64, now: u64) {
        if self.is_kept_for_good() {
            return;
        }
        let nanos = if nanos < KEPT_FOR { nanos } else { KEPT_FOR };
        let until = now.saturating_add(nanos).div_ceil(MINUTE);
        let until = if until < FOREVER { until } else { FOREVER - 1 };
        if until > self.kept() {
            self.set_kept(until);
        }
    }

    /// Keeps it until [`let_go`](Self::let_go).
    pub(super) const fn keep_for_good(&mut self) {
        self.set_kept(FOREVER);
    }

    /// Keeps it no longer.
    pub(super) const fn let_go(&mut self) {
        self.set_kept(0);
    }

    const fn set_kept(&mut self, kept: u64) {
        self.rest = self.rest & !KEPT | kept << KEPT_AT;
    }

    const fn kept(&self) -> u64 {
        (self.rest & KEPT) >> KEPT_AT
    }
}

impl Digest {
    /// The digest of one of a key's buckets, from that of its first.
    pub(super) const fn band(self, band: usize) -> Self {
        Self([self.0[0], self.0[1] ^ (band as u64) << BAND_AT])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Digest = Digest([7, 0x1234_5678_9abc_def0]);

    #[test]
    fn a_slot_is_its_key_s_whatever_its_class_and_however_long_it_is_kept() {
        let mut slot = Slot::new(KEY, 5, State::FULL);
        slot.set_class(0x3fe);
        slot.keep_for(MINUTE, 0);
        assert!(slot.is(KEY) && slot.class() == 0x3fe && !slot.is_free());
        assert!(!slot.is(Digest([7, KEY.0[1] ^ 1 << 33])) && !slot.is(Digest([8, KEY.0[1]])));
        let second = Slot::new(KEY.band(3), 1, State::FULL);
        assert_eq!((slot.band_of(KEY), second.band_of(KEY)), (Some(0), Some(3)));
        assert_eq!(second.band_of(Digest([7, KEY.0[1] ^ 1 << 40])), None);
        assert!(slot.is_beside(&second));
    }

    #[test]
    fn the_greatest_digest_is_a_key_too() {
        let greatest = Digest([u64::MAX; 2]);
        assert!(!Slot::FREE.is(greatest) && Slot::FREE.band_of(greatest).is_none());
        assert!(Slot::new(greatest, 0x3fe, State::FULL).is(greatest));
    }

    #[test]
    fn what_is_kept_is_let_go_when_its_time_is_over() {
        for begin in (0..400).map(|minutes| minutes * MINUTE + 17) {
            let mut slot = Slot::new(KEY, 0, State::FULL);
            assert!(!slot.is_kept(begin));
            slot.keep_for(1, begin);
            assert!(slot.is_kept(begin) && slot.is_kept(begin + 1) && !slot.is_kept(begin + MINUTE));
            assert!(!slot.is_kept(HORIZON), "nor ever after, though nobody has looked since");
            slot.keep_for(u64::MAX, begin);
            slot.keep_for(MINUTE, begin);
            assert!(slot.is_kept(begin + KEPT_FOR), "an hour, whatever is said later");
            assert!(!slot.is_kept(begin + KEPT_FOR + MINUTE));
            slot.keep_for_good();
            slot.keep_for(1, begin);
            assert!(slot.is_kept(begin + 1000 * KEPT_FOR));
            slot.let_go();
            assert!(!slot.is_kept(begin));
        }
    }
}
