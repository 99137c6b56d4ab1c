//! One line serves another that serves another: in rounds, not each inside the one before.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

type Task = Box<dyn FnOnce()>;

thread_local! {
    /// What is to be done on this thread once what runs now is done; none where nothing runs.
    static ROUNDS: RefCell<Option<VecDeque<Task>>> = const { RefCell::new(None) };
}

/// Runs `act` on `subject`: now, or, where this thread is within another such run, after that. However many set off each
/// other, the stack grows by one.
pub(super) fn run<T: 'static>(subject: Arc<T>, act: fn(&Arc<T>)) {
    let task: Task = Box::new(move || act(&subject));
    let begun = ROUNDS.try_with(|rounds| match &mut *rounds.borrow_mut() {
        Some(waiting) => {
            waiting.push_back(task);
            None
        }
        nothing => {
            *nothing = Some(VecDeque::new());
            Some(task)
        }
    });
    // While the thread ends there is no list, and nothing that could be endless.
    let Ok(Some(first)) = begun else { return };
    let _end = End;
    first();
    while let Ok(Some(next)) =
        ROUNDS.try_with(|rounds| rounds.borrow_mut().as_mut().and_then(VecDeque::pop_front))
    {
        next();
    }
}

/// The end of the outermost run, also if one panics.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        // Dropped outside the borrow: what is left in it may wake others.
        let _ = ROUNDS.try_with(|rounds| rounds.borrow_mut().take());
    }
}
