//! Foreign code that panics where nobody expects it: results that are dropped, and wakers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Wake, Waker};

use super::*;

/// A result that panics when it is dropped, and says how often that was.
struct PanicsInDrop(Arc<AtomicUsize>);

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("dropped on purpose");
    }
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("woken on purpose");
    }
}

#[tokio::test]
async fn a_result_that_panics_when_it_makes_room_keeps_none_from_running() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let jobs = Operations::new(settings(1), ManualTime::new());
    let theirs = Arc::clone(&dropped);
    jobs.start(|_| async { Ok::<_, Failure>(PanicsInDrop(theirs)) }).unwrap();
    settle().await;
    let next = catch_unwind(AssertUnwindSafe(|| {
        jobs.start(|_| async { Err::<PanicsInDrop, _>(FailureOf::<Here>::bug("ended")) })
    }));
    assert!(next.is_err() && dropped.load(Ordering::Relaxed) == 1);
    settle().await;
    assert_eq!((jobs.counts().running, jobs.counts().kept, jobs.counts().started), (0, 1, 2));
    closes(jobs).await;
}

#[tokio::test]
async fn results_that_panic_together_are_all_dropped() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let time = ManualTime::new();
    let jobs = Operations::new(settings(3), time.clone());
    for _ in 0..3 {
        let theirs = Arc::clone(&dropped);
        jobs.start(|_| async { Ok::<_, Failure>(PanicsInDrop(theirs)) }).unwrap();
    }
    settle().await;
    time.set(100 * SECOND);
    assert!(catch_unwind(AssertUnwindSafe(|| jobs.counts())).is_err());
    assert_eq!((dropped.load(Ordering::Relaxed), jobs.counts().expired), (3, 3));
}

#[tokio::test]
async fn a_waker_that_panics_keeps_no_shutdown_from_ending() {
    let (_, jobs) = jobs(settings(1));
    let id = jobs.start(|_| pending::<Result<u64, Failure>>()).unwrap();
    let mut asks = Box::pin(jobs.ended(id, u64::MAX));
    let waker = Waker::from(Arc::new(Panics));
    settle().await;
    assert!(asks.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    closes(jobs.clone()).await;
    assert_eq!(state(&jobs, id), "cancelled");
}

/// Each failure and panic once, before its end can be seen; and what panics there keeps nobody waiting.
#[tokio::test]
async fn failures_are_reported_and_a_report_that_panics_costs_nothing() {
    let (_, jobs) = jobs(settings(9));
    let reported = Arc::new(Mutex::new(Vec::new()));
    let (seen, asked) = (Arc::clone(&reported), jobs.clone());
    let loud = jobs.clone().with_report(move |id, failure| {
        let running = asked.status(id).unwrap().is_running();
        seen.lock().unwrap().push((id, failure.id(), running));
        panic!("reported on purpose");
    });
    let fails = |_| async { Err::<u64, _>(FailureOf::<Here>::known("no-disk", Lasting::Permanent, "full")) };
    let failed = loud.start(fails).unwrap();
    let panicked = loud
        .clone()
        .start(|_| {
            assert!(pending_is_not_made(), "on purpose");
            pending::<Result<u64, Failure>>()
        })
        .unwrap();
    let quiet = jobs.start(fails).unwrap();
    let done = loud.start(|_| async { Ok::<_, Failure>(7) }).unwrap();
    let cancelled = loud.start(|_| pending::<Result<u64, Failure>>()).unwrap();
    let waits = tokio::spawn({
        let jobs = jobs.clone();
        async move { jobs.ended(failed, u64::MAX).await.unwrap().state() }
    });
    settle().await;
    jobs.cancel(cancelled).unwrap();
    settle().await;
    assert!(waits.is_finished() && waits.await.unwrap() == "failed");
    assert_eq!(
        (state(&jobs, quiet), state(&jobs, done), state(&jobs, cancelled)),
        ("failed", "done", "cancelled")
    );
    let ids = [failed, panicked].map(|id| (id, failure(&jobs, id).id(), true));
    assert_eq!(*reported.lock().unwrap(), ids);
    drop(loud);
    closes(jobs).await;
}

/// In a task of its own, which is polled only when somebody wakes it.
async fn closes<R: Send + Sync + 'static>(jobs: Operations<R, ManualTime>) {
    let closing = tokio::spawn(async move { jobs.closed().await });
    settle().await;
    assert!(closing.is_finished(), "nobody has woken it");
}
