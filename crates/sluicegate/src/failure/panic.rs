//! What a panic has said.

use std::any::Any;

/// The text of a panic that was caught. None where it was raised with something else than a text.
///
/// ```
/// use std::panic::{catch_unwind, resume_unwind};
/// use sluicegate::failure::panic_message;
///
/// let panic = catch_unwind(|| resume_unwind(Box::new("on purpose"))).unwrap_err();
/// assert_eq!(panic_message(&*panic), Some("on purpose"));
/// let panic = catch_unwind(|| resume_unwind(Box::new(format!("for {} reasons", 2)))).unwrap_err();
/// assert_eq!(panic_message(&*panic), Some("for 2 reasons"));
/// let panic = catch_unwind(|| resume_unwind(Box::new(7))).unwrap_err();
/// assert_eq!(panic_message(&*panic), None);
/// ```
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> Option<&str> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
}

/// The same, to be kept and shown.
#[cfg(feature = "tokio")]
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic_message(panic).unwrap_or("no text").to_owned()
}
