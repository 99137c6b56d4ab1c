mod model;
mod panics;

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use sluicegate_core::clock::Clock;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::*;
use crate::cancel::Outcome;
use crate::failure::{Boundary, FailureOf, Kind, Lasting};
use crate::tasks::{settle, tasks_are};
use crate::timer::ManualTime;

/// Who does the work.
struct Here;

impl Boundary for Here {
    const NAME: &'static str = "here";
}

const SECOND: u64 = 1_000_000_000;

type Jobs = Operations<u64, ManualTime>;

fn settings(most: usize) -> Settings {
    Settings::new(most, Duration::from_secs(100)).unwrap()
}

fn jobs(settings: Settings) -> (ManualTime, Jobs) {
    let time = ManualTime::new();
    (time.clone(), Operations::new(settings, time))
}

fn state(jobs: &Jobs, id: Id) -> &'static str {
    jobs.status(id).map_or("unknown", |status| status.state())
}

fn failure(jobs: &Jobs, id: Id) -> Arc<Failure> {
    match jobs.status(id).unwrap().outcome() {
        Some(Outcome::Failed(failure)) => Arc::clone(failure),
        other => panic!("{other:?}"),
    }
}

/// Ends when it is told what comes of it.
fn by_hand(jobs: &Jobs) -> (oneshot::Sender<Result<u64, Failure>>, Result<Id, Refused>) {
    let (end, ended) = oneshot::channel();
    (end, jobs.start(|_| async { ended.await.unwrap() }))
}

#[tokio::test]
async fn it_is_asked_for_by_its_id_while_it_runs_and_later() {
    let (time, jobs) = jobs(settings(3));
    time.set(5 * SECOND);
    let (goes, on) = oneshot::channel::<()>();
    let id = jobs
        .start(|work| async move {
            work.set_total(10);
            work.advance(3);
            work.say("reading");
            on.await.unwrap();
            work.set_done(10);
            Ok::<_, Failure>(42)
        })
        .unwrap();
    settle().await;
    let status = jobs.status(id).unwrap();
    let message = Some("reading".to_owned());
    assert_eq!(*status.progress(), Progress { done: 3, total: Some(10), message });
    assert!(status.is_running() && status.outcome().is_none() && status.took().is_none());

    time.set(8 * SECOND);
    goes.send(()).unwrap();
    settle().await;
    for _ in 0..2 {
        let status = jobs.status(id).unwrap();
        assert!(matches!(status.outcome(), Some(Outcome::Done(result)) if **result == 42));
        assert_eq!((status.took(), status.progress().done), (Some(Duration::from_secs(3)), 10));
    }
    assert_eq!(jobs.list().iter().map(Status::id).collect::<Vec<_>>(), [id]);
    time.set(107 * SECOND + SECOND - 1);
    assert_eq!(state(&jobs, id), "done");
    time.set(108 * SECOND);
    assert_eq!((state(&jobs, id), jobs.counts().expired), ("unknown", 1));
}

#[tokio::test]
async fn a_failure_is_told_as_it_is_and_a_panic_as_a_bug() {
    struct PanicsInDrop;
    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic!("dropped on purpose");
        }
    }
    let (_, jobs) = jobs(settings(9));
    let known = jobs
        .start(|_| async { Err(FailureOf::<Here>::known("no-disk", Lasting::Permanent, "full")) })
        .unwrap();
    let polled = jobs
        .start(|_| async {
            yield_now().await;
            panic!("on purpose {}", 7);
            #[expect(unreachable_code, reason = "says its type")]
            Ok::<_, Failure>(0)
        })
        .unwrap();
    let made = jobs
        .start(|_| {
            assert!(pending_is_not_made(), "made on purpose");
            pending::<Result<u64, Failure>>()
        })
        .unwrap();
    let dropped = jobs
        .start(|_| async {
            let _panics = PanicsInDrop;
            pending::<Result<u64, Failure>>().await
        })
        .unwrap();
    let well = jobs.start(|_| async { Ok::<_, Failure>(1) }).unwrap();
    settle().await;
    jobs.cancel(dropped).unwrap();
    settle().await;
    assert_eq!(failure(&jobs, known).kind(), Kind::Known("no-disk"));
    for (id, said) in [(polled, "on purpose 7"), (made, "made on purpose"), (dropped, "dropped on purpose")] {
        let failure = failure(&jobs, id);
        assert!(failure.kind() == Kind::Bug && failure.record().contains(said), "{}", failure.record());
        assert!(!failure.record().contains(&id.to_string()), "the ID is not for the log");
    }
    assert_eq!((state(&jobs, well), jobs.counts().running), ("done", 0));
}

fn pending_is_not_made() -> bool {
    false
}

