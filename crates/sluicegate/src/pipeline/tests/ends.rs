//! A pipeline that comes to another end than its feed's.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Builder;

use super::*;
use crate::timer::Timer;

/// The stages' runtime ends under them; who takes is elsewhere.
#[test]
fn stages_whose_runtime_is_gone_lose_nothing_without_a_word() {
    let runtime = || Builder::new_current_thread().enable_time().build().unwrap();
    let (theirs, ours) = (runtime(), runtime());
    let (feed, mut output) = {
        let _inside = theirs.enter();
        Pipeline::first(TokioTime::new(), stage(1, 9), |n: u32| async move {
            if n < 2 { Made::Ok(n) } else { pending().await }
        })
        .run(9)
    };
    for n in 0..5 {
        feed.try_feed(n).unwrap();
    }
    theirs.block_on(settle());
    theirs.shutdown_background();
    ours.block_on(async {
        for n in 0..2 {
            assert!(matches!(output.next().await, Some(Ok(made)) if made == n));
        }
        // Of each that was fed.
        for left in (0..3).rev() {
            let next = output.next().await;
            assert!(matches!(next, Some(Err(_))), "{next:?}");
            assert_eq!((feed.inside(), output.inside()), (left, left));
        }
        assert!(output.next().await.is_none());
        assert_eq!(feed.try_feed(9), Err((9, Refused::Over)));
        assert_eq!(feed.feed(9).await, Err((9, Refused::Over)));
    });
}

/// A clock that breaks after so many looks at it.
#[derive(Clone)]
struct Breaks(TokioTime, Arc<AtomicU64>);

impl Clock for Breaks {
    fn now(&self) -> u64 {
        if self.1.load(Ordering::Relaxed) == 0 {
            resume_unwind(Box::new("as the test has it"));
        }
        self.0.now()
    }
}

impl Timer for Breaks {
    type Sleep = <TokioTime as Timer>::Sleep;

    fn sleep_until(&self, at: u64) -> Self::Sleep {
        self.0.sleep_until(at)
    }
}

/// Nobody looks after the stages any more: that is told, also where nothing was lost by it.
#[tokio::test(start_paused = true)]
async fn stages_that_are_given_up_are_told_as_an_error() {
    for inside in [0, 1, 5] {
        let works = Arc::new(AtomicU64::new(1));
        let time = Breaks(TokioTime::new(), Arc::clone(&works));
        let (feed, mut output) = Pipeline::first(time, stage(1, 9), |n: u32| async move {
            if n > 100 {
                resume_unwind(Box::new("as the test has it"))
            }
            pending::<Made<u32>>().await
        })
        .run(9);
        settle().await;
        for n in 0..inside {
            feed.try_feed(n).unwrap();
        }
        settle().await;
        works.store(0, Ordering::Relaxed);
        // It looks at its clock.
        output.stages.shut_down();
        for _ in 0..inside.max(1) {
            let next = output.next().await;
            assert!(matches!(next, Some(Err(_))), "{next:?}");
        }
        assert!(output.next().await.is_none());
        assert_eq!(feed.inside(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_inside_when_the_output_is_gone_and_all_has_ended() {
    let before = Handle::current().metrics().num_alive_tasks();
    let (feed, output) = Pipeline::first(TokioTime::new(), stage(2, 3), |n: u32| async move { Made::Ok(n) })
        .then(stage(1, 1), |n: u32| async move { if n == 0 { Made::Ok(n) } else { pending().await } })
        .run(1);
    for n in 0..7 {
        feed.feed(n).await.unwrap();
    }
    settle().await;
    assert_eq!(feed.inside(), 7);
    drop(output);
    TokioTime::new().sleep_for(10_000 * MS).await;
    tasks_are(before).await;
    assert_eq!(feed.inside(), 0);
}
