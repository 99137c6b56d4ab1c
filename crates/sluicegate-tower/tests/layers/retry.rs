//! Failures that are tried again, in virtual time.

use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use sluicegate::clock::Clock;
use sluicegate::limiter::TokenBucket;
use sluicegate::permits::Permits;
use sluicegate::retry::{Failed, Retry, Settings};
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};
use sluicegate_tower::judge::Errors;
use sluicegate_tower::one_bucket::OneBucket;
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::rate_limit::RateLimitLayer;
use sluicegate_tower::refused::{BoxError, Refused};
use sluicegate_tower::retry::RetryLayer;
use tower::{Layer, Service, ServiceBuilder};

use super::attempts::{ASK, Another, Ask, Replicas, Response, Then, judge, run};
use super::support::{poll, refusal};

type Judged = fn(Result<&Response, &BoxError>) -> Option<Failed>;
type Tried = sluicegate_tower::retry::Retry<Replicas, ManualTime, Another, Judged>;

/// Waits are half of their bound: 50 ns, 100 ns.
fn retries(time: &ManualTime) -> Retry<ManualTime> {
    let settings = Settings::new(3, Duration::from_nanos(100), Duration::from_secs(1)).unwrap();
    Retry::with_random(settings, time.clone(), || 1 << 63)
}

struct House {
    time: ManualTime,
    retry: Retry<ManualTime>,
    again: Another,
    replicas: Replicas,
    service: Tried,
}

fn house_with(retry: impl Fn(&ManualTime) -> Retry<ManualTime>, script: &[(u64, Then)]) -> House {
    let time = ManualTime::new();
    let (retry, again) = (retry(&time), Another::default());
    let replicas = Replicas::new(&time, script);
    let layer = RetryLayer::new(retry.clone(), again.clone(), judge as Judged);
    let service = layer.layer(replicas.clone());
    House { time, retry, again, replicas, service }
}

fn house(script: &[(u64, Then)]) -> House {
    house_with(retries, script)
}

#[test]
fn it_tries_again_and_each_try_knows_its_number() {
    let mut house = house(&[(5, Then::Error), (5, Then::Badly), (5, Then::Well)]);
    let answer = run(&house.time, house.service.call(ASK)).unwrap();
    assert_eq!((answer.attempt, house.replicas.calls(), house.time.now()), (2, 3, 5 + 50 + 5 + 100 + 5));
    assert_eq!((house.retry.budget(), house.again.kept.count(), house.time.next()), (18, 0, None));
}

#[test]
fn what_has_failed_to_the_end_is_handed_on_as_it_is() {
    let mut house = house(&[(5, Then::Error), (5, Then::Error), (5, Then::Badly)]);
    let answer = run(&house.time, house.service.call(ASK)).unwrap();
    assert_eq!((answer.attempt, answer.well), (2, false));
    let mut house = self::house(&[(5, Then::Badly), (5, Then::Badly), (5, Then::Error)]);
    let error = run(&house.time, house.service.call(ASK)).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.source().is_none()), ("attempt 2 failed", true));
}

#[test]
fn without_a_budget_a_response_is_handed_on_at_once() {
    let poor = |time: &ManualTime| {
        let settings = Settings::new(3, Duration::from_nanos(100), Duration::from_secs(1)).unwrap();
        Retry::new(settings.with_budget(0.0, 1).unwrap(), time.clone())
    };
    let mut house = house_with(poor, &[(0, Then::Badly)]);
    let answer = run(&house.time, house.service.call(ASK)).unwrap();
    assert_eq!((answer.attempt, house.retry.budget()), (1, 0), "one retry was saved up");
    let answer = run(&house.time, house.service.call(ASK)).unwrap();
    assert_eq!((answer.attempt, answer.well, house.replicas.calls()), (0, false, 3));
}

#[test]
fn while_a_try_is_waited_for_nothing_of_the_one_before_is_there() {
    let mut house = house(&[(5, Then::Badly), (5, Then::Badly), (5, Then::Well)]);
    let mut request = Box::pin(house.service.call(ASK));
    assert!(poll(request.as_mut()).is_pending());
    assert_eq!((house.replicas.running.count(), house.again.kept.count()), (1, 1));
    house.time.set(5);
    assert!(poll(request.as_mut()).is_pending());
    assert_eq!((house.replicas.running.count(), house.replicas.responses.count()), (0, 0));
    house.time.set(55);
    assert!(poll(request.as_mut()).is_pending());
    house.time.set(60);
    assert!(poll(request.as_mut()).is_pending());
    assert_eq!(house.again.kept.count(), 1);
    house.time.set(160);
    assert!(poll(request.as_mut()).is_pending());
    assert_eq!((house.replicas.calls(), house.again.kept.count()), (3, 0), "no try comes after the last");
}

