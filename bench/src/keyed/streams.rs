//! Which keys are asked for, and in which order.

use std::hash::Hash;

/// How often which keys come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// All equally often.
    Uniform,
    /// The k-th as often as 1 / k^0.99.
    Zipf,
}

/// A type that limits are kept by.
pub(super) trait Key: Hash + Eq + Clone + Send + Sync + 'static {
    /// What it is called.
    const NAME: &'static str;
    /// The key of this number.
    fn of(number: u64) -> Self;
    /// As text, if it is text.
    fn text(&self) -> Option<&str>;
    /// As a number, if it is a number, and else 0.
    fn number(&self) -> u64;
}

impl Key for u64 {
    const NAME: &'static str = "u64";

    fn of(number: u64) -> Self {
        mixed(number)
    }

    fn text(&self) -> Option<&str> {
        None
    }

    fn number(&self) -> u64 {
        *self
    }
}

impl Key for String {
    const NAME: &'static str = "16 bytes";

    fn of(number: u64) -> Self {
        format!("{:016x}", mixed(number))
    }

    fn text(&self) -> Option<&str> {
        Some(self)
    }

    fn number(&self) -> u64 {
        0
    }
}

/// Distinct, and in no order (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
const fn mixed(number: u64) -> u64 {
    let z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// So many keys out of `all`, another draw for each seed.
pub(super) fn stream<K: Key>(all: u64, spread: Spread, count: u64, seed: u64) -> Vec<K> {
    let zipf = Zipf::new(all);
    let mut at = mixed(seed) | 1;
    let mut random = || {
        at = at.wrapping_add(1);
        mixed(at)
    };
    let next = |_| {
        K::of(match spread {
            Spread::Uniform => number(random(), all),
            Spread::Zipf => zipf.draw(|| as_f64(random() >> 11) / as_f64(1 << 53)),
        })
    };
    (0..count).map(next).collect()
}

/// A number below `all`, in proportion to `random`.
pub(super) fn number(random: u64, all: u64) -> u64 {
    u64::try_from((u128::from(random) * u128::from(all)) >> 64).unwrap_or_default()
}

/// By rejection and inversion (Hörmann and Derflinger, "Rejection-inversion to generate variates from monotone discrete
/// distributions", 1996).
struct Zipf {
    all: f64,
    from: f64,
    to: f64,
    near: f64,
}

impl Zipf {
    const EXPONENT: f64 = 0.99;

    fn new(all: u64) -> Self {
        let near = 2.0 - Self::inverse(Self::integral(2.5) - Self::density(2.0));
        Self {
            all: as_f64(all),
            from: Self::integral(1.5) - 1.0,
            to: Self::integral(as_f64(all) + 0.5),
            near,
        }
    }

    fn density(x: f64) -> f64 {
        x.powf(-Self::EXPONENT)
    }

    fn integral(x: f64) -> f64 {
        (x.powf(1.0 - Self::EXPONENT) - 1.0) / (1.0 - Self::EXPONENT)
    }

    fn inverse(y: f64) -> f64 {
        (1.0 + y * (1.0 - Self::EXPONENT)).powf(1.0 / (1.0 - Self::EXPONENT))
    }

    /// A number below `all`, 0 the most often.
    fn draw(&self, mut random: impl FnMut() -> f64) -> u64 {
        loop {
            let y = self.to + random() * (self.from - self.to);
            let x = Self::inverse(y);
            let k = x.round().clamp(1.0, self.all);
            if k - x <= self.near || y >= Self::integral(k + 0.5) - Self::density(k) {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to `all`")]
                return k as u64 - 1;
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "up to 2^53, or a sample")]
pub(super) fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_distinct_and_few_come_often() {
        let mut keys: Vec<u64> = (0..10_000).map(u64::of).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 10_000);
        let share = |spread| {
            let first = u64::of(0);
            stream::<u64>(1000, spread, 100_000, 7).iter().filter(|key| **key == first).count()
        };
        // 1/1000 and 1/(1 + 2^-0.99 + … + 1000^-0.99) = 0.13.
        assert!(
            (50..200).contains(&share(Spread::Uniform)) && (12_000..14_500).contains(&share(Spread::Zipf))
        );
    }
}
