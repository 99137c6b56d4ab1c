//! A bounded queue of work in front of workers.
//!
//! [`Queue::new`] is first come, first served, looks at no clock and sheds nothing. [`Queue::with`] has what the machine in
//! [`sluicegate_core::queue`] can do: bounds in bytes, controlled delay, newest first in an overload, deadlines, turns of keys, classes.
//!
//! # Who is told, and when
//! Each item comes out once: popped, cancelled, given back by a push, or shed, which is told to the function that the queue was made
//! with. That function runs under no lock, in whichever call found out; its panics end there:
//!
//! * **A push** finds who is late by now, and who has to give way to what comes.
//! * **A pop** finds who is late, and in an overload who has waited too long.
//! * **A deadline that passes while nobody calls**, since all workers are busy, is found by an *alarm*: a background future
//!   ([`Timer::run`]) that begins with a push whose item has a deadline and waits, and ends when no deadline is left. It runs where that
//!   push was made: in its tokio runtime, for a timer of tokio's. If that ends or stands still, or the timer has no background, the
//!   next push or pop finds who is late.

mod alarm;
mod pop;
mod rejected;
mod state;
#[cfg(test)]
#[cfg(all(feature = "tokio", not(sluicegate_loom)))]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluicegate_core::clock::nanos;
use sluicegate_core::queue::{self as machine, Offer};
pub use sluicegate_core::queue::{Codel, Entry, Histogram, Refusal, Settings, SettingsError, Ticket};
use sluicegate_core::sync::Arc;

use crate::timer::Timer;
use crate::wake::{hushed, wake_each};
pub use pop::Pop;
pub use rejected::Rejected;
pub(crate) use state::Owed;
use state::{Kept, Policies, Shared, Turn};

/// First come, first served looks at no time, and sheds nothing.
pub(crate) const ANY_TIME: u64 = 0;

/// What came of a push.
type Admitted<T> = Result<Option<Ticket>, (T, Rejected)>;

