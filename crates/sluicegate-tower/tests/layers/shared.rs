//! Clones share; being ready reserves nothing; nothing is refused that had a place.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use sluicegate::limiter::TokenBucket;
use sluicegate::memory::{Key, Limit, Memory};
use sluicegate::permits::Permits;
use sluicegate::timer::TokioTime;
use sluicegate_tower::by_key::ByKey;
use sluicegate_tower::one_bucket::OneBucket;
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::rate_limit::RateLimitLayer;
use sluicegate_tower::refused::{BoxError, Refused};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::support::{Slow, Stack, refusal};

#[tokio::test(start_paused = true)]
async fn pitfall_30_a_service_that_is_ready_and_idle_blocks_nobody() {
    let stack = Stack::new("stock 1", 1, 0);
    let service = stack.around(Slow::default());
    let mut idle: Vec<_> = (0..10).map(|_| service.clone()).collect();
    for service in &mut idle {
        let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(ready, Poll::Ready(Ok(()))));
    }
    assert_eq!(stack.state(), (0, 0, 1));
    assert_eq!(service.oneshot(7).await.unwrap(), 7);
    drop(idle);
    assert_eq!(stack.state(), (0, 0, 0));
}

/// Layers clone a service that is not ready, and must ready the clone.
#[tokio::test(start_paused = true)]
async fn the_inner_service_is_readied_for_each_request() {
    let stack = Stack::new("unlimited", 10, 0);
    let service = stack.around(Slow { unready: 3, ..Slow::default() });
    for request in 0..10 {
        assert_eq!(service.clone().oneshot(request).await.unwrap(), request);
    }
}

#[tokio::test(start_paused = true)]
async fn of_1500_clones_at_5_a_second_5_pass() {
    let bucket = Arc::new(TokenBucket::with_clock("5/s".parse().unwrap(), TokioTime::new()));
    let layer = RateLimitLayer::new(OneBucket::new(bucket));
    let by_key = ByKey::with_clock(
        "5/s".parse().unwrap(),
        10,
        |_: &u64, keys| Some(keys.key([None])),
        TokioTime::new(),
    );
    let keyed = RateLimitLayer::new(by_key);
    let (mut passed, mut passed_keyed) = (0, 0);
    let (services, services_keyed) = (layer.layer(Slow::default()), keyed.layer(Slow::default()));
    for n in 0..1500 {
        // Clones of the layer and clones of the service.
        let (service, service_keyed) = if n % 2 == 0 {
            (services.clone(), services_keyed.clone())
        } else {
            (layer.clone().layer(Slow::default()), keyed.clone().layer(Slow::default()))
        };
        passed += usize::from(service.oneshot(n).await.is_ok());
        passed_keyed += usize::from(service_keyed.oneshot(n).await.is_ok());
    }
    assert_eq!((passed, passed_keyed), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn of_1500_clones_on_5_permits_5_are_served_at_once() {
    let layer = QueueLayer::new(Permits::new(5, 3));
    let service = layer.layer(Slow { busy: usize::MAX, ..Slow::default() });
    let mut futures: Vec<_> = (0..1500).map(|n| Box::pin(service.clone().call(n))).collect();
    let refused = futures.iter_mut().filter_map(|future| match super::support::poll(future.as_mut()) {
        Poll::Ready(outcome) => Some(refusal(outcome)),
        Poll::Pending => None,
    });
    assert_eq!(refused.filter(|refused| matches!(refused, Refused::Queue(_))).count(), 1492);
}

/// The line is entered in `call`: whose future is polled first does not matter.
#[tokio::test(start_paused = true)]
async fn first_called_first_served() {
    let stack = Stack::new("unlimited", 1, 2);
    let layer = QueueLayer::new(stack.permits.clone());
    let mut service = layer.layer(Slow::default());
    let held = stack.permits.try_enter();
    let (mut first, mut second) = (Box::pin(service.call(1)), Box::pin(service.call(2)));
    assert!(super::support::poll(second.as_mut()).is_pending());
    drop(held);
    assert!(super::support::poll(second.as_mut()).is_pending());
    assert!(super::support::poll(first.as_mut()).is_ready());
    assert!(super::support::poll(second.as_mut()).is_ready());
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_own_and_no_key_is_free() {
    fn key<'k>(request: &&'static str, keys: &'k Limit) -> Option<Key<'k>> {
        (!request.is_empty()).then(|| keys.key([Some(request.as_bytes())]))
    }
    let limit = ByKey::with_clock("stock 6".parse().unwrap(), 10, key, TokioTime::new());
    let limit = limit.cost(|request: &&'static str| request.len() as u64);
    let layer = RateLimitLayer::new(limit);
    let service =
        layer.layer(service_fn(|request: &'static str| async move { Ok::<_, Infallible>(request) }));
    let mut passed = Vec::new();
    for request in ["aaa", "bb", "aaa", "aaa", "", "bb", "ccccccc", "bb", "bb", ""] {
        match service.clone().oneshot(request).await {
            Ok(request) => passed.push(request),
            Err(error) => assert!(matches!(refusal::<()>(Err(error)), Refused::Quota(_))),
        }
    }
    assert_eq!(passed, ["aaa", "bb", "aaa", "", "bb", "bb", ""]);
}

/// A layer and other code that decide on the same keys.
#[tokio::test(start_paused = true)]
async fn a_space_of_a_memory_is_one_for_all_who_decide_on_it() {
    fn key<'k>(request: &u64, keys: &'k Limit) -> Option<Key<'k>> {
        Some(keys.key([Some(request.to_le_bytes().as_slice())]))
    }
    let memory = Memory::with_clock(TokioTime::new());
    let limit = ByKey::in_memory(&memory, "users", "stock 3".parse().unwrap(), key).unwrap();
    let service = RateLimitLayer::new(limit).layer(service_fn(|_| async { Ok::<_, Infallible>(()) }));
    let elsewhere = memory.limit("users", "stock 3".parse().unwrap()).unwrap();
    assert_eq!(key(&7, &elsewhere).unwrap().take_up_to(2, memory.now()), 2);
    assert!(service.clone().oneshot(7_u64).await.is_ok());
    assert!(matches!(refusal(service.clone().oneshot(7).await), Refused::Quota(_)));
    assert!(service.clone().oneshot(8).await.is_ok(), "another key");
    assert_eq!(memory.keys("users"), 2);
}

/// The compiler sees that it is `Send`, though every layer's error is a trait object.
#[tokio::test(start_paused = true)]
async fn a_block_that_waits_for_all_layers_can_be_spawned() {
    let stack = Stack::new("unlimited", 1, 0);
    let service = stack.around(Slow::default());
    let task = tokio::spawn(async move {
        let answer = service.oneshot(7).await?;
        tokio::task::yield_now().await;
        Ok::<_, BoxError>(answer)
    });
    assert_eq!(task.await.unwrap().unwrap(), 7);
}
