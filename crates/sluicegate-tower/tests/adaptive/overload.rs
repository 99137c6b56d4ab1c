//! The example under five times the load that it can serve, in virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use sluicegate::clock::Clock;
use sluicegate::timer::{Timer, TokioTime};
use tower::ServiceExt;

use super::example::service;

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

#[derive(Debug, Default)]
struct Seen {
    done: AtomicUsize,
    reports: AtomicUsize,
    refused: AtomicUsize,
    /// Answers that took longer than 100 ms.
    slow: AtomicUsize,
    without_a_time: AtomicUsize,
}

#[tokio::test(start_paused = true)]
async fn pitfall_35_an_overload_is_short_waits_and_no_lost_work() {
    let time = TokioTime::new();
    let (router, permits) = service(time).unwrap();
    let seen = Arc::new(Seen::default());
    let (until, from) = (20 * SECOND, 10 * SECOND);
    let mut requests = tokio::task::JoinSet::new();
    for n in 0_u64.. {
        let at = n * MS;
        if at >= until {
            break;
        }
        time.sleep_until(at).await;
        let (router, seen) = (router.clone(), Arc::clone(&seen));
        requests.spawn(async move {
            let path = if n % 2 == 0 { "/" } else { "/report" };
            let request = Request::get(path).body(Body::empty()).unwrap();
            let response = router.oneshot(request).await.unwrap();
            let (status, fields) = (response.status(), response.headers().clone());
            response.into_body().collect().await.unwrap();
            if at < from {
                return;
            }
            let count = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::Relaxed);
            if status == 200 {
                count(if path == "/" { &seen.done } else { &seen.reports });
                if time.now() - at > 100 * MS {
                    count(&seen.slow);
                }
            } else {
                assert_eq!(status, 503);
                count(&seen.refused);
                if !fields.contains_key("retry-after") {
                    count(&seen.without_a_time);
                }
            }
        });
        while requests.try_join_next().is_some_and(|ended| ended.is_ok()) {}
    }
    while requests.join_next().await.is_some_and(|ended| ended.is_ok()) {}
    let limit = permits.concurrency();
    assert_eq!((permits.in_flight(), permits.waiting()), (0, 0));
    let load = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let (done, reports) = (load(&seen.done), load(&seen.reports));
    assert_eq!(done + reports + load(&seen.refused), 10_000, "each was answered");
    assert!((2..=4).contains(&limit), "{limit}");
    // Two workers of 10 ms are 2000 in ten seconds.
    assert!(done + reports >= 1900, "{done} {reports}");
    assert!(done > 5 * reports && reports > 100, "{done} {reports}");
    assert_eq!((load(&seen.slow), load(&seen.without_a_time)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_limit_can_be_looked_at() {
    let (router, _) = service(TokioTime::new()).unwrap();
    let response = router.oneshot(Request::get("/limit").body(Body::empty()).unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "10 at once\n0 in flight, 0 waiting\n");
}

/// Thirty come at once, for which it takes 150 ms: a burst, and not yet a line that stands.
#[tokio::test(start_paused = true)]
async fn a_burst_is_served() {
    let (router, permits) = service(TokioTime::new()).unwrap();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..30 {
        requests.spawn(router.clone().oneshot(Request::get("/").body(Body::empty()).unwrap()));
    }
    while let Some(answer) = requests.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status(), 200);
    }
    assert_eq!((permits.in_flight(), permits.waiting()), (0, 0));
}