#[test]
fn where_there_is_one_try_nothing_is_kept() {
    let once = |time: &ManualTime| {
        let settings = Settings::new(1, Duration::from_nanos(100), Duration::from_secs(1)).unwrap();
        Retry::new(settings, time.clone())
    };
    let mut house = house_with(once, &[(5, Then::Badly)]);
    let request = house.service.call(ASK);
    assert_eq!(house.again.kept.count(), 0);
    assert!(!run(&house.time, request).unwrap().well);
}

#[test]
fn retry_after_is_waited_for_and_what_would_fail_again_is_handed_on() {
    let time = ManualTime::new();
    let replicas = Replicas::new(&time, &[(0, Then::Error), (0, Then::Well)]);
    let told = |outcome: Result<&Response, &BoxError>| outcome.is_err().then_some(Failed::After(700));
    let mut service = RetryLayer::new(retries(&time), Another::default(), told).layer(replicas.clone());
    assert_eq!(run(&time, service.call(ASK)).unwrap().attempt, 1);
    assert_eq!(time.now(), 750);
    let never = |_: Result<&Response, &BoxError>| Some(Failed::ForGood);
    let mut service = RetryLayer::new(retries(&time), Another::default(), never).layer(replicas.clone());
    assert!(run(&time, service.call(ASK)).is_err());
    assert_eq!(replicas.calls(), 3);
}

#[test]
fn what_goes_once_is_served_and_brings_no_budget() {
    let mut house = house(&[(5, Then::Badly)]);
    let answer = run(&house.time, house.service.call(Ask { once: true, ..ASK })).unwrap();
    assert_eq!((answer.well, house.replicas.calls(), house.retry.budget()), (false, 1, 20));
}

#[test]
fn no_try_begins_at_the_deadline_or_later() {
    // The second try would begin at 55.
    for (deadline, calls) in [(55, 1), (56, 2)] {
        let mut house = house(&[(5, Then::Badly)]);
        let answer = run(&house.time, house.service.call(Ask { deadline: Some(deadline), ..ASK })).unwrap();
        assert_eq!((answer.well, house.replicas.calls()), (false, calls));
        assert!(house.time.now() <= deadline + 5, "one that is under way goes on");
    }
}

#[test]
fn who_wakes_too_late_gets_the_last_error_or_is_told_so() {
    for (then, wanted) in [(Then::Error, "attempt 0 failed"), (Then::Badly, "the deadline has passed")] {
        let mut house = house(&[(5, then)]);
        let mut request = Box::pin(house.service.call(Ask { deadline: Some(60), ..ASK }));
        for at in [0, 5] {
            house.time.set(at);
            assert!(poll(request.as_mut()).is_pending());
        }
        assert_eq!(house.retry.budget(), 19);
        house.time.set(60);
        let Poll::Ready(Err(error)) = poll(request.as_mut()) else { panic!("it is too late") };
        assert_eq!((error.to_string().as_str(), house.retry.budget()), (wanted, 20));
    }
}

#[test]
fn a_service_that_is_broken_is_asked_once() {
    let time = ManualTime::new();
    let replicas = Replicas { broken: true, ..Replicas::new(&time, &[(0, Then::Well)]) };
    let mut service = RetryLayer::new(retries(&time), Another::default(), Errors).layer(replicas.clone());
    let error = run(&time, service.call(ASK)).unwrap_err();
    assert_eq!((error.to_string().as_str(), replicas.calls(), time.now()), ("closed", 0, 0));
}

#[test]
fn pitfall_30_readiness_reserves_nothing() {
    let mut house = house(&[(5, Then::Well)]);
    for _ in 0..100 {
        let mut clone = house.service.clone();
        let mut ready = std::pin::pin!(std::future::poll_fn(|context| {
            Service::<Ask>::poll_ready(&mut clone, context)
        }));
        assert!(matches!(poll(ready.as_mut()), Poll::Ready(Ok(()))));
    }
    assert!(run(&house.time, house.service.call(ASK)).is_ok());
}

#[test]
fn a_refusal_below_is_tried_again_when_it_says_and_handed_on_as_it_is() {
    let time = ManualTime::new();
    let bucket = std::sync::Arc::new(TokenBucket::with_clock("1 every 200ns".parse().unwrap(), time.clone()));
    assert!(bucket.try_take(1).is_granted());
    let replicas = Replicas::new(&time, &[(0, Then::Well)]);
    let layers = || {
        ServiceBuilder::new()
            .layer(RetryLayer::new(retries(&time), Another::default(), Errors))
            .layer(RateLimitLayer::new(OneBucket::new(bucket.clone())))
            .service(replicas.clone())
    };
    assert_eq!(run(&time, layers().call(ASK)).unwrap().attempt, 1);
    assert_eq!(time.now(), 200 + 50, "not before there is a token");
    let late = run(&time, layers().call(Ask { deadline: Some(time.now() + 60), ..ASK }));
    assert!(matches!(refusal(late), Refused::Quota(_)));
}

