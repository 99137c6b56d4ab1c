//! Numbers from a seed, times drawn from laws, and what to make of many.

/// Nanoseconds.
pub(crate) const MILLI: f64 = 1e6;

/// Numbers that follow from a seed. Those of two seeds have nothing to do with each other.
#[derive(Clone, Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// Those of one thing, such as one request, whatever was drawn for others.
    pub(crate) fn of(seed: u64, thing: u64) -> Self {
        let mut numbers = Self::new(seed ^ thing.wrapping_mul(0x9fb2_1c65_1e98_df25));
        numbers.next();
        numbers
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let n = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ n >> 31
    }

    /// Evenly in (0, 1).
    pub(crate) fn even(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// One of so many.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.even().ln()
    }

    /// Its logarithm is normal.
    pub(crate) fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        let radius = (-2.0 * self.even().ln()).sqrt();
        median * (sigma * radius * (std::f64::consts::TAU * self.even()).cos()).exp()
    }
}

/// The value within which a share of all are.
pub(crate) fn quantile(values: &mut [u64], share: f64) -> f64 {
    values.sort_unstable();
    let place = (share * values.len() as f64).ceil() as usize;
    values[place.clamp(1, values.len()) - 1] as f64
}

/// The one in the middle, and the range.
pub(crate) fn median(values: &mut [f64]) -> (f64, f64, f64) {
    values.sort_unstable_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}
