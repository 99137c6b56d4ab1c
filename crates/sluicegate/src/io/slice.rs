//! How many bytes are paid for at a time.

use sluicegate_core::quota::{Quota, Refill};

/// How long the bytes of a slice take to flow, in nanoseconds: short for who waits, long beside a timer's millisecond.
const SPAN: u64 = 20_000_000;

/// How much is charged for one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// So much is waited for; never zero, and never above the capacity but for a ban's, which is refused.
    pub(super) least: u64,
    /// So much is taken, if it is there then.
    pub(super) most: u64,
}

impl Slice {
    /// Of an operation on `len` bytes; none where nothing is charged.
    pub(super) fn of(quota: &Quota, len: usize) -> Option<Self> {
        if len == 0 {
            return None;
        }
        let most = u64::try_from(len).unwrap_or(u64::MAX).min(quota.capacity()).max(1);
        match quota.refill() {
            Refill::Unlimited => None,
            Refill::Stock | Refill::Ban => Some(Self { least: 1, most }),
            Refill::Smooth { tokens, interval } | Refill::Stepped { tokens, interval } => {
                let flows = u128::from(tokens) * u128::from(SPAN);
                // A division costs more than the rest, and most buffers are less than a slice.
                let most = if u128::from(most) * u128::from(interval.get()) <= flows {
                    most
                } else {
                    u64::try_from(flows / u128::from(interval.get()))
                        .map_or(most, |flows| flows.clamp(1, most))
                };
                Some(Self { least: most, most })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(quota: &str, len: usize) -> Option<(u64, u64)> {
        Slice::of(&quota.parse().unwrap(), len).map(|slice| (slice.least, slice.most))
    }

    #[test]
    fn a_slice_is_what_flows_in_20_ms_at_most() {
        for (quota, len, expected) in [
            ("1000000/s", 65_536, 20_000),
            ("1000000/s", 20_001, 20_000),
            ("1000000/s", 19_999, 19_999),
            ("1000000000/s", 65_536, 65_536),
            // The bucket can't hold more.
            ("1000000/s burst 300", 65_536, 300),
            // At least one byte.
            ("10/s", 65_536, 1),
            ("1/h", 7, 1),
            // The same of what comes in steps.
            ("1000 every 1s", 4096, 20),
            ("5 every 10ms burst 100", 4096, 10),
        ] {
            assert_eq!(slice(quota, len), Some((expected, expected)), "{len} bytes at {quota}");
        }
    }

    #[test]
    fn of_a_stock_it_is_what_there_is() {
        assert_eq!(slice("stock 5 max 100", 70), Some((1, 70)));
        assert_eq!(slice("stock 5 max 100", 700), Some((1, 100)));
    }

    #[test]
    fn where_nothing_is_charged_there_is_none() {
        assert_eq!(slice("unlimited", 9), None);
        assert_eq!(slice("1/s", 0), None);
        assert_eq!(slice("ban", 0), None);
        assert_eq!(slice("ban", 9), Some((1, 1)), "to be refused");
    }

    #[test]
    fn the_largest_quotas_and_buffers_do_not_overflow() {
        let (tokens, days) = (4_000_000_000_000_000_000_u64, 1600_u64);
        let (least, _) = slice(&format!("{tokens}/{days}d"), usize::MAX).unwrap();
        let nanos = u128::from(days) * 86_400_000_000_000;
        assert_eq!(u128::from(least), u128::from(tokens) * 20_000_000 / nanos);
    }
}
