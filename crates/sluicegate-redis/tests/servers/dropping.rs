//! Futures that are dropped, at whatever await: what they were about to do goes back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sluicegate::quota::Quota;
use sluicegate::store::{Charge, Store, StoreError};
use sluicegate_redis::{Redis, Settings};
use sluicegate_testkit::wait::{PATIENCE, eventually};

use crate::cluster;
use crate::server::{prefix, shared};

/// Polls a future so often, the runtime having its turn before each, and drops it. Says whether it had ended.
async fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(output) = polled.await {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

async fn nothing_is_lost(settings: Settings) {
    let settings = settings.prefix(&prefix()).expect("a prefix").timeout(PATIENCE).connect_timeout(PATIENCE);
    let store = Redis::open(settings);
    let (stock, slow): (Quota, Quota) =
        ("stock 9".parse().expect("a quota"), "1/h burst 2".parse().expect("a quota"));
    let charges = [
        Charge::new("s", b"a", &stock).of(3),
        Charge::new("s", b"b", &slow).of(2),
        Charge::new("s", b"c", &stock),
    ];
    let (mut dropped, mut kind, mut polls) = ([0; 3], 0, 0);
    while kind < 3 {
        let has_ended = match kind {
            0 => match dropped_after(polls, store.take(&charges)).await {
                Some(verdict) => {
                    assert!(verdict.expect("an answer").is_granted());
                    for charge in charges {
                        assert_eq!(store.put(charge).await.expect("an answer"), charge.n);
                    }
                    true
                }
                None => false,
            },
            1 => match dropped_after(polls, store.reserve(&charges, Duration::ZERO)).await {
                Some(outcome) => {
                    let reservation = outcome.expect("an answer").reserved();
                    reservation.expect("there are enough").cancel().await.expect("an answer");
                    true
                }
                None => false,
            },
            _ => match dropped_after(polls, store.take_up_to(charges[0])).await {
                Some(taken) => {
                    assert_eq!(taken.expect("an answer"), 3);
                    assert_eq!(store.put(charges[0]).await.expect("an answer"), 3);
                    true
                }
                None => false,
            },
        };
        // At every await near the beginning, then now and then, until it is there before it is dropped.
        dropped[kind] += u32::from(!has_ended && polls > 0);
        polls = if polls < 30 { polls + 1 } else { polls + polls / 4 };
        if has_ended && polls > 30 {
            (kind, polls) = (kind + 1, 0);
        }
        // What had left comes back in its own time.
        eventually("everything to be there", async || {
            store.ping().await.expect("an answer");
            for charge in charges {
                let left = store.peek(&[charge.of(0)]).await.expect("an answer").decision.remaining();
                if left != charge.quota.capacity() {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }
    assert!(dropped.iter().all(|times| *times > 0), "so often each was dropped under way: {dropped:?}");
    assert_eq!(store.lost(), 0);
    store.close().await;
    let error = store.take(&charges).await.expect_err("closed");
    assert!(matches!(error, StoreError::Away { .. }), "{error}");
}

#[tokio::test]
async fn what_is_dropped_goes_back() {
    nothing_is_lost(shared().settings()).await;
}

#[tokio::test]
async fn what_is_dropped_goes_back_to_all_slots() {
    nothing_is_lost(cluster::shared().settings()).await;
}
