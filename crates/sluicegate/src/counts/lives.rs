//! Lives of threads, for the models.

use std::fmt;

use super::Stripes;
use crate::numbers::Numbers;

/// For the models alone: numbers for threads whose beginnings and ends the model knows.
pub struct Lives(Numbers);

impl Lives {
    /// All numbers are free.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "for the models alone")]
    pub fn new() -> Self {
        Self(Numbers::new())
    }

    /// What a thread does that adds `times` times 1 to the counter 0, from its first addition to its end. Says which
    /// number it had.
    pub fn live<const N: usize>(&self, stripes: &Stripes<N>, times: usize) -> Option<usize> {
        let number = self.0.take();
        for _ in 0..times {
            match number {
                Some(number) => stripes.owned(number).add_alone(0, 1),
                None => stripes.shared.add_together(0, 1),
            }
        }
        number.inspect(|number| self.0.give(*number))
    }
}

impl fmt::Debug for Lives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lives").finish_non_exhaustive()
    }
}
