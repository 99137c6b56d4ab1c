//! Work that is looked after: a [`Steward`] starts wards, hears whether they live and get on, and starts them again when they fail.
//!
//! When it is done so is [`restart`]'s to say, and what a silence means [`detector`](sluicegate_core::detector)'s.
//! Here is what tasks make of that:
//!
//! * A ward fails by a panic, an error, a hang (it gives no sign, or makes no progress), or an end that comes too early. It is then
//!   **cut off**: its [token](crate::fence::Token) is good no more, it is told to stop, and its task is aborted. Only when that is gone is
//!   the next generation started; it finds what was [committed](Ward::position) last.
//! * **What can't be stopped**: a task is aborted where it awaits. One that blocks its thread, and work that it has handed to a
//!   [thread](Ward::blocking), goes on. After the steward's patience it counts as leaked, is said to be so
//!   ([`Event::Leaked`]), and the next generation is started beside it. It can't publish anything, since its token is good no
//!   more; memory, files and locks that it holds, it holds for as long as it runs.
//! * **Somebody who publishes** ([`publish`](crate::fence::Token::publish)) while it is cut off is let finish that, and no other begins before.
//! * **Shutdown** goes backwards through the wards: each is told to stop, and cut off when its part of the grace time is over. The
//!   steward's future ends when all are gone but the leaked, one grace and one patience later at the most. Dropped early, it cuts off
//!   all at once.
//! * **A tree**: a steward may [run under](Steward::run_under) a ward of another. It is stopped with that, in order and in its time, and
//!   what it leaves running belongs to that.
//!
//! Each event costs the steward a look at every ward, so one of them is for hundreds of wards, not for a task a connection.
//!
//! ```
//! use sluicegate::restart::{Settings, When};
//! use sluicegate::supervise::{Spec, Steward, Ward};
//! use sluicegate::timer::TokioTime;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let mut steward = Steward::new(Settings::default(), TokioTime::new());
//! let copied = steward.add(Spec::new("copier").with_when(When::OnFailure), |ward: Ward<u32>| async move {
//!     // From where the last one came to.
//!     for row in ward.position().unwrap_or(0)..10 {
//!         if row == 7 && ward.generation() == 1 {
//!             return Err("the connection is gone");
//!         }
//!         ward.token().commit(row + 1).map_err(|_| "replaced")?;
//!         ward.beater().progress();
//!     }
//!     Ok(())
//! });
//! let handle = steward.handle();
//! steward.run().await.unwrap();
//! assert_eq!((copied.last(), handle.counts().restarts), (Some(10), 1));
//! # }
//! ```
//!
//! Longer than other files: a third is documentation; what a steward is made of, runs by and is told from outside is one
//! state.

mod chore;
mod report;
mod running;
#[cfg(test)]
mod tests;
mod ward;

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sluicegate_core::clock::nanos;
use sluicegate_core::detector::{Rule, Watching};
use sluicegate_core::restart::{self, Settings, When};
use tokio::task::coop::unconstrained;

pub use chore::{Chore, Pulse};
pub use report::{Cause, Counts, Event, Next, Report};
use running::{Gate, Running, Seat};
pub use ward::Ward;
use ward::{Born, Jobs, Until};

use crate::attendance::Attendance;
use crate::fence::Fence;
use crate::timer::{Timer, TokioTime};

/// What a ward fails with.
type Failed = Box<dyn Error + Send + Sync>;
/// What a task of a ward is.
type Task = Pin<Box<dyn Future<Output = Result<(), Failed>> + Send>>;
/// Told of everything.
type Reporter = Box<dyn FnMut(Report) + Send>;
/// Makes a task for each generation.
type Start<T> = Box<dyn Fn(Born<T>) -> Task + Send>;

/// A ward as its steward has it.
///
/// ```
/// use std::time::Duration;
/// use sluicegate::detector::{Rule, Watching};
/// use sluicegate::restart::When;
/// use sluicegate::supervise::Spec;
///
/// let watching = Watching::new(Rule::timeout(Duration::from_secs(1)).unwrap());
/// let spec = Spec::new("copier").watched(watching).with_when(When::OnFailure);
/// assert_eq!(spec.name(), "copier");
/// ```
#[derive(Clone, Debug)]
pub struct Spec {
    name: Arc<str>,
    when: When,
    watching: Option<Watching>,
}

