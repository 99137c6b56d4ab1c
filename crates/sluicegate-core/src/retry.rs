//! Whether to ask again after a failure, and when.
//!
//! A retry helps when few need it, and when a short while makes a difference. Else it is more work for who has too much already:
//! three tries on each of four floors are 81 requests. So there are
//!
//! * few **tries**: three, the first included;
//! * a **budget** over all requests: one retry for each ten of them, charged before the wait, so that a thousand that fail at one
//!   instant do not all find it full when they come back;
//! * **full jitter**: a wait is any time from nothing to a bound that doubles with each try, so that those who failed together
//!   don't come back together (Brooker, Exponential Backoff and Jitter, 2015);
//! * what the other side **tells** (`Retry-After`): never earlier than that, and never all at that instant;
//! * the **deadline**: no wait for a try that would begin too late. Then nothing is charged, and the caller knows at once.

mod settings;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use crate::setting::SettingsError;
pub use settings::Settings;

use crate::budget::Budget;
use crate::clock::nanos;

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It would fail again.
    ForGood,
    /// Another try may succeed.
    Perhaps,
    /// Another try may succeed, so many nanoseconds from now or later: what the other side said.
    After(u64),
}

impl Failed {
    /// [`After`](Self::After) so long.
    #[must_use]
    pub fn after(wait: Duration) -> Self {
        Self::After(nanos(wait))
    }
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again at this instant. It is paid; if it is not made after all, it is to be [returned](Retry::abandon).
    Try(u64),
    /// Give up.
    Stop(Why),
}

/// Why there is no other try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// It would fail again.
    ForGood,
    /// There were as many tries as there may be.
    Tries,
    /// It would begin at the deadline or later.
    Deadline,
    /// The other side said to come back later than anybody waits for.
    TooLong,
    /// Too many requests are retried.
    Budget,
}

/// One request's tries.
#[derive(Debug, PartialEq, Eq)]
pub struct Tries {
    /// Nanoseconds; none if there is no hurry.
    deadline: Option<u64>,
    /// How many tries were made, or paid for.
    made: u32,
    /// How many there may be: as when it began, since what was kept for another try may be gone.
    most: u32,
}

impl Tries {
    /// The first try is made, of so many at the most. `deadline` is the instant at which another is too late. The machine is to be
    /// [told](Retry::begun) before the first failure.
    #[must_use]
    pub const fn begin(deadline: Option<u64>, most: u32) -> Self {
        Self { deadline, made: 1, most }
    }

    /// Whether there are as many tries as there may be: no failure of the last one leads to another.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.made >= self.most
    }

    /// How many tries were made, the one that is paid for included.
    #[must_use]
    pub const fn made(&self) -> u32 {
        self.made
    }

    /// When it is too late for another try; nanoseconds.
    #[must_use]
    pub const fn deadline(&self) -> Option<u64> {
        self.deadline
    }
}

/// The machine: one for all requests to one place. Time is nanoseconds on any one clock.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::retry::{Failed, Next, Retry, Settings, Why};
///
/// const MILLI: u64 = 1_000_000;
/// let mut retry = Retry::new(Settings::new(3, Duration::from_millis(100), Duration::from_secs(1))?);
/// let mut tries = retry.begin(Some(500 * MILLI));
/// // Half of at most 100 ms, half of at most 200 ms: the number is random.
/// let half = 1 << 63;
/// assert_eq!(retry.failed(&mut tries, Failed::Perhaps, 0, half), Next::Try(50 * MILLI));
/// assert_eq!(retry.failed(&mut tries, Failed::Perhaps, 60 * MILLI, half), Next::Try(160 * MILLI));
/// assert_eq!(retry.failed(&mut tries, Failed::Perhaps, 170 * MILLI, half), Next::Stop(Why::Tries));
/// # Ok::<(), sluicegate_core::retry::SettingsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Retry {
    settings: Settings,
    budget: Budget,
}

impl Retry {
    /// A machine that has seen nothing yet; its budget is full.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { budget: settings.budget.clone(), settings }
    }

    /// Is as `settings` say from now on; what was spent of the budget stays spent. A request that has begun may have as many tries as before.
    pub fn apply(&mut self, settings: Settings) {
        self.budget.apply(&settings.budget);
        self.settings = settings;
    }

    /// A request's first try is made. `deadline` is the instant at which another is too late.
    pub fn begin(&mut self, deadline: Option<u64>) -> Tries {
        self.begun(1);
        Tries::begin(deadline, self.tries())
    }

    /// How many tries a request may have that begins now.
    #[must_use]
    pub const fn tries(&self) -> u32 {
        self.settings.tries
    }

    /// So many requests have [begun](Tries::begin). To be told before one of them has [failed](Self::failed), for whose retry
    /// their share of the budget may pay.
    pub const fn begun(&mut self, requests: u64) {
        self.budget.deposit_for(requests);
    }

    /// The last try has failed at `now`. `random` is any number, anew each time.
    pub fn failed(&mut self, tries: &mut Tries, failed: Failed, now: u64, random: u64) -> Next {
        let told = match failed {
            Failed::ForGood => return Next::Stop(Why::ForGood),
            Failed::Perhaps => 0,
            Failed::After(told) => told,
        };
        if tries.is_last() {
            return Next::Stop(Why::Tries);
        }
        if told > self.settings.patience {
            return Next::Stop(Why::TooLong);
        }
        let at = now.saturating_add(told).saturating_add(self.jitter(tries.made, random));
        if tries.deadline.is_some_and(|deadline| at >= deadline) {
            return Next::Stop(Why::Deadline);
        }
        if !self.budget.withdraw() {
            return Next::Stop(Why::Budget);
        }
        tries.made += 1;
        Next::Try(at)
    }

    /// A try that was paid for is not made: who wanted it has left, or woke too late for it.
    pub fn abandon(&mut self, tries: &mut Tries) {
        tries.made = tries.made.saturating_sub(1);
        self.budget.put_back();
    }

    /// How many retries the budget has.
    #[must_use]
    pub const fn budget(&self) -> u64 {
        self.budget.tokens()
    }

    /// Any time from nothing to the bound, which doubles with each try.
    fn jitter(&self, made: u32, random: u64) -> u64 {
        let doubled = 1_u64.checked_shl(made.saturating_sub(1)).unwrap_or(u64::MAX);
        let bound = self.settings.base.saturating_mul(doubled).min(self.settings.longest);
        // At most `bound`: the product of two numbers of 64 bits, without its lower 64.
        let some = (u128::from(bound) * u128::from(random)) >> 64;
        u64::try_from(some).unwrap_or(bound)
    }
}
