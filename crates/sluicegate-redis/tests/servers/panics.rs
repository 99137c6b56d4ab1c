//! The task that asks the server panics: a bug, which costs that call and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::{join, join_all};
use sluicegate::store::{Charge, Outcome, Reservation, Store, StoreError};
use sluicegate::timer::TokioTime;
use sluicegate_redis::Redis;

use crate::server::{prefix, settings, shared};

/// A store whose calls panic as often as the counter says, one a call to the server.
fn store() -> (Redis, Arc<AtomicU64>) {
    let panics = Arc::new(AtomicU64::new(0));
    let left = Arc::clone(&panics);
    let settings = settings(&shared().url()).prefix(&prefix()).expect("a prefix").max_batch(1);
    let store = Redis::open_in_test_time(settings, TokioTime::new(), move || {
        let one_less = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        assert!(one_less.is_err(), "as the test has said");
        1_000_000
    });
    (store, panics)
}

#[tokio::test]
async fn whoever_waits_for_it_is_told_and_the_others_are_answered() {
    let (store, panics) = store();
    let quota = "stock 100".parse().expect("a quota");
    let charge = Charge::new("s", b"k", &quota);
    for n in 1..=3 {
        panics.store(1, Ordering::Relaxed);
        let takes: Vec<_> = (0..8).map(|_| async { store.take(&[charge]).await }).collect();
        let answers = join_all(takes).await;
        let lost = answers.iter().filter(|answer| matches!(answer, Err(StoreError::Lost { .. }))).count();
        let granted = answers.iter().flatten().filter(|verdict| verdict.is_granted()).count();
        assert_eq!((lost, granted), (1, 7), "{answers:?}");
        assert_eq!(store.restarts(), n);
    }
    let left = store.peek(&[charge.of(0)]).await.expect("an answer").decision.remaining();
    assert_eq!((left, store.lost()), (79, 0), "what panicked had not reached the server");
    store.close().await;
    assert!(matches!(store.take(&[charge]).await, Err(StoreError::Away { .. })), "closed, and said to be");
}

#[tokio::test]
async fn what_goes_back_then_is_counted_as_lost_and_a_close_still_ends() {
    let (store, panics) = store();
    let quota = "stock 10".parse().expect("a quota");
    let charge = Charge::new("s", b"k", &quota);
    let outcome = store.reserve(&[charge.of(4)], std::time::Duration::ZERO).await.expect("an answer");
    let Outcome::Reserved(booked) = outcome else { panic!("{outcome:?}") };
    panics.store(1, Ordering::Relaxed);
    // Given back while the store is being closed.
    let ((), ()) = join(async { Reservation::give_back(booked) }, store.close()).await;
    assert_eq!((store.lost(), store.restarts()), (1, 1));
}
