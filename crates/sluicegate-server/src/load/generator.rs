//! Runs a plan: a pacing thread holds the schedule, a generating thread sends, and both are the load's own.
//!
//! Neither shares an executor with what is measured, which may well be in the same process: a server that keeps
//! its runtime busy must not make the load late. One thread generates; how late it was is in the report.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use sluicegate::clock::{Clock as _, nanos};
use sluicegate::timer::{Timer as _, TokioTime};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::LoadError;
use super::connections::{Connections, Lent};
use super::exchange::{Answer, exchange};
use super::failure::FailureKind;
use super::plan::Plan;
use super::progress::Progress;
use super::record::Record;
use super::report::Report;
use super::schedule::Schedule;

/// How often progress is told.
const TELL: Duration = Duration::from_millis(100);
/// From the decision to start to the first arrival, so that starting the threads makes nothing late.
const LEAD: Duration = Duration::from_millis(5);
/// Arrivals the pacing thread may be ahead of the generating one. More than that waits in the schedule, and its
/// wait is counted as lateness all the same.
const AHEAD: usize = 4096;

/// Offers the plan's load and reports what came of it. `progress` is called ten times a second.
///
/// The load ends at most the plan's timeout after its last arrival. Dropping the future ends it at once.
///
/// # Errors
/// [`LoadError`] if the load could not be offered at all: the host does not resolve, or a thread can't start.
/// What happens to requests is no error but the report.
pub async fn run(plan: Plan, progress: impl Fn(&Progress)) -> Result<Report, LoadError> {
    run_until(plan, &CancellationToken::new(), progress).await
}

/// As [`run`], but once `stop` is cancelled the load ends at once and the report covers what had happened by
/// then.
///
/// # Errors
/// As [`run`].
pub async fn run_until(
    plan: Plan,
    stop: &CancellationToken,
    progress: impl Fn(&Progress),
) -> Result<Report, LoadError> {
    let addresses = resolve(&plan).await?;
    let ending = stop.child_token();
    let _end_when_dropped = ending.clone().drop_guard();
    let time = TokioTime::new();
    let start = time.now() + nanos(LEAD);
    let load = Arc::new(Load {
        start,
        counted_from: start.saturating_add(nanos(plan.warm_up)),
        connections: Connections::new(addresses, plan.connections.get()),
        plan,
        time,
        record: Mutex::new(Record::new()),
    });

    let (done, mut finished) = oneshot::channel();
    let generator = thread::Builder::new()
        .name("load-generator".to_owned())
        .spawn({
            let load = Arc::clone(&load);
            move || {
                // Nobody listens if the caller is gone.
                let _ = done.send(generate(&load, &ending));
            }
        })
        .map_err(|source| LoadError::Start { source })?;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut finished => break ended,
            () = time.sleep_for(nanos(TELL)) => progress(&load.progress()),
        }
    };
    // Already at its end, having sent or dropped `done`.
    let joined = generator.join();
    let (Ok(ended), Ok(())) = (ended, joined) else {
        return Err(LoadError::Crashed);
    };
    ended?;
    progress(&load.progress());
    let whole = Duration::from_nanos(time.now().saturating_sub(load.counted_from));
    Ok(Report::new(&load.plan, &load.record(), &load.connections, whole, stop.is_cancelled()))
}

async fn resolve(plan: &Plan) -> Result<Vec<SocketAddr>, LoadError> {
    let failed = |source| LoadError::Resolve { host: plan.target.host().to_owned(), source };
    let found = tokio::net::lookup_host((plan.target.host(), plan.target.port())).await.map_err(failed)?;
    let addresses: Vec<_> = found.collect();
    if addresses.is_empty() {
        return Err(failed(std::io::ErrorKind::NotFound.into()));
    }
    Ok(addresses)
}

/// What the threads of one load share.
struct Load {
    plan: Plan,
    time: TokioTime,
    /// The clock's reading at the schedule's instant 0, in nanoseconds.
    start: u64,
    /// The clock's reading at the end of the warm-up.
    counted_from: u64,
    connections: Connections,
    record: Mutex<Record>,
}

impl Load {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an arrival is past the warm-up.
    fn counts(&self, intended: u64) -> bool {
        intended >= self.counted_from
    }

    /// Counts what became of the arrival meant for `intended`.
    fn settle(&self, intended: u64, result: Result<Answer, FailureKind>) {
        if !self.counts(intended) {
            return;
        }
        match result {
            Ok(answer) => {
                let hoped_for = self.plan.hopes_for(answer.status);
                self.record().answer(answer, hoped_for, intended, nanos(self.plan.deadline));
            }
            Err(kind) => self.record().failure(kind),
        }
    }

    fn progress(&self) -> Progress {
        Progress::new(&self.plan, &self.record(), self.time.now().saturating_sub(self.start))
    }
}

/// The generating thread: a runtime of its own, gone with all its connections when this returns.
fn generate(load: &Arc<Load>, stop: &CancellationToken) -> Result<(), LoadError> {
    let start = |source| LoadError::Start { source };
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(start)?;
    let (due, arrivals) = mpsc::channel(AHEAD);
    let pacer = thread::Builder::new()
        .name("load-pacer".to_owned())
        .spawn({
            let (schedule, origin, time) = (load.plan.schedule(), load.start, load.time);
            move || pace(schedule, origin, time, &due)
        })
        .map_err(start)?;
    runtime.block_on(send_all(load, arrivals, stop));
    // It may be waiting for an arrival that nobody wants any more.
    pacer.thread().unpark();
    pacer.join().map_err(|_| LoadError::Crashed)
}

/// The pacing thread: hands over each arrival when it is due. A thread and not a task, because the runtime's
/// timers are a millisecond coarse and would add half of one to every latency.
fn pace(schedule: Schedule, origin: u64, time: TokioTime, due: &mpsc::Sender<u64>) {
    for offset in schedule {
        let intended = origin.saturating_add(offset);
        loop {
            let now = time.now();
            if now >= intended {
                break;
            }
            if due.is_closed() {
                return;
            }
            thread::park_timeout(Duration::from_nanos(intended - now));
        }
        if due.blocking_send(intended).is_err() {
            return;
        }
    }
}

async fn send_all(load: &Arc<Load>, mut arrivals: mpsc::Receiver<u64>, stop: &CancellationToken) {
    let exchanges = TaskTracker::new();
    let everything = async {
        while let Some(intended) = arrivals.recv().await {
            release(load, &exchanges, intended);
        }
        exchanges.close();
        exchanges.wait().await;
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = everything => {}
    }
}

fn release(load: &Arc<Load>, exchanges: &TaskTracker, intended: u64) {
    if load.counts(intended) {
        load.record().release(load.counted_from, intended, load.time.now());
    }
    let give_up = intended.saturating_add(nanos(load.plan.timeout));
    let lent = load.connections.lend();
    if matches!(lent, Lent::Nothing) {
        // Settled here, so that a flood that is not sent costs no tasks.
        load.settle(intended, Err(FailureKind::NoConnection));
        return;
    }
    let load = Arc::clone(load);
    exchanges.spawn(async move {
        let settle = |result| load.settle(intended, result);
        exchange(&load.plan, &load.connections, load.time, lent, give_up, settle).await;
    });
}
