//! The gateway's own tasks: each has a steward that starts it again when it fails, logs that, and counts it.
//!
//! What a task works on (a socket, connections, what is to be charged) is not the task's own: it stays where the next generation finds it.
//! Which task is whose, and what becomes of each, is in ARCHITECTURE.md, "Background tasks".
//!
//! Tasks that live as long as a connection or a request have no steward: they are in the set of whoever made them, and end with it;
//! a panic costs that one, and is logged and counted too.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluicegate::failure::{Boundary, FailureOf, panic_message};
use sluicegate::restart::{Backoff, Settings};
use sluicegate::supervise::{Cause, Event, Next, Report, Steward};
use sluicegate::timer::TokioTime;
use tokio::task::{JoinError, JoinSet};
use tracing::Level;

use super::metrics::count;

/// What runs in the background.
pub(crate) enum Tasks {}

impl Boundary for Tasks {
    const NAME: &'static str = "tasks";
}

/// A task that is to go on for as long as its part of the gateway does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Accepts connections, for each listener.
    Accept,
    /// Serves health, metrics and limits.
    Admin,
    /// Forgets what is as if never used.
    Sweep,
    /// The upkeep of a store's guard.
    Guard,
    /// The upkeep of leases.
    Leases,
    /// Charges what bodies cost.
    Ledger,
    /// Tells whether the store is there.
    Tell,
    /// Hears when the configuration may have changed.
    Watch,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Accept,
        Self::Admin,
        Self::Sweep,
        Self::Guard,
        Self::Leases,
        Self::Ledger,
        Self::Tell,
        Self::Watch,
    ];

    /// As a label, and as its steward calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Admin => "admin",
            Self::Sweep => "sweep",
            Self::Guard => "store_guard",
            Self::Leases => "store_leases",
            Self::Ledger => "store_ledger",
            Self::Tell => "store_state",
            Self::Watch => "config_watch",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.name() == name)
    }

    /// What its steward goes by.
    const fn need(self) -> Need {
        match self {
            Self::Accept => Need::Essential,
            _ => Need::Helpful,
        }
    }
}

/// What it means that a task fails again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Without it nobody is served: the process says so and ends, for whoever started it to start another.
    Essential,
    /// Requests are served without it: it is tried for ever, in pauses that grow to ten seconds.
    Helpful,
}

impl Need {
    fn settings(self) -> Settings {
        let (most, longest) = match self {
            Self::Essential => (5, Duration::from_secs(1)),
            // Never reached by pauses of five seconds and more.
            Self::Helpful => (60, Duration::from_secs(10)),
        };
        // The constants are in range; were they changed to be out of it, the library's own would hold.
        let settings = Settings::default().with_intensity(most, Duration::from_secs(60)).unwrap_or_default();
        let backoff = Backoff::new(Duration::from_millis(10), longest).unwrap_or(Backoff::NONE);
        settings.with_backoff(backoff).with_grace(GRACE).with_patience(GRACE)
    }
}

/// How long a task may take to end once it is to, and once it was cut off.
pub const GRACE: Duration = Duration::from_millis(500);

/// How long a task may block its thread, or be at one piece of its work, until it is taken for hung.
pub const HANG: Duration = Duration::from_secs(30);

/// A task of one connection, or one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// A client's connection.
    Connection,
    /// A request of an HTTP/2 connection.
    Request,
    /// A connection of the admin side.
    Admin,
}

impl Passing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Connection, Self::Request, Self::Admin];

    /// As a label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Request => "request",
            Self::Admin => "admin_connection",
        }
    }
}

/// What has become of tasks.
#[derive(Debug, Default)]
pub struct Counts {
    restarts: [AtomicU64; Task::ALL.len()],
    leaks: [AtomicU64; Task::ALL.len()],
    panics: [AtomicU64; Passing::ALL.len()],
    /// How often each is to panic still.
    #[cfg(test)]
    pub faults: [AtomicU64; Task::ALL.len()],
}

impl Counts {
    /// How often a task was started again.
    #[must_use]
    pub fn restarts(&self, task: Task) -> u64 {
        self.restarts[task as usize].load(Ordering::Relaxed)
    }

