//! A request on its way to its upstreams, dropped at every await: over real connections, in paused time.

mod service;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock};

use http::header::HeaderValue;
use http::{Method, Request};
use sluicegate::clock::Clock;
use sluicegate_testkit::drops::{Drops, Left, Seen, Turn};
use tokio::task::yield_now;

use self::service::{Does, Door, Service};
use super::super::activity::{Activity, Busy, Patience};
use super::super::body::RequestBody;
use super::super::choice::{Place, Standing};
use super::super::forward::repeatable;
use super::super::request::{Client, Who};
use super::super::said::Said;
use super::super::upstream::{Exchange, Terms, Unanswered, Upstream, UpstreamError};
use super::*;
use crate::config::queue::{Concurrency, QueueSettings};
use crate::config::settings::{ClientSettings, UpstreamSettings};

/// Before the first hedge, and the longest pause before a retry.
const PAUSE: Duration = Duration::from_millis(50);
/// What a step takes.
const STEP: Duration = Duration::from_millis(10);
/// The number of the upstream that a request is sent to first, and of the next.
const FIRST: usize = 0;
const SECOND: usize = 1;
/// How many requests of others are at the second.
const OTHERS: usize = 3;

const GET: &str = "GET /a HTTP/1.1\r\nhost: a\r\n\r\n";
const PUT: &str = "PUT /a HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n";

/// A step of all but the future that is tested.
async fn pass(services: &mut [Service]) {
    tokio::time::advance(STEP).await;
    services.iter_mut().for_each(Service::turn);
    // So that what has come over the sockets is seen.
    for _ in 0..5 {
        yield_now().await;
    }
}

fn upstream(service: &Service, time: TokioTime) -> Arc<Upstream> {
    let settings = UpstreamSettings { url: service.url().parse().unwrap(), ..UpstreamSettings::default() };
    Upstream::new(settings, Standing::new(), time, 1)
}

/// A request at the upstreams of its route, and all that it can hold there.
struct House {
    time: TokioTime,
    services: [Service; 2],
    attempts: Arc<Attempts>,
    /// Its place in the queue, which the layer above has.
    _own: Permit,
    _others: Vec<Place>,
    door: Door,
    activity: Arc<Activity>,
    busy: Option<Busy>,
}

