//! Charges, in virtual time.

use std::pin::pin;
use std::task::{Context, Waker};

use sluicegate::clock::Clock;
use sluicegate::memory::Memory;
use sluicegate::restart::Settings;
use sluicegate::supervise::Steward;
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};
use sluicegate_testkit::faulty::{Fault, Faulty};
use tokio_util::task::AbortOnDropHandle;

use super::*;

type Far = Faulty<Memory<ManualTime>, ManualTime>;

fn far() -> (Far, ManualTime) {
    let time = ManualTime::new();
    (Faulty::new(Memory::with_clock(time.clone()), time.clone()), time)
}

/// So long passes, in nanoseconds, in which everybody does what there is to do.
async fn pass(time: &ManualTime, nanos: u64) {
    time.set(time.now() + nanos);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn place(key: &[u8]) -> Place {
    Place { space: "bytes".into(), key: key.into() }
}

/// What a key may have before it is refused, or how much it owes.
async fn left(store: &Far, quota: &Quota, n: u64) -> bool {
    let charge = Charge::new("bytes", b"k", quota).of(n);
    store.store().peek(&[charge]).await.unwrap().is_granted()
}

#[tokio::test]
async fn what_is_noted_is_charged_into_debt_and_in_pieces() {
    for text in ["100/s", "stock 100", "100/s burst 7"] {
        let ((store, time), quota) = (far(), text.parse().unwrap());
        let (ledger, settling) = Ledger::new(10, store.clone(), time.clone());
        let task = tokio::spawn(settling.run());
        for _ in 0..3 {
            ledger.note(&place(b"k"), &quota, 1, 301);
        }
        ledger.close().await;
        task.await.unwrap();
        assert_eq!((ledger.waiting(), ledger.lost()), (0, 0), "{text}");
        // 900 are charged: what is owed of them is paid when so much has flowed, and not before.
        pass(&time, 7_990_000_000).await;
        assert!(!left(&store, &quota, 1).await, "{text}");
        let put = Charge::new("bytes", b"k", &quota).of(801);
        match quota.refill() {
            Refill::Stock => assert_eq!(store.store().put(put).await.unwrap(), 801),
            _ => pass(&time, 1_100_000_000).await,
        }
        assert!(left(&store, &quota, 1).await, "{text}");
    }
}

#[tokio::test]
async fn what_is_larger_than_a_burst_takes_no_more_calls_for_it() {
    let ((store, time), quota) = (far(), "1000000/s burst 1".parse().unwrap());
    let (ledger, settling) = Ledger::new(10, store.clone(), time);
    let task = tokio::spawn(settling.run());
    ledger.note(&place(b"k"), &quota, 0, 10_000_000);
    ledger.close().await;
    task.await.unwrap();
    assert_eq!((store.calls(), ledger.lost()), (2, 0), "a debt, and a booking");
    let charge = Charge::new("bytes", b"k", &quota);
    let wait = store.store().peek(&[charge]).await.unwrap().decision.retry_after().unwrap();
    assert_eq!(wait, Duration::from_secs(10));
}

#[tokio::test]
async fn what_is_being_charged_is_not_charged_yet() {
    let ((store, time), quota) = (far(), "stock 10".parse().unwrap());
    store.set(Fault::Hangs);
    let (ledger, settling) = Ledger::new(10, store.clone(), time.clone());
    let _task = AbortOnDropHandle::new(tokio::spawn(settling.run()));
    ledger.note(&place(b"k"), &quota, 0, 3);
    pass(&time, 1).await;
    assert_eq!((store.calls(), ledger.waiting()), (1, 1));
}

#[tokio::test]
async fn a_stock_that_owes_owes_more() {
    let ((store, time), quota) = (far(), "stock 100".parse().unwrap());
    let (ledger, settling) = Ledger::new(10, store.clone(), time.clone());
    let task = tokio::spawn(settling.run());
    for _ in 0..3 {
        ledger.note(&place(b"k"), &quota, 0, 200);
        pass(&time, 1_000_000).await;
        assert_eq!(ledger.waiting(), 0);
    }
    drop(ledger);
    task.await.unwrap();
    let charge = Charge::new("bytes", b"k", &quota);
    assert_eq!(store.store().put(charge.of(500)).await.unwrap(), 500);
    assert!(!left(&store, &quota, 1).await);
    assert_eq!(store.store().put(charge).await.unwrap(), 1);
    assert!(left(&store, &quota, 1).await);
}

#[tokio::test]
async fn what_was_not_used_goes_back_and_what_adds_up_is_one_call() {
    let ((store, time), quota) = (far(), "stock 10".parse().unwrap());
    assert!(store.store().take(&[Charge::new("bytes", b"k", &quota).of(10)]).await.unwrap().is_granted());
    let (ledger, settling) = Ledger::new(10, store.clone(), time.clone());
    for _ in 0..4 {
        ledger.note(&place(b"k"), &quota, 1, 0);
    }
    let task = tokio::spawn(settling.run());
    ledger.close().await;
    task.await.unwrap();
    assert_eq!(store.calls(), 1);
    assert!(left(&store, &quota, 4).await && !left(&store, &quota, 5).await);
}

#[tokio::test]
async fn while_the_store_is_away_it_is_kept_within_its_bound_and_charged_after() {
    let ((store, time), quota) = (far(), "stock 10".parse().unwrap());
    store.set(Fault::Fails);
    let (ledger, settling) = Ledger::new(2, store.clone(), time.clone());
    let task = tokio::spawn(settling.run());
    for key in [&b"k"[..], b"l", b"m"] {
        ledger.note(&place(key), &quota, 0, 3);
    }
    pass(&time, 1_000_000_000).await;
    assert_eq!((ledger.waiting(), ledger.lost()), (2, 3), "the third finds no room");
    store.set(Fault::None);
    pass(&time, 1_000_000_000).await;
    assert_eq!(ledger.waiting(), 0);
    assert!(left(&store, &quota, 7).await && !left(&store, &quota, 8).await);

    store.set(Fault::Fails);
    ledger.note(&place(b"k"), &quota, 0, 5);
    ledger.close().await;
    task.await.unwrap();
    assert_eq!(ledger.lost(), 8, "tried once more at the end");
}

/// Whoever goes on after it was dropped charges what is left: each once, and nothing goes back twice.
#[test]
fn wherever_it_is_dropped_the_next_one_charges_what_is_left() {
    const SLOW: Duration = Duration::from_millis(10);
    const KEYS: [&[u8]; 3] = [b"charged", b"owed", b"back"];
    struct House {
        store: Far,
        time: ManualTime,
        quota: Quota,
        ledger: Option<Ledger>,
        settling: Settling<Far, ManualTime>,
    }
    let key = |key: &[u8]| place(key);
    let seen = Drops::new().run_now(
        || {
            let ((store, time), quota) = (far(), "stock 10".parse().unwrap());
            let taken = Charge::new("bytes", b"back", &quota).of(5);
            assert!(store.store().take_at(&[taken], time.now()).unwrap().is_granted());
            store.set(Fault::Slow(SLOW));
            // The first time it fails, so that it is tried again after a pause.
            store.next([Fault::Fails]);
            let (ledger, settling) = Ledger::new(10, store.clone(), time.clone());
            ledger.note(&key(KEYS[0]), &quota, 0, 3);
            ledger.note(&key(KEYS[1]), &quota, 0, 14);
            ledger.note(&key(KEYS[2]), &quota, 5, 1);
            let future = settling.clone().run();
            (House { store, time, quota, ledger: Some(ledger), settling }, future)
        },
        |house, step| {
            house.time.advance(SLOW);
            if step == 15
                && let Some(ledger) = &house.ledger
            {
                ledger.shared.close();
            }
            Turn::MayWait
        },
        |house, left| {
            let Some(ledger) = house.ledger.take() else { return };
            ledger.shared.close();
            house.store.set(Fault::None);
            if matches!(left, Left::Nothing) {
                let mut next = pin!(house.settling.clone().run());
                let polled = next.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert!(polled.is_ready(), "nothing keeps it");
            }
            assert_eq!((ledger.waiting(), ledger.lost()), (0, 0));
            let now = house.time.now();
            let of = |key, n| Charge::new("bytes", key, &house.quota).of(n);
            let there = |key| house.store.store().peek_at(&[of(key, 0)], now).unwrap().decision.remaining();
            assert_eq!(there(KEYS[0]), 7);
            assert!([5, 9].contains(&there(KEYS[2])), "not twice");
            assert_eq!(house.store.store().put_at(of(KEYS[1], 5), now).unwrap(), 5);
            assert_eq!(there(KEYS[1]), 1, "of 10, 14 were charged, and 5 have come");
        },
    );
    assert!(seen.polls > 4, "{seen:?}");
}

#[tokio::test]
async fn what_hangs_is_cut_off_and_charged_by_the_next() {
    const SECOND: u64 = 1_000_000_000;
    let ((store, time), quota) = (far(), "stock 10".parse().unwrap());
    let (ledger, settling) = Ledger::new(10, store.clone(), time.clone());
    let mut steward = Steward::new(Settings::default(), time.clone());
    steward.keep_watched("ledger", Duration::from_secs(30), settling);
    let handle = steward.handle();
    let run = tokio::spawn(steward.run());
    // An hour without anything to charge is none.
    for _ in 0..3600 {
        pass(&time, SECOND).await;
    }
    store.next([Fault::Hangs]);
    ledger.note(&place(b"k"), &quota, 0, 3);
    for _ in 0..29 {
        pass(&time, SECOND).await;
    }
    assert_eq!((store.calls(), ledger.waiting(), handle.counts().restarts), (1, 1, 0));
    for _ in 0..20 {
        pass(&time, SECOND).await;
    }
    assert_eq!((store.calls(), ledger.waiting(), handle.counts().restarts), (2, 0, 1));
    assert!(left(&store, &quota, 7).await && !left(&store, &quota, 8).await);
    ledger.close().await;
    assert!(!run.await.unwrap().unwrap().shut_down);
}

#[tokio::test]
async fn what_a_panic_leaves_is_charged_by_the_next_and_nothing_goes_back_twice() {
    let ((store, time), quota) = (far(), "stock 10".parse().unwrap());
    let (ledger, settling) = Ledger::new(10, store.clone(), time.clone());
    let mut steward = Steward::new(Settings::default(), time.clone());
    steward.keep("ledger", settling);
    let handle = steward.handle();
    let run = tokio::spawn(steward.run());
    for key in [&b"k"[..], b"l", b"m"] {
        ledger.note(&place(key), &quota, 0, 3);
    }
    // The first is charged, the second panics, the third is not asked for any more.
    store.next([Fault::None, Fault::Panics]);
    pass(&time, 1).await;
    assert_eq!((store.calls(), ledger.waiting(), handle.counts().restarts), (2, 2, 0));
    pass(&time, 1_000_000_000).await;
    assert_eq!((store.calls(), ledger.waiting(), handle.counts().restarts), (4, 0, 1));
    for key in [&b"k"[..], b"l", b"m"] {
        let charge = Charge::new("bytes", key, &quota);
        let left = store.store().peek(&[charge]).await.unwrap().decision.remaining();
        assert_eq!(left, 7, "each once");
    }
    // A debt is charged in two calls: what the first has done is not done again.
    store.next([Fault::None, Fault::Panics]);
    ledger.note(&place(b"l"), &quota, 0, 14);
    pass(&time, 1).await;
    pass(&time, 1_000_000_000).await;
    assert_eq!(handle.counts().restarts, 2);
    assert_eq!(store.store().put(Charge::new("bytes", b"l", &quota).of(7)).await.unwrap(), 7);
    assert!(!store.store().take(&[Charge::new("bytes", b"l", &quota)]).await.unwrap().is_granted());
    assert_eq!(store.store().put(Charge::new("bytes", b"l", &quota).of(1)).await.unwrap(), 1);
    assert!(store.store().take(&[Charge::new("bytes", b"l", &quota)]).await.unwrap().is_granted());
    // What was on its way back is not sent again.
    store.next([Fault::Panics]);
    ledger.note(&place(b"k"), &quota, 2, 0);
    pass(&time, 1).await;
    pass(&time, 1_000_000_000).await;
    assert_eq!((ledger.waiting(), handle.counts().restarts), (0, 3));
    assert!(left(&store, &quota, 7).await && !left(&store, &quota, 8).await);
    ledger.close().await;
    assert!(!run.await.unwrap().unwrap().shut_down);
    assert_eq!(ledger.lost(), 0);
}