    /// How often something of a task could not be stopped.
    #[must_use]
    pub fn leaks(&self, task: Task) -> u64 {
        self.leaks[task as usize].load(Ordering::Relaxed)
    }

    /// How many tasks of this kind have panicked.
    #[must_use]
    pub fn panics(&self, kind: Passing) -> u64 {
        self.panics[kind as usize].load(Ordering::Relaxed)
    }

    /// One has ended so. It costs that connection or request only.
    pub fn died(&self, kind: Passing, error: JoinError) {
        // Ended by whoever made it.
        let Ok(panic) = error.try_into_panic() else { return };
        count(&self.panics[kind as usize]);
        let text = panic_message(&*panic).unwrap_or("no text");
        let failure = FailureOf::<Tasks>::bug("the task of a connection or a request panicked");
        failure.with("task", kind.name()).with("panic", text).log(Level::ERROR);
    }

    /// A steward for tasks of this kind of need, of `part` of the gateway.
    pub fn steward(self: &Arc<Self>, task: Task, part: impl Display, time: TokioTime) -> Steward {
        let (counts, part) = (Arc::clone(self), part.to_string());
        Steward::new(task.need().settings(), time)
            .with_report(move |report| counts.told(&part, report, |failure, level| failure.log(level)))
    }

    /// Counts it, and has `log` what is to be.
    fn told(&self, part: &str, report: Report, log: impl FnOnce(&FailureOf<Tasks>, Level)) {
        let Some(task) = Task::named(report.ward()) else { return };
        let level = match report.event() {
            Event::Ended { next: Next::Restart(_), .. } => Level::WARN,
            Event::Ended { cause: Cause::Done, .. } => return,
            Event::Started if report.generation() == 1 => return,
            Event::Started => {
                count(&self.restarts[task as usize]);
                Level::INFO
            }
            Event::Returned => Level::INFO,
            Event::Leaked { .. } => {
                count(&self.leaks[task as usize]);
                Level::ERROR
            }
            _ => Level::ERROR,
        };
        if level == Level::INFO {
            return tracing::info!("{report} ({part})");
        }
        let failure = FailureOf::<Tasks>::bug("a background task failed").with("report", &report);
        let failure = failure.with("part", part).with("generation", report.generation());
        let failure = match report.into_event() {
            // The error itself: what it says, its causes, and where and when it was, if it is a failure.
            Event::Ended { cause: Cause::Failed(error), .. } => failure.because(error),
            _ => failure,
        };
        log(&failure, level);
    }

    /// Where a test has a task panic.
    #[inline]
    pub fn point(&self, _task: Task) {
        #[cfg(test)]
        faults::point(&self.faults[_task as usize]);
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod faults {
    use super::{AtomicU64, Ordering};

    pub(super) fn point(faults: &AtomicU64) {
        let one_less = faults.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        assert!(one_less.is_err(), "a test has it panic");
    }
}

/// Stewards at work. Dropped, they cut off their tasks.
#[derive(Debug, Default)]
pub struct Stewards {
    running: JoinSet<()>,
    handles: Vec<sluicegate::supervise::Handle>,
}

impl Stewards {
    /// One more.
    pub fn run(&mut self, steward: Steward) {
        while self.running.try_join_next().is_some() {}
        if self.running.is_empty() {
            self.handles.clear();
        }
        self.handles.push(steward.handle());
        self.running.spawn(async move {
            // That it has given up, its report has told.
            drop(steward.run().await);
        });
    }

    /// Resolves if one of them panics, and with it looks after nobody any more. Cancel-safe.
    pub async fn one_broken(&mut self) {
        while let Some(ended) = self.running.join_next().await {
            if ended.is_err_and(|error| error.is_panic()) {
                return;
            }
        }
        std::future::pending().await
    }

    /// Waits until all have ended by themselves. Cancel-safe.
    pub async fn ended(&mut self) {
        while self.running.join_next().await.is_some() {}
    }

    /// Has all tasks end, and waits until they have: no longer than twice [`GRACE`] for each that does not. Which those were,
    /// is logged. Cancel-safe.
    pub async fn shut_down(&mut self) {
        self.handles.iter().for_each(sluicegate::supervise::Handle::shut_down);
        self.ended().await;
    }
}
