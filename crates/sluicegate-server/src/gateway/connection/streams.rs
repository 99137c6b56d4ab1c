//! The requests of an HTTP/2 connection: a task each, on the connection's thread, and all of them end with it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use hyper::rt::Executor;
use sluicegate::clock::Clock;
use tokio::task::JoinSet;

use super::alarm::Alarm;
use crate::gateway::activity::{Activity, Busy, Patience, Wait};
use crate::gateway::metrics::count;
use crate::gateway::request::Shared;
use crate::gateway::tasks::Passing;

/// Runs requests, each with a look at what it waits for.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    shared: Arc<Shared>,
    patience: Patience,
    tasks: Arc<Mutex<Tasks>>,
}

#[derive(Debug, Default)]
struct Tasks {
    running: JoinSet<()>,
    /// The notes of the request that was taken and has no task yet: hyper takes one and has it run before the next.
    next: Option<Arc<Activity>>,
}

/// Ends all requests when dropped. They hold what runs them, which therefore does not end by itself.
#[derive(Debug)]
pub(super) struct EndAll {
    shared: Arc<Shared>,
    tasks: Arc<Mutex<Tasks>>,
}

impl Drop for EndAll {
    fn drop(&mut self) {
        let mut tasks = lock(&self.tasks);
        tasks.reap(&self.shared);
        tasks.running.abort_all();
    }
}

impl Tasks {
    /// Forgets those that have ended, and tells of panics.
    fn reap(&mut self, shared: &Shared) {
        while let Some(ended) = self.running.try_join_next() {
            if let Err(error) = ended {
                shared.metrics.tasks.died(Passing::Request, error);
            }
        }
    }
}

/// Under this lock nothing panics half way.
fn lock(tasks: &Mutex<Tasks>) -> MutexGuard<'_, Tasks> {
    tasks.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Streams {
    /// Runs requests on the thread this is called on.
    pub(super) fn new(shared: Arc<Shared>, patience: Patience) -> (Self, EndAll) {
        let tasks: Arc<Mutex<Tasks>> = Arc::default();
        let end_all = EndAll { shared: Arc::clone(&shared), tasks: Arc::clone(&tasks) };
        (Self { shared, patience, tasks }, end_all)
    }

    /// A request was taken from a connection, which is noted in `carrier`. Its task is the next that is run.
    pub(super) fn next(&self, carrier: &Arc<Activity>) -> Busy {
        let activity = Activity::stream(carrier.now());
        lock(&self.tasks).next = Some(Arc::clone(&activity));
        activity.request_on(carrier)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, future: F) {
        let mut tasks = lock(&self.tasks);
        tasks.reap(&self.shared);
        let Some(activity) = tasks.next.take() else { return };
        tasks.running.spawn(watch(Arc::clone(&self.shared), activity, self.patience, future));
    }
}

/// Runs a request until it is answered, or makes no progress for too long: then it is dropped, and with it reset.
async fn watch(
    shared: Arc<Shared>,
    activity: Arc<Activity>,
    patience: Patience,
    future: impl Future<Output = ()>,
) {
    let mut future = pin!(future);
    let mut alarm = Alarm::new(shared.time, activity.due(&patience).0);
    poll_fn(|context| {
        loop {
            activity.turn(shared.time.now());
            if future.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let (due, wait) = activity.due(&patience);
            if alarm.poll(context, due).is_pending() {
                return Poll::Pending;
            }
            if wait == Wait::Deadline {
                activity.deadline_is_due();
                continue;
            }
            count(&shared.metrics.timed_out);
            return Poll::Ready(());
        }
    })
    .await;
}