impl Spec {
    /// A ward of this name, for reports. It is started again [whenever](When::Always) it ends, and not watched: a hang goes unnoticed.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), when: When::Always, watching: None }
    }

    /// When it is started again.
    #[must_use]
    pub fn with_when(self, when: When) -> Self {
        Self { when, ..self }
    }

    /// It gives signs, and hangs where they fail to come.
    #[must_use]
    pub fn watched(self, watching: Watching) -> Self {
        Self { watching: Some(watching), ..self }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Looks after wards. Does nothing until it [runs](Self::run).
#[must_use = "it starts nobody until it runs"]
pub struct Steward<T: Timer = TokioTime> {
    machine: restart::Steward,
    seats: Vec<Seat<T>>,
    shared: Arc<Shared>,
    time: T,
    random: u64,
    report: Option<Reporter>,
}

impl<T: Timer> Steward<T> {
    /// One that has no wards yet.
    pub fn new(settings: Settings, time: T) -> Self {
        Self {
            machine: restart::Steward::new(settings),
            seats: Vec::new(),
            shared: Arc::default(),
            time,
            random: RandomState::new().hash_one(0_u8) | 1,
            report: None,
        }
    }

    /// The random numbers that shorten pauses come from here, so that a run can be repeated.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { random: seed | 1, ..self }
    }

    /// Calls `report` with everything that happens to a ward: each failure and what comes of it, each start, each leak. It runs in
    /// the steward's task, so it must neither block nor panic.
    pub fn with_report(self, report: impl FnMut(Report) + Send + 'static) -> Self {
        Self { report: Some(Box::new(report)), ..self }
    }

    /// One ward more, behind all others: `work` makes its future, anew for each generation, in its own task. It commits positions of the type
    /// `P`; what is handed out shows the last.
    pub fn add<P, W, F, E>(&mut self, spec: Spec, work: W) -> Committed<P>
    where
        P: Send + Sync + 'static,
        W: Fn(Ward<P, T>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let fence = Fence::new();
        let (theirs, work) = (fence.clone(), Arc::new(work));
        let start = Box::new(move |born: Born<T>| -> Task {
            let Some(token) = theirs.try_admit() else {
                return Box::pin(async { Err("another generation is still publishing".into()) });
            };
            let (ward, work) = (Ward::new(born, token, theirs.clone()), Arc::clone(&work));
            Box::pin(async move { work(ward).await.map_err(Into::into) })
        });
        self.machine.add(spec.when);
        self.seats.push(Seat::new(spec, start, Box::new(fence.clone()) as Box<dyn Gate>));
        Committed { fence }
    }

    /// One ward more, behind all others, for work that is the same in each generation: such as the upkeep of
    /// [leases](crate::lease::Upkeep) or of a [guard](crate::outage::Upkeep). It is started again when it fails, and over once it is
    /// done. When the steward [shuts down](Handle::shut_down) it is asked to [finish](Chore::finish), and has its part of the grace time
    /// for that. When it is stopped only because another ward has failed, or since the steward gives up, its work is dropped as it
    /// is, for the next life to go on with: here, or where another steward keeps a clone.
    ///
    /// ```
    /// use sluicegate::lease::{Leased, Settings};
    /// use sluicegate::memory::Memory;
    /// use sluicegate::supervise::Steward;
    /// use sluicegate::timer::TokioTime;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let time = TokioTime::new();
    /// let (store, upkeep) = Leased::new(Memory::new(), time, Settings::default());
    /// let mut steward = Steward::new(sluicegate::restart::Settings::default(), time);
    /// steward.keep("leases", upkeep);
    /// let running = tokio::spawn(steward.run());
    ///
    /// drop(store);
    /// // Nobody needs it any more.
    /// assert!(!running.await.unwrap().unwrap().shut_down);
    /// # }
    /// ```
    pub fn keep(&mut self, name: &str, chore: impl Chore) {
        self.kept(Spec::new(name), None, chore);
    }

    /// The same for a chore that is watched: a hang is a failure, told ([`Cause::Hung`]) and ended like any other. It hangs where
    /// * its task is not polled for so long: since it blocks its thread. The steward needs another thread to see that. Nothing stops a
    ///   thread, so that generation is counted as leaked, and what it holds, it holds until it returns;
    /// * work that it [has begun](Pulse::works) is not done within the limit. Waiting for somebody to come is no work.
    ///
    /// The task beats four times in a limit, and the steward looks as often: so a process that was stopped, or a machine that was suspended,
    /// makes nobody hang. A limit is at least 4 ms; many seconds are wise.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sluicegate::lease::{Leased, Settings};
    /// use sluicegate::memory::Memory;
    /// use sluicegate::supervise::Steward;
    /// use sluicegate::timer::TokioTime;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let time = TokioTime::new();
    /// let (store, upkeep) = Leased::new(Memory::new(), time, Settings::default());
    /// let mut steward = Steward::new(sluicegate::restart::Settings::default(), time);
    /// steward.keep_watched("leases", Duration::from_secs(30), upkeep);
    /// # drop(store);
    /// # steward.run().await.unwrap();
    /// # }
    /// ```
    pub fn keep_watched(&mut self, name: &str, limit: Duration, chore: impl Chore) {
        let limit = limit.max(Duration::from_millis(4));
        let (spec, every) = (Spec::new(name), limit / 4);
        match Rule::timeout(limit) {
            Ok(rule) => {
                let watching = Watching::new(rule).with_progress(rule).with_looks_every(every);
                self.kept(spec.watched(watching), Some(every), chore);
            }
            // None is shorter than that.
            Err(_) => self.kept(spec, None, chore),
        }
    }

    fn kept(&mut self, spec: Spec, beats: Option<Duration>, chore: impl Chore) {
        let (chore, shared, time) = (Arc::new(chore), Arc::clone(&self.shared), self.time.clone());
        let _ = self.add(spec.with_when(When::OnFailure), move |ward: Ward<(), T>| {
            let (chore, shared) = (Arc::clone(&chore), Arc::clone(&shared));
            let pulse = match beats {
                Some(_) => Pulse::of(ward.beater(), time.clone()),
                None => Pulse::unheard(),
            };
            async move {
                pulse.rests();
                let living = async {
                    let mut work = pin!(chore.work_watched(pulse));
                    // Who has finished never works again. So not where there is a next life: the work is dropped then.
                    if ward.stop().run(work.as_mut()).await.is_err() && shared.ends() {
                        chore.finish();
                        work.await;
                    }
                };
                match beats {
                    Some(every) => ward.beater().beating(every, living).await,
                    None => living.await,
                }
                Ok::<(), Infallible>(())
            }
        });
    }

    /// What stops it and tells of it, from elsewhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// Starts all wards in order and looks after them, until all are done, it is [shut down](Handle::shut_down), or gives up. Without any
    /// ward it waits to be shut down.
    ///
    /// Whoever waits for [its end](Handle::closed) does so from this call on, and not only from the first poll. Dropped before it is ready, it
    /// cuts off all wards: from that moment none of them can publish anything, and their tasks are aborted.
    ///
    /// # Errors
    /// If there were too many restarts. All wards are stopped by then, so whoever looks after this steward may start another; as the
    /// ward of another steward, it simply fails.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn run(self) -> impl Future<Output = Result<Finished, Escalated>> + Send {
        self.running(None).run()
    }

    /// The same as the work of a ward of another steward, or as a part of it: when that ward is told to [stop](Ward::stop), this one shuts down, in
    /// order, within seven eighths of the [time](Ward::time_left) that the ward has; if that becomes less, all below are hastened as well. Where the
    /// ward tells itself to, this one has its own grace. It is [shut down](Finished::shut_down) then, and whatever else the ward does is done after.
    ///
    /// What its wards leave running belongs to the ward: that is not started again before it has ended, or is counted as leaked and
    /// reported with how much there is. That holds where this is dropped too, as it is when the ward is cut off.
    ///
    /// What it [keeps](Self::keep) is to finish when all is shut down, and not where the ward is stopped because a sibling of it has failed.
    /// Which of the two it is, each chore asks when its turn to stop comes.
    ///
    /// ```
    /// use sluicegate::supervise::{Spec, Steward, Ward};
    /// use sluicegate::timer::{Timer, TokioTime};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// let time = TokioTime::new();
    /// let mut upper = Steward::new(Default::default(), time);
    /// upper.add(Spec::new("copiers"), move |ward: Ward<()>| async move {
    ///     let mut lower = Steward::new(Default::default(), time);
    ///     for name in ["one", "two"] {
    ///         lower.add(Spec::new(name), |ward: Ward<u32>| async move {
    ///             ward.stop().stopped().await;
    ///             ward.token().commit(7)
    ///         });
    ///     }
    ///     // Too many restarts here are a failure of this ward.
    ///     lower.run_under(&ward).await.map(drop)
    /// });
    /// let handle = upper.handle();
    /// let running = tokio::spawn(upper.run());
    /// time.sleep_for(1_000_000).await;
    /// // First "two", then "one", then "copiers".
    /// handle.closed().await;
    /// assert_eq!(running.await.unwrap().unwrap().leaking, 0);
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn run_under<P, U>(
        self,
        ward: &Ward<P, U>,
    ) -> impl Future<Output = Result<Finished, Escalated>> + Send
    where
        P: Send + Sync,
        U: Timer,
    {
        let (shared, time) = (Arc::clone(&self.shared), self.time.clone());
        let running = self.running(Some(Arc::clone(ward.jobs()))).run();
        async move {
            let mut running = pin!(running);
            // Wards in this very task may have used up its cooperative budget.
            let mut stopped = pin!(unconstrained(ward.stop().stopped()));
            let (mut told, mut until, mut hastened) = (false, None, ward.until().enter());
            poll_fn(|context| {
                if !told && stopped.as_mut().poll(context).is_ready() {
                    told = true;
                    shared.stop_under(ward.jobs().shared());
                }
                if told {
                    // Before the look: what is hastened from here on wakes this.
                    hastened.set(context.waker());
                    let now = ward.until().get();
                    if now != until {
                        until = now;
                        let left = ward.time_left().unwrap_or_default();
                        // The rest is for what comes between, and for what the ward does itself.
                        let left = left - left / 8;
                        shared.stop_by(time.now().saturating_add(nanos(left)));
                    }
                }
                running.as_mut().poll(context)
            })
            .await
        }
    }

    fn running(self, above: Option<Arc<Jobs>>) -> Running<T> {
        let Self { machine, seats, shared, time, random, report } = self;
        Running::new(machine, seats, shared, time, random, report, above)
    }
}

