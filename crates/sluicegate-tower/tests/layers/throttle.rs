//! A client that refuses itself what would be refused, in virtual time.

use std::convert::Infallible;
use std::task::Poll;
use std::time::Duration;

use sluicegate::throttle::{Settings, Throttle};
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};
use sluicegate_tower::again::Copies;
use sluicegate_tower::hedge::HedgeLayer;
use sluicegate_tower::judge::Errors;
use sluicegate_tower::refused::{BoxError, Refused};
use sluicegate_tower::retry::RetryLayer;
use sluicegate_tower::throttle::{Answer, Responses, ThrottleLayer};
use tower::{Layer, Service, ServiceBuilder};

use super::attempts::{ASK, Ask, Replicas, Response, Then, run};
use super::support::{poll, refusal};

fn throttle(time: &ManualTime, random: u64) -> Throttle<ManualTime> {
    Throttle::with_random(Settings::default(), time.clone(), move || random)
}

fn retry(time: &ManualTime) -> sluicegate::retry::Retry<ManualTime> {
    let settings =
        sluicegate::retry::Settings::new(3, Duration::from_nanos(100), Duration::from_secs(1)).unwrap();
    sluicegate::retry::Retry::new(settings, time.clone())
}

#[test]
fn it_refuses_what_would_be_refused_and_nothing_is_sent() {
    let time = ManualTime::new();
    let throttle = throttle(&time, 0);
    let replicas = Replicas::new(&time, &[(0, Then::Error)]);
    let mut service = ThrottleLayer::new(throttle.clone(), Responses).layer(replicas.clone());
    assert_eq!(run(&time, service.call(ASK)).unwrap_err().to_string(), "attempt 0 failed");
    assert_eq!(refusal(run(&time, service.clone().call(ASK))), Refused::Throttled { percent: 50 });
    assert_eq!(replicas.calls(), 1);
    time.set(240_000_000_000);
    assert_eq!(run(&time, service.call(ASK)).unwrap_err().to_string(), "attempt 0 failed");
}

#[test]
fn what_was_accepted_is_for_a_judge_to_say() {
    let time = ManualTime::new();
    let throttle = throttle(&time, 1 << 63);
    let replicas = Replicas::new(&time, &[(0, Then::Badly)]);
    let mut polite = ThrottleLayer::new(throttle.clone(), Responses).layer(replicas.clone());
    for _ in 0..10 {
        assert!(run(&time, polite.call(ASK)).is_ok());
    }
    assert_eq!(throttle.chance(), 0.0);
    let strict = |outcome: Result<&Response, &BoxError>| match outcome {
        Ok(response) if response.well => Some(Answer::Accepted),
        Ok(_) => Some(Answer::Refused),
        Err(_) => None,
    };
    let mut strict = ThrottleLayer::new(throttle.clone(), strict).layer(replicas);
    for _ in 0..30 {
        let _ = run(&time, strict.call(ASK));
    }
    assert!(throttle.chance() > 0.4);
}

#[test]
fn a_refusal_by_a_layer_below_says_nothing_of_the_other_side_unless_an_answer_is_late() {
    let time = ManualTime::new();
    for (refused, chance) in [
        (Refused::Malformed, 0.0),
        (Refused::Late { admitted: Some(false) }, 0.0),
        (Refused::Late { admitted: Some(true) }, 0.5),
        (Refused::Late { admitted: None }, 0.5),
    ] {
        let throttle = throttle(&time, 0);
        let below = tower::service_fn(move |()| std::future::ready(Err::<(), _>(BoxError::from(refused))));
        let mut service = ThrottleLayer::new(throttle.clone(), Responses).layer(below);
        assert_eq!(refusal(run(&time, service.call(()))), refused);
        assert_eq!(throttle.chance(), chance);
    }
}

#[test]
fn what_is_refused_here_is_not_tried_again() {
    let time = ManualTime::new();
    let throttle = throttle(&time, 0);
    throttle.ask().unwrap().tell(Answer::Refused);
    let retry = retry(&time);
    let below = tower::service_fn(|(): ()| std::future::ready(Ok::<_, BoxError>(())));
    let mut service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry.clone(), Copies::promise(), Errors))
        .layer(ThrottleLayer::new(throttle, Responses))
        .service(below);
    assert!(matches!(refusal(run(&time, service.call(()))), Refused::Throttled { .. }));
    assert_eq!(retry.budget(), 20);
}

#[test]
fn with_one_error_type_for_all_no_box_is_left() {
    let time = ManualTime::new();
    let settings = sluicegate::hedge::Settings::fixed(Duration::from_nanos(10)).unwrap();
    let hedge = sluicegate::hedge::Hedge::new(&settings, time.clone());
    let below = tower::service_fn(|request: u64| std::future::ready(Ok::<_, Infallible>(request)));
    let mut service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry(&time), Copies::promise(), Errors).with_error::<Refused>())
        .layer(HedgeLayer::new(hedge, Copies::promise(), Errors).with_error::<Refused>())
        .layer(ThrottleLayer::new(throttle(&time, 0), Responses).with_error::<Refused>())
        .service(below);
    assert_eq!(run(&time, service.call(7)), Ok::<_, Refused>(7));
}

#[test]
fn dropped_anywhere_it_has_said_nothing() {
    let seen = Drops::new().keeping_no_waker().run_now(
        || {
            let time = ManualTime::new();
            let throttle = throttle(&time, u64::MAX);
            let replicas = Replicas { ready: 5, ..Replicas::new(&time, &[(10, Then::Error)]) };
            let future = ThrottleLayer::new(throttle.clone(), Responses).layer(replicas).call(ASK);
            ((time, throttle), future)
        },
        |(time, _), step| {
            let now = 5 * u64::try_from(step).unwrap();
            time.set(now);
            if [5, 15].contains(&now) { Turn::MustWake } else { Turn::MayWait }
        },
        |(time, throttle), left| {
            let told = !matches!(left, Left::Nothing);
            assert_eq!((throttle.chance() > 0.0, time.next()), (told, None));
        },
    );
    assert_eq!(seen.polls, 3);
}

#[test]
fn readiness_asks_nothing() {
    let time = ManualTime::new();
    let throttle = throttle(&time, 0);
    throttle.ask().unwrap().tell(Answer::Refused);
    let mut service = ThrottleLayer::new(throttle, Responses).layer(Replicas::new(&time, &[(0, Then::Well)]));
    let mut ready =
        std::pin::pin!(std::future::poll_fn(|context| Service::<Ask>::poll_ready(&mut service, context)));
    assert!(matches!(poll(ready.as_mut()), Poll::Ready(Ok(()))));
}