/// A bounded queue from any number of producers to any number of workers. Clones share it.
///
/// Admission is one atomic step: [`push`](Self::push) hands the item to a worker that waits, or finds it a place, or
/// gives it back with the reason. The bounds are exact: never are more than `bound` items admitted to wait, and with a
/// bound of 0 an item is admitted only if a worker waits for it (a rendezvous).
///
/// ```
/// use sluicegate::queue::Queue;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let queue = Queue::new(2);
/// queue.push("a").unwrap();
/// queue.push("b").unwrap();
/// let (item, why) = queue.push("c").unwrap_err();
/// assert_eq!((item, why.to_string().as_str()), ("c", "the queue is full: 2 of 2 wait"));
///
/// assert_eq!(queue.pop().await, Some("a"));
/// queue.close();
/// assert_eq!(queue.pop().await, Some("b"));
/// assert_eq!(queue.pop().await, None);
/// # }
/// ```
///
/// With deadlines, while the only worker is busy:
///
/// ```
/// use std::sync::mpsc;
/// use sluicegate::queue::{Entry, Queue, Refusal, Settings};
/// use sluicegate::timer::{Timer, TokioTime};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let (time, (shed, told)) = (TokioTime::new(), mpsc::channel());
/// let queue = Queue::with(&Settings::new(100), time, move |item, why| shed.send((item, why.why())).unwrap());
/// queue.push_as(Entry::new("soon").until(50_000_000)).unwrap();
/// queue.push_as(Entry::new("whenever")).unwrap();
///
/// time.sleep_for(60_000_000).await;
/// assert_eq!(told.recv(), Ok(("soon", Refusal::Late)));
/// assert_eq!(queue.pop().await, Some("whenever"));
/// # }
/// ```
pub struct Queue<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Queue<T> {
    /// A queue in which at most `bound` items wait, first come, first served. No clock is read: an entry's instants, such as its
    /// [deadline](Entry::until), say nothing here, and it waits until somebody pops it.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self { shared: Arc::new(Shared::new(machine::Queue::new(bound), None)) }
    }

    /// Hands `item` to a worker or finds it a place.
    ///
    /// # Errors
    /// The item, and why there is no room for it.
    pub fn push(&self, item: T) -> Result<(), (T, Rejected)> {
        self.push_as(Entry::new(item)).map(drop)
    }

    /// The same for an item of which more is known: whose it is, its class, its size, until when it is of use (an instant of the clock that the queue
    /// was [made with](Self::with); of a queue that has [none](Self::new), nobody looks at it). If it waits, its ticket says where, for
    /// [`cancel`](Self::cancel); none if a worker has it already.
    ///
    /// # Errors
    /// The item, and why it is not admitted. Those who had to give way to it, or are late by now, are shed.
    pub fn push_as(&self, entry: Entry<T>) -> Result<Option<Ticket>, (T, Rejected)> {
        let (admitted, owed) = self.push_owing(entry);
        owed.pay();
        admitted
    }

    /// The same, and leaves it to the caller when to tell those whom it concerns: under no lock.
    pub(crate) fn push_owing(&self, entry: Entry<T>) -> (Admitted<T>, Owed<'_, T>) {
        let (size, deadline, begun_by) = (entry.size(), entry.deadline(), entry.begins_by());
        let mut turn = Turn::of(&self.shared, deadline.min(begun_by) < u64::MAX);
        let entry = entry.map(|item| Kept { item, size, deadline, begun_by });
        let admitted = match turn.state.machine.offer(entry, turn.now, &mut turn.shed) {
            Offer::Start(kept) => {
                turn.hand_over(kept);
                Ok(None)
            }
            Offer::Wait(ticket) => Ok(Some(ticket)),
            Offer::Refused(kept, why) => Err((kept.item, turn.rejected(why))),
        };
        (admitted, turn.free())
    }

    /// How often the function that is told of what is shed has panicked. That is its own matter: neither who pushes or pops has the
    /// panic, nor does it take an item from anybody. Zero without such a function.
    #[must_use]
    pub fn panics(&self) -> u64 {
        let policies = self.shared.policies.as_ref();
        policies.map_or(0, |policies| policies.panics.load(Ordering::Relaxed))
    }

    /// The next item; none once the queue is closed and empty. Cancel-safe: an item handed to a future that is then
    /// dropped goes to the next worker, before all others.
    pub const fn pop(&self) -> Pop<'_, T> {
        Pop::new(self)
    }

    /// Takes back what waits with this ticket; none if it waits no longer: a worker has it, or had it and left it to the next, or it was
    /// shed.
    pub fn cancel(&self, ticket: Ticket) -> Option<T> {
        self.shared.lock().machine.cancel(ticket).map(|kept| kept.item)
    }

    /// Takes back all that wait, in the order in which they came: for an end without the time to do what was admitted.
    pub fn cancel_all(&self) -> Vec<T> {
        let mut state = self.shared.lock();
        let left = state.machine.cancel_all();
        // An alarm has nothing to look after any more, and ends.
        let alarm = state.alarm.waker();
        drop(state);
        // Its panic would take what was waiting with it.
        hushed(|| wake_each(alarm));
        left.into_iter().map(|kept| kept.item).collect()
    }

    /// A worker tells how long it took to do one item. From this is known what work usually takes, so that an item which would be done
    /// after its deadline is refused at once. It is not measured here: between two pops of a worker may lie more than work.
    pub fn served(&self, took: Duration) {
        self.shared.lock().machine.served(nanos(took));
    }

    /// Admits nothing from now on. What waits is still handed out, then every worker gets none.
    pub fn close(&self) {
        let mut state = self.shared.lock();
        state.machine.close();
        let wakers = state.wakers();
        drop(state);
        wake_each(wakers);
    }

    /// How many items wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().machine.waiting()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes wait, as the entries have it.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        self.shared.lock().machine.waiting_bytes()
    }

    /// Whether the line stands: never, without [`Codel`].
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        let now = self.shared.now();
        self.shared.lock().machine.is_overloaded(now)
    }

    /// How many items were handed to a worker that waited for one, 100 ms ago or longer, and are not taken up: its task is starved, or was neither
    /// polled nor dropped since. Something is broken there ([`safety`](crate::safety)). Zero without a clock. Looks at each worker that waits.
    #[must_use]
    pub fn untaken(&self) -> usize {
        let now = self.shared.now();
        self.shared.lock().untaken(now)
    }

    /// How long those waited who were popped, those who did not have to among them. All zero without a clock.
    #[must_use]
    pub fn waits(&self) -> Histogram {
        self.shared.lock().machine.waits().clone()
    }
}

impl<T: Send + 'static> Queue<T> {
    /// A queue that behaves as `settings` say, by the clock of `timer`, which is read once a push and once a pop. `on_shed` gets each item that
    /// was admitted and is given up, and why.
    ///
    /// It runs in the push, the pop or the alarm that found out, under no lock, so it may use the queue; it should be short, as others wait for
    /// that call. If it panics, that is [counted](Self::panics), and reaches nobody.
    #[must_use]
    pub fn with(
        settings: &Settings,
        timer: impl Timer,
        on_shed: impl Fn(T, Rejected) + Send + Sync + 'static,
    ) -> Self {
        let policies = Policies {
            timer: Box::new(timer),
            on_shed: Box::new(on_shed),
            panics: AtomicU64::new(0),
            start: alarm::start,
        };
        Self { shared: Arc::new(Shared::new(machine::Queue::with(settings, 0), Some(policies))) }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        let (waiting, bound) = (state.machine.waiting(), state.machine.bound());
        let closed = state.machine.is_closed();
        f.debug_struct("Queue")
            .field("waiting", &waiting)
            .field("bound", &bound)
            .field("closed", &closed)
            .finish_non_exhaustive()
    }
}