#[tokio::test]
async fn who_is_cancelled_is_dropped_at_once_or_when_its_grace_time_is_over() {
    for grace in [0, 5] {
        let (time, jobs) = jobs(settings(9).with_grace(Duration::from_secs(grace)));
        let stubborn = jobs.start(|_| pending::<Result<u64, Failure>>()).unwrap();
        let yields = jobs
            .start(|work| async move {
                work.stop().stopped().await;
                Err::<u64, _>(FailureOf::<Here>::known("stopped", Lasting::Transitory, "as it was told"))
            })
            .unwrap();
        let finishes = jobs
            .start(|work| async move {
                work.stop().stopped().await;
                Ok::<_, Failure>(7)
            })
            .unwrap();
        let other = jobs.start(|_| pending::<Result<u64, Failure>>()).unwrap();
        settle().await;
        for id in [stubborn, yields, finishes] {
            assert!(jobs.cancel(id).unwrap().is_running());
        }
        settle().await;
        // Its own last step was ready before anybody dropped it.
        assert_eq!((state(&jobs, yields), state(&jobs, finishes)), ("cancelled", "done"));
        if grace > 0 {
            assert_eq!(state(&jobs, stubborn), "running");
            time.set(grace * SECOND - 1);
            settle().await;
            assert_eq!(state(&jobs, stubborn), "running");
            time.set(grace * SECOND);
            settle().await;
        }
        let status = jobs.status(stubborn).unwrap();
        assert!(matches!(status.outcome(), Some(Outcome::Cancelled(Cause::Cancelled))));
        assert_eq!(status.took(), Some(Duration::from_secs(grace)));
        assert_eq!(jobs.cancel(stubborn).unwrap().state(), "cancelled", "it stays what it is");
        assert_eq!(state(&jobs, other), "running");
    }
}

#[test]
fn no_operation_may_be_given_no_time() {
    let error = settings(9).with_longest(Duration::ZERO).unwrap_err();
    assert_eq!(error.field(), "longest");
    assert!(settings(9).with_longest(Duration::from_nanos(1)).is_ok());
}

#[tokio::test]
async fn what_takes_too_long_has_expired() {
    let (time, jobs) = jobs(settings(9).with_longest(Duration::from_secs(10)).unwrap());
    time.set(2 * SECOND);
    let id = jobs.start(|_| pending::<Result<u64, Failure>>()).unwrap();
    settle().await;
    time.set(12 * SECOND - 1);
    settle().await;
    assert_eq!(state(&jobs, id), "running");
    time.set(12 * SECOND);
    settle().await;
    assert!(matches!(jobs.status(id).unwrap().outcome(), Some(Outcome::Expired)));
}

#[tokio::test]
async fn a_bug_is_one_after_a_stop_too() {
    let (_, jobs) = jobs(settings(9));
    let fails = |failure: fn() -> FailureOf<Here>| {
        jobs.start(move |work| async move {
            work.stop().stopped().await;
            Err::<u64, _>(failure())
        })
    };
    let bug = fails(|| FailureOf::bug("half of it is lost")).unwrap();
    let known = fails(|| FailureOf::known("stopped", Lasting::Transitory, "as it was told")).unwrap();
    settle().await;
    for id in [bug, known] {
        jobs.cancel(id).unwrap();
    }
    settle().await;
    assert_eq!((state(&jobs, bug), state(&jobs, known)), ("failed", "cancelled"));
    assert_eq!(failure(&jobs, bug).kind(), Kind::Bug);
}

#[tokio::test]
async fn what_was_kept_long_enough_is_dropped_where_only_counts_are_read() {
    let (time, held) = (ManualTime::new(), Arc::new(()));
    let jobs = Operations::new(settings(9), time.clone());
    let result = Arc::clone(&held);
    jobs.start(|_| async { Ok::<_, Failure>(result) }).unwrap();
    settle().await;
    assert_eq!((jobs.counts().kept, Arc::strong_count(&held)), (1, 2));
    time.set(100 * SECOND);
    let counts = jobs.counts();
    assert_eq!((counts.kept, counts.expired, Arc::strong_count(&held)), (0, 1, 1));
}

