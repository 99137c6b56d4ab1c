//! A store that fails, and one with a guard before it.

use std::time::Duration;

use sluicegate::lease::{Leased, Settings};
use sluicegate::outage::{Guarded, Policy};
use sluicegate::store::{Charge, Decided, Store};
use sluicegate_testkit::faulty::Fault;

use crate::support::{House, LIFETIME, quota, requests, take};

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_costs_tokens_and_mints_none() {
    let (house, some) = (House::new(), quota("1/h burst 1000"));
    let instance = house.instance().await;
    let charge = Charge::new("s", b"k", &some);
    let granted = requests(&instance, charge, 300).await;
    house.sleep(5).await;
    // What lies idle is brought back, and the answer is lost; nor is it brought twice.
    house.store.next([Fault::AnswerBroken]);
    house.sleep(200).await;
    assert_eq!((granted, house.left(charge)), (300, 700));
    let lost = instance.counts().lost;
    assert!(lost > 0 && instance.counts().given_back == 0, "{lost}");
    house.store.next([Fault::AnswerBroken]);
    assert_eq!(take(&instance, charge).await.by, Decided::Store, "it asks by itself");
    assert!(house.left(charge) < 700);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_told_to_each_who_asks() {
    let (house, some) = (House::new(), quota("100/s"));
    let instance = house.instance().await;
    house.store.set(Fault::Fails);
    for _ in 0..3 {
        assert!(instance.take(&[Charge::new("s", b"k", &some)]).await.unwrap_err().is_outage());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_spent_in_an_outage_and_then_the_guard_decides() {
    let (house, some) = (House::new(), quota("1/h burst 1000"));
    let settings = sluicegate::outage::Settings::new(Policy::LocalShare)
        .with_timeout(Duration::from_millis(20))
        .with_instances(10);
    let (guarded, guard) = Guarded::new(house.store.clone(), house.time, settings);
    let (instance, upkeep) =
        Leased::new(guarded.clone(), house.time, Settings::default().with_lifetime(LIFETIME));
    let tasks = [tokio::spawn(guard.run()), tokio::spawn(upkeep.run())];
    tokio::task::yield_now().await;
    let charge = Charge::new("s", b"k", &some);
    let take = async || instance.take(&[charge]).await.unwrap();
    for _ in 0..300 {
        assert!(take().await.is_granted());
    }
    let held = instance.held();
    assert!(held > 10);
    house.store.set(Fault::Hangs);
    let mut by = [0_u64; 2];
    for _ in 0..1000 {
        let verdict = take().await;
        by[usize::from(verdict.by != Decided::Lease)] += u64::from(verdict.is_granted());
    }
    let left = 1000 - 300 - held;
    assert_eq!(by[0], held, "what it has");
    assert!(by[1] <= left / 10 + 1 && by[1] + 1 >= left / 10, "a tenth of what was left: {by:?} of {left}");
    assert_eq!(instance.held(), 0, "what the guard grants is not held");
    house.store.set(Fault::None);
    house.sleep(1500).await;
    assert!(take().await.is_granted());
    assert_eq!(guarded.owing(), 0);
    instance.close().await;
    guarded.close().await;
    for task in tasks {
        task.await.unwrap();
    }
    let spent = 300 + by[0] + by[1] + 1;
    assert_eq!(house.left(charge), 1000 - spent);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_call_that_hangs_asks_the_store_after_a_minute_and_that_is_counted() {
    let (house, some) = (House::new(), quota("1/h burst 1000"));
    let instance = house.instance().await;
    let charge = Charge::new("s", b"k", &some);
    assert_eq!(requests(&instance, charge, 100).await, 100);
    assert!(instance.held() > 0);
    // The next that tokens are asked for is never answered, and nobody bounds that.
    house.store.next([Fault::Hangs]);
    let before = house.now();
    while instance.counts().overdue == 0 {
        let verdict = take(&instance, charge).await;
        assert!(verdict.is_granted() && house.now() - before < 61_000_000_000);
    }
    assert!(house.now() - before >= 60_000_000_000);
    assert_eq!(instance.counts().overdue, 1);
}
