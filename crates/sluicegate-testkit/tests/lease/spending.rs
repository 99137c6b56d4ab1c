//! What is held is spent here; the store is asked seldom, and once.

use std::time::Duration;

use sluicegate::decision::Decision;
use sluicegate::lease::Settings;
use sluicegate::store::{Charge, Decided, Outcome, Store};
use sluicegate_testkit::faulty::Fault;

use crate::support::{House, quota, requests, take};

#[tokio::test(start_paused = true)]
async fn a_busy_key_asks_the_store_seldom() {
    let (house, fast) = (House::new(), quota("1000000/s"));
    let instance = house.instance().await;
    let charge = Charge::new("s", b"k", &fast);
    for _ in 0..400 {
        assert_eq!(requests(&instance, charge, 50).await, 50);
        house.sleep(5).await;
    }
    let before = house.store.calls();
    for _ in 0..400 {
        assert_eq!(requests(&instance, charge, 50).await, 50);
        house.sleep(5).await;
    }
    // Two seconds, five lifetimes.
    let calls = house.store.calls() - before;
    assert!(calls <= 30, "{calls} calls for 20 000 requests");
    assert!(instance.held() <= 2000, "half a lifetime's");
    assert_eq!(take(&instance, charge).await.by, Decided::Lease);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_fetched_before_they_run_out_and_nobody_waits() {
    let (house, fast) = (House::new(), quota("1000000/s"));
    let instance = house.instance().await;
    let charge = Charge::new("s", b"k", &fast);
    for _ in 0..200 {
        let _ = requests(&instance, charge, 20).await;
        house.sleep(2).await;
    }
    let waited = instance.counts().waited;
    for _ in 0..1000 {
        let _ = requests(&instance, charge, 20).await;
        house.sleep(2).await;
    }
    assert_eq!(instance.counts().waited, waited);
}

#[tokio::test(start_paused = true)]
async fn many_who_wait_are_one_call() {
    let (house, some) = (House::new(), quota("100/s"));
    let instance = house.instance().await;
    let charge = Charge::new("s", b"k", &some);
    let all = (0..150).map(|_| take(&instance, charge));
    let verdicts = futures_util::future::join_all(all).await;
    assert_eq!(verdicts.iter().filter(|verdict| verdict.is_granted()).count(), 100);
    // As many as there can be; what is left then says when there are more.
    assert_eq!(house.store.calls(), 1);
    assert_eq!(house.left(charge), 0);
    let waits: Vec<_> = verdicts.iter().filter_map(|verdict| verdict.decision.retry_after()).collect();
    assert!(waits.is_sorted(), "one after the other, as if each had asked by itself");
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_refused_here_until_its_time() {
    let (house, some) = (House::new(), quota("10/s burst 20"));
    let instance = house.instance().await;
    let charge = Charge::new("s", b"k", &some);
    assert!(take(&instance, charge.of(20)).await.is_granted());
    let calls = house.store.calls();
    let verdict = take(&instance, charge).await;
    let Decision::Later { retry_after: Some(wait), .. } = verdict.decision else {
        unreachable!("{verdict:?}")
    };
    assert_eq!(verdict.by, Decided::Lease);
    assert_eq!((requests(&instance, charge, 1000).await, house.store.calls()), (0, calls));
    house.sleep(u64::try_from(wait.as_millis()).unwrap() + 1).await;
    assert!(take(&instance, charge).await.is_granted());
}

#[tokio::test(start_paused = true)]
async fn several_keys_are_all_or_nothing_here_too() {
    let (house, some, few) = (House::new(), quota("1000/s"), quota("1/h burst 30"));
    let instance = house.instance().await;
    let charges = [Charge::new("more", b"k", &some), Charge::new("less", b"k", &few)];
    let mut granted = 0;
    for _ in 0..100 {
        let verdict = instance.take(&charges).await.unwrap();
        granted += u64::from(verdict.is_granted());
        assert_eq!((verdict.by, verdict.each.len()), (Decided::Lease, 2));
    }
    assert_eq!(granted, 30);
    instance.close().await;
    house.sleep(1000).await;
    assert_eq!((house.left(charges[0]), house.left(charges[1])), (1000, 0));
    let refused = instance.take(&charges).await.unwrap();
    assert_eq!(refused.by, Decided::Store, "closed");
}

#[tokio::test(start_paused = true)]
async fn what_can_t_be_leased_is_the_store_s() {
    let (house, stock) = (House::new(), quota("stock 10"));
    let instance = house.instance().await;
    let charge = Charge::new("s", b"k", &stock);
    assert_eq!(requests(&instance, charge, 15).await, 10);
    assert_eq!((instance.leases(), house.store.calls()), (0, 15));
    assert_eq!(take(&instance, charge).await.by, Decided::Store);
}

#[tokio::test(start_paused = true)]
async fn only_the_limits_that_are_named_have_leases() {
    let (house, fast) = (House::new(), quota("1000000/s"));
    let instance = house.instance().await;
    instance.lease_only(["pages"]);
    let [pages, logins] = ["pages", "logins"].map(|space| Charge::new(space, b"k", &fast));
    assert_eq!(requests(&instance, logins, 20).await, 20);
    assert_eq!((instance.leases(), house.store.calls()), (0, 20));
    assert_eq!(take(&instance, pages).await.by, Decided::Lease);
    let both = instance.take(&[pages, logins]).await.unwrap();
    assert_eq!((both.is_granted(), both.by), (true, Decided::Store), "the store's as a whole");
}

#[tokio::test(start_paused = true)]
async fn a_booking_of_what_is_held_is_settled_here_and_by_the_store() {
    let (house, some) = (House::new(), quota("1/h burst 100"));
    let instance = house.instance().await;
    let charges = [Charge::new("s", b"k", &some).of(40)];
    let book = async || match instance.reserve(&charges, Duration::ZERO).await.unwrap() {
        Outcome::Reserved(reservation) => reservation,
        Outcome::Refused(verdict) => unreachable!("{verdict:?}"),
    };
    book().await.settle(&[10]).await.unwrap();
    book().await.settle(&[45]).await.unwrap();
    book().await.give_back();
    instance.close().await;
    assert_eq!(house.left(charges[0]), 100 - 10 - 45);
}

#[tokio::test(start_paused = true)]
async fn who_waits_longer_books_in_the_store() {
    let (house, some) = (House::new(), quota("10/s burst 10"));
    let instance = house.instance().await;
    let charge = Charge::new("s", b"k", &some);
    assert!(take(&instance, charge.of(10)).await.is_granted());
    let outcome = instance.reserve(&[charge], Duration::from_secs(1)).await.unwrap();
    let delay = outcome.reserved().unwrap().delay();
    assert!(delay > Duration::from_millis(90) && delay <= Duration::from_millis(100), "{delay:?}");
}

#[tokio::test(start_paused = true)]
async fn keys_are_bounded_and_a_key_that_nobody_asks_for_is_forgotten() {
    let (house, some) = (House::new(), quota("100/s"));
    let (instance, upkeep) = house.parts(Settings::default().with_max_keys(10));
    tokio::spawn(upkeep.run());
    tokio::task::yield_now().await;
    for key in 0..30_u8 {
        assert!(take(&instance, Charge::new("s", &[key], &some)).await.is_granted());
    }
    assert_eq!((instance.leases(), instance.counts().passed), (10, 20));
    house.sleep(1000).await;
    assert_eq!((instance.leases(), instance.held()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn another_quota_begins_another_lease_and_mints_nothing() {
    let (house, old, new) = (House::new(), quota("1/h burst 1000"), quota("1/h burst 500"));
    let instance = house.instance().await;
    let (by_old, by_new) = (Charge::new("s", b"k", &old), Charge::new("s", b"k", &new));
    assert_eq!(requests(&instance, by_old, 100).await, 100);
    assert_eq!(requests(&instance, by_new, 2000).await, 500);
}

#[tokio::test(start_paused = true)]
async fn takes_of_all_there_is_puts_and_resets_know_what_is_held() {
    let (house, some) = (House::new(), quota("1/h burst 1000"));
    let instance = house.instance().await;
    let charge = Charge::new("s", b"k", &some);
    assert_eq!(requests(&instance, charge, 200).await, 200);
    assert!(instance.held() > 0);
    assert_eq!(
        instance.peek(&[charge.of(800)]).await.unwrap().decision.remaining(),
        800,
        "with what is held"
    );
    // What is on its way meanwhile comes later.
    let all = instance.take_all(charge).await.unwrap();
    house.sleep(5).await;
    assert_eq!(all + instance.take_all(charge).await.unwrap(), 800);
    assert!(!take(&instance, charge).await.is_granted());
    assert_eq!(instance.put(charge.of(5)).await.unwrap(), 5);
    assert_eq!(requests(&instance, charge, 10).await, 5, "what was put is there at once");
    assert!(!instance.watch(charge.of(2000)).await.unwrap().is_granted());
    instance.reset("s", b"k").await.unwrap();
    assert_eq!(instance.take_all(charge).await.unwrap(), 1000);
    house.store.set(Fault::Fails);
    assert!(instance.take_up_to(charge).await.is_err());
}
