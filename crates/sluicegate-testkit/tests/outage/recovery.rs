//! Back to normal without a jump.

use std::time::Duration;

use sluicegate::breaker::Standing;
use sluicegate::restart;
use sluicegate::store::{Charge, Decided, Outcome, Store};
use sluicegate::supervise::Steward;
use sluicegate_testkit::faulty::Fault;

use crate::support::{House, quota, share, take};

#[tokio::test(start_paused = true)]
async fn what_was_granted_meanwhile_is_charged_before_anything_else_is_granted() {
    let (house, some) = (House::new(), quota("1/s burst 100"));
    let instance = house.alone(share());
    let charge = Charge::new("s", b"k", &some);
    house.store.set(Fault::Hangs);
    assert_eq!(instance.take_all(charge).await.unwrap(), 100);
    assert_eq!(instance.owing(), 1);
    house.store.set(Fault::None);
    house.sleep(2000).await;
    let verdict = take(&instance, charge).await;
    assert_eq!((verdict.by, verdict.decision.remaining()), (Decided::Store, 1), "two have flowed since");
    assert_eq!((instance.owing(), instance.counts().paid), (0, 98), "what has flowed back is not owed");
}

#[tokio::test(start_paused = true)]
async fn the_upkeep_pays_for_keys_that_nobody_asks_for_any_more() {
    let (house, some) = (House::new(), quota("1/h burst 100"));
    let instance = house.attended(share());
    house.sleep(1).await;
    house.store.set(Fault::Hangs);
    for key in 0..20_u8 {
        assert!(take(&instance, Charge::new("s", &[key], &some).of(30)).await.is_granted());
    }
    assert_eq!(instance.owing(), 20);
    house.store.set(Fault::None);
    house.sleep(200).await;
    assert_eq!((instance.owing(), instance.standing()), (0, Standing::Closed));
    for key in 0..20_u8 {
        let left = house.store.store().peek_at(&[Charge::new("s", &[key], &some)], house.now()).unwrap();
        assert_eq!(left.decision.remaining(), 70);
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_paid_is_still_owed() {
    let (house, some) = (House::new(), quota("1/h burst 100"));
    let instance = house.alone(share());
    let charge = Charge::new("s", b"k", &some);
    house.store.set(Fault::Hangs);
    assert!(take(&instance, charge.of(60)).await.is_granted());
    house.sleep(200).await;
    // Back, and away again while it is paid; the payment has its effect.
    house.store.next([Fault::AnswerLost]);
    assert_eq!(
        take(&instance, charge.of(30)).await.by,
        Decided::Outage(sluicegate::outage::Policy::LocalShare)
    );
    assert_eq!(instance.owing(), 1);
    house.store.set(Fault::None);
    house.sleep(2000).await;
    let verdict = take(&instance, charge).await;
    assert!(!verdict.is_granted(), "never granted twice, though it may be paid twice");
    assert_eq!((verdict.by, instance.owing()), (Decided::Store, 0));
}

/// What a body of many bursts has cost, known only when it had passed.
#[tokio::test(start_paused = true)]
async fn a_debt_of_many_bursts_is_paid_in_few_calls() {
    let (house, some) = (House::new(), quota("1/h burst 2"));
    let instance = house.alone(share());
    let charge = Charge::new("s", b"k", &some);
    house.store.set(Fault::Hangs);
    let Outcome::Reserved(reservation) = instance.reserve(&[charge], Duration::ZERO).await.unwrap() else {
        panic!("there are two")
    };
    reservation.settle(&[1000]).await.unwrap();
    house.store.set(Fault::None);
    house.sleep(2000).await;
    let calls = house.store.calls();
    let verdict = take(&instance, charge).await;
    assert_eq!((verdict.is_granted(), verdict.by, instance.owing()), (false, Decided::Store, 0));
    assert_eq!((house.store.calls() - calls, instance.counts().paid), (2, 1000), "who asks has paid, too");
    let left = house.store.store().peek_at(&[charge], house.now()).unwrap();
    let wait = left.decision.retry_after().unwrap();
    assert!(wait > Duration::from_secs(998 * 3600), "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn while_one_pays_others_are_answered_here() {
    let (house, some) = (House::new(), quota("1/h burst 100"));
    let instance = house.alone(share());
    let charge = Charge::new("s", b"k", &some);
    house.store.set(Fault::Hangs);
    assert!(take(&instance, charge.of(60)).await.is_granted());
    house.store.set(Fault::None);
    house.sleep(200).await;
    assert!(instance.ping().await.is_ok());
    house.store.set(Fault::Slow(std::time::Duration::from_millis(10)));
    let (first, second) =
        futures_util::future::join(take(&instance, charge.of(5)), take(&instance, charge.of(7))).await;
    assert!(first.is_granted() && second.is_granted());
    assert_ne!(first.by, second.by);
    let left = house.store.store().peek_at(&[charge], house.now()).unwrap();
    assert_eq!((left.decision.remaining(), instance.owing()), (100 - 60 - 5 - 7, 0));
}

#[tokio::test(start_paused = true)]
async fn an_upkeep_whose_store_panics_is_begun_anew_and_pays() {
    let (house, some) = (House::new(), quota("1/h burst 100"));
    let (instance, upkeep) = house.instance(share());
    let mut steward = Steward::new(restart::Settings::default(), house.time);
    steward.keep("guard", upkeep);
    let handle = steward.handle();
    // Its first sign of life.
    house.store.next([Fault::Panics]);
    let run = tokio::spawn(steward.run());
    house.sleep(20).await;
    assert_eq!(handle.counts().restarts, 1);
    house.store.set(Fault::Hangs);
    let charge = Charge::new("s", b"k", &some);
    assert!(take(&instance, charge.of(30)).await.is_granted());
    house.store.set(Fault::None);
    // The probe finds it, and the payment panics before it reaches the store.
    house.store.next([Fault::None, Fault::Panics]);
    house.sleep(300).await;
    assert_eq!((instance.owing(), instance.standing(), handle.counts().restarts), (0, Standing::Closed, 2));
    let left = house.store.store().peek_at(&[charge], house.now()).unwrap();
    assert_eq!(left.decision.remaining(), 70, "once");
    let group = house.store.store().beat("sluicegate", b"me", Duration::from_secs(60)).await.unwrap();
    assert_eq!(group, 2, "all its lives are one instance");
    handle.closed().await;
    assert!(run.await.unwrap().unwrap().shut_down);
    let group = house.store.store().beat("sluicegate", b"me", Duration::from_secs(60)).await.unwrap();
    assert_eq!(group, 1, "it has left");
}
