//! The right to be in flight: so many at once, and so many that wait for it.
//!
//! | you want | and make |
//! | --- | --- |
//! | a fixed number, first come first served | [`Permits::new`]; reads no clock |
//! | a line that sheds, is fair among clients, or knows deadlines | [`Permits::with`] the settings of a line |
//! | as many as the service works on at once, found out meanwhile | the same, [adaptive](Settings::adaptive) |
//!
//! Longer than other files: a third is documentation, of every way in.

mod adaptive;
mod before;
mod desk;
mod enter;
mod fixed;
mod hold;
mod open;
mod seats;
mod settings;
mod standing;
mod state;
#[cfg(test)]
mod tests;
mod usual;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use sluicegate_core::clock::nanos;
use sluicegate_core::concurrency::Outcome;
use sluicegate_core::queue::Queue;
use sluicegate_core::sync::atomic::AtomicU64;
use sluicegate_core::sync::atomic::Ordering::{Acquire, Release};
use sluicegate_core::sync::{Arc, Mutex, MutexGuard};

use crate::queue::Rejected;
use crate::timer::{AnyTimer, Timer};
use crate::wake::{discard, wake_one};

pub use enter::Enter;
pub use hold::Permit;
pub use settings::{Settings, Who};
pub use standing::{Partition, Refusals, Standing};

use desk::Told;
use hold::Hold;
use open::{Found, Open};
use state::{Entered, State};

/// So many permits, and a bounded line of those who wait for one. Clones share both.
///
/// Admission is one atomic step, made by [`enter`](Self::enter) itself and not when its future is polled: whoever is
/// turned away knows at once. Unless [settings](Self::with) say otherwise, the line is first come, first served, and nobody in
/// it is turned away; a permit that comes back goes straight to who is next, so nobody barges in between.
///
/// ```
/// use sluicegate::permits::Permits;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let permits = Permits::new(1, 1);
/// let first = permits.enter().unwrap().await.unwrap();
/// let second = permits.enter().unwrap();
/// let refused = permits.enter().unwrap_err();
/// assert_eq!(refused.retry_after().unwrap().as_secs(), 1);
///
/// drop(first);
/// let _second = second.await.unwrap();
/// assert_eq!((permits.in_flight(), permits.waiting()), (1, 0));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Permits {
    shared: Arc<Shared>,
    /// In whose order partitions are told; as they stand if nothing is said. Nothing that a model of threads is about.
    names: Option<std::sync::Arc<[String]>>,
}

struct Shared {
    /// None where nothing looks at a time.
    time: Option<Box<dyn AnyTimer>>,
    /// Shut for good where something does.
    open: Open,
    /// All whose tickets have a smaller number have had a permit or have left; for lines [of which that can be said](desk::Desk::in_order), so
    /// that who was handed a permit needs no lock to take it. Written under the lock.
    served: AtomicU64,
    state: Mutex<State>,
}

impl Shared {
    /// The machine's methods can't leave it half changed, so a panic elsewhere under the lock breaks nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time, if anything looks at it. Read before the lock is taken.
    fn at(&self) -> Option<u64> {
        self.time.as_ref().map(|time| time.now())
    }

