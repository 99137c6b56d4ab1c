//! Any course of a pool: never more jobs run than there are workers, never more wait than may, and each that was admitted has one answer.

use std::panic::resume_unwind;
use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Done,
    Fails,
    Panics,
    /// After so many milliseconds.
    Takes(u64),
    /// Until it is stopped, or dropped.
    Never,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    /// With a deadline in so many milliseconds, if any.
    Submit(Kind, Option<u64>),
    Cancel(usize),
    Leave(usize),
    Detach(usize),
    /// Lets the workers work for so long.
    Work(u64),
}

#[derive(Clone, Debug)]
struct Case {
    workers: usize,
    bound: usize,
    codel: bool,
    ops: Vec<Op>,
    grace: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let kind = prop_oneof![
        Just(Kind::Done),
        Just(Kind::Fails),
        Just(Kind::Panics),
        (1..30_u64).prop_map(Kind::Takes),
        (1..30_u64).prop_map(Kind::Takes),
        Just(Kind::Never),
    ];
    let op = prop_oneof![
        8 => (kind, prop::option::of(0..50_u64)).prop_map(|(kind, until)| Op::Submit(kind, until)),
        2 => any::<usize>().prop_map(Op::Cancel),
        2 => any::<usize>().prop_map(Op::Leave),
        1 => any::<usize>().prop_map(Op::Detach),
        4 => (0..20_u64).prop_map(Op::Work),
    ];
    (1..4_usize, 0..6_usize, any::<bool>(), prop::collection::vec(op, 1..100), 0..40_u64)
        .prop_map(|(workers, bound, codel, ops, grace)| Case { workers, bound, codel, ops, grace })
}

/// How many run, and how many did at the most. A job can't complain itself: its panic would be its answer.
#[derive(Default)]
struct Count {
    now: AtomicUsize,
    peak: AtomicUsize,
}

/// One of those that run.
struct Runs(Arc<Count>);

impl Runs {
    fn begin(count: &Arc<Count>) -> Self {
        let others = count.now.fetch_add(1, Ordering::Relaxed);
        count.peak.fetch_max(others + 1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn act(kind: Kind, time: TokioTime, runs: impl FnOnce() -> Runs) -> Result<(), Failure> {
    let _runs = runs();
    match kind {
        Kind::Done => {}
        Kind::Fails => {
            return Err(FailureOf::<Here>::bug("as the test has it").into_failure());
        }
        Kind::Panics => resume_unwind(Box::new("as the test has it")),
        Kind::Takes(millis) => time.sleep_for(millis * MS).await,
        Kind::Never => pending().await,
    }
    Ok(())
}

async fn play(case: Case) {
    let before = Handle::current().metrics().num_alive_tasks();
    let Case { workers: most, bound, codel, ops, grace } = case;
    let line = queue::Settings::new(bound);
    let line = if codel { line.with_codel(queue::Codel::default()) } else { line };
    let (workers, time) = started(Settings::new(most, line).unwrap()).await;
    let running = Arc::<Count>::default();
    let (mut heard, mut refused, mut left) = (Vec::new(), 0, Vec::new());
    for op in ops {
        match op {
            Op::Submit(kind, until) => {
                let ours = Arc::clone(&running);
                let job = Entry::new(move |_| act(kind, time, move || Runs::begin(&ours)));
                let job = match until {
                    Some(millis) => job.until(time.now() + millis * MS),
                    None => job,
                };
                let waiting = workers.standing().waiting;
                match workers.submit_as(job) {
                    Ok(submitted) => left.push(submitted),
                    Err(why) => {
                        refused += 1;
                        let is_full = waiting == bound;
                        assert!(why.why() != Refusal::Full || is_full, "{waiting} of {bound} waited");
                    }
                }
            }
            Op::Cancel(at) if !left.is_empty() => left[at % left.len()].cancel(),
            Op::Leave(at) if !left.is_empty() => drop(left.swap_remove(at % left.len())),
            Op::Detach(at) if !left.is_empty() => left.swap_remove(at % left.len()).detach(),
            Op::Work(millis) => {
                time.sleep_for(millis * MS).await;
                settle().await;
            }
            _ => {}
        }
        let standing = workers.standing();
        assert!(standing.waiting <= bound && standing.busy <= most, "{standing:?}");
    }
    // Each is heard of once: its future has an end.
    heard.extend(left.into_iter().map(tokio::spawn));
    workers.drain(ms(grace)).await;
    for answer in heard {
        drop(answer.await.unwrap());
    }
    let standing = workers.standing();
    assert_eq!((standing.answered(), standing.refused), (standing.admitted, refused), "{standing:?}");
    assert_eq!((standing.busy, standing.waiting, standing.leaking), (0, 0, 0));
    tasks_are(before).await;
    assert_eq!(running.now.load(Ordering::Relaxed), 0);
    assert!(running.peak.load(Ordering::Relaxed) <= most);
}

proptest! {
    #[test]
    fn no_more_run_or_wait_than_may_and_each_has_one_answer(case in cases()) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(case));
    }
}