#[test]
fn dropped_anywhere_it_gives_back_what_it_holds() {
    let script = [(5, Then::Badly), (10, Then::Well)];
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let mut house = house(&script);
            house.replicas.ready = 5;
            let layer = RetryLayer::new(house.retry.clone(), house.again.clone(), judge as Judged);
            house.service = layer.layer(house.replicas.clone());
            let future = house.service.call(ASK);
            (house, future)
        },
        |house, step| {
            let now = 5 * u64::try_from(step).unwrap();
            house.time.set(now);
            // Ready, answered badly, waited for, answered well.
            if [5, 10, 60, 70].contains(&now) { Turn::MustWake } else { Turn::MayWait }
        },
        |house, left| {
            let made = u64::try_from(house.replicas.called.load(Ordering::Relaxed)).unwrap();
            assert_eq!(
                house.retry.budget(),
                20 - made.saturating_sub(1),
                "only tries that were made are paid"
            );
            assert_eq!((house.time.next(), house.replicas.running.count()), (None, 0));
            let own = usize::from(matches!(left, Left::Output(_)));
            assert_eq!((house.replicas.responses.count(), house.again.kept.count()), (own, 0));
        },
    );
    assert_eq!(seen.polls, 5);
}

#[test]
fn a_limit_over_it_is_charged_once_a_try_has_reached_the_service() {
    let time = ManualTime::new();
    let bucket = std::sync::Arc::new(TokenBucket::with_clock("stock 2".parse().unwrap(), time.clone()));
    let permits = Permits::new(1, 1);
    let replicas = Replicas::new(&time, &[(5, Then::Error)]);
    let mut service = ServiceBuilder::new()
        .layer(RateLimitLayer::new(OneBucket::new(bucket.clone())).over_queue())
        .layer(RetryLayer::new(retries(&time), Another::default(), Errors).over_queue())
        .layer(QueueLayer::new(permits.clone()))
        .service(replicas);
    let held = permits.try_enter();
    let mut request = Box::pin(service.call(ASK));
    assert!(poll(request.as_mut()).is_pending());
    drop(request);
    assert_eq!(bucket.available(), 2, "it never left the line");
    drop(held);
    let mut request = Box::pin(service.call(ASK));
    for at in [0, 5] {
        time.set(at);
        assert!(poll(request.as_mut()).is_pending());
    }
    drop(request);
    assert_eq!((bucket.available(), permits.in_flight()), (1, 0), "dropped while it waits for the second");
}

#[test]
fn a_pause_holds_no_place_below_and_keeps_that_above() {
    let time = ManualTime::new();
    let permits = Permits::new(1, 1);
    let replicas = Replicas::new(&time, &[(5, Then::Error)]);
    let again = || RetryLayer::new(retries(&time), Another::default(), Errors);
    let mut over = ServiceBuilder::new()
        .layer(again())
        .layer(QueueLayer::new(permits.clone()))
        .service(replicas.clone());
    let mut under = ServiceBuilder::new()
        .layer(QueueLayer::new(permits.clone()))
        .layer(again())
        .service(replicas.clone());
    pauses_with(0, over.call(ASK), &permits, &replicas);
    pauses_with(1, under.call(ASK), &permits, &replicas);
}

/// Its first try fails after 5 ns, and so many places are taken until the second.
fn pauses_with<F: Future>(places: usize, request: F, permits: &Permits, replicas: &Replicas) {
    let mut request = Box::pin(request);
    assert!(poll(request.as_mut()).is_pending());
    assert_eq!((permits.in_flight(), replicas.running.count()), (1, 1));
    replicas.time.advance(Duration::from_nanos(5));
    assert!(poll(request.as_mut()).is_pending());
    assert_eq!((permits.in_flight(), replicas.running.count()), (places, 0), "it pauses");
    drop(request);
    assert_eq!(permits.in_flight(), 0);
}

#[test]
fn what_can_be_sent_to_another_thread_can_be_sent() {
    fn is_send(_: impl Send) {}
    let mut house = house(&[(5, Then::Well)]);
    is_send(house.service.call(ASK));
    is_send(async move { house.service.call(ASK).await.is_ok() });
}
