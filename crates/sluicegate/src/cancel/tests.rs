use std::sync::Arc;

use super::*;
use crate::timer::ManualTime;

#[tokio::test(start_paused = true)]
async fn a_child_stops_with_its_parent_and_not_the_other_way() {
    let parent = CancelToken::new(TokioTime::new());
    let child = parent.child();
    child.cancel();
    assert_eq!((child.cause(), parent.cause()), (Some(Cause::Cancelled), None));

    let child = parent.with_deadline(1_000_000_000);
    let waiting = tokio::spawn({
        let child = child.clone();
        async move { child.run(std::future::pending::<()>()).await }
    });
    parent.cancel();
    assert_eq!(waiting.await.unwrap(), Err(Cause::Parent));
}

#[test]
fn a_cancellation_reaches_whoever_is_below_and_nobody_beside() {
    let root = CancelToken::expiring(ManualTime::new(), 50);
    let (left, right) = (root.child(), root.child());
    let below = left.child().child();
    left.cancel_because(Cause::LostRace);
    let late = left.child();
    let causes = [&root, &right, &left, &below, &late].map(CancelToken::cause);
    assert_eq!(causes, [None, None, Some(Cause::LostRace), Some(Cause::Parent), Some(Cause::Parent)]);
    assert_eq!(below.root_cause(), Some(Cause::LostRace));
}

#[tokio::test(start_paused = true)]
async fn a_child_can_only_be_hastier() {
    let time = TokioTime::new();
    let root = CancelToken::new(time).with_deadline(100);
    assert_eq!(root.with_deadline(200).deadline(), Some(100));
    assert_eq!(root.with_deadline(50).deadline(), Some(50));
    assert_eq!(root.child().deadline(), Some(100));
}

