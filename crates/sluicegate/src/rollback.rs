//! Undoing what was done by halves.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

/// What is to be undone, last first, unless it is [committed](Self::commit): where work fails half way, returns early, panics, or
/// its future is dropped.
///
/// Each step is undone by a function that doesn't wait; one that has to (an order to another service) starts a task and has a
/// deadline of its own. Where undoing one panics, the others are undone all the same, and then the first panic goes on, unless there
/// is one already.
///
/// ```
/// use std::sync::Mutex;
/// use sluicegate::rollback::Rollback;
///
/// let log = Mutex::new(Vec::new());
/// let write = |line| log.lock().unwrap().push(line);
/// let transfer = |amount: u32| {
///     let mut rollback = Rollback::new();
///     write("taken");
///     rollback.add(|| write("given back"));
///     if amount > 100 {
///         return Err("too much");
///     }
///     write("booked");
///     rollback.commit();
///     Ok(())
/// };
/// assert_eq!(transfer(7), Ok(()));
/// assert_eq!(transfer(700), Err("too much"));
/// assert_eq!(log.into_inner()?, ["taken", "booked", "taken", "given back"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
#[must_use = "dropped, it undoes at once"]
pub struct Rollback<'a> {
    steps: Vec<Box<dyn FnOnce() + Send + 'a>>,
}

impl<'a> Rollback<'a> {
    /// Nothing to undo as yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more step has been done, which is undone by this.
    pub fn add(&mut self, undo: impl FnOnce() + Send + 'a) {
        self.steps.push(Box::new(undo));
    }

    /// All is done: nothing is undone any more.
    pub fn commit(mut self) {
        self.steps.clear();
    }

    /// Undoes the steps after the first `steps`, last first: back to where [`len`](Self::len) said so.
    ///
    /// # Panics
    /// If undoing one does, once all are undone.
    pub fn back_to(&mut self, steps: usize) {
        let mut panicked = None;
        while self.steps.len() > steps {
            let Some(undo) = self.steps.pop() else { break };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(undo)) {
                panicked.get_or_insert(panic);
            }
        }
        // A second one while a first goes on would end the process.
        if let Some(panic) = panicked.filter(|_| !thread::panicking()) {
            resume_unwind(panic);
        }
    }

    /// How many steps would be undone.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is nothing to undo.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

impl Drop for Rollback<'_> {
    fn drop(&mut self) {
        self.back_to(0);
    }
}

impl fmt::Debug for Rollback<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rollback").field("steps", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::failure::panic::panic_message;

    #[test]
    fn it_undoes_the_last_first_and_to_a_point() {
        let undone = Mutex::new(Vec::new());
        let mut rollback = Rollback::new();
        for step in 0..5 {
            let undone = &undone;
            rollback.add(move || undone.lock().unwrap().push(step));
        }
        rollback.back_to(3);
        assert_eq!((std::mem::take(&mut *undone.lock().unwrap()), rollback.len()), (vec![4, 3], 3));
        rollback.back_to(4);
        assert_eq!(rollback.len(), 3, "there is nothing behind it");
        drop(rollback);
        assert_eq!(std::mem::take(&mut *undone.lock().unwrap()), [2, 1, 0]);
        let mut rollback = Rollback::new();
        rollback.add(|| undone.lock().unwrap().push(0));
        rollback.commit();
        assert!(std::mem::take(&mut *undone.lock().unwrap()).is_empty());
    }

    #[test]
    fn a_step_that_panics_keeps_none_from_being_undone() {
        for unwinding in [false, true] {
            let undone = Mutex::new(Vec::new());
            let panic = catch_unwind(AssertUnwindSafe(|| {
                let mut rollback = Rollback::new();
                rollback.add(|| undone.lock().unwrap().push(0));
                rollback.add(|| panic!("while undoing"));
                rollback.add(|| undone.lock().unwrap().push(2));
                assert!(!unwinding, "before");
            }));
            let said = panic.unwrap_err();
            assert_eq!(panic_message(&*said), Some(if unwinding { "before" } else { "while undoing" }));
            assert_eq!(std::mem::take(&mut *undone.lock().unwrap()), [2, 0]);
        }
    }
}
