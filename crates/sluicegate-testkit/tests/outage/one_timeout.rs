//! A store that is away costs one timeout, and one probe at a time.

use std::time::Duration;

use sluicegate::breaker::Standing;
use sluicegate::outage::{Policy, Settings};
use sluicegate::store::{Charge, Decided, Store, StoreError};
use sluicegate_testkit::faulty::Fault;

use crate::support::{House, TIMEOUT, quota, take};

const OPEN: Decided = Decided::Outage(Policy::Open);

fn open() -> Settings {
    Settings::new(Policy::Open)
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_the_first_one_timeout_and_the_next_nothing() {
    let (house, some) = (House::new(), quota("10/s"));
    let instance = house.alone(open());
    let charge = Charge::new("s", b"k", &some);
    house.store.set(Fault::Hangs);
    let began = house.now();
    assert_eq!(take(&instance, charge).await.by, OPEN);
    assert_eq!(Duration::from_nanos(house.now() - began), TIMEOUT);
    for _ in 0..1000 {
        assert_eq!(take(&instance, charge).await.by, OPEN);
    }
    assert_eq!(Duration::from_nanos(house.now() - began), TIMEOUT);
    assert_eq!(house.store.calls(), 1);
    let counts = instance.counts();
    assert_eq!((counts.timeouts, counts.opened, counts.open_granted, counts.probes), (1, 1, 1001, 0));
}

#[tokio::test(start_paused = true)]
async fn who_has_asked_already_is_answered_once_the_first_has_waited_for_long_enough() {
    let (house, some) = (House::new(), quota("10/s"));
    let instance = house.alone(open());
    house.store.set(Fault::Hangs);
    let began = house.now();
    let late = |after: u64| {
        let (house, instance, some) = (&house, &instance, &some);
        async move {
            house.sleep(after).await;
            let verdict = take(instance, Charge::new("s", b"k", some)).await;
            (verdict.by, (house.now() - began) / 1_000_000)
        }
    };
    let all = futures_util::future::join3(late(0), late(20), late(49)).await;
    assert_eq!(all, ((OPEN, 50), (OPEN, 50), (OPEN, 50)));
    assert_eq!((instance.counts().timeouts, house.store.under_way()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn why_it_is_away_is_known_until_it_is_back() {
    let (house, some) = (House::new(), quota("10/s"));
    let instance = house.alone(open());
    assert!(instance.why().is_none());
    house.store.set(Fault::Hangs);
    assert_eq!(take(&instance, Charge::new("s", b"k", &some)).await.by, OPEN);
    assert!(matches!(instance.why(), Some(StoreError::Timeout { .. })), "{:?}", instance.why());
    // It is asked again, and gives another reason; who is not asked any more has nothing to add.
    house.store.set(Fault::Fails);
    house.sleep(5000).await;
    assert!(instance.ping().await.is_err());
    assert!(!matches!(instance.why(), None | Some(StoreError::Timeout { .. })), "{:?}", instance.why());
    house.store.set(Fault::None);
    house.sleep(5000).await;
    assert!(instance.ping().await.is_ok());
    assert!(instance.why().is_none());
}

#[tokio::test(start_paused = true)]
async fn one_slow_answer_among_others_opens_nothing() {
    let (house, some) = (House::new(), quota("100/s"));
    let instance = house.alone(open());
    let charge = Charge::new("s", b"k", &some);
    house.store.next([Fault::Hangs]);
    let (slow, _) = futures_util::future::join(take(&instance, charge), async {
        house.sleep(10).await;
        assert_eq!(take(&instance, charge).await.by, Decided::Store);
    })
    .await;
    assert_eq!((slow.by, instance.counts().timeouts), (OPEN, 1), "it is answered in its place");
    assert_eq!(instance.standing(), Standing::Closed);
    assert_eq!(take(&instance, charge).await.by, Decided::Store);
}

#[tokio::test(start_paused = true)]
async fn failures_open_it_after_three_in_a_row() {
    let (house, some) = (House::new(), quota("100/s"));
    let instance = house.alone(open());
    let charge = Charge::new("s", b"k", &some);
    house.store.next([
        Fault::Fails,
        Fault::AnswerBroken,
        Fault::None,
        Fault::Fails,
        Fault::Fails,
        Fault::Fails,
    ]);
    for _ in 0..50 {
        let _ = take(&instance, charge).await;
    }
    let counts = instance.counts();
    assert_eq!((house.store.calls(), counts.failures, counts.opened), (6, 5, 1));
}

#[tokio::test(start_paused = true)]
async fn where_nobody_looks_after_it_one_request_at_a_time_is_the_probe() {
    let (house, some) = (House::new(), quota("100/s"));
    let instance = house.alone(open());
    let charge = Charge::new("s", b"k", &some);
    house.store.set(Fault::Hangs);
    let _ = take(&instance, charge).await;
    house.sleep(100).await;
    let began = house.now();
    let probe = take(&instance, charge);
    let others = async {
        for _ in 0..100 {
            assert_eq!(take(&instance, charge).await.by, OPEN);
        }
        house.now() - began
    };
    let (_, waited) = futures_util::future::join(probe, others).await;
    assert_eq!((waited, house.store.calls(), instance.counts().probes), (0, 2, 1));
    house.store.set(Fault::None);
    house.sleep(200).await;
    assert_eq!(take(&instance, charge).await.by, Decided::Store);
    assert_eq!((instance.standing(), instance.counts().recovered), (Standing::Closed, 1));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_cancelled_lets_the_next_one_ask() {
    let (house, some) = (House::new(), quota("100/s"));
    let instance = house.alone(open());
    let charge = Charge::new("s", b"k", &some);
    house.store.set(Fault::Hangs);
    let _ = take(&instance, charge).await;
    house.sleep(100).await;
    {
        let mut probe = std::pin::pin!(take(&instance, charge));
        assert!(futures_util::future::poll_immediate(probe.as_mut()).await.is_none());
        assert_eq!(instance.standing(), Standing::Probing);
    }
    house.store.set(Fault::None);
    assert_eq!(take(&instance, charge).await.by, Decided::Store);
}

#[tokio::test(start_paused = true)]
async fn where_the_upkeep_runs_no_request_is_ever_a_probe() {
    let (house, some) = (House::new(), quota("100/s"));
    let instance = house.attended(open());
    let charge = Charge::new("s", b"k", &some);
    house.sleep(1).await;
    house.store.set(Fault::Hangs);
    let _ = take(&instance, charge).await;
    for _ in 0..5000 {
        let before = house.now();
        assert_eq!(take(&instance, charge).await.by, OPEN);
        assert_eq!(house.now(), before);
        house.sleep(1).await;
    }
    // After 50 to 100 ms, then twice as long each time until it is half a second to a second, each with a timeout behind it.
    let probes = instance.counts().probes;
    assert!((6..=14).contains(&probes), "{probes} probes in 5 s");
    house.store.set(Fault::None);
    house.sleep(1100).await;
    assert_eq!(take(&instance, charge).await.by, Decided::Store);
    assert_eq!(instance.counts().recovered, 1);
    instance.close().await;
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_the_caller_s_is_no_outage() {
    let (house, some) = (House::new(), quota("100/s"));
    let instance = house.alone(open());
    let twice = [Charge::new("s", b"k", &some), Charge::new("s", b"k", &some)];
    for _ in 0..10 {
        assert!(!instance.take(&twice).await.unwrap_err().is_outage());
    }
    assert_eq!((instance.standing(), instance.counts().failures), (Standing::Closed, 0));
    house.store.set(Fault::Hangs);
    let _ = take(&instance, twice[0]).await;
    assert!(!instance.take(&twice).await.unwrap_err().is_outage(), "while it is away too");
}
