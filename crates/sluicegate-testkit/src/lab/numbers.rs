//! Numbers from a seed, times drawn from laws, and what to make of many.

/// A millisecond, in nanoseconds.
pub const MILLI: f64 = 1e6;

// The same that the core's tests have.
include!("../../../sluicegate-core/src/numbers.rs");

impl Numbers {
    /// Of one seed: those of two seeds have nothing to do with each other.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// Those of one thing, such as one request, whatever was drawn for others.
    #[must_use]
    pub fn of(seed: u64, thing: u64) -> Self {
        let mut numbers = Self::new(seed ^ thing.wrapping_mul(0x9fb2_1c65_1e98_df25));
        numbers.next();
        numbers
    }

    /// One of so many.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Its logarithm is normal.
    pub fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }
}

/// The value within which a share of all are.
pub fn quantile(values: &mut [u64], share: f64) -> f64 {
    values.sort_unstable();
    let place = (share * values.len() as f64).ceil() as usize;
    values[place.clamp(1, values.len()) - 1] as f64
}

/// The one in the middle, and the range.
pub fn median(values: &mut [f64]) -> (f64, f64, f64) {
    values.sort_unstable_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}
