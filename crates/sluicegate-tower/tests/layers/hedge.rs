//! Slow requests that are asked again elsewhere, in virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use sluicegate::clock::Clock;
use sluicegate::hedge::{Counts, Hedge, Settings};
use sluicegate::limiter::TokenBucket;
use sluicegate::permits::Permits;
use sluicegate::retry::Failed;
use sluicegate::timer::ManualTime;
use sluicegate_testkit::drops::{Drops, Left, Turn};
use sluicegate_tower::again::Each;
use sluicegate_tower::hedge::HedgeLayer;
use sluicegate_tower::judge::Errors;
use sluicegate_tower::one_bucket::OneBucket;
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::rate_limit::RateLimitLayer;
use sluicegate_tower::refused::BoxError;
use tower::{Layer, Service, ServiceBuilder};

use super::attempts::{ASK, Another, Ask, Replicas, Response, Then, judge, run};
use super::support::poll;

type Judged = fn(Result<&Response, &BoxError>) -> Option<Failed>;
type Hedged = sluicegate_tower::hedge::Hedge<Replicas, ManualTime, Another, Judged>;

struct House {
    time: ManualTime,
    hedge: Hedge<ManualTime>,
    again: Another,
    replicas: Replicas,
    service: Hedged,
}

fn fixed() -> Settings {
    Settings::fixed(Duration::from_nanos(10)).unwrap()
}

fn house_with(settings: &Settings, script: &[(u64, Then)], ready: u64) -> House {
    let time = ManualTime::new();
    let (hedge, again) = (Hedge::new(settings, time.clone()), Another::default());
    let replicas = Replicas { ready, ..Replicas::new(&time, script) };
    let layer = HedgeLayer::new(hedge.clone(), again.clone(), judge as Judged);
    let service = layer.layer(replicas.clone());
    House { time, hedge, again, replicas, service }
}

fn house(script: &[(u64, Then)]) -> House {
    house_with(&fixed(), script, 0)
}

impl House {
    fn ask(&mut self) -> Result<Response, BoxError> {
        run(&self.time, self.service.call(ASK))
    }

    /// Nobody runs, sleeps or keeps anything.
    fn is_quiet(&self) {
        assert_eq!((self.time.next(), self.replicas.running.count(), self.again.kept.count()), (None, 0, 0));
    }
}

#[test]
fn who_is_quick_is_not_hedged() {
    let mut house = house(&[(10, Then::Well)]);
    assert_eq!(house.ask().unwrap().attempt, 0);
    assert_eq!(house.hedge.counts(), Counts { requests: 1, ..Counts::default() });
    house.is_quiet();
}

#[test]
fn who_is_slow_is_hedged_and_the_loser_is_dropped_there_and_then() {
    let mut house = house(&[(500, Then::Well), (5, Then::Well)]);
    assert_eq!(house.ask().unwrap().attempt, 1);
    assert_eq!(house.time.now(), 15);
    house.is_quiet();
    let mut house = self::house(&[(12, Then::Well), (5, Then::Well)]);
    assert_eq!(house.ask().unwrap().attempt, 0, "the hedge was slower");
    assert_eq!(house.hedge.counts(), Counts { requests: 1, hedges: 1, ..Counts::default() });
    house.is_quiet();
}

#[test]
fn the_loser_is_gone_when_the_answer_is_there() {
    for script in [[(15, Then::Well), (50, Then::Well)], [(50, Then::Well), (5, Then::Well)]] {
        let mut house = house(&script);
        let mut request = Box::pin(house.service.call(ASK));
        for at in [0, 10] {
            house.time.set(at);
            assert!(poll(request.as_mut()).is_pending());
        }
        assert_eq!(house.replicas.running.count(), 2);
        house.time.set(15);
        assert!(poll(request.as_mut()).is_ready());
        house.is_quiet();
        drop(request);
    }
}

#[test]
fn a_failure_says_nothing_of_how_long_an_answer_takes() {
    for bad in [Then::Badly, Then::Error] {
        let settings = Settings::tracked(0.5, Duration::from_nanos(1000)).unwrap();
        let mut house = house_with(&settings, &[(1, bad)], 0);
        for _ in 0..100 {
            let _ = house.ask();
        }
        assert_eq!(house.hedge.delay(), Duration::from_nanos(1000));
    }
}

#[test]
fn a_failure_does_not_win_while_another_attempt_lives() {
    for bad in [Then::Badly, Then::Error] {
        let mut house = house(&[(12, bad), (50, Then::Well)]);
        assert_eq!((house.ask().unwrap().attempt, house.time.now()), (1, 60));
        let mut house = self::house(&[(30, Then::Well), (5, bad)]);
        assert_eq!((house.ask().unwrap().attempt, house.hedge.counts().won), (0, 0));
        house.is_quiet();
    }
}

