//! The time within which a share of the answers come.

/// How far one observation moves the estimate, in spreads.
const STEP: f64 = 0.01;
/// How much one observation counts in the spread.
const WEIGHT: f64 = 0.01;
/// How many observations that were all asked for with the same estimate move it as far as they say. Of more than that, each moves it
/// less.
const TOGETHER: f64 = 32.0;
/// How much of the crowd is forgotten with each observation.
const FORGET: f64 = 1.0 / 8192.0;
/// How many answers the first estimate is made of, at the most.
const MOST_FIRST: u32 = 400;

/// Tracks the time v within which a share p of all answers come, without keeping them.
///
/// An answer within v moves v down by d/p, a slower one up by d/(1-p); these cancel out where a share p is within v, whatever the
/// distribution (Jambon). d is a hundredth of the standard deviation of what was seen. How much slower a slow answer was need not
/// be known: so it does not matter that it is cut off by a hedge.
///
/// Many that began at one instant all say the same of the same estimate, and together would move it far beyond what they are
/// about; next time as far to the other side. So what each of them moves it is divided by how many they are
/// ([`behind`](Self::behind)).
///
/// The first estimate is the percentile of the first answers, four times as many as it takes for one to be slow; until then it
/// is what was given. From far off, it rises by about a fifth of the spread with each slow answer.
///
/// ```
/// use sluicegate_core::hedge::Percentile;
///
/// let mut p90 = Percentile::new(0.9, 1000).unwrap();
/// for n in 0..10_000_u64 {
///     let took = n * 7919 % 100; // each of 0 to 99 as often
///     if took <= p90.get() { p90.quick(took) } else { p90.slow(p90.get()) }
/// }
/// assert!((85..=94).contains(&p90.get()), "{}", p90.get());
/// ```
#[derive(Clone, Debug)]
pub struct Percentile {
    /// From 0.5 to 0.9999.
    share: f64,
    /// Nanoseconds.
    value: f64,
    /// Of what was seen, a slow one counted as the delay it was slower than; nanoseconds.
    mean: f64,
    /// Nanoseconds squared.
    variance: f64,
    /// How many observations come in lately between asking for the estimate and observing.
    crowd: f64,
    /// The first answers, until there are enough; a slow one is `u64::MAX`.
    first: Option<Vec<u64>>,
}

impl Percentile {
    /// The share that is tracked, from 0.5 to 0.9999, and the time in nanoseconds that is assumed at first; none if the share
    /// is not in that range.
    #[must_use]
    pub fn new(share: f64, first: u64) -> Option<Self> {
        (0.5..=0.9999).contains(&share).then(|| Self::starting(share, first))
    }

    /// As [`new`](Self::new), of a share that is in the range.
    pub(super) const fn starting(share: f64, first: u64) -> Self {
        Self { share, value: float(first), mean: 0.0, variance: 0.0, crowd: 0.0, first: Some(Vec::new()) }
    }

    /// The time within which the share of the answers come, in nanoseconds.
    #[must_use]
    pub fn get(&self) -> u64 {
        nanos(self.value)
    }

    /// What is observed next was asked for so many observations ago: none where one comes after the other.
    pub fn behind(&mut self, observations: u64) {
        self.crowd = (self.crowd * (1.0 - FORGET)).max(float(observations));
    }

    /// An answer came within what was the [estimate](Self::get) when it was asked for, after so many nanoseconds.
    pub fn quick(&mut self, took: u64) {
        if self.collect(took) {
            return;
        }
        let step = self.step();
        self.see(float(took));
        // Below nothing there is no time. Above it, a step is never so large: it is at most a fiftieth of the spread.
        self.value = (self.value - step / self.share).max(0.0);
    }

    /// No answer came within what was the [estimate](Self::get) when it was asked for, so many nanoseconds.
    pub fn slow(&mut self, delay: u64) {
        if self.collect(u64::MAX) {
            return;
        }
        let step = self.step();
        self.see(float(delay));
        self.value += step / (1.0 - self.share);
    }

    /// The spread's hundredth; a nanosecond at least, or it would never leave zero. Where all answers take the same time the spread is
    /// next to nothing, and when that changes, it grows with what is seen.
    fn step(&self) -> f64 {
        let full = STEP * self.variance.sqrt().max(1.0 / STEP);
        full / (self.crowd / TOGETHER).max(1.0)
    }

    fn see(&mut self, took: f64) {
        let off = took - self.mean;
        self.mean += WEIGHT * off;
        self.variance = (1.0 - WEIGHT) * WEIGHT.mul_add(off * off, self.variance);
    }

    /// Whether this was one of the first.
    fn collect(&mut self, took: u64) -> bool {
        let Some(seen) = &mut self.first else { return false };
        seen.push(took);
        let enough = (4.0 / (1.0 - self.share)).min(f64::from(MOST_FIRST));
        if float(seen.len() as u64) >= enough {
            let mut seen = std::mem::take(seen);
            self.first = None;
            seen.sort_unstable();
            self.begin(&seen);
        }
        true
    }

    /// The first estimate. Where too many were slow to know, it stays.
    fn begin(&mut self, seen: &[u64]) {
        let assumed = self.value;
        let within = nanos(self.share * float(seen.len() as u64));
        let place = usize::try_from(within).unwrap_or(usize::MAX).min(seen.len() - 1);
        let cut = |took: &u64| if *took == u64::MAX { assumed } else { float(*took) };
        self.value = cut(&seen[place]);
        let count = float(seen.len() as u64);
        self.mean = seen.iter().map(cut).sum::<f64>() / count;
        self.variance = seen.iter().map(|took| (cut(took) - self.mean).powi(2)).sum::<f64>() / count;
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate: 53 bits of nanoseconds are exact for 104 days")]
const fn float(nanos: u64) -> f64 {
    nanos as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative; what is too large is the largest"
)]
const fn nanos(float: f64) -> u64 {
    float as u64
}
