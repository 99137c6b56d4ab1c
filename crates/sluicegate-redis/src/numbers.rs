//! A quota in the script's numbers, all of them whole and below 2^53.

use sluicegate::quota::{Quota, Refill};
use sluicegate::store::StoreError;

/// The largest capacity, in tokens: 2^50.
pub(crate) const CAPACITY_MAX: u64 = 1 << 50;

/// The most tokens that the script counts: 2^52.
pub(crate) const MOST: u64 = 1 << 52;

/// The longest wait, in microseconds, as in the script: 9.1 years.
pub(crate) const HORIZON: u64 = (1 << 58) / 1000;

/// Numerator and denominator of a rate are below this: 2^47, so that the script's long division stays exact.
const FRACTION_MAX: u64 = 1 << 47;

const SMOOTH: u64 = 1;
const STEPPED: u64 = 2;
const STOCK: u64 = 3;
const UNLIMITED: u64 = 4;
const BAN: u64 = 5;

/// A quota as the script has it: a token is `span` parts, and `rate` parts flow each microsecond; or `rate` tokens each `span`
/// microseconds, where it flows in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Numbers {
    pub(crate) mode: u64,
    pub(crate) capacity: u64,
    pub(crate) first: u64,
    pub(crate) rate: u64,
    pub(crate) span: u64,
}

impl Numbers {
    /// A quota's, for answers that are read without asking.
    pub(crate) const ANY: Self = Self { mode: SMOOTH, capacity: 10, first: 10, rate: 1, span: 100_000 };

    /// The numbers of a quota.
    pub(crate) fn of(quota: &Quota) -> Result<Self, StoreError> {
        let (mode, rate, span) = match quota.refill() {
            Refill::Unlimited => return Ok(Self::without(UNLIMITED)),
            Refill::Ban => return Ok(Self::without(BAN)),
            Refill::Stock => (STOCK, 1, 1),
            Refill::Stepped { tokens, interval } => {
                if !interval.get().is_multiple_of(1000) {
                    let expected = "a whole number of microseconds";
                    return Err(StoreError::unsupported("interval", format!("{interval}ns"), expected));
                }
                if tokens > CAPACITY_MAX {
                    return Err(StoreError::unsupported("tokens", tokens, "at most 2^50 a step"));
                }
                (STEPPED, tokens, interval.get() / 1000)
            }
            Refill::Smooth { tokens, interval } => {
                let (rate, span) = reduced(u128::from(tokens) * 1000, u128::from(interval.get()));
                let fits = |number: u128| u64::try_from(number).ok().filter(|number| *number < FRACTION_MAX);
                let (Some(rate), Some(span)) = (fits(rate), fits(span)) else {
                    let expected =
                        "a rate whose tokens each microsecond are a fraction of two whole numbers below 2^47";
                    return Err(StoreError::unsupported("quota", quota, expected));
                };
                (SMOOTH, rate, span)
            }
        };
        if quota.capacity() > CAPACITY_MAX {
            return Err(StoreError::unsupported(
                "burst",
                quota.capacity(),
                "at most 1125899906842624 (2^50)",
            ));
        }
        Ok(Self { mode, capacity: quota.capacity(), first: quota.starts_with(), rate, span })
    }

    const fn without(mode: u64) -> Self {
        Self { mode, capacity: 0, first: 0, rate: 1, span: 1 }
    }

    /// Whether it matters when the bucket began: it began with less than it holds, and fills by itself.
    pub(crate) const fn needs_epoch(&self) -> bool {
        self.mode < STOCK && self.first < self.capacity
    }

    /// As the script is sent it, and keeps it with a state: in MessagePack, a small number in a byte.
    pub(crate) fn packed(&self) -> Vec<u8> {
        let mut packed = Vec::with_capacity(16);
        for number in [self.mode, self.capacity, self.first, self.rate, self.span] {
            let bytes = number.to_be_bytes();
            let (head, length) = match number {
                0..=0x7f => (None, 1),
                0x80..=0xff => (Some(0xcc), 1),
                0x100..=0xffff => (Some(0xcd), 2),
                0x1_0000..=0xffff_ffff => (Some(0xce), 4),
                _ => (Some(0xcf), 8),
            };
            packed.extend(head);
            packed.extend_from_slice(&bytes[8 - length..]);
        }
        packed
    }

    /// Whether there is nothing to count.
    pub(crate) const fn is_unlimited(&self) -> bool {
        self.mode == UNLIMITED
    }
}

/// A fraction in its lowest terms.
fn reduced(above: u128, below: u128) -> (u128, u128) {
    let (mut one, mut other) = (above, below);
    while other > 0 {
        // Most numbers fit into a word, whose division takes a fraction of the time.
        (one, other) = match (u64::try_from(one), u64::try_from(other)) {
            (Ok(one), Ok(other)) => (u128::from(other), u128::from(one % other)),
            _ => (other, one % other),
        };
    }
    (above / one, below / one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Numbers, String> {
        Numbers::of(&text.parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_quota_is_whole_numbers() {
        let smooth = |capacity, first, rate, span| Ok(Numbers { mode: SMOOTH, capacity, first, rate, span });
        assert_eq!(of("100/s burst 200"), smooth(200, 200, 1, 10_000));
        assert_eq!(of("12345/s burst 20 initial 3"), smooth(20, 3, 2469, 200_000));
        assert_eq!(of("1/d"), smooth(1, 1, 1, 86_400_000_000));
        assert_eq!(of("32/ns burst 9"), smooth(9, 9, 32_000, 1));
        assert_eq!(
            of("7 every 250ms").map(|quota| (quota.mode, quota.rate, quota.span)),
            Ok((STEPPED, 7, 250_000))
        );
    }

    #[test]
    fn a_quota_is_packed_in_as_few_bytes_as_there_are() {
        let numbers = Numbers { mode: 1, capacity: 127, first: 128, rate: 65_535, span: 65_536 };
        assert_eq!(numbers.packed(), [1, 127, 0xcc, 128, 0xcd, 255, 255, 0xce, 0, 1, 0, 0]);
        let numbers =
            Numbers { capacity: 255, first: 256, rate: u64::from(u32::MAX), span: 1 << 32, ..numbers };
        let expected = [&[1, 0xcc, 255, 0xcd, 1, 0, 0xce][..], &[255; 4], &[0xcf, 0, 0, 0, 1, 0, 0, 0, 0]];
        assert_eq!(numbers.packed(), expected.concat());
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        assert_eq!(
            of("5/s burst 1125899906842625").unwrap_err(),
            "burst `1125899906842625`: expected at most 1125899906842624 (2^50)"
        );
        assert_eq!(
            of("5 every 1500ns").unwrap_err(),
            "interval `1500ns`: expected a whole number of microseconds"
        );
        assert!(of("999999999999937/142000000000000001ns burst 9").unwrap_err().starts_with("quota `"));
        assert!(of("1/4500000000000000ns").is_ok(), "the longest spans are in range");
    }
}
