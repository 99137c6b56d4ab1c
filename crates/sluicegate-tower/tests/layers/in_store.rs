//! Limits in a store that has to be asked: nothing is lost while it is, and nothing is charged for what never reached the service.

use std::time::Duration;

use sluicegate::memory::Memory;
use sluicegate::outage::{Guarded, Policy, Settings};
use sluicegate::permits::Permits;
use sluicegate::store::{Charge, Store, StoreError, StoreKey};
use sluicegate::timer::TokioTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};
use sluicegate_testkit::faulty::{Fault, Faulty};
use sluicegate_tower::async_rate_limit::AsyncRateLimitLayer;
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::due::After;
use sluicegate_tower::in_store::InStore;
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::refused::Refused;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::support::{Slow, refusal};

type Far = Faulty<Memory<TokioTime>, TokioTime>;

fn far() -> Far {
    let time = TokioTime::new();
    Faulty::new(Memory::with_clock(time), time)
}

fn keys(request: &u64) -> Vec<(StoreKey, u64)> {
    let key = |space: &str| StoreKey::new(space, *b"k", "stock 3".parse().unwrap());
    vec![(key("requests"), 1), (key("weight"), *request)]
}

/// What is left of both limits.
async fn left(store: &Far) -> [u64; 2] {
    let all = keys(&0);
    let charges: Vec<Charge<'_>> = all.iter().map(|(key, _)| key.charge(0)).collect();
    let each = store.store().peek(&charges).await.unwrap().each;
    [each[0].remaining(), each[1].remaining()]
}

#[tokio::test(start_paused = true)]
async fn all_limits_are_asked_at_once_and_all_or_none_is_charged() {
    let store = far();
    let service = AsyncRateLimitLayer::new(InStore::new(store.clone(), keys)).layer(Slow::default());
    assert!(service.clone().oneshot(2).await.is_ok());
    assert_eq!((store.calls(), left(&store).await), (1, [2, 1]));
    assert!(matches!(refusal(service.clone().oneshot(2).await), Refused::Quota(_)));
    assert_eq!((store.calls(), left(&store).await), (2, [2, 1]));
    store.set(Fault::Fails);
    let error = service.clone().oneshot(1).await.unwrap_err();
    assert!(error.downcast_ref::<StoreError>().is_some_and(StoreError::is_outage), "{error}");
    store.set(Fault::None);
    assert!(service.oneshot(1).await.is_ok());
    assert_eq!(left(&store).await, [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn who_is_turned_away_later_gets_its_tokens_back() {
    let (store, permits) = (far(), Permits::new(1, 0));
    let held = permits.try_enter();
    let service = ServiceBuilder::new()
        .layer(AsyncRateLimitLayer::new(InStore::new(store.clone(), keys)).over_queue())
        .layer(QueueLayer::new(permits.clone()))
        .service(Slow::default());
    for _ in 0..5 {
        assert!(matches!(refusal(service.clone().oneshot(1).await), Refused::Queue(_)));
    }
    assert_eq!((store.calls(), left(&store).await), (5, [3, 3]));
    drop(held);
    assert!(service.oneshot(1).await.is_ok());
    assert_eq!(left(&store).await, [2, 2]);
}

#[tokio::test(start_paused = true)]
async fn dropped_at_any_await_it_is_charged_if_it_was_served() {
    for slow in [Fault::None, Fault::Slow(Duration::from_millis(250))] {
        let seen = Drops::new()
            .run(
                || {
                    let (store, permits) = (far(), Permits::new(1, 1));
                    store.set(slow);
                    let inner = Slow { unready: 2, busy: 3, ..Slow::default() };
                    let held = permits.try_enter();
                    let after = After::new(Duration::from_secs(3600), TokioTime::new());
                    let stack = ServiceBuilder::new()
                        .layer(DeadlineLayer::new(after).over_queue())
                        .layer(AsyncRateLimitLayer::new(InStore::new(store.clone(), keys)).over_queue())
                        .layer(QueueLayer::new(permits.clone()))
                        .service(inner.clone());
                    ((store, permits, inner, held), stack.oneshot(1))
                },
                async |(_, _, _, held), number| {
                    tokio::time::advance(Duration::from_millis(100)).await;
                    if number == 4 {
                        *held = None;
                        return Turn::MustWake;
                    }
                    Turn::MayWait
                },
                |(store, permits, inner, held), outcome| {
                    let served = u64::try_from(inner.calls()).unwrap();
                    let left = at_once(left(store));
                    assert_eq!(left, [3 - served; 2], "tokens");
                    assert_eq!(store.under_way(), 0);
                    let others = usize::from(held.is_some());
                    assert_eq!((permits.in_flight(), permits.waiting()), (others, 0));
                    assert!(!matches!(outcome, Left::Output(Err(_))), "{outcome:?}");
                },
            )
            .await;
        assert!(seen.polls > 6, "every await was seen: {}", seen.polls);
    }
}

/// The store in this process answers at once.
fn at_once<F: Future>(future: F) -> F::Output {
    match super::support::poll(std::pin::pin!(future)) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("it has to wait"),
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_guard_it_is_answered_by_policy_and_closed_is_no_quota() {
    let store = far();
    store.set(Fault::Hangs);
    let settings = Settings::new(Policy::LocalShare).with_policy("weight", Policy::Closed);
    let (guarded, _upkeep) = Guarded::new(store.clone(), TokioTime::new(), settings);
    let service = ServiceBuilder::new()
        .layer(AsyncRateLimitLayer::new(InStore::new(guarded, keys)).with_error::<Refused>())
        .service(Slow::default());
    let refused = service.clone().oneshot(1).await.unwrap_err();
    assert!(matches!(refused, Refused::Away { retry_after: Some(_) }), "{refused:?}");
    // What costs nothing there is decided by the share of the other.
    let mut passed = 0;
    for _ in 0..9 {
        passed += usize::from(service.clone().oneshot(0).await.is_ok());
    }
    assert_eq!(passed, 3);
    assert!(matches!(service.oneshot(0).await, Err(Refused::Quota(_))));
}