#[tokio::test]
async fn its_end_is_told_when_all_of_it_is_gone() {
    struct Gone(Arc<AtomicU64>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (_, jobs) = jobs(settings(9));
    let gone = Arc::new(AtomicU64::new(0));
    let (outside, inside) = (Gone(Arc::clone(&gone)), Gone(Arc::clone(&gone)));
    let id = jobs
        .start(move |_| {
            let _outside = outside;
            async move {
                let _inside = inside;
                pending::<Result<u64, Failure>>().await
            }
        })
        .unwrap();
    settle().await;
    jobs.cancel(id);
    let ended = jobs.ended(id, u64::MAX).await.unwrap();
    assert_eq!((ended.state(), gone.load(Ordering::Relaxed)), ("cancelled", 2));
}

#[tokio::test]
async fn a_key_is_its_operation_s_for_as_long_as_that_is_kept() {
    let (time, jobs) = jobs(settings(1));
    let runs = Arc::new(AtomicU64::new(0));
    let start = |client, key| {
        let runs = Arc::clone(&runs);
        let work = |_| async move { Ok::<_, Failure>(runs.fetch_add(1, Ordering::Relaxed)) };
        jobs.start_once(Key::new(client, key), work)
    };
    let first = start("ann", "k").unwrap();
    assert_eq!(start("ann", "k"), Ok(Started { id: first.id, is_new: false }), "while it runs");
    assert!(matches!(start("bob", "k"), Err(Refused::Full { most: 1, .. })));
    settle().await;
    assert_eq!(start("ann", "k"), Ok(Started { id: first.id, is_new: false }), "when it has ended");
    time.set(100 * SECOND);
    let second = start("ann", "k").unwrap();
    assert!(second.is_new && second.id != first.id);
    settle().await;
    // Evicted, the key goes with it.
    assert!(start("bob", "k").unwrap().is_new);
    settle().await;
    assert!(start("ann", "k").unwrap().is_new);
    settle().await;
    assert_eq!((runs.load(Ordering::Relaxed), jobs.counts().evicted, jobs.counts().expired), (4, 2, 1));
    // Names that only look alike together are two.
    assert!(start("an", "nk").unwrap().is_new);
}

#[tokio::test]
async fn a_shutdown_leaves_no_task_and_all_results() {
    let before = Handle::current().metrics().num_alive_tasks();
    let (time, jobs) = jobs(settings(9).with_grace(Duration::from_secs(3)));
    let (end, done) = by_hand(&jobs);
    let done = done.unwrap();
    let runs = jobs.start(|_| pending::<Result<u64, Failure>>()).unwrap();
    end.send(Ok(7)).unwrap();
    settle().await;
    let closing = tokio::spawn({
        let jobs = jobs.clone();
        async move { jobs.closed().await }
    });
    settle().await;
    assert!(!closing.is_finished());
    assert_eq!(by_hand(&jobs).1.unwrap_err(), Refused::Closed);
    time.set(3 * SECOND);
    closing.await.unwrap();
    tasks_are(before).await;
    assert!(matches!(
        jobs.status(runs).unwrap().outcome(),
        Some(Outcome::Cancelled(Cause::Parent | Cause::Cancelled))
    ));
    assert_eq!((state(&jobs, done), jobs.counts().overdue), ("done", 0));
    jobs.closed().await;
}

#[tokio::test]
async fn the_last_clone_that_is_dropped_aborts_what_runs() {
    let before = Handle::current().metrics().num_alive_tasks();
    let (_, jobs) = jobs(settings(9).with_grace(Duration::from_secs(3)));
    let clone = jobs.clone();
    let (dropped, gone) = oneshot::channel::<()>();
    let never = |_| async move {
        let _dropped = dropped;
        pending::<Result<u64, Failure>>().await
    };
    jobs.start(never).unwrap();
    let not_begun = jobs.start(|_| pending::<Result<u64, Failure>>()).unwrap();
    drop(jobs);
    settle().await;
    assert_eq!(state(&clone, not_begun), "running");
    drop(clone);
    gone.await.unwrap_err();
    tasks_are(before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_blocks_its_thread_is_waited_for_and_counted() {
    let (time, jobs) = jobs(settings(9));
    let (blocks, is_blocked) = oneshot::channel();
    let (release, released) = mpsc::channel::<()>();
    jobs.start(move |_| async move {
        blocks.send(()).unwrap();
        let _ = released.recv();
        Ok::<_, Failure>(0)
    })
    .unwrap();
    is_blocked.await.unwrap();
    let mut closing = Box::pin(jobs.closed());
    let mut poll = || closing.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(poll().is_pending());
    time.set(60 * SECOND);
    assert!(poll().is_pending());
    assert_eq!((jobs.counts().overdue, time.now()), (1, 60 * SECOND));
    drop(release);
    closing.await;
    assert_eq!(jobs.counts().overdue, 1);
}

#[test]
fn an_id_is_random_has_one_spelling_and_is_not_shown_by_accident() {
    let operation = || Operation::<(), _>::new(None, CancelToken::new(ManualTime::new()), 0).id;
    let (id, other) = (operation(), operation());
    assert_ne!(id, other);
    let text = id.to_string();
    assert_eq!((text.parse(), text.len(), text.as_bytes()[14]), (Ok(id), 36, b'4'), "{text}");
    assert!(!format!("{id:?}").contains(&text[8..]));
    for wrong in ["", "7", &text.to_uppercase(), &text.replace('-', ""), &format!("{{{text}}}")] {
        assert_eq!(wrong.parse::<Id>(), Err(IdError), "{wrong}");
    }
}