impl House {
    fn new(
        settings: AttemptSettings,
        does: [&[Does]; 2],
        first: &str,
        rest: &[&'static str],
    ) -> (Self, Asked) {
        let time = TokioTime::new();
        let services = does.map(Service::new);
        let group = Group::new(services.iter().map(|service| upstream(service, time)).collect(), time);
        // So that it is sent to the other one first.
        let busy = |_| {
            let (chosen, _, place) = group.enter(&[FIRST], &[]).unwrap();
            assert_eq!(chosen, SECOND);
            place
        };
        let others = (0..OTHERS).map(busy).collect();
        let queue = QueueSettings { concurrency: Concurrency::Fixed(2), ..QueueSettings::default() };
        let places = Places::new(&queue, Vec::new(), None, time);
        let route = RouteSettings { attempts: settings, ..RouteSettings::default() };
        let attempts = Attempts::of(&route, group, &places, None, time).unwrap();
        let (door, request) = Door::open(first, rest);
        let activity = Activity::stream(time.now());
        let busy = activity.request();
        let (parts, body) = request.into_parts();
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let client = Client {
            peer,
            worker: 0,
            address: HeaderValue::from_static("127.0.0.1"),
            tls: false,
            tunnel: Mutex::default(),
        };
        let asked = Asked {
            target: parts.uri.clone(),
            parts,
            body,
            client: Arc::new(client),
            who: Who { address: IpAddr::V4(Ipv4Addr::LOCALHOST), told_by: None },
            activity: Arc::clone(&activity),
            arrived: time.now(),
            deadline: time.now() + nanos(route.deadline),
            meter: OnceLock::new(),
            said: Some(Arc::<Said>::default()),
        };
        let own = places.permits.try_enter().unwrap();
        let house =
            Self { time, services, attempts, _own: own, _others: others, door, activity, busy: Some(busy) };
        (house, asked)
    }

    async fn step(&mut self) -> Turn {
        self.door.turn();
        self.activity.turn(self.time.now());
        pass(&mut self.services).await;
        Turn::MayWait
    }

    /// How many were made of what the budgets pay for, which are as spent.
    fn paid(&self) -> (u64, u64) {
        let attempts = &self.attempts;
        let retries = attempts.counts.retries.load(Ordering::Relaxed);
        if let Some(retry) = &attempts.retry {
            assert_eq!(retry.budget(), u64::from(SAVED_RETRIES) - retries, "the budget of retries");
        }
        let hedges = attempts.hedge.as_ref().map_or(0, |hedge| hedge.counts().hedges);
        if let Some(hedge) = &attempts.hedge {
            assert_eq!(hedge.budget(), u64::from(SAVED_HEDGES) - hedges, "the budget of hedges");
        }
        (retries, hedges)
    }

    /// Nothing is held but what an answer has, which comes from the `winner`.
    fn is_as_found(&mut self, answered: bool, winner: usize) {
        let attempts = &self.attempts;
        assert_eq!((attempts.permits.in_flight(), attempts.permits.waiting()), (1, 0), "permits");
        for (number, upstream) in attempts.group.all().iter().enumerate() {
            let own = usize::from(answered && number == winner);
            let others = if number == SECOND { OTHERS } else { 0 };
            let at_it = upstream.standing.see(self.time.now()).in_flight;
            assert_eq!(at_it, others + own, "requests at upstream {number}");
            self.services[number].has(upstream.idle() + own);
        }
        self.paid();
        let patience = Patience::new(&ClientSettings::default());
        assert_eq!(self.activity.due(&patience).0, u64::MAX, "somebody is waited for");
        if !answered {
            self.busy = None;
            assert!(!self.activity.is_busy());
            assert_eq!(Arc::strong_count(&self.activity), 1, "somebody keeps the notes");
        }
    }
}

/// Drops such a request at every await; it is answered well by the `winner` in the end, when so many retries and hedges were made.
async fn everywhere(
    settings: &AttemptSettings,
    does: [&[Does]; 2],
    (first, rest): (&str, &[&'static str]),
    winner: usize,
    paid: (u64, u64),
) -> Seen {
    Drops::new()
        .run(
            || {
                let (house, asked) = House::new(settings.clone(), does, first, rest);
                let attempts = Arc::clone(&house.attempts);
                (house, async move { attempts.send(asked).await })
            },
            async |house, _| house.step().await,
            |house, left| {
                house.is_as_found(matches!(left, Left::Output(_)), winner);
                if let Left::Output(outcome) = left {
                    assert_eq!(outcome.as_ref().unwrap().status(), 200);
                    assert_eq!(house.paid(), paid);
                    assert!(house.door.is_done());
                    // What has failed gave back its connection, as all of its answer was there; what has lost was disconnected.
                    let idle = house.attempts.group.all().iter().map(|upstream| upstream.idle());
                    assert_eq!(idle.collect::<Vec<_>>(), [usize::try_from(paid.0).unwrap(), 0]);
                    let last = house.services[winner].bodies.last().unwrap();
                    assert_eq!(last.as_slice(), rest.concat().as_bytes());
                }
            },
        )
        .await
}

fn retrying() -> AttemptSettings {
    let retry = RetrySettings { pause: PAUSE, ..RetrySettings::default() };
    AttemptSettings { retry: Some(retry), ..AttemptSettings::default() }
}

#[tokio::test(start_paused = true)]
async fn plain() {
    let settings = AttemptSettings::default();
    let seen = everywhere(&settings, [&[Does::Says(200)], &[]], (GET, &[]), FIRST, (0, 0)).await;
    assert!(seen.polls > 2, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_a_pause() {
    let does: [&[Does]; 2] = [&[Does::Says(503)], &[Does::Says(200)]];
    let seen = everywhere(&retrying(), does, (GET, &[]), SECOND, (1, 0)).await;
    assert!(seen.polls > 5, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_wins() {
    let hedge = HedgeSettings::new(After::Fixed(PAUSE));
    let settings = AttemptSettings { hedge: Some(hedge), ..AttemptSettings::default() };
    let seen = everywhere(&settings, [&[], &[Does::Says(200)]], (GET, &[]), SECOND, (0, 1)).await;
    assert!(seen.polls > 4, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_sent_again() {
    let does: [&[Does]; 2] = [&[Does::Says(503)], &[Does::Says(200)]];
    let seen = everywhere(&retrying(), does, (PUT, &["all", "of ", "this"]), SECOND, (1, 0)).await;
    assert!(seen.polls > 7, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_hedged() {
    let hedge = HedgeSettings { methods: vec![Method::PUT], ..HedgeSettings::new(After::Fixed(PAUSE)) };
    let settings = AttemptSettings { hedge: Some(hedge), ..AttemptSettings::default() };
    let does: [&[Does]; 2] = [&[], &[Does::Says(200)]];
    let seen = everywhere(&settings, does, (PUT, &["all", "of ", "this"]), SECOND, (0, 1)).await;
    assert!(seen.polls > 5, "{seen:?}");
}

/// A request of one upstream's own, after another one over the same connection.
async fn over_a_kept_connection(does: &[Does], until: Option<Duration>, answered: bool) -> Seen {
    let get = || {
        let mut request = Request::new(RequestBody::Empty);
        request.headers_mut().insert(http::header::HOST, HeaderValue::from_static("a"));
        request
    };
    Drops::new()
        .run(
            || {
                let time = TokioTime::new();
                let service = Service::new(does);
                let upstream = upstream(&service, time);
                let until = until.map(|until| time.now() + nanos(until));
                let sends = Arc::clone(&upstream);
                let future = async move {
                    let late = &|| UpstreamError::Slow(Duration::ZERO);
                    let terms = || Terms { copy: repeatable, until, late, reached: &|| {}, sends: &|_| {} };
                    let (_, exchange) = sends.send_on(0, get(), terms()).await?;
                    exchange.discard();
                    sends.send_on(0, get(), terms()).await
                };
                (([service], upstream), future)
            },
            async |(services, _), _| {
                pass(services).await;
                Turn::MayWait
            },
            |([service], upstream), left: Left<'_, Result<(Response<()>, Exchange), Unanswered>>| {
                let own = matches!(left, Left::Output(Ok(_)));
                service.has(upstream.idle() + usize::from(own));
                if let Left::Output(outcome) = left {
                    assert_eq!(outcome.is_ok(), answered);
                }
            },
        )
        .await
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_kept() {
    let seen = over_a_kept_connection(&[Does::Says(200), Does::Says(200)], None, true).await;
    assert!(seen.polls > 2, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_kept_and_is_closed() {
    let does = [Does::Says(200), Does::Closes, Does::Says(200)];
    let seen = over_a_kept_connection(&does, Some(Duration::from_secs(60)), true).await;
    assert!(seen.polls > 3, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_does_not_answer_in_time() {
    let seen = over_a_kept_connection(&[Does::Says(200)], Some(Duration::from_millis(200)), false).await;
    assert!(seen.polls > 3, "{seen:?}");
}
