//! What is answered in place of the store.

use std::time::Duration;

use sluicegate::decision::Decision;
use sluicegate::outage::{Policy, Settings};
use sluicegate::store::{Charge, Decided, Limiter, Outcome, Store, StoreKey};
use sluicegate_testkit::faulty::Fault;

use crate::support::{House, Instance, quota, share, take};

/// Has the breaker open.
async fn away(house: &House, instance: &Instance) {
    house.store.set(Fault::Hangs);
    assert!(instance.ping().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn each_limit_has_its_own_and_the_decision_says_which() {
    let (house, some) = (House::new(), quota("10/s"));
    let instance =
        house.alone(share().with_policy("logins", Policy::Closed).with_policy("pages", Policy::Open));
    away(&house, &instance).await;
    let (pages, logins, rest) = (
        Charge::new("pages", b"k", &some),
        Charge::new("logins", b"k", &some),
        Charge::new("rest", b"k", &some),
    );
    let verdict = take(&instance, pages.of(10)).await;
    assert!(verdict.is_granted());
    assert_eq!(verdict.by, Decided::Outage(Policy::Open));
    let verdict = take(&instance, logins).await;
    assert!(
        matches!(verdict.decision, Decision::Later { retry_after: Some(wait), .. } if wait > Duration::ZERO)
    );
    assert_eq!(verdict.by, Decided::Outage(Policy::Closed));
    let verdict = take(&instance, rest.of(4)).await;
    assert_eq!((verdict.is_granted(), verdict.decision.remaining()), (true, 6));
    assert_eq!(verdict.by, Decided::Outage(Policy::LocalShare));
    let verdict = instance.take(&[pages, rest, logins]).await.unwrap();
    assert_eq!((verdict.is_granted(), verdict.by), (false, Decided::Outage(Policy::Closed)));
    assert_eq!(verdict.each[1].remaining(), 6, "nothing is taken from the others");
    let verdict = instance.take(&[pages, rest]).await.unwrap();
    assert_eq!((verdict.is_granted(), verdict.by), (true, Decided::Outage(Policy::LocalShare)));
    let counts = instance.counts();
    assert_eq!((counts.open_granted, counts.closed_refused, counts.share_granted), (1, 2, 2));

    instance.set_policies(Policy::Open, [("pages", Policy::Closed)]);
    assert_eq!(take(&instance, pages).await.by, Decided::Outage(Policy::Closed));
    assert!(take(&instance, logins).await.is_granted() && take(&instance, rest.of(10)).await.is_granted());
    assert_eq!(instance.owing(), 1, "what a share has granted is owed all the same");
}

#[tokio::test(start_paused = true)]
async fn what_needs_no_store_to_be_known_is_said_whatever_the_policy() {
    let house = House::new();
    let (ban, unlimited, some) = (quota("ban"), quota("unlimited"), quota("10/s"));
    for policy in [Policy::Open, Policy::Closed, Policy::LocalShare] {
        let instance = house.alone(Settings::new(policy));
        away(&house, &instance).await;
        assert!(take(&instance, Charge::new("a", b"k", &ban)).await.decision.is_never(), "{policy}");
        assert!(take(&instance, Charge::new("b", b"k", &unlimited)).await.is_granted(), "{policy}");
        assert!(take(&instance, Charge::new("c", b"k", &some).of(11)).await.decision.is_never(), "{policy}");
        house.store.set(Fault::None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_share_is_the_quota_divided_by_the_instances_that_were_seen() {
    let (house, some) = (House::new(), quota("40/s"));
    let instances = [(); 4].map(|()| house.attended(share()));
    house.sleep(1100).await;
    let charge = Charge::new("s", b"k", &some);
    for instance in &instances {
        assert_eq!(instance.instances(), 4);
        away(&house, instance).await;
    }
    for instance in &instances {
        assert_eq!(instance.take_all(charge).await.unwrap(), 10);
    }
    house.sleep(300).await;
    for instance in &instances {
        assert_eq!(instance.take_all(charge).await.unwrap(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_or_dies_is_not_counted_any_more() {
    let house = House::new();
    let (stays, leaves) = (house.attended(share()), house.attended(share()));
    let (dies, upkeep) = house.instance(share());
    let task = tokio::spawn(upkeep.run());
    house.sleep(1100).await;
    assert_eq!((stays.instances(), dies.instances()), (3, 3));
    leaves.close().await;
    task.abort();
    house.sleep(1000).await;
    assert_eq!(stays.instances(), 2);
    house.sleep(3000).await;
    assert_eq!(stays.instances(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_begins_with_what_the_store_told_last() {
    let (house, some) = (House::new(), quota("10/s burst 100"));
    let instance = house.alone(share().with_instances(2));
    let charge = Charge::new("s", b"k", &some);
    assert!(take(&instance, charge.of(90)).await.is_granted());
    away(&house, &instance).await;
    // Ten were left, and half a token has flowed in the timeout.
    assert_eq!(instance.take_all(charge).await.unwrap(), 5);
    let wait = take(&instance, charge).await.decision.retry_after();
    assert_eq!(wait, Some(Duration::from_millis(150)), "two tokens of the whole quota, less what has flowed");
}

#[tokio::test(start_paused = true)]
async fn a_booking_waits_and_is_settled_here_too() {
    let (house, some) = (House::new(), quota("10/s burst 4"));
    let instance = house.alone(share().with_instances(2));
    away(&house, &instance).await;
    let charges = [Charge::new("s", b"k", &some)];
    let book = async |n, wait| {
        instance.reserve(&[charges[0].of(n)], Duration::from_millis(wait)).await.unwrap().reserved()
    };
    let first = book(2, 0).await.unwrap();
    let second = book(1, 200).await.unwrap();
    assert_eq!((second.delay(), second.is_due()), (Duration::from_millis(200), false));
    assert!(book(1, 399).await.is_none());
    first.settle(&[1]).await.unwrap();
    drop(second);
    assert!(take(&instance, charges[0]).await.is_granted());
    assert!(!take(&instance, charges[0]).await.is_granted());
}

#[tokio::test(start_paused = true)]
async fn who_waits_by_a_limiter_is_served_by_the_share_or_by_the_store_once_it_is_back() {
    let house = House::new();
    let instance = house.attended(share().with_policy("stock", Policy::Closed));
    house.sleep(1).await;
    let limiter = |space: &str, text: &str| {
        let key = StoreKey::new(space, *b"k", quota(text));
        Limiter::new(instance.clone(), house.time, key).unwrap()
    };
    let (shared, stock) = (limiter("rate", "10/s burst 1"), limiter("stock", "stock 1"));
    away(&house, &instance).await;
    assert!(shared.take(1).await.unwrap().is_granted());
    let began = house.now();
    let verdict = shared.take(1).await.unwrap();
    assert_eq!((verdict.is_granted(), house.now() - began), (true, 100_000_000));
    assert_eq!(verdict.by, Decided::Outage(Policy::LocalShare));
    assert!(!stock.take(1).await.unwrap().is_granted(), "refused, with the time until it is tried again");
    let watch = instance.watch(stock.keys().keys()[0].charge(1));
    let back = async {
        house.sleep(500).await;
        house.store.set(Fault::None);
    };
    let (decision, ()) = futures_util::future::join(watch, back).await;
    assert!(decision.unwrap().is_granted());
    assert!(stock.take(1).await.unwrap().is_granted());
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_and_who_finds_no_room_is_refused_and_counted() {
    let (house, some) = (House::new(), quota("10/s"));
    let instance = house.alone(share().with_max_keys(3));
    away(&house, &instance).await;
    let granted = async |keys: std::ops::Range<u8>| {
        let mut granted = 0;
        for key in keys {
            granted += u64::from(take(&instance, Charge::new("s", &[key], &some)).await.is_granted());
        }
        granted
    };
    assert_eq!((granted(0..10).await, granted(0..3).await, instance.owing()), (3, 3, 3));
    assert_eq!(instance.counts().crowded, 7);
}

#[tokio::test(start_paused = true)]
async fn what_can_t_be_done_without_the_store_is_an_error_at_once() {
    let (house, some) = (House::new(), quota("10/s"));
    let instance = house.alone(share());
    let charge = Charge::new("s", b"k", &some);
    let Outcome::Reserved(booked) = instance.reserve(&[charge], Duration::ZERO).await.unwrap() else {
        panic!()
    };
    away(&house, &instance).await;
    let began = house.now();
    assert!(instance.put(charge).await.unwrap_err().is_outage());
    assert!(instance.reset("s", b"k").await.unwrap_err().is_outage());
    assert!(instance.ping().await.unwrap_err().is_outage());
    assert!(booked.settle(&[5]).await.unwrap_err().is_outage());
    assert_eq!(house.now(), began);
}

#[tokio::test(start_paused = true)]
async fn a_booking_of_the_store_is_given_back_by_it_also_while_it_is_away() {
    let (house, some) = (House::new(), quota("stock 3"));
    let instance = house.alone(share());
    let charge = Charge::new("s", b"k", &some);
    let Outcome::Reserved(booked) = instance.reserve(&[charge], Duration::ZERO).await.unwrap() else {
        panic!()
    };
    away(&house, &instance).await;
    assert!(booked.cancel().await.is_err());
    assert_eq!(house.store.store().peek_at(&[charge], house.now()).unwrap().decision.remaining(), 3);
}
