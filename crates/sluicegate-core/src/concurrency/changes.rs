//! How often a limit was changed, by reason.

use super::algorithm::Why;

/// How often a limit was changed, by reason.
///
/// ```
/// use std::time::Duration;
/// use sluicegate_core::concurrency::{Aimd, Concurrency, Outcome, Settings, Why};
///
/// let settings = Settings::default().with_limits(1, 100)?;
/// let mut limits = Concurrency::new(settings, Aimd::new(Duration::from_secs(1))?);
/// // A service that answers nobody in time.
/// for now in 0..100 {
///     let tickets: Vec<_> = std::iter::from_fn(|| limits.begin(now, 0).ok()).collect();
///     for ticket in tickets {
///         limits.end(ticket, now + 1, Outcome::Dropped);
///     }
/// }
/// let changes = limits.changes();
/// assert!(changes.of(Why::Drops) > 0);
/// assert_eq!((changes.of(Why::Room), changes.all()), (0, changes.of(Why::Drops)));
/// # Ok::<(), sluicegate_core::concurrency::SettingsError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes([u64; WHYS.len()]);

/// The reasons, in the order of the counts.
const WHYS: [Why; 9] = [
    Why::First,
    Why::Held,
    Why::Room,
    Why::Bursts,
    Why::Waiting,
    Why::Drops,
    Why::Dip,
    Why::DipOver,
    Why::Slower,
];

impl Changes {
    pub(super) const fn count(&mut self, why: Why) {
        self.0[place(why)] += 1;
    }

    /// Counts all that others have counted, too.
    pub fn add(&mut self, others: &Self) {
        self.0.iter_mut().zip(others.0).for_each(|(count, more)| *count += more);
    }

    /// How many for this reason.
    #[must_use]
    pub const fn of(&self, why: Why) -> u64 {
        self.0[place(why)]
    }

    /// How many in all.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Each reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Why, u64)> {
        WHYS.into_iter().zip(self.0)
    }
}

const fn place(why: Why) -> usize {
    match why {
        Why::First => 0,
        Why::Held => 1,
        Why::Room => 2,
        Why::Bursts => 3,
        Why::Waiting => 4,
        Why::Drops => 5,
        Why::Dip => 6,
        Why::DipOver => 7,
        Why::Slower => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_count_of_its_own() {
        let mut changes = Changes::default();
        for (times, why) in (1..).zip(WHYS) {
            (0..times).for_each(|_| changes.count(why));
        }
        let counted: Vec<_> = changes.iter().collect();
        assert_eq!(counted, WHYS.into_iter().zip(1..).collect::<Vec<_>>());
        assert!(WHYS.into_iter().all(|why| (why, changes.of(why)) == counted[place(why)]));
        assert_eq!(changes.all(), 45);
    }
}
