//! The bucket against a plain one in exact fractions.

use sluicegate::bucket::Bucket;
use sluicegate::clock::nanos;
use sluicegate::quota::{Quota, Refill};

/// How many operations are looked at.
const OPERATIONS: usize = 200;

/// Beyond this refill ends, and with it what a retry promises: a year before.
const YEARS_8: u64 = 8 * 31_536_000_000_000_000;

/// A bucket that never rounds: it counts in fractions of a token whose denominator is the interval. It is told what was
/// granted, and must have it.
struct Model {
    refill: Refill,
    interval: u128,
    full: u128,
    level: u128,
    since: u64,
}

impl Model {
    fn new(quota: &Quota) -> Self {
        let interval = match quota.refill() {
            Refill::Smooth { interval, .. } | Refill::Stepped { interval, .. } => u128::from(interval.get()),
            _ => 1,
        };
        let (full, level) =
            (u128::from(quota.capacity()) * interval, u128::from(quota.starts_with()) * interval);
        Self { refill: quota.refill(), interval, full, level, since: 0 }
    }

    /// A clock that steps back is not followed.
    fn flow(&mut self, now: u64) {
        let gained = match self.refill {
            _ if now <= self.since => return,
            Refill::Smooth { tokens, .. } => u128::from(tokens) * u128::from(now - self.since),
            Refill::Stepped { tokens, interval } => {
                u128::from(tokens) * u128::from(now / interval - self.since / interval) * self.interval
            }
            _ => 0,
        };
        self.level = (self.level + gained).min(self.full);
        self.since = now;
    }

    fn take(&mut self, n: u64, now: u64) -> bool {
        // What changes nothing leaves no trace, not even of the time.
        if n == 0 {
            return true;
        }
        let wanted = u128::from(n) * self.interval;
        self.flow(now);
        let enough = self.level >= wanted;
        self.level = self.level.saturating_sub(wanted);
        enough
    }

    fn put(&mut self, n: u64, now: u64) {
        if n == 0 {
            return;
        }
        self.flow(now);
        self.level = (self.level + u128::from(n) * self.interval).min(self.full);
    }
}

/// A line with a quota; then operations of nine bytes each: what, and a number.
pub fn bucket(data: &[u8]) {
    let line = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let quota = str::from_utf8(&data[..line]).ok().and_then(|text| text.parse::<Quota>().ok());
    let Some(quota) = quota.filter(|quota| !matches!(quota.refill(), Refill::Unlimited | Refill::Ban)) else {
        return;
    };
    let (bucket, mut model) = (Bucket::new(quota), Model::new(&quota));
    let (mut state, mut now, mut latest, mut overflowed) = (bucket.start(), 0_u64, 0, false);
    for operation in data[line..].get(1..).unwrap_or_default().chunks(9).take(OPERATIONS) {
        let mut number = [0; 8];
        number[..operation.len() - 1].copy_from_slice(&operation[1..]);
        let number = u64::from_le_bytes(number);
        latest = latest.max(now);
        match operation[0] % 6 {
            0 => now = now.saturating_add(number >> (number % 64)).min(YEARS_8),
            // The model loses at once what overflows; the bucket may count a part of a unit of it as put, which only an
            // instant before could tell.
            1 if overflowed => {}
            1 => now = now.saturating_sub(number >> (number % 64)),
            // Seen from before, what was taken is a debt, which a put may pay off: tokens that no clock brought.
            2 if now < latest => {}
            2 => {
                let (put, next) = bucket.put(state, number, now);
                assert!(put <= number);
                state = next;
                model.put(put, now);
                overflowed |= put > 0 && bucket.is_full(next, now);
            }
            3 => {
                let (taken, next) = bucket.take_up_to(state, number, now);
                assert!(taken <= number && model.take(taken, now), "{quota}: {taken} at {now} is too much");
                state = next;
            }
            _ => {
                let (answer, next) = bucket.take(state, number, now);
                if answer.is_granted() {
                    assert!(model.take(number, now), "{quota}: {number} at {now} is too much");
                    state = next;
                } else if let Some(wait) = answer.retry_after().map(nanos)
                    && let Some(then) = now.checked_add(wait).filter(|then| *then <= YEARS_8)
                {
                    assert_eq!(next, state, "{quota}: a refusal takes nothing");
                    assert!(wait > 0, "{quota}: refused, and told to come back now");
                    let at = |then| bucket.take(state, number, then).0.is_granted();
                    assert!(at(then), "{quota}: {number} at {now}, told {wait} ns, which is too early");
                    // A burst's tally holds at its own instant alone: seen from an earlier one, where a clock has stepped
                    // back, a rate that is rounded may be said to come a nanosecond late.
                    let early = now >= latest && at(then - 1);
                    assert!(!early, "{quota}: {number} at {now}, told {wait} ns, and is there before");
                }
            }
        }
        assert!(bucket.available(state, now) <= quota.capacity(), "{quota}: more than there can be");
    }
}
