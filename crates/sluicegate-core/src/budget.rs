//! How many more requests than were asked for: so many for each hundred that are made anyway.
//!
//! Retries and hedges help while few need them. When all do, they are what keeps a service down; so they are paid from a
//! [`Budget`]: each request that is made anyway puts a share of a token into it, each further one takes a whole token.

pub use crate::setting::SettingsError;

/// Parts of a token. A share is kept in whole millionths, so that nothing is rounded away while many are added.
const TOKEN: u64 = 1_000_000;

/// The machine. It begins full: whoever makes one request a minute may repeat it too. So after n requests it has granted at most
/// `cap` + `share`·n.
///
/// ```
/// use sluicegate_core::budget::Budget;
///
/// let mut budget = Budget::new(0.35, 1)?;
/// assert!(budget.withdraw(), "it begins full");
/// let granted = (0..100).filter(|_| {
///     budget.deposit();
///     budget.withdraw()
/// });
/// assert_eq!(granted.count(), 35);
/// # Ok::<(), sluicegate_core::budget::SettingsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// What each request brings, in parts of a token.
    share: u64,
    /// In parts of a token: `cap` tokens, and a part of one, or what a request brings to a full budget would be lost though the
    /// next one spends of it.
    most: u64,
    /// In parts of a token, at most `most`.
    balance: u64,
}

impl Budget {
    /// A budget of `share` tokens a request, which saves up to `cap` of them. A share is rounded to a millionth.
    ///
    /// # Errors
    /// If `share` is no number from 0 to 1, or `cap` is zero.
    pub fn new(share: f64, cap: u32) -> Result<Self, SettingsError> {
        if !(0.0..=1.0).contains(&share) {
            let expected = "a share of the requests from 0 to 1, such as 0.1 for one in ten";
            return Err(SettingsError { field: "share", value: share.to_string(), expected });
        }
        if cap == 0 {
            let expected = "at least 1: a token is spent as a whole";
            return Err(SettingsError { field: "cap", value: cap.to_string(), expected });
        }
        let full = u64::from(cap) * TOKEN;
        Ok(Self { share: millionths(share), most: full + TOKEN - 1, balance: full })
    }

    /// A request is made anyway.
    pub const fn deposit(&mut self) {
        self.deposit_for(1);
    }

    /// So many requests are made anyway: as each of them by itself, as long as nothing is taken between.
    pub const fn deposit_for(&mut self, requests: u64) {
        let balance = self.balance.saturating_add(self.share.saturating_mul(requests));
        self.balance = if balance < self.most { balance } else { self.most };
    }

    /// Takes a token for one more, if there is one. What was granted before stays granted.
    pub const fn withdraw(&mut self) -> bool {
        let enough = self.balance >= TOKEN;
        if enough {
            self.balance -= TOKEN;
        }
        enough
    }

    /// Gives a token back: the request that it was taken for is not made.
    pub fn put_back(&mut self) {
        self.balance = (self.balance + TOKEN).min(self.most);
    }

    /// Has the share and the cap of `settings` from now on, and keeps what there is, up to the new cap. So what was spent stays
    /// spent, and a larger cap is filled by requests.
    pub fn apply(&mut self, settings: &Self) {
        let Self { share, most, .. } = *settings;
        *self = Self { share, most, balance: self.balance.min(most) };
    }

    /// How many whole tokens there are.
    #[must_use]
    pub const fn tokens(&self) -> u64 {
        self.balance / TOKEN
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at most a million, and not negative"
)]
fn millionths(share: f64) -> u64 {
    (share * 1e6).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `requests` a budget grants one more each, from empty.
    fn granted(share: f64, requests: u32) -> usize {
        let mut budget = Budget::new(share, 1).unwrap();
        assert!(budget.withdraw());
        let more = (0..requests).filter(|_| {
            budget.deposit();
            budget.withdraw()
        });
        more.count()
    }

    #[test]
    fn a_share_is_not_truncated() {
        // Whole requests a token would make 1/2 of 0.35, and 1/3 of 0.3.
        for (share, expected) in
            [(0.35, 3500), (0.3, 3000), (0.1, 1000), (0.05, 500), (0.001, 10), (1.0, 10_000)]
        {
            assert_eq!(granted(share, 10_000), expected, "{share}");
        }
        assert_eq!(granted(0.0, 10_000), 0);
        assert_eq!(granted(1.0 / 3.0, 30_000), 9999, "rounded to a millionth, and never up over the whole");
    }

    #[test]
    fn what_is_saved_up_is_bounded_exactly() {
        let mut budget = Budget::new(0.1, 3).unwrap();
        (0..1000).for_each(|_| budget.deposit());
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 3);
        assert!(Budget::new(0.1, 3).unwrap().withdraw());
        let mut budget = Budget::new(0.1, 3).unwrap();
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 3, "as many as at the beginning");
        (0..19).for_each(|_| budget.deposit());
        assert_eq!((budget.tokens(), budget.withdraw(), budget.withdraw()), (1, true, false));
        budget.put_back();
        assert!(budget.withdraw());
        (0..1000).for_each(|_| budget.put_back());
        assert_eq!(budget.tokens(), 3);
    }

    #[test]
    fn many_at_once_bring_as_much_as_one_by_one() {
        for share in [0.0, 0.000_001, 0.35, 1.0] {
            for (spent, requests) in [(0, 1), (1, 3), (20, 7), (20, 1000), (20, 0)] {
                let mut apart = Budget::new(share, 20).unwrap();
                (0..spent).for_each(|_| assert!(apart.withdraw()));
                let mut together = apart.clone();
                together.deposit_for(requests);
                (0..requests).for_each(|_| apart.deposit());
                assert_eq!(together, apart, "{share} {spent} {requests}");
            }
        }
        let mut full = Budget::new(1.0, 1).unwrap();
        full.deposit_for(u64::MAX);
        assert_eq!(full.tokens(), 1);
    }

    #[test]
    fn other_settings_bring_nothing_back() {
        let mut budget = Budget::new(0.1, 20).unwrap();
        (0..15).for_each(|_| assert!(budget.withdraw()));
        budget.apply(&Budget::new(0.5, 30).unwrap());
        assert_eq!(budget.tokens(), 5);
        budget.deposit();
        budget.deposit();
        assert_eq!(budget.tokens(), 6, "by the new share");
        (0..1000).for_each(|_| budget.deposit());
        assert_eq!(budget.tokens(), 30, "up to the new cap");
        budget.apply(&Budget::new(0.5, 3).unwrap());
        assert_eq!(budget.tokens(), 3);
    }

    #[test]
    fn what_cannot_be_is_told() {
        for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let error = Budget::new(share, 1).unwrap_err();
            assert_eq!(error.field(), "share");
            assert!(error.to_string().contains(&format!("`{share}`")), "{error}");
        }
        assert_eq!(Budget::new(0.1, 0).unwrap_err().field(), "cap");
    }
}