    /// With all permits in the line.
    fn in_line<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let free = self.open.close();
        if free > 0 {
            state.shut(free);
        }
        let served = state.desk.served;
        let result = change(&mut state);
        if state.desk.served != served {
            self.served.store(state.desk.served, Release);
        }
        if self.time.is_none()
            && let Some(free) = state.open()
        {
            self.open.open(free);
        } else if state.has_none() {
            self.open.none();
        }
        result
    }

    /// A change under the lock, after which is woken whom it concerns.
    fn change<R: Default>(&self, change: impl FnOnce(&mut State, Option<u64>, &mut Told) -> R) -> R {
        let (now, mut told) = (self.at(), Told::new());
        let result = catch_unwind(AssertUnwindSafe(|| self.in_line(|state| change(state, now, &mut told))));
        // Also if an algorithm has panicked: who was told something by then would wait for good.
        told.wake();
        match result {
            Ok(result) => result,
            // This thread panics already, and that is why a permit came back: another panic would end the process.
            Err(panic) if thread::panicking() => {
                discard(panic);
                R::default()
            }
            Err(panic) => resume_unwind(panic),
        }
    }

    #[inline(never)]
    fn try_enter(&self, names: Option<&[String]>, partition: usize, is_spare: bool) -> Option<Hold> {
        let now = self.at();
        self.in_line(|state| state.try_enter(state.number_of(names, partition), is_spare, now))
    }

    #[inline]
    fn end(&self, hold: Hold, outcome: Outcome) {
        if !self.open.give() {
            self.end_in_line(hold, outcome);
        }
    }

    #[inline(never)]
    fn end_in_line(&self, hold: Hold, outcome: Outcome) {
        if self.time.is_none() {
            return self.hand_on();
        }
        self.change(|state, now, told| state.end(hold, outcome, now, told));
    }

    /// A permit comes back of which nobody looks at a time, so it teaches nothing, and no foreign code runs under the lock.
    fn hand_on(&self) {
        let handed = self.in_line(|state| {
            if state.desk.in_order {
                return Ok(state.hand_on_in_order());
            }
            let mut told = Told::new();
            state.hand_on(&mut told);
            Err(told)
        });
        match handed {
            Ok(one) => one.into_iter().for_each(wake_one),
            Err(told) => told.wake(),
        }
    }

    /// Whether who waits with a ticket of this number has been handed a permit, as far as that number says it.
    #[inline]
    fn has_served(&self, number: u64) -> bool {
        number < self.served.load(Acquire)
    }

    fn leave(&self, seat: usize, number: u64) {
        let waker = self.change(|state, now, told| state.leave(seat, number, now, told));
        drop(waker);
    }

    fn look(&self) {
        self.change(State::look);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Permits {
    /// `concurrency` permits, and room for `queue` to wait. No clock is read: nobody here is ever late, so the instants of [`Who`] say
    /// nothing, and who waits does so until a permit is there.
    #[must_use]
    pub fn new(concurrency: usize, queue: usize) -> Self {
        let settings = Settings::new(concurrency, sluicegate_core::queue::Settings::new(queue));
        let state = Mutex::new(State::new(settings, true));
        let shared = Shared { time: None, open: Open::shut(), served: AtomicU64::new(0), state };
        shared.in_line(|_| {});
        Self { shared: Arc::new(shared), names: None }
    }

    /// Permits of these settings. `timer` says how late it is, and wakes who waits at its deadline.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sluicegate::permits::{Permits, Settings, Who};
    /// use sluicegate::queue::{self, Refusal};
    /// use sluicegate::timer::ManualTime;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let time = ManualTime::new();
    /// let permits = Permits::with(Settings::new(1, queue::Settings::new(100)), time.clone());
    /// let first = permits.enter().unwrap().await.unwrap();
    /// let second = permits.enter_as(Who { deadline: 50_000_000, ..Who::default() }).unwrap();
    ///
    /// // Nobody comes back in time.
    /// time.advance(Duration::from_millis(51));
    /// assert_eq!(second.await.unwrap_err().why(), Refusal::Late);
    /// # drop(first);
    /// # }
    /// ```
    #[must_use]
    pub fn with(settings: Settings, timer: impl Timer + Send + Sync) -> Self {
        let state = Mutex::new(State::new(settings, false));
        let (time, served) = (Some(Box::new(timer) as Box<dyn AnyTimer>), AtomicU64::new(0));
        let shared = Shared { time, open: Open::shut(), served, state };
        Self { shared: Arc::new(shared), names: None }
    }

    /// The same permits, of which partitions are told by numbers in the order of these names, whatever their order is meanwhile: for who
    /// goes by settings that others may have been [applied](Self::apply) after. A partition without a name here, or whose name is not among those
    /// of [now](Settings::with_names), is everybody else's. Where partitions have no names, numbers are as they are.
    ///
    /// ```
    /// use sluicegate::concurrency::{self, Fixed};
    /// use sluicegate::permits::{Permits, Settings};
    /// use sluicegate::queue;
    /// use sluicegate::timer::ManualTime;
    ///
    /// let shares = |shares: &[f64], names: &[&str]| {
    ///     let limit = concurrency::Settings::default().with_limits(4, 4).unwrap().with_shares(shares).unwrap();
    ///     let settings = Settings::new(4, queue::Settings::new(10)).adaptive(limit, Fixed);
    ///     settings.with_names(names.iter().map(ToString::to_string).collect())
    /// };
    /// let permits = Permits::with(shares(&[0.5], &["pay"]), ManualTime::new());
    /// let before = permits.numbered_by(vec!["pay".to_owned()]);
    /// permits.apply(shares(&[0.25, 0.5], &["ask", "pay"]));
    /// let _held = before.try_enter_of(0).unwrap();
    /// let in_flight: Vec<_> = permits.standing().partitions.iter().map(|part| part.in_flight).collect();
    /// assert_eq!(in_flight, [0, 1, 0]);
    /// ```
    #[must_use]
    pub fn numbered_by(&self, names: Vec<String>) -> Self {
        Self { shared: Arc::clone(&self.shared), names: Some(names.into()) }
    }

    /// From now on there are `concurrency` permits, and room for `queue` to wait. Permits that are held stay valid: where
    /// there are now fewer, those that come back are not handed out again until there are as many as there should be. Who
    /// waits already stays, and all else that the line was told holds. Where it was found out how many there should be, it no longer is.
    pub fn resize(&self, concurrency: usize, queue: usize) {
        self.shared.change(|state, now, told| state.resize(concurrency, queue, now, told));
    }

    /// From now on these settings hold: who holds a permit keeps it, and who waits keeps its place. What was found out of the limit is
    /// kept too, if what finds it out [is the same](sluicegate_core::concurrency::Algorithm::is_same_as); else it goes on from there, and learns nothing from permits handed out
    /// before. A partition keeps who waits in it and who is in flight, by its [name](Settings::with_names) if it has one, else by its
    /// number; those of one that is gone are with everybody else.
    ///
    /// Permits made [without a timer](Self::new) shed nobody for having waited too long, and keep the first limit where one would be
    /// found out.
    pub fn apply(&self, settings: Settings) {
        self.shared.change(|state, now, told| state.apply(settings, now, told));
    }

    /// Asks for a permit: it is there, or one waits for it, or there is no room to wait.
    ///
    /// The future is cancel-safe: dropped while it waits, it leaves the line; dropped after it was handed a permit, it
    /// passes the permit on.
    ///
    /// # Errors
    /// [`Rejected`] if as many wait as may, or after [`close`](Self::close); it says why and when to come back.
    #[inline]
    pub fn enter(&self) -> Result<Enter, Rejected> {
        self.enter_as(Who::default())
    }

    /// The same, for somebody of whom the line is to know more.
    ///
    /// Who has a deadline waits no longer than that: the future wakes by itself then, and is an error. Of permits made
    /// [without a timer](Self::new) it is not: those don't know how late it is.
    ///
    /// # Errors
    /// [`Rejected`], as for [`enter`](Self::enter); or if the deadline has passed, or, by what is ahead and how long that took lately,
    /// would have passed before the work is done; and the same of who is to [begin](Who::begun_by) by an instant.
    #[inline]
    pub fn enter_as(&self, who: Who) -> Result<Enter, Rejected> {
        let shared = &self.shared;
        if shared.open.take() == Found::Taken {
            return Ok(Enter::ready(Permit::new(Arc::clone(shared), Hold::FREE)));
        }
        self.enter_line(&who)
    }

    #[inline(never)]
    fn enter_line(&self, who: &Who) -> Result<Enter, Rejected> {
        let shared = &self.shared;
        let (now, mut told) = (shared.at(), None);
        let entered = shared.in_line(|state| {
            if state.desk.in_order {
                return state.enter_in_order(who);
            }
            let partition = state.number_of(self.names.as_deref(), who.partition);
            state.enter(&Who { partition, ..*who }, now, told.insert(Told::new()))
        });
        // Made before others are woken, so that it is given back if a waker panics.
        let enter = entered.map(|entered| match entered {
            Entered::Now(hold) => Enter::ready(Permit::new(Arc::clone(shared), hold)),
            Entered::Waits(seat, number) => {
                Enter::waiting(Arc::clone(shared), (seat, number), who.deadline.min(who.begun_by))
            }
        });
        if let Some(told) = told {
            told.wake();
        }
        enter
    }

    /// Takes a permit if one is free now and nobody waits for one; none after [`close`](Self::close). Where the limit is found out, who gets
    /// none counts as [turned away](crate::concurrency::Window::turned_away): for what can do without,
    /// [`try_enter_spare_of`](Self::try_enter_spare_of).
    #[must_use]
    #[inline]
    pub fn try_enter(&self) -> Option<Permit> {
        self.try_enter_of(0)
    }

    /// The same, for a partition.
    #[must_use]
    #[inline]
    pub fn try_enter_of(&self, partition: usize) -> Option<Permit> {
        self.take(partition, false)
    }

    /// As [`try_enter_of`](Self::try_enter_of), for what is left out without harm where no permit is free, such as a hedge: then nobody is
    /// turned away, and a limit that is found out does not learn that more was wanted.
    ///
    /// ```
    /// use sluicegate::permits::Permits;
    ///
    /// let permits = Permits::new(1, 0);
    /// let first = permits.try_enter();
    /// assert!(first.is_some() && permits.try_enter_spare_of(0).is_none());
    /// ```
    #[must_use]
    #[inline]
    pub fn try_enter_spare_of(&self, partition: usize) -> Option<Permit> {
        self.take(partition, true)
    }

    #[inline]
    fn take(&self, partition: usize, is_spare: bool) -> Option<Permit> {
        let shared = &self.shared;
        let hold = match shared.open.take() {
            Found::Taken => Hold::FREE,
            Found::None => return None,
            Found::Shut => shared.try_enter(self.names.as_deref(), partition, is_spare)?,
        };
        Some(Permit::new(Arc::clone(shared), hold))
    }

    /// Admits nobody from now on. Who waits is still served.
    pub fn close(&self) {
        self.shared.in_line(State::close);
    }

    /// How many permits there are.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.shared.lock().concurrency()
    }

    /// How many permits are held, or on their way to who waited: more than there are for a while after they became fewer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let state = self.shared.lock();
        state.in_flight() - self.shared.open.free()
    }

    /// How many may wait; of each partition, where there are several.
    #[must_use]
    pub fn queue(&self) -> usize {
        self.shared.lock().lines().first().map_or(0, Queue::bound)
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.lock().waiting()
    }

    /// Whether the service is to blame where who had asked, of this partition, could wait no longer and the service had it for so long: what
    /// [`Permit::late`] asks. Where no good answer is known, or none came for long, it is if it had it `or_for` as long as this, which for
    /// [`Permit::late`] is no time. Always where the number is not found out.
    #[must_use]
    pub fn is_long(&self, partition: usize, had: Duration, or_for: Duration) -> bool {
        let now = self.shared.at().unwrap_or_default();
        let state = self.shared.lock();
        state.is_long(state.number_of(self.names.as_deref(), partition), [nanos(had), nanos(or_for)], now)
    }

    /// All of that and more, as of one moment.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let now = self.shared.at();
        let state = self.shared.lock();
        let free = self.shared.open.free();
        let mut standing = state.standing(now);
        standing.in_flight -= free;
        if let [only] = &mut standing.partitions[..] {
            only.in_flight -= free;
        }
        standing
    }
}