impl<T: Timer> fmt::Debug for Steward<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steward").field("wards", &self.seats.len()).finish_non_exhaustive()
    }
}

/// What a ward has committed. Clones look at the same ward.
#[derive(Debug)]
pub struct Committed<P> {
    fence: Fence<P>,
}

impl<P> Clone for Committed<P> {
    fn clone(&self) -> Self {
        Self { fence: self.fence.clone() }
    }
}

impl<P: Clone> Committed<P> {
    /// The position that was committed last, by whatever generation.
    #[must_use]
    pub fn last(&self) -> Option<P> {
        self.fence.last()
    }
}

/// Stops a steward, and tells of it. Clones are for the same steward.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// All wards are to stop, within the grace time, the last first.
    pub fn shut_down(&self) {
        self.shared.end();
    }

    /// The same, and waits until the steward's [run](Steward::run) has ended, or was dropped; for one that was called and never polled too.
    /// Where `run` was not called yet there is nothing to wait for: whenever it is, it starts nobody and ends at once. Cancel-safe: dropped,
    /// it is still to stop. Not to be awaited by the task that holds such a `run` and polls it only later: it would wait for itself.
    pub async fn closed(&self) {
        self.shared.end();
        self.shared.attendance.closed().await;
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Shared { restarts, leaked, leaking, .. } = &*self.shared;
        Counts { restarts: of(restarts), leaked: of(leaked), leaking: of(leaking) }
    }
}

