//! What a request held is given back, wherever it ends.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use sluicegate::clock::{Clock, nanos};
use sluicegate::limiter::TokenBucket;
use sluicegate::permits::Permits;
use sluicegate::timer::TokioTime;
use sluicegate_tower::by_key::ByKey;
use sluicegate_tower::one_bucket::OneBucket;
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::rate_limit::RateLimitLayer;
use sluicegate_tower::refused::{BoxError, Refused};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use super::support::{DEADLINE, Slow, Stack, poll, refusal};

/// How a request is dropped after so many polls: with a free permit, or after waiting for one.
async fn drop_after(polls: usize, waits: bool) -> bool {
    let stack = Stack::new("stock 1", 1, 1);
    let inner = Slow { unready: 2, busy: 3, ..Slow::default() };
    let mut service = stack.around(inner.clone());
    let mut held = waits.then(|| stack.permits.try_enter().unwrap());
    let mut request = Box::pin(service.call(1));
    let mut answered = false;
    for at in 0..polls {
        if at == 2 {
            held = None;
        }
        answered = poll(request.as_mut()).is_ready();
        if answered {
            break;
        }
    }
    drop(held);
    drop(request);
    let spent = u64::try_from(inner.calls()).unwrap();
    assert_eq!(stack.state(), (0, 0, 1 - spent), "after {polls} polls, waited: {waits}");
    answered
}