#[test]
fn when_all_have_failed_the_outcome_of_the_last_comes_as_it_is() {
    let mut house = house(&[(60, Then::Badly), (20, Then::Error)]);
    let answer = house.ask().unwrap();
    assert_eq!((answer.attempt, answer.well), (0, false));
    let mut house = self::house(&[(20, Then::Badly), (60, Then::Error)]);
    assert_eq!(house.ask().unwrap_err().to_string(), "attempt 1 failed");
    let mut house = self::house(&[(5, Then::Error)]);
    assert_eq!(house.ask().unwrap_err().to_string(), "attempt 0 failed");
    assert_eq!(house.replicas.calls(), 1, "one that fails at once is a retry's matter");
}

#[test]
fn a_failed_response_is_let_go_while_the_other_is_waited_for() {
    let mut house = house(&[(12, Then::Badly), (50, Then::Well)]);
    let mut request = Box::pin(house.service.call(ASK));
    for at in [0, 10, 12] {
        house.time.set(at);
        assert!(poll(request.as_mut()).is_pending());
    }
    assert_eq!((house.replicas.running.count(), house.replicas.responses.count()), (1, 0));
    assert_eq!(house.again.kept.count(), 0, "there is no other hedge");
}

#[test]
fn none_under_overload_and_none_without_a_budget() {
    let time = ManualTime::new();
    let overloaded = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&overloaded);
    let settings = fixed().with_budget(0.0, 1).unwrap();
    let hedge = Hedge::unless(&settings, time.clone(), move || told.load(Ordering::Relaxed));
    let replicas = Replicas::new(&time, &[(50, Then::Well), (1, Then::Well)]);
    let mut service = HedgeLayer::new(hedge.clone(), Another::default(), Errors).layer(replicas);
    let mut ask = || run(&time, service.call(ASK)).unwrap().attempt;
    assert_eq!(ask(), 0);
    overloaded.store(false, Ordering::Relaxed);
    assert_eq!((ask(), ask()), (1, 0));
    let counts = hedge.counts();
    assert_eq!((counts.overloaded, counts.hedges, counts.unpaid), (1, 1, 1));
}

#[test]
fn what_goes_once_is_served_and_says_nothing() {
    let mut house = house(&[(50, Then::Well)]);
    let answer = run(&house.time, house.service.call(Ask { once: true, ..ASK })).unwrap();
    assert_eq!((answer.attempt, house.hedge.counts()), (0, Counts::default()));
}

#[test]
fn one_that_can_no_longer_be_repeated_is_not_hedged_and_nothing_is_paid() {
    let time = ManualTime::new();
    let hedge = Hedge::new(&fixed(), time.clone());
    let replicas = Replicas::new(&time, &[(50, Then::Well)]);
    let again = Each::promise(|_: &Ask, attempt| (attempt == 0).then_some(ASK));
    let mut service = HedgeLayer::new(hedge.clone(), again, Errors).layer(replicas);
    assert_eq!(run(&time, service.call(ASK)).unwrap().attempt, 0);
    assert_eq!((hedge.counts().hedges, hedge.budget()), (0, 50));
}

#[test]
fn no_hedge_begins_at_the_deadline_or_later() {
    for (deadline, hedges) in [(10, 0), (11, 1)] {
        let mut house = house(&[(50, Then::Well)]);
        let answer = run(&house.time, house.service.call(Ask { deadline: Some(deadline), ..ASK })).unwrap();
        assert_eq!((answer.attempt, house.hedge.counts().hedges), (0, hedges));
    }
    // By a clock that jumps.
    let mut house = house(&[(50, Then::Well)]);
    let mut request = Box::pin(house.service.call(Ask { deadline: Some(20), ..ASK }));
    for at in [0, 20] {
        house.time.set(at);
        assert!(poll(request.as_mut()).is_pending());
    }
    assert_eq!((house.hedge.counts().hedges, house.hedge.budget()), (0, 50));
}

#[test]
fn the_delay_runs_from_when_the_service_is_called() {
    let mut house = house_with(&fixed(), &[(5, Then::Well)], 100);
    assert_eq!(house.ask().unwrap().attempt, 0);
    assert_eq!((house.hedge.counts().hedges, house.time.now()), (0, 105));
}

#[test]
fn several_hedges_each_a_delay_after_the_one_before() {
    let settings = fixed().with_most(2).unwrap();
    let mut house = house_with(&settings, &[(500, Then::Well), (500, Then::Well), (5, Then::Well)], 0);
    assert_eq!((house.ask().unwrap().attempt, house.time.now()), (2, 25));
    house.is_quiet();
}