#[tokio::test(start_paused = true)]
async fn work_that_uses_up_its_budget_at_each_poll_is_stopped() {
    let token = CancelToken::new(TokioTime::new()).with_deadline(10_000_000);
    let busy = tokio::spawn(async move {
        let work = async {
            loop {
                tokio::task::consume_budget().await;
            }
        };
        token.run(work).await
    });
    // Paused time moves by itself only when nothing is left to do.
    tokio::task::yield_now().await;
    tokio::time::advance(std::time::Duration::from_millis(11)).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(busy.is_finished());
    let stopped: Result<(), Cause> = busy.await.unwrap();
    assert_eq!(stopped, Err(Cause::DeadlineExceeded));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_stops_work_and_drops_it() {
    let time = TokioTime::new();
    let token = CancelToken::new(time).with_deadline(10_000_000);
    let held = Arc::new(());
    let work = {
        let held = Arc::clone(&held);
        async move {
            std::future::pending::<()>().await;
            drop(held);
        }
    };
    assert_eq!(token.run(work).await, Err(Cause::DeadlineExceeded));
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!((token.cause(), token.remaining()), (Some(Cause::DeadlineExceeded), Some(0)));
}

#[test]
fn what_was_told_first_stays_and_its_root_is_known() {
    let time = ManualTime::new();
    let root = CancelToken::expiring(time.clone(), 100);
    let (middle, late) = (root.child(), root.with_deadline(50));
    let (lost, leaf) = (root.child(), middle.child().child());
    assert_eq!((leaf.cause(), leaf.root_cause()), (None, None));
    lost.cancel_because(Cause::LostRace);
    middle.cancel_because(Cause::LostRace);
    lost.cancel();
    assert_eq!((lost.cause(), lost.root_cause()), (Some(Cause::LostRace), Some(Cause::LostRace)));
    assert_eq!((leaf.cause(), leaf.root_cause()), (Some(Cause::Parent), Some(Cause::LostRace)));
    assert_eq!(root.cause(), None);

    time.set(50);
    assert_eq!(late.cause(), Some(Cause::DeadlineExceeded));
    root.cancel();
    assert_eq!(late.cause(), Some(Cause::DeadlineExceeded), "it was known before");
    let other = root.with_deadline(10);
    assert_eq!((other.cause(), other.root_cause()), (Some(Cause::Parent), Some(Cause::Cancelled)));
}

#[test]
fn a_reserve_is_left_of_the_parent_s_time() {
    let root = CancelToken::expiring(ManualTime::new(), 100);
    assert_eq!(root.with_reserve(30).deadline(), Some(70));
    assert_eq!(root.with_reserve(30).with_deadline(90).deadline(), Some(70));
    assert_eq!(root.with_reserve(300).deadline(), Some(0), "there is no time at all");
    assert_eq!(CancelToken::new(ManualTime::new()).with_reserve(1).deadline(), None);
}

#[tokio::test]
async fn an_outcome_is_one_of_four() {
    let time = ManualTime::new();
    let token = CancelToken::expiring(time.clone(), 100);
    let never = std::future::pending::<Result<u8, &str>>;
    assert_eq!(token.outcome(async { Ok::<_, &str>(7) }).await, Outcome::Done(7));
    assert_eq!(token.outcome(async { Err::<u8, _>("no") }).await, Outcome::Failed("no"));
    time.set(60);
    assert_eq!(token.run_until(60, never()).await, Err(Cause::DeadlineExceeded));
    assert_eq!(token.cause(), None, "only that work was late");
    let lost = token.child();
    lost.cancel_because(Cause::LostRace);
    assert_eq!(lost.outcome(never()).await, Outcome::Cancelled(Cause::LostRace));
    time.set(100);
    assert_eq!(token.outcome(never()).await, Outcome::Expired);
}

/// Both tell the token's own reason: that `run_until` has a deadline of its own is nobody's parent.
#[tokio::test]
async fn run_until_tells_the_same_cause_as_run() {
    type Stop = fn(&CancelToken<ManualTime>, &CancelToken<ManualTime>, &ManualTime);
    let stops: [(Stop, Cause, Cause); 5] = [
        (|_, own, _| own.cancel(), Cause::Cancelled, Cause::Cancelled),
        (|_, own, _| own.cancel_because(Cause::LostRace), Cause::LostRace, Cause::LostRace),
        (|above, _, _| above.cancel(), Cause::Parent, Cause::Cancelled),
        (|above, _, _| above.cancel_because(Cause::LostRace), Cause::Parent, Cause::LostRace),
        (|_, _, time| time.set(100), Cause::DeadlineExceeded, Cause::DeadlineExceeded),
    ];
    let never = std::future::pending::<()>;
    for (stop, cause, root) in stops {
        for first in [true, false] {
            let time = ManualTime::new();
            let above = CancelToken::new(time.clone());
            let own = above.with_deadline(100);
            let (stopped, stopped_until) = if first {
                stop(&above, &own, &time);
                (own.run(never()).await, own.run_until(200, never()).await)
            } else {
                let stop = async { stop(&above, &own, &time) };
                let (run, until, ()) = tokio::join!(own.run(never()), own.run_until(200, never()), stop);
                (run, until)
            };
            assert_eq!((stopped, stopped_until), (Err(cause), Err(cause)), "stopped before: {first}");
            assert_eq!((own.cause(), own.root_cause()), (Some(cause), Some(root)));
        }
    }
}

#[tokio::test]
async fn only_the_work_is_late_where_it_had_less_time_than_its_token() {
    let time = ManualTime::new();
    let token = CancelToken::expiring(time.clone(), 100);
    let never = std::future::pending::<()>;
    time.set(60);
    assert_eq!(token.run_until(60, never()).await, Err(Cause::DeadlineExceeded));
    assert_eq!((token.cause(), token.run_until(60, async { 7 }).await), (None, Ok(7)));
    token.cancel();
    assert_eq!(token.run_until(60, never()).await, Err(Cause::Cancelled), "a cancellation is told first");
    assert_eq!(token.run(never()).await, Err(Cause::Cancelled));
    let late = CancelToken::expiring(time, 50);
    assert_eq!(late.run_until(200, never()).await, Err(Cause::DeadlineExceeded));
    late.cancel();
    assert_eq!(late.cause(), Some(Cause::DeadlineExceeded), "it was known before");
}