#[tokio::test(start_paused = true)]
async fn a_request_dropped_at_any_await_gives_back_what_it_held() {
    for waits in [false, true] {
        let polls = 1 + usize::from(waits) * 2 + 2 + 3;
        for polls in 0..polls {
            assert!(!drop_after(polls, waits).await);
        }
        assert!(drop_after(polls, waits).await, "every await was seen");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_by_the_queue_is_not_charged() {
    let stack = Stack::new("stock 1", 1, 0);
    let held = stack.permits.try_enter();
    let refused = refusal(stack.around(Slow::default()).oneshot(1).await);
    assert!(matches!(refused, Refused::Queue(_)), "{refused:?}");
    assert_eq!(stack.bucket.available(), 1);

    // A limit that knows nothing of the queue has let the request pass.
    let opaque = RateLimitLayer::new(stack.limit());
    let service = ServiceBuilder::new()
        .layer(opaque)
        .layer(QueueLayer::new(stack.permits.clone()))
        .service(Slow::default());
    assert!(matches!(refusal(service.oneshot(1).await), Refused::Queue(_)));
    assert_eq!(stack.bucket.available(), 0);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_key_s_tokens_go_back_to_that_key() {
    let permits = Permits::new(1, 0);
    let limit = ByKey::with_clock(
        "stock 2".parse().unwrap(),
        10,
        |request: &u64, keys| Some(keys.key([Some(request.to_le_bytes().as_slice())])),
        TokioTime::new(),
    );
    let limit = limit.cost(|_: &u64| 2);
    let service = ServiceBuilder::new()
        .layer(RateLimitLayer::new(limit).over_queue())
        .layer(QueueLayer::new(permits.clone()))
        .service(Slow::default());
    let held = permits.try_enter();
    for _ in 0..3 {
        assert!(matches!(refusal(service.clone().oneshot(1).await), Refused::Queue(_)));
    }
    drop(held);
    assert!(service.clone().oneshot(1).await.is_ok());
    assert!(matches!(refusal(service.clone().oneshot(1).await), Refused::Quota(_)));
    assert!(service.clone().oneshot(2).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_by_a_second_limit_is_not_charged_by_the_first() {
    let first = Stack::new("stock 9", 1, 1);
    let second = Stack::new("stock 2", 1, 1);
    let service = ServiceBuilder::new()
        .layer(RateLimitLayer::new(first.limit()).over_queue())
        .layer(RateLimitLayer::new(second.limit()))
        .service(Slow::default());
    let mut passed = 0;
    for request in 0..9 {
        passed += usize::from(service.clone().oneshot(request).await.is_ok());
    }
    assert_eq!((passed, first.bucket.available(), second.bucket.available()), (2, 7, 0));
}

#[tokio::test(start_paused = true)]
async fn late_in_the_line_everything_goes_back() {
    let stack = Stack::new("stock 1", 1, 1);
    let held = stack.permits.try_enter();
    let refused = refusal(stack.around(Slow::default()).oneshot(1).await);
    assert_eq!(refused, Refused::Late { admitted: Some(false) });
    assert_eq!(stack.state(), (1, 0, 1));
    drop(held);
    assert_eq!(stack.state(), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn late_at_the_service_the_permit_goes_back_and_the_charge_does_not() {
    let stack = Stack::new("stock 1", 1, 1);
    let inner = Slow { busy: usize::MAX, ..Slow::default() };
    let mut request = Box::pin(stack.around(inner).oneshot(1));
    let refused = refusal(request.as_mut().await);
    assert_eq!(refused, Refused::Late { admitted: Some(true) });
    assert_eq!(stack.state(), (0, 0, 0), "given back at once, with the future still there");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_never_ready_is_cut_off() {
    let stack = Stack::new("stock 1", 1, 1);
    let before = stack.time.now();
    let never = Slow { unready: usize::MAX, ..Slow::default() };
    let refused = refusal(stack.around(never).oneshot(1).await);
    assert_eq!(refused, Refused::Late { admitted: Some(false) });
    assert!(stack.time.now() - before >= nanos(DEADLINE));
    assert_eq!(stack.state(), (0, 0, 1));
}

/// Fails to get ready, or to answer.
#[derive(Clone, Debug)]
struct Broken {
    ready: bool,
}

impl Service<u64> for Broken {
    type Response = u64;
    type Error = BoxError;
    type Future = std::future::Ready<Result<u64, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(if self.ready { Ok(()) } else { Err("not ready".into()) })
    }

    fn call(&mut self, _: u64) -> Self::Future {
        std::future::ready(Err("no answer".into()))
    }
}

#[tokio::test(start_paused = true)]
async fn the_service_s_own_errors_pass_and_only_those_after_the_call_are_charged() {
    let stack = Stack::new("stock 1", 1, 1);
    let error = stack.around(Broken { ready: false }).oneshot(1).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), stack.state()), ("not ready", (0, 0, 1)));
    let error = stack.around(Broken { ready: true }).oneshot(1).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), stack.state()), ("no answer", (0, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_panics_was_served() {
    let stack = Stack::new("stock 2", 1, 1);
    let inner = |at_once: bool| {
        service_fn(move |_: u64| {
            assert!(!at_once, "in the call");
            async move {
                assert!(at_once, "in the future");
                Ok::<u64, Infallible>(0)
            }
        })
    };
    for (at_once, left) in [(true, 1), (false, 0)] {
        let mut service = stack.around(inner(at_once));
        let mut request = Box::pin(service.call(1));
        assert!(catch_unwind(AssertUnwindSafe(|| poll(request.as_mut()))).is_err());
        drop(request);
        assert_eq!(stack.state(), (0, 0, left));
    }
}

/// Notes, when it is dropped, how many permits are held.
#[derive(Debug)]
struct Noting(Permits, Arc<AtomicUsize>);

impl Drop for Noting {
    fn drop(&mut self) {
        self.1.store(self.0.in_flight(), Ordering::Relaxed);
    }
}

/// Else one more request than there are permits would be at the service for a moment.
#[tokio::test(start_paused = true)]
async fn the_permit_goes_back_after_what_it_was_for_is_dropped() {
    for answers in [true, false] {
        let stack = Stack::new("unlimited", 1, 0);
        let seen = Arc::new(AtomicUsize::new(0));
        let (permits, note) = (stack.permits.clone(), Arc::clone(&seen));
        let inner = service_fn(move |_: u64| {
            let noting = Noting(permits.clone(), Arc::clone(&note));
            std::future::poll_fn(move |_| {
                let _ = &noting;
                if answers { Poll::Ready(Ok::<_, Infallible>(())) } else { Poll::Pending }
            })
        });
        assert_eq!(stack.around(inner).oneshot(1).await.is_ok(), answers);
        assert_eq!((seen.load(Ordering::Relaxed), stack.permits.in_flight()), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_charge_of_nothing_gives_nothing_back() {
    let bucket = Arc::new(TokenBucket::with_clock("stock 1 max 5".parse().unwrap(), TokioTime::new()));
    let limit = OneBucket::new(Arc::clone(&bucket)).cost(|_: &u64| 0);
    let mut service = RateLimitLayer::new(limit).layer(Slow::default());
    drop(service.call(1));
    assert_eq!(bucket.available(), 1);
}

/// A service that panics at zero, the one time at once and the other in its future.
fn panics(
    at_once: bool,
) -> impl Service<u64, Response = u64, Error = Infallible, Future: Send> + Clone + Send + use<> {
    service_fn(move |request: u64| {
        assert!(!at_once || request > 0, "in the call");
        async move {
            assert!(request > 0, "in the future");
            Ok::<_, Infallible>(request)
        }
    })
}

#[tokio::test(start_paused = true)]
async fn pitfall_34_who_panics_takes_nobody_with_it() {
    // A worker of its own dies with the service that it calls.
    let buffer = ServiceBuilder::new().buffer::<u64>(9).service(panics(true));
    let (first, second) = (buffer.clone().oneshot(0), buffer.oneshot(1));
    assert!(first.await.is_err() && second.await.is_err());

    for at_once in [true, false] {
        let permits = Permits::new(1, 9);
        let service = QueueLayer::new(permits.clone()).layer(panics(at_once));
        let requests: Vec<_> = (0..5).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
        let mut answered = Vec::new();
        for request in requests {
            answered.push(request.await.ok().map(Result::unwrap));
        }
        assert_eq!(answered, [None, Some(1), Some(2), Some(3), Some(4)]);
        assert_eq!((permits.in_flight(), permits.waiting()), (0, 0));
    }
}
