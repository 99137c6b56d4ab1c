//! What is held goes back, however it ends.

use sluicegate::restart;
use sluicegate::store::{Charge, Decided};
use sluicegate::supervise::{Escalated, Finished, Handle, Steward};
use sluicegate_testkit::faulty::Fault;
use tokio::task::JoinHandle;

use crate::support::{House, Instance, quota, requests, take};
use sluicegate::lease::Settings;

/// How a steward that runs has ended.
type Ended = JoinHandle<Result<Finished, Escalated>>;

/// An instance whose upkeep a steward keeps.
async fn kept(house: &House) -> (Instance, Handle, Ended) {
    let (instance, upkeep) = house.parts(Settings::default());
    let mut steward = Steward::new(restart::Settings::default(), house.time);
    steward.keep("leases", upkeep);
    let handle = steward.handle();
    let run = tokio::spawn(steward.run());
    tokio::task::yield_now().await;
    (instance, handle, run)
}

#[tokio::test(start_paused = true)]
async fn closed_it_gives_everything_back() {
    let (house, some) = (House::new(), quota("1/h burst 1000"));
    let (instance, upkeep) = house.parts(Settings::default());
    let upkeep = tokio::spawn(upkeep.run());
    tokio::task::yield_now().await;
    for key in 0..5_u8 {
        assert_eq!(requests(&instance, Charge::new("s", &[key], &some), 100).await, 100);
    }
    assert!(instance.held() > 50);
    instance.close().await;
    upkeep.await.unwrap();
    assert_eq!(instance.held(), 0);
    for key in 0..5_u8 {
        assert_eq!(house.left(Charge::new("s", &[key], &some)), 900);
    }
    assert_eq!(take(&instance, Charge::new("s", b"k", &some)).await.by, Decided::Store);
    instance.close().await;
}

#[tokio::test(start_paused = true)]
async fn so_it_does_when_nobody_has_it_any_more() {
    let (house, some) = (House::new(), quota("1/h burst 1000"));
    let (instance, upkeep) = house.parts(Settings::default());
    let upkeep = tokio::spawn(upkeep.run());
    tokio::task::yield_now().await;
    let charge = Charge::new("s", b"k", &some);
    assert_eq!(requests(&instance.clone(), charge, 100).await, 100);
    drop(instance);
    upkeep.await.unwrap();
    assert_eq!(house.left(charge), 900);
}

#[tokio::test(start_paused = true)]
async fn what_lies_idle_goes_back_by_itself() {
    let (house, some) = (House::new(), quota("1/h burst 1000"));
    let instance = house.instance().await;
    let charge = Charge::new("s", b"k", &some);
    assert_eq!(requests(&instance, charge, 100).await, 100);
    assert!(instance.held() > 0);
    // A quarter of a lifetime, the time until it is looked at, and the way.
    house.sleep(100 + 25 + 2).await;
    assert_eq!((instance.held(), house.left(charge)), (0, 900));
}

#[tokio::test(start_paused = true)]
async fn where_the_upkeep_was_aborted_requests_go_to_the_store() {
    let (house, some) = (House::new(), quota("1000/s"));
    let (instance, upkeep) = house.parts(Settings::default());
    let charge = Charge::new("s", b"k", &some);
    assert_eq!(take(&instance, charge).await.by, Decided::Store, "it does not run yet");
    let upkeep = tokio::spawn(upkeep.run());
    tokio::task::yield_now().await;
    let waits = take(&instance, charge);
    let aborts = async {
        tokio::task::yield_now().await;
        upkeep.abort();
    };
    let (verdict, ()) = futures_util::future::join(waits, aborts).await;
    assert_eq!((verdict.is_granted(), verdict.by), (true, Decided::Store));
    assert_eq!(take(&instance, charge).await.by, Decided::Store);
    instance.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_costs_that_key_and_the_next_upkeep_goes_on() {
    let (house, some) = (House::new(), quota("1/h burst 1000"));
    let (instance, handle, run) = kept(&house).await;
    let of = |key: &'static [u8]| Charge::new("s", key, &some);
    for key in [b"a", b"b"] {
        assert_eq!(requests(&instance, of(key), 100).await, 100);
    }
    let held = instance.held();
    assert!(held > 40, "{held}");

    house.store.next([Fault::Panics]);
    let verdict = take(&instance, of(b"c")).await;
    assert_eq!((verdict.is_granted(), verdict.by), (true, Decided::Store), "whoever waited asks the store");
    assert_eq!((instance.held(), handle.counts().restarts), (held, 0), "what is held stays");
    house.sleep(20).await;
    assert_eq!(handle.counts().restarts, 1);
    for key in [b"a", b"b"] {
        assert_eq!(take(&instance, of(key)).await.by, Decided::Lease);
    }
    // On its way back: those tokens are gone, since the call may have had its effect. The others' are not.
    house.store.next([Fault::Panics]);
    instance.close().await;
    let finished = run.await.unwrap().unwrap();
    assert_eq!((finished.shut_down, finished.leaking, handle.counts().restarts), (false, 0, 2));
    let lost = instance.counts().lost;
    let left = [b"a", b"b", b"c"].map(|key| house.left(of(key)));
    assert!(lost > 0 && left.contains(&899), "{left:?}");
    assert_eq!((instance.held(), left.iter().sum::<u64>()), (0, 3000 - 203 - lost));
}

#[tokio::test(start_paused = true)]
async fn a_steward_that_shuts_down_has_them_give_everything_back() {
    let (house, some) = (House::new(), quota("1/h burst 1000"));
    let (instance, handle, run) = kept(&house).await;
    let charge = Charge::new("s", b"k", &some);
    assert_eq!(requests(&instance, charge, 100).await, 100);
    assert!(instance.held() > 0);
    handle.closed().await;
    assert!(run.await.unwrap().unwrap().shut_down);
    assert_eq!((instance.held(), house.left(charge)), (0, 900));
}
