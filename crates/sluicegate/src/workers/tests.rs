//! Each submitter hears, whatever becomes of its job. In virtual time.
//!
//! Longer than other files: a job has many ends, each is one short test, and all use the same few helpers.

mod model;
mod panics;
mod served;
mod storm;

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc;

use sluicegate_core::clock::Clock;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::*;
use crate::failure::{Boundary, FailureOf, Lasting};
use crate::queue::{self, Refusal};
use crate::tasks::{settle, tasks_are};
use crate::timer::ManualTime;

const MS: u64 = 1_000_000;

struct Here;

impl Boundary for Here {
    const NAME: &'static str = "here";
}

type Answered<R> = Result<R, JobError>;
/// What a job makes that has no result.
type Nothing = Result<(), Failure>;

fn settings(workers: usize, bound: usize) -> Settings {
    Settings::new(workers, queue::Settings::new(bound)).unwrap()
}

/// Has the workers come.
async fn started(settings: Settings) -> (Workers, TokioTime) {
    let time = TokioTime::new();
    let workers = Workers::start(settings, time);
    for _ in 0..5 {
        yield_now().await;
    }
    (workers, time)
}

/// Panics without a word in the tests' output.
fn resume_nothing() -> Nothing {
    std::panic::resume_unwind(Box::new("nothing"))
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Says when it is dropped.
struct Held(Arc<AtomicBool>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn each_job_ends_in_its_own_way_and_its_submitter_hears_which() {
    let (workers, time) = started(settings(2, 10)).await;
    let done = workers.submit(|_| async { Ok::<_, Failure>(7) }).unwrap();
    assert_eq!(done.await.unwrap(), 7);

    let known = || FailureOf::<Here>::known("nothing-there", Lasting::Permanent, "Nothing is there.");
    let failed: Answered<()> = workers.submit(move |_| async move { Err(known()) }).unwrap().await;
    let Err(JobError::Failed(failure)) = failed else { panic!("{failed:?}") };
    assert_eq!((failure.kind().code(), failure.origin().module), ("nothing-there", "here"));

    let panics = workers.submit(|_| async { Ok::<u8, Failure>(u8::try_from(300).unwrap()) }).unwrap();
    assert!(panics.await.unwrap_err().to_string().starts_with("the job panicked: called `Result::unwrap()`"));
    let panics =
        workers.submit(|_| -> std::future::Ready<Nothing> { panic!("before it has a future") }).unwrap();
    assert!(matches!(panics.await, Err(JobError::Panicked(message)) if message == "before it has a future"));

    let job = Entry::new(|_| pending::<Nothing>()).until(time.now() + 5 * MS);
    assert!(matches!(workers.submit_as(job).unwrap().await, Err(JobError::Expired)));

    let never = workers.submit(|_| pending::<Nothing>()).unwrap();
    never.cancel();
    assert!(matches!(never.await, Err(JobError::Cancelled)));
    let standing = workers.standing();
    assert_eq!((standing.admitted, standing.answered(), standing.restarts), (6, 6, 0));
    assert_eq!((standing.done, standing.failed, standing.panicked), (1, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told_so_while_all_are_busy() {
    let (workers, time) = started(settings(1, 10).with_longest(ms(50)).unwrap()).await;
    let busy = workers.submit_as(Entry::new(|_| pending::<Nothing>()).until(time.now() + 500 * MS)).unwrap();
    let begun = Arc::new(AtomicU64::new(0));
    let theirs = Arc::clone(&begun);
    let waits = workers
        .submit(move |_| async move {
            theirs.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Failure>(())
        })
        .unwrap();
    let since = time.now();
    let Err(JobError::Shed(why)) = waits.await else { panic!("it can't have begun") };
    assert_eq!((why.why(), (time.now() - since) / MS), (Refusal::Late, 51), "to the timer's millisecond");
    assert_eq!((begun.load(Ordering::Relaxed), workers.standing().busy), (0, 1));
    drop(busy);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_waits_for_leaves_its_place_or_stops() {
    let (workers, _) = started(settings(1, 1)).await;
    let stopped = Arc::new(AtomicBool::new(false));
    let held = Held(Arc::clone(&stopped));
    let runs = workers
        .submit(move |_| async move {
            let _held = held;
            pending::<Nothing>().await
        })
        .unwrap();
    yield_now().await;
    let waits = workers.submit(|_| async { Ok::<_, Failure>(()) }).unwrap();
    assert_eq!(workers.submit(|_| async { Ok::<_, Failure>(()) }).unwrap_err().why(), Refusal::Full);
    drop(waits);
    let next = workers.submit(|_| async { Ok::<_, Failure>(()) }).unwrap();
    assert!(!stopped.load(Ordering::Relaxed));
    drop(runs);
    next.await.unwrap();
    assert!(stopped.load(Ordering::Relaxed));
    assert_eq!(workers.standing().cancelled, 2);

    // Unless it is to be done all the same.
    let (tell, told) = oneshot::channel();
    workers
        .submit(|_| async move {
            yield_now().await;
            tell.send(7).unwrap();
            Ok::<_, Failure>(())
        })
        .unwrap()
        .detach();
    assert_eq!(told.await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_to_stop_may_end_by_itself() {
    let (workers, time) = started(settings(1, 1).with_grace(ms(20))).await;
    let job = |ends: u64| {
        Entry::new(move |job: Job| async move {
            job.stop().stopped().await;
            time.sleep_for(ends * MS).await;
            Ok::<_, Failure>("in part")
        })
        .until(time.now() + 100 * MS)
    };
    assert_eq!(workers.submit_as(job(10)).unwrap().await.unwrap(), "in part");
    assert!(matches!(workers.submit_as(job(0)).unwrap().await, Ok("in part")));
    assert!(matches!(workers.submit_as(job(30)).unwrap().await, Err(JobError::Expired)));
}

/// In another house a middleware's worker died, and from then on every request failed.
#[tokio::test(start_paused = true)]
async fn pitfall_34_whatever_jobs_do_later_ones_are_done() {
    let all = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let restarts = sluicegate_core::restart::Settings::default().with_intensity(1, ms(60_000)).unwrap();
    let settings = settings(2, 100).with_stall(ms(100)).unwrap().with_restarts(restarts);
    let (workers, _) = started(settings).await;
    for round in 0..20 {
        let panics = workers.submit(|_| async { resume_nothing() }).unwrap();
        let hangs = workers.submit(|_| pending::<Nothing>()).unwrap();
        let good = workers.submit(move |_| async move { Ok::<_, Failure>(round) }).unwrap();
        assert!(matches!(panics.await, Err(JobError::Panicked(message)) if message == "nothing"));
        assert!(matches!(hangs.await, Err(JobError::Hung)));
        assert_eq!(good.await.unwrap(), round);
    }
    let standing = workers.standing();
    assert_eq!((standing.hung, standing.panicked, standing.done), (20, 20, 20));
    let drained = workers.drain(ms(10_000)).await;
    assert_eq!((drained.given_up, drained.leaking), (0, 0));
    assert_eq!(workers.standing().restarts, 20, "one for each hang, none for a panic");
    tasks_are(all).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_gets_on_does_not_stall_however_long_it_is() {
    let (workers, time) = started(settings(1, 1).with_stall(ms(100)).unwrap()).await;
    let long = workers.submit(move |job| async move {
        for _ in 0..20 {
            time.sleep_for(90 * MS).await;
            job.progress();
        }
        Ok::<_, Failure>(())
    });
    long.unwrap().await.unwrap();
    // A worker without a job may rest for ever.
    time.sleep_for(10_000 * MS).await;
    assert_eq!(workers.standing().restarts, 0);
}

/// A job that keeps its thread can't be dropped. Its submitter hears all the same, and another worker takes its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_that_hangs_is_left_behind_and_its_submitter_hears() {
    let time = ManualTime::new();
    let workers = Workers::start(settings(1, 4).with_hang(ms(100)).unwrap(), time.clone());
    let (release, released) = mpsc::channel::<()>();
    let (began, has_begun) = oneshot::channel();
    let hangs = workers
        .submit(move |_| async move {
            began.send(()).unwrap();
            released.recv().unwrap();
            Ok::<_, Failure>(())
        })
        .unwrap();
    has_begun.await.unwrap();
    let next = workers.submit(|_| async { Ok::<_, Failure>(7) }).unwrap();
    let mut answers = tokio::spawn(async { (hangs.await, next.await) });
    let (hung, next) = loop {
        // From event to event: the steward's look, its patience, the pause before the next worker.
        if let Some(at) = time.next() {
            time.set(at);
        }
        tokio::select! {
            biased;
            answers = &mut answers => break answers.unwrap(),
            () = yield_now() => {}
        }
    };
    assert!(matches!(hung, Err(JobError::Hung)));
    assert_eq!(next.unwrap(), 7);
    let standing = workers.standing();
    assert_eq!((standing.restarts, standing.leaking), (1, 1), "it is said to be left behind");
    release.send(()).unwrap();
    while workers.standing().leaking > 0 {
        if let Some(at) = time.next() {
            time.set(at);
        }
        yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocking_jobs_have_threads_of_their_own_and_no_more_than_there_are_workers() {
    let time = TokioTime::new();
    let workers = Workers::start(settings(1, 4), time);
    let sum = Entry::new(|_: Job| Ok::<_, Failure>((1..=100).sum::<u32>()));
    assert_eq!(workers.submit_blocking(sum).unwrap().await.unwrap(), 5050);
    let panics = Entry::new(|_: Job| -> Nothing { panic!("on its thread") });
    let panicked = workers.submit_blocking(panics).unwrap().await;
    assert!(matches!(panicked, Err(JobError::Panicked(message)) if message == "on its thread"));

    // Told to stop it goes on until it looks; its submitter knows at once, and the next begins when it has ended.
    let (release, released) = mpsc::channel::<()>();
    let (began, has_begun) = oneshot::channel();
    let stops = workers
        .submit_blocking(Entry::new(move |job: Job| {
            began.send(()).unwrap();
            released.recv().unwrap();
            assert!(job.checkpoints().pass().is_err(), "it sees that it is to stop");
            Ok::<_, Failure>(())
        }))
        .unwrap();
    has_begun.await.unwrap();
    stops.cancel();
    assert!(matches!(stops.await, Err(JobError::Cancelled)));
    let next = workers.submit(|_| async { Ok::<_, Failure>(()) }).unwrap();
    for _ in 0..100 {
        yield_now().await;
    }
    assert_eq!(
        (workers.standing().busy, workers.standing().waiting),
        (1, 1),
        "the worker stays with the thread"
    );
    release.send(()).unwrap();
    next.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn drained_it_does_what_it_can_and_tells_the_rest() {
    let all = Handle::current().metrics().num_alive_tasks();
    let (workers, time) = started(settings(2, 100)).await;
    let job = |millis: u64| {
        workers.submit(move |_| async move {
            time.sleep_for(millis * MS).await;
            Ok::<_, Failure>(millis)
        })
    };
    let jobs: Vec<_> =
        [10, 10, 10, 10, 500, 500, 10, 10].into_iter().map(|millis| job(millis).unwrap()).collect();
    let draining = tokio::spawn({
        let workers = workers.clone();
        async move { workers.drain(ms(100)).await }
    });
    yield_now().await;
    assert_eq!(job(1).unwrap_err().why(), Refusal::Closed);
    let drained = draining.await.unwrap();
    assert_eq!((drained.ended, drained.given_up, drained.leaking), (4, 4, 0));
    let mut ends = Vec::new();
    for job in jobs {
        ends.push(job.await.map_err(|error| error.to_string()).ok());
    }
    assert_eq!(ends, [Some(10), Some(10), Some(10), Some(10), None, None, None, None]);
    tasks_are(all).await;
    let again = workers.drain(ms(100)).await;
    assert_eq!((again.ended, again.given_up), (0, 0), "it has ended");
}

#[tokio::test(start_paused = true)]
async fn with_the_last_handle_all_ends_and_all_are_told() {
    let all = Handle::current().metrics().num_alive_tasks();
    let (workers, _) = started(settings(1, 10)).await;
    let jobs: Vec<_> = (0..3).map(|_| workers.submit(|_| pending::<Nothing>()).unwrap()).collect();
    yield_now().await;
    drop(workers);
    for job in jobs {
        assert!(matches!(job.await, Err(JobError::Gone)));
    }
    tasks_are(all).await;
}

/// The workers' runtime ends under them; their submitters are elsewhere.
#[test]
fn workers_whose_runtime_is_gone_leave_nobody_waiting() {
    let runtime = || Builder::new_current_thread().enable_time().build().unwrap();
    let (theirs, ours) = (runtime(), runtime());
    let workers = {
        let _inside = theirs.enter();
        Workers::start(settings(1, 10), TokioTime::new())
    };
    let come = async || {
        for _ in 0..10 {
            yield_now().await;
        }
    };
    theirs.block_on(come());
    // The first is on its way to the worker when all ends, and the others in the line.
    let jobs: Vec<_> = (0..3).map(|_| workers.submit(|_| pending::<Nothing>()).unwrap()).collect();
    assert_eq!((workers.standing().busy, workers.standing().waiting), (0, 2));
    theirs.shutdown_background();
    ours.block_on(async {
        for job in jobs {
            assert!(matches!(job.await, Err(JobError::Gone)));
        }
        assert_eq!(workers.submit(|_| pending::<Nothing>()).unwrap_err().why(), Refusal::Closed);
        assert_eq!(workers.drain(ms(1)).await.given_up, 0);
    });
}

#[tokio::test(start_paused = true)]
async fn entries_come_to_the_queue_as_they_are() {
    let line = queue::Settings::new(4).with_bytes(10).unwrap().with_classes(&[8, 1]).unwrap().fair();
    let (workers, _) = started(Settings::new(1, line).unwrap()).await;
    let busy = workers.submit(|_| pending::<Nothing>()).unwrap();
    yield_now().await;
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let job = |name: u32, entry: fn(Entry<()>) -> Entry<()>| {
        let order = Arc::clone(&order);
        let work = move |()| {
            move |_: Job| async move {
                order.lock().unwrap().push(name);
                Ok::<_, Failure>(())
            }
        };
        workers.submit_as(entry(Entry::new(())).map(work))
    };
    let first = job(1, |entry| entry.keyed(1).in_class(1)).unwrap();
    let second = job(2, |entry| entry.keyed(1)).unwrap();
    let third = job(3, |entry| entry.keyed(1)).unwrap();
    let fourth = job(4, |entry| entry.keyed(2).sized(8)).unwrap();
    assert_eq!(job(5, |entry| entry.sized(11)).unwrap_err().why(), Refusal::TooLarge);
    assert_eq!(workers.standing().waiting_bytes, 8);
    drop(busy);
    for job in [first, second, third, fourth] {
        job.await.unwrap();
    }
    let order = order.lock().unwrap().clone();
    let place = |name| order.iter().position(|one| *one == name).unwrap();
    assert!(place(2) < place(4) && place(4) < place(3), "keys take turns: {order:?}");
}

struct Bad;
impl From<Bad> for Failure {
    fn from(_: Bad) -> Self {
        std::panic::resume_unwind(Box::new("as the test has it"))
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_panics_is_the_jobs_panic() {
    let (workers, _) = started(settings(1, 1)).await;
    let bad = workers.submit(|_| async { Err::<u8, _>(Bad) }).unwrap().await;
    workers.submit(|_| async { Ok::<_, Failure>(()) }).unwrap().await.unwrap();
    assert!(matches!(bad, Err(JobError::Panicked(_))));
}

#[tokio::test(start_paused = true)]
async fn a_job_cancelled_on_its_way_does_not_begin() {
    let (workers, _) = started(settings(1, 1)).await;
    let begun = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&begun);
    let job = workers
        .submit(move |_| async move {
            theirs.store(true, Ordering::Relaxed);
            Ok::<_, Failure>(())
        })
        .unwrap();
    drop(job);
    for _ in 0..20 {
        yield_now().await;
    }
    assert!(!begun.load(Ordering::Relaxed));
}

struct Loud;
impl std::task::Wake for Loud {
    fn wake(self: Arc<Self>) {
        std::panic::resume_unwind(Box::new("as the test has it"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_does_not_end_the_pool() {
    let (workers, time) = started(settings(1, 4).with_stall(ms(100)).unwrap()).await;
    let mut hangs = workers.submit(|_| pending::<Nothing>()).unwrap();
    let waker = std::task::Waker::from(Arc::new(Loud));
    assert!(std::pin::Pin::new(&mut hangs).poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    time.sleep_for(10_000 * MS).await;
    let next = workers.submit(|_| async { Ok::<_, Failure>(7) });
    assert_eq!(next.unwrap().await.unwrap(), 7);
}