#[test]
fn a_service_that_breaks_before_a_hedge_leaves_the_first_attempt_alone() {
    /// Ready once.
    #[derive(Clone)]
    struct Once(Replicas);
    impl Service<Ask> for Once {
        type Response = Response;
        type Error = BoxError;
        type Future = <Replicas as Service<Ask>>::Future;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(if self.0.calls() == 0 { Ok(()) } else { Err("closed".into()) })
        }

        fn call(&mut self, request: Ask) -> Self::Future {
            self.0.call(request)
        }
    }
    let time = ManualTime::new();
    let hedge = Hedge::new(&fixed(), time.clone());
    let replicas = Replicas::new(&time, &[(50, Then::Well)]);
    let mut service = HedgeLayer::new(hedge, Another::default(), Errors).layer(Once(replicas));
    assert_eq!(run(&time, service.call(ASK)).unwrap().attempt, 0);
    let error = run(&time, service.call(ASK)).unwrap_err();
    assert_eq!(error.to_string(), "closed");
}

#[test]
fn dropped_anywhere_it_drops_all_attempts() {
    for (script, polls) in [
        ([(30, Then::Well), (500, Then::Well)], 4),
        ([(500, Then::Well), (15, Then::Well)], 4),
        ([(15, Then::Badly), (15, Then::Well)], 5),
    ] {
        let seen = Drops::new().keeping_no_waker().run_now(
            || {
                let mut house = house_with(&fixed(), &script, 5);
                let future = house.service.call(ASK);
                (house, future)
            },
            |house, step| {
                let now = 5 * u64::try_from(step).unwrap();
                house.time.set(now);
                let called = 5;
                let happens = [called, called + 10, called + script[0].0, called + 10 + script[1].0];
                if happens.contains(&now) { Turn::MustWake } else { Turn::MayWait }
            },
            |house, left| {
                house.is_quiet();
                let own = usize::from(matches!(left, Left::Output(_)));
                assert_eq!(house.replicas.responses.count(), own);
                let hedges = u64::try_from(house.replicas.calls()).unwrap().saturating_sub(1);
                assert_eq!(house.hedge.counts().hedges, hedges);
                assert_eq!(house.hedge.budget(), 50 - hedges, "what was made stays paid");
            },
        );
        assert_eq!(seen.polls, polls, "{script:?}");
    }
}

#[test]
fn a_limit_over_it_is_charged_once_an_attempt_has_reached_the_service() {
    let time = ManualTime::new();
    let bucket = Arc::new(TokenBucket::with_clock("stock 2".parse().unwrap(), time.clone()));
    let permits = Permits::new(1, 2);
    let hedge = Hedge::new(&fixed(), time.clone());
    let replicas = Replicas::new(&time, &[(50, Then::Well)]);
    let mut service = ServiceBuilder::new()
        .layer(RateLimitLayer::new(OneBucket::new(bucket.clone())).over_queue())
        .layer(HedgeLayer::new(hedge.clone(), Another::default(), Errors).over_queue())
        .layer(QueueLayer::new(permits.clone()))
        .service(replicas);
    let held = permits.try_enter();
    let mut request = Box::pin(service.call(ASK));
    for at in [0, 10] {
        time.set(at);
        assert!(poll(request.as_mut()).is_pending());
    }
    assert_eq!((permits.waiting(), hedge.counts().hedges), (2, 1));
    drop(request);
    assert_eq!((bucket.available(), permits.waiting()), (2, 0), "neither left the line");
    drop(held);
    let mut request = Box::pin(service.call(ASK));
    assert!(poll(request.as_mut()).is_pending());
    drop(request);
    assert_eq!((bucket.available(), permits.in_flight()), (1, 0));
}

#[test]
fn a_limit_over_it_is_charged_for_what_has_failed_in_the_service() {
    for script in [[(5, Then::Error), (5, Then::Error)], [(50, Then::Error), (5, Then::Error)]] {
        let time = ManualTime::new();
        let bucket = Arc::new(TokenBucket::with_clock("stock 2".parse().unwrap(), time.clone()));
        let mut service = ServiceBuilder::new()
            .layer(RateLimitLayer::new(OneBucket::new(bucket.clone())).over_queue())
            .layer(
                HedgeLayer::new(Hedge::new(&fixed(), time.clone()), Another::default(), Errors).over_queue(),
            )
            .layer(QueueLayer::new(Permits::new(2, 2)))
            .service(Replicas::new(&time, &script));
        assert!(run(&time, service.call(ASK)).is_err());
        assert_eq!(bucket.available(), 1);
    }
}

#[test]
fn what_can_be_sent_to_another_thread_can_be_sent() {
    fn is_send(_: impl Send) {}
    let mut house = house(&[(5, Then::Well)]);
    is_send(house.service.call(ASK));
    is_send(async move { house.service.call(ASK).await.is_ok() });
}