/// What a steward, its handles and its wards share.
#[derive(Debug, Default)]
struct Shared {
    /// Rung by whatever the steward has to look at.
    attendance: Arc<Attendance>,
    /// Whether its own handles have shut it down.
    ended: AtomicBool,
    /// Whoever it runs under, once that stops it.
    above: OnceLock<Arc<Self>>,
    /// When it is to have stopped, by whoever it runs under: nanoseconds on its clock.
    until: Until,
    restarts: AtomicU64,
    leaked: AtomicU64,
    leaking: AtomicU64,
}

impl Shared {
    /// Whether all is shut down for good, by its own handles or from above. That may become so while it is being stopped, so it is asked anew
    /// each time.
    fn ends(&self) -> bool {
        self.ended.load(Ordering::Acquire) || self.above.get().is_some_and(|above| above.ends())
    }

    /// It is to stop, for good.
    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.attendance.close();
    }

    /// It is to stop, since the ward of `above` is that it runs under; whether that is for good, is asked there.
    fn stop_under(&self, above: &Arc<Self>) {
        // Only here, and once.
        let _ = self.above.set(Arc::clone(above));
        self.attendance.close();
    }

    /// It is to have stopped by then.
    fn stop_by(&self, until: u64) {
        self.until.is(until);
        self.attendance.ring();
    }
}

/// A steward that has nobody to look after any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Whether it was told to, and not all were done by themselves.
    pub shut_down: bool,
    /// How many generations of wards were left running, since nothing stops them.
    pub leaking: u64,
}

/// A steward has given up: there were too many restarts.
#[derive(Clone, Debug)]
pub struct Escalated {
    ward: Arc<str>,
    leaking: u64,
}

impl Escalated {
    /// Whose restart would have been one too many.
    #[must_use]
    pub fn ward(&self) -> &str {
        &self.ward
    }

    /// How many generations of wards were left running, since nothing stops them.
    #[must_use]
    pub const fn leaking(&self) -> u64 {
        self.leaking
    }
}

impl fmt::Display for Escalated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "too many restarts, the last of them for `{}`: all wards are stopped", self.ward)
    }
}

impl Error for Escalated {}
