//! How long a good answer usually takes: by that it is judged whether who was late has waited for long enough to blame the service.

/// The mean is that of about so many.
const MEMORY: u64 = 16;
/// It is not known for so long, in nanoseconds, after the last good answer, unless one takes so long that that is no long time.
const KNOWN: u64 = 30_000_000_000;
/// So many times what one takes are a long time in any case.
const TIMES: u64 = 8;

/// The mean of the good ones alone: if those that came to nothing raised it, nobody would have waited for long enough in a collapse.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usual {
    mean: u64,
    seen: u64,
    last: u64,
}

impl Usual {
    /// A good one has ended that took so long, in nanoseconds.
    pub(super) fn good(&mut self, took: u64, now: u64) {
        self.seen = (self.seen + 1).min(MEMORY);
        if took > self.mean {
            self.mean += (took - self.mean) / self.seen;
        } else {
            self.mean -= (self.mean - took) / self.seen;
        }
        self.last = self.last.max(now);
    }

    /// Those of whom the other is are with these from now on. It is what is known of them while nothing is known of these.
    pub(super) const fn learn_of(&mut self, other: Self) {
        if self.seen == 0 {
            *self = other;
        }
    }

    /// Whether somebody who was late is to be counted as dropped: the service had that long, in nanoseconds, and a good answer
    /// takes no longer; or it is not known what one takes, or not any more, and the service had it `or_for` as long as this.
    pub(super) const fn is_reached_by(&self, [had, or_for]: [u64; 2], now: u64) -> bool {
        let known = self.mean.saturating_mul(TIMES);
        let known = if known < KNOWN { KNOWN } else { known };
        let is_known = self.seen > 0 && now.saturating_sub(self.last) <= known;
        (!is_known && had >= or_for) || (self.seen > 0 && had >= self.mean)
    }
}
