//! tokio makes a task's resources pretend not to be ready once the task has used up its cooperative budget. That is no overload.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use sluicegate::concurrency::{self, Knee};
use sluicegate::permits::{Permits, Settings};
use sluicegate::queue::{self, Codel};
use sluicegate::timer::TokioTime;
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::refused::BoxError;
use tokio::task::coop;
use tower::buffer::Buffer;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use super::support::{Slow, Stack};

/// What comes of the first poll of a request, in a task that has nothing left of its budget. None if it waits.
async fn with_nothing_left<S>(mut service: S) -> Option<Result<u64, BoxError>>
where
    S: Service<u64, Response = u64, Error = BoxError, Future: Send> + Send + 'static,
{
    let ask = async move {
        poll_fn(|context| {
            while coop::has_budget_remaining() {
                let _ = pin!(coop::consume_budget()).poll(context);
            }
            let polled = pin!(service.ready()).poll(context);
            let Poll::Ready(ready) = polled else { return Poll::Ready(None) };
            let mut answer = pin!(async { ready?.call(7).await });
            match answer.as_mut().poll(context) {
                Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                Poll::Pending => Poll::Ready(None),
            }
        })
        .await
    };
    tokio::spawn(ask).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn pitfall_31_nothing_is_shed_while_permits_are_free() {
    let answer = |request: u64| async move { Ok::<_, BoxError>(request) };
    // Nobody else is there: all places of the buffer are free, and all permits.
    let peer = ServiceBuilder::new().load_shed().buffer(64).concurrency_limit(64).service_fn(answer);
    let shed = with_nothing_left(peer).await.unwrap().unwrap_err();
    assert!(shed.is::<tower::load_shed::error::Overloaded>(), "{shed}");

    let plain = Permits::new(1, 0);
    let timed = Permits::with(Settings::new(1, queue::Settings::new(0)), TokioTime::new());
    let line = queue::Settings::new(0).with_codel(Codel::default());
    let found_out = Settings::new(1, line).adaptive(concurrency::Settings::default(), Knee::default());
    for permits in [plain, timed, Permits::with(found_out, TokioTime::new())] {
        let service = ServiceBuilder::new().layer(QueueLayer::new(permits)).service_fn(answer);
        assert_eq!(with_nothing_left(service).await.unwrap().unwrap(), 7);
    }
}

/// Who waits is not shed by it either, and gets its permit.
#[tokio::test(start_paused = true)]
async fn a_permit_that_comes_back_is_seen_without_a_budget() {
    let permits = Permits::new(1, 1);
    let held = permits.try_enter();
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let mut service =
        ServiceBuilder::new().layer(QueueLayer::new(permits)).service(service_fn(move |(): ()| {
            count.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, Infallible>(()) }
        }));
    let mut request = Box::pin(service.call(()));
    assert!(super::support::poll(request.as_mut()).is_pending());
    drop(held);
    tokio::spawn(poll_fn(move |context| {
        while coop::has_budget_remaining() {
            let _ = pin!(coop::consume_budget()).poll(context);
        }
        assert!(request.as_mut().poll(context).is_ready());
        Poll::Ready(())
    }))
    .await
    .unwrap();
    assert_eq!(begun.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_shed_while_permits_are_free_over_a_buffer() {
    let stack = Stack::new("unlimited", 1, 0);
    let (buffer, worker) = Buffer::pair(Slow::default(), 1);
    tokio::spawn(worker);
    let service = ServiceBuilder::new().layer(QueueLayer::new(stack.permits.clone())).service(buffer);
    // One task, whose budget is 128 between two turns.
    for request in 0..1000 {
        assert_eq!(service.clone().oneshot(request).await.unwrap(), request);
    }
}
