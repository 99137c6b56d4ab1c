//! Settings that can't be: one error for the settings of all machines.

use std::fmt;

/// Why settings can't be: the field, its value, and what would be right.
///
/// ```
/// use sluicegate_core::budget::Budget;
///
/// let error = Budget::new(7.0, 10).unwrap_err();
/// assert_eq!(error.field(), "share");
/// assert!(error.to_string().starts_with("share `7`: expected a share of the requests from 0 to 1"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    pub(crate) field: &'static str,
    pub(crate) value: String,
    pub(crate) expected: &'static str,
}

impl SettingsError {
    /// For the settings of a shell: this field can't have this value.
    #[must_use]
    pub fn new(field: &'static str, value: impl fmt::Display, expected: &'static str) -> Self {
        Self { field, value: value.to_string(), expected }
    }

    /// The name of what was wrong, as the function that was called has it.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`: expected {}", self.field, self.value, self.expected)
    }
}

impl std::error::Error for SettingsError {}
