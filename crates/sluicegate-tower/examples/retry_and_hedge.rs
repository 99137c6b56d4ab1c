//! A client of a service with two replicas, one of which is slow at times and refuses now and then: it asks the other one where
//! the first is slow, tries again what was refused, and tells how much time is left.
//!
//! `cargo run -p sluicegate-tower --features http --example retry_and_hedge`. It starts the replicas it talks to.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::put;
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sluicegate::hedge::{self, Hedge};
use sluicegate::retry::{self, Retry};
use sluicegate::throttle::{self, Throttle};
use sluicegate::timer::{Timer, TokioTime};
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::hedge::HedgeLayer;
use sluicegate_tower::http::again::{Attempt, ByMethod};
use sluicegate_tower::http::deadline::{Carried, Field, ReceivingLayer, SendingLayer};
use sluicegate_tower::http::judge::Statuses;
use sluicegate_tower::http::replay::{ReplayBody, ReplayingLayer};
use sluicegate_tower::refused::BoxError;
use sluicegate_tower::retry::RetryLayer;
use sluicegate_tower::throttle::ThrottleLayer;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};

/// A replica on a port of its own. Every seventh request is refused, every fifth takes a second.
async fn replica(time: TokioTime, flaky: bool) -> Result<Uri, BoxError> {
    let asked = Arc::new(AtomicUsize::new(0));
    let work = move |body: Bytes| async move {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        if flaky && number % 7 == 3 {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        let millis = if flaky && number % 5 == 4 { 1000 } else { 2 };
        time.sleep_for(millis * 1_000_000).await;
        Ok(body)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/", listener.local_addr()?).parse()?;
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", put(work))).await });
    Ok(address)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let time = TokioTime::new();
    let replicas = [replica(time, true).await?, replica(time, false).await?];

    // Half of the requests may be hedged and retried here, so that few show it; the usual shares are a twentieth and a tenth.
    let settings = hedge::Settings::fixed(Duration::from_millis(30))?.with_budget(0.5, 10)?.with_tail(0.5)?;
    let hedge = Hedge::new(&settings, time);
    let settings = retry::Settings::new(3, Duration::from_millis(20), Duration::from_secs(1))?;
    let retry = Retry::new(settings.with_budget(0.5, 10)?, time);

    let throttle = Throttle::new(throttle::Settings::default(), time);
    let client = ServiceBuilder::new()
        // When it must be over, for all tries together.
        .layer(ReceivingLayer::new(Field::envoy(), time).at_most(Duration::from_millis(800)))
        .layer(DeadlineLayer::new(Carried::new(time)))
        // What may be sent again is kept from here on.
        .layer(ReplayingLayer::new(64 * 1024))
        .layer(RetryLayer::new(retry.clone(), ByMethod, Statuses::new()))
        // Each try may be hedged.
        .layer(HedgeLayer::new(hedge.clone(), ByMethod, Statuses::new()))
        // Another replica each time.
        .map_request(move |mut request: Request<ReplayBody<Full<Bytes>>>| {
            *request.uri_mut() = replicas[Attempt::of(&request) % replicas.len()].clone();
            request
        })
        // Each attempt: whether to send it at all, which no answer in time speaks against too, and how much time it has.
        .layer(ThrottleLayer::new(throttle, Statuses::new()).asked_by(Carried::new(time)))
        .layer(SendingLayer::new(Field::envoy(), time).reserve(Duration::from_millis(5)))
        .service(Client::builder(TokioExecutor::new()).build_http());

    for number in 0..20 {
        let body = Full::<Bytes>::from(format!("number {number}"));
        let response = client.clone().oneshot(Request::put("/").body(body)?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        println!("{status}: {}", String::from_utf8_lossy(&body));
    }
    println!(
        "{:?}; the budgets have {} hedges and {} retries",
        hedge.counts(),
        hedge.budget(),
        retry.budget()
    );
    Ok(())
}
