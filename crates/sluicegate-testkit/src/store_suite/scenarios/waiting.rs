//! Waiting: for a key's tokens, or for those of several keys.

use std::future::Future;
use std::task::{Context, Waker};
use std::time::Duration;

use sluicegate::decision::Decision;
use sluicegate::store::{Charge, Limiter, Store, StoreError, StoreKey, StoreKeys};
use sluicegate::timer::ManualTime;

use super::{WORKS, available, millis, quota, reserve, take};
use crate::store_suite::Rig;
use crate::wait::{eventually, within};

/// A limiter on keys of the space `s`, `a` and on.
fn limiter<R: Rig>(rig: &R, quotas: &[&str]) -> Limiter<R::Store, ManualTime> {
    let key = |(at, text): (u8, &&str)| StoreKey::new("s", [b'a' + at], quota(text));
    let keys = StoreKeys::new((0..).zip(quotas).map(key)).expect(WORKS);
    Limiter::new(rig.store().clone(), rig.time().clone(), keys).expect(WORKS)
}

/// Watching is told of what is put or goes back, and takes nothing.
pub async fn a_put_wakes_who_watches<R: Rig>(rig: &R) {
    let stock = quota("stock 3 max 9");
    let charge = Charge::new("s", b"k", &stock);
    let booked = reserve(rig, &[charge.of(3)], Duration::ZERO).await.expect("there are three");
    let watch = |n| {
        let store = rig.store().clone();
        tokio::spawn(async move { store.watch(Charge::new("s", b"k", &stock).of(n)).await.expect(WORKS) })
    };
    let (two, four) = (watch(2), watch(4));
    tokio::task::yield_now().await;
    assert_eq!(rig.store().put(charge.of(1)).await.expect(WORKS), 1);
    tokio::task::yield_now().await;
    assert!(!two.is_finished(), "one is not two");
    assert_eq!(rig.store().put(charge.of(1)).await.expect(WORKS), 1);
    let decision = within("a watch that a put ends", two).await.expect(WORKS);
    assert!(decision.is_granted() && decision.remaining() == 2, "{decision:?}");
    assert!(!four.is_finished());
    booked.settle(&[1]).await.expect(WORKS);
    let decision = within("a watch that a booking's end ends", four).await.expect(WORKS);
    assert!(decision.is_granted() && decision.remaining() == 4, "{decision:?}");
    let never = within("a watch for what never comes", rig.store().watch(charge.of(10))).await.expect(WORKS);
    assert!(matches!(never, Decision::Never { .. }));
}

/// Watching ends by itself when the tokens have flowed.
pub async fn time_wakes_who_watches<R: Rig>(rig: &R) {
    let slow = quota("1/s burst 3");
    let charge = Charge::new("s", b"k", &slow);
    let _ = take(rig, &[charge.of(3)]).await;
    let (store, watched) = (rig.store().clone(), slow);
    let watching =
        tokio::spawn(async move { store.watch(Charge::new("s", b"k", &watched).of(2)).await.expect(WORKS) });
    rig.advance(millis(2000) - R::RESOLUTION).await;
    tokio::task::yield_now().await;
    assert!(!watching.is_finished());
    rig.advance(R::RESOLUTION).await;
    assert!(within("a watch that time ends", watching).await.expect(WORKS).is_granted());
    assert_eq!(available(rig, charge).await, 2, "nothing is taken");
}

/// A limiter waits until the last of its keys has its tokens, and refuses at once what takes longer than allowed.
pub async fn a_take_waits_for_the_longest<R: Rig>(rig: &R) {
    let limiter = limiter(rig, &["100/s burst 1", "2/s burst 1"]);
    assert!(limiter.take(1).await.expect(WORKS).is_granted());
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.take(1).await.expect(WORKS) }
    });
    let booked =
        async || limiter.try_take(1).await.expect(WORKS).decision.retry_after() == Some(millis(1000));
    eventually("the booking", async || booked().await.then_some(())).await;
    let refused = limiter.take_within(1, millis(1000) - R::RESOLUTION).await.expect(WORKS);
    assert_eq!(refused.decision.retry_after(), Some(millis(1000)), "behind who waits");
    rig.advance(millis(500) - R::RESOLUTION).await;
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    rig.advance(R::RESOLUTION).await;
    assert!(within("a take that time ends", waiting).await.expect(WORKS).is_granted());
    let never = limiter.take(2).await.expect(WORKS);
    assert!(matches!(never.decision, Decision::Never { .. }), "more than there can be");
    let error = limiter.take(&[1, 1, 1]).await.expect_err("three amounts for two keys");
    assert!(matches!(error, StoreError::Amounts { given: 3, expected: 2 }), "{error}");
}

/// In all of its buckets, as if it had never come; whenever it is dropped, also when its instant has come and it does not know.
pub async fn a_dropped_take_gives_everything_back<R: Rig>(rig: &R) {
    let limiter = limiter(rig, &["stock 9", "2/s burst 1"]);
    let stock = async || available(rig, limiter.keys().keys()[0].charge(0)).await;
    assert!(limiter.take(&[3, 1]).await.expect(WORKS).is_granted());
    for late in [false, true] {
        let mut waiting = Box::pin(limiter.take(&[3, 1]));
        let mut context = Context::from_waker(Waker::noop());
        eventually("the booking", async || {
            assert!(waiting.as_mut().poll(&mut context).is_pending());
            (stock().await == 3).then_some(())
        })
        .await;
        if late {
            rig.advance(millis(1500)).await;
        }
        drop(waiting);
        eventually("the tokens", async || (stock().await == 6).then_some(())).await;
        let slow = limiter.keys().keys()[1].charge(1);
        let expected = if late { Duration::ZERO } else { millis(500) };
        // A store that is spread may give back here later than there.
        eventually("the other limit to be as it would be without", async || {
            let wait = rig.store().peek(&[slow]).await.expect(WORKS).decision.retry_after();
            (wait == Some(expected)).then_some(())
        })
        .await;
    }
}

/// A stock has no instant: whoever puts wakes who waits.
pub async fn a_take_of_a_stock_waits_for_a_put<R: Rig>(rig: &R) {
    let limiter = limiter(rig, &["stock 1 max 5", "10/s"]);
    let stock = limiter.keys().keys()[0].clone();
    assert!(limiter.take(1).await.expect(WORKS).is_granted());
    let late = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.take_within(1, millis(700)).await.expect(WORKS) }
    });
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.take(&[2, 1]).await.expect(WORKS) }
    });
    eventually("the end of the shorter wait", async || {
        rig.advance(millis(100)).await;
        late.is_finished().then_some(())
    })
    .await;
    let refused = late.await.expect(WORKS);
    assert!(matches!(refused.decision, Decision::Later { retry_after: None, .. }), "{refused:?}");
    assert!(!waiting.is_finished());
    assert_eq!(rig.store().put(stock.charge(2)).await.expect(WORKS), 2);
    assert!(within("a take that a put ends", waiting).await.expect(WORKS).is_granted());
    assert_eq!(available(rig, stock.charge(0)).await, 0);
}
