//! Deadlines.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sluicegate::clock::Clock;
use sluicegate::timer::{Timer, TokioTime};
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::due::{After, At};
use sluicegate_tower::refused::Refused;
use tower::{Layer, ServiceExt, service_fn};

use super::support::{DEADLINE, Slow, Stack, refusal};

#[tokio::test(start_paused = true)]
async fn pitfall_33_the_time_in_the_line_counts() {
    let stack = Stack::new("unlimited", 1, 9);
    let time = stack.time;
    let begun = Arc::new(AtomicUsize::new(0));
    let inner = service_fn({
        let begun = Arc::clone(&begun);
        move |request: u64| {
            begun.fetch_add(1, Ordering::Relaxed);
            async move {
                time.sleep_for(400_000_000).await;
                Ok::<_, Infallible>(request)
            }
        }
    });
    let service = stack.around(inner);
    let requests: Vec<_> = (0..4).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    let mut outcomes = Vec::new();
    for request in requests {
        outcomes.push(request.await.unwrap().map_err(|error| refusal::<()>(Err(error))));
    }
    let late = |admitted| Err(Refused::Late { admitted: Some(admitted) });
    // 400 ms each, one after the other: the third is at the service when its second is over, and makes way for the
    // fourth, which is late at the same instant: it is not begun.
    assert_eq!(outcomes, [Ok(0), Ok(1), late(true), late(false)]);
    assert_eq!((begun.load(Ordering::Relaxed), stack.state().0), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_at_the_last_instant_counts() {
    let time = TokioTime::new();
    let inner = service_fn(move |(): ()| async move {
        time.sleep_for(1_000_000_000).await;
        Ok::<_, Infallible>(())
    });
    let layer = DeadlineLayer::new(After::new(DEADLINE, time));
    layer.layer(inner).oneshot(()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_instant_that_has_passed_is_not_begun() {
    let time = TokioTime::new();
    time.sleep_for(5_000_000_000).await;
    let at = At::new(|request: &u64| (*request > 0).then_some(*request), time);
    let layer = DeadlineLayer::new(at);
    let never = Slow { busy: usize::MAX, ..Slow::default() };
    let service = layer.layer(never.clone());

    let passed = refusal(service.clone().oneshot(time.now()).await);
    assert_eq!((passed, never.calls()), (Refused::Late { admitted: Some(false) }, 0));

    let in_time = time.now() + 1_000_000;
    let late = refusal(service.clone().oneshot(in_time).await);
    assert_eq!((late, never.calls()), (Refused::Late { admitted: None }, 1));
    assert!(time.now() >= in_time);

    assert_eq!(layer.layer(Slow { busy: 9, ..never }).oneshot(0).await.unwrap(), 0, "no deadline");
}

/// A service that uses up its task's budget each time it is polled leaves none for the timer.
#[tokio::test(start_paused = true)]
async fn a_service_that_is_always_busy_is_late_all_the_same() {
    let time = TokioTime::new();
    let inner = service_fn(|(): ()| async {
        loop {
            tokio::task::consume_budget().await;
        }
        #[expect(unreachable_code, reason = "what it would answer")]
        Ok::<_, Infallible>(())
    });
    let service = DeadlineLayer::new(After::new(DEADLINE, time)).layer(inner);
    let request = tokio::spawn(service.oneshot(()));
    // Paused time moves by itself only when nothing is left to do.
    tokio::task::yield_now().await;
    tokio::time::advance(DEADLINE + Duration::from_millis(1)).await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(request.is_finished());
    assert_eq!(refusal(request.await.unwrap()), Refused::Late { admitted: None });
}
