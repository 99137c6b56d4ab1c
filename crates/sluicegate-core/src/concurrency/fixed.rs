//! A limit that does not change.

use std::any::Any;

use super::algorithm::{Algorithm, Bounds, Next, Why};
use super::window::Window;

/// The first limit of the settings, for ever.
///
/// ```
/// use sluicegate_core::concurrency::{Concurrency, Fixed, Outcome, Refusal, Settings};
///
/// let mut limits = Concurrency::new(Settings::default().with_first(1)?, Fixed);
/// let first = limits.begin(0, 0).unwrap();
/// assert_eq!(limits.begin(0, 0).unwrap_err(), Refusal::Limit);
/// assert_eq!(limits.end(first, 5, Outcome::Good), None, "no change");
/// # Ok::<(), sluicegate_core::concurrency::SettingsError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed;

impl Algorithm for Fixed {
    fn first(&mut self, bounds: Bounds) -> Next {
        Next::new(bounds.first, u32::MAX, Why::First)
    }

    fn next(&mut self, _: &Window, bounds: Bounds) -> Next {
        Next::new(bounds.first, u32::MAX, Why::Held)
    }

    fn learns(&self) -> bool {
        false
    }

    fn is_same_as(&self, other: &dyn Any) -> bool {
        other.downcast_ref() == Some(self)
    }
}
