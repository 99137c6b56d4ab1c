//! A client that limits itself: so many requests a second, so many in flight until their answers are read to the end, and
//! the others wait or are told at once.
//!
//! `cargo run -p sluicegate-tower --features http --example client`. It starts the server it talks to.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sluicegate::limiter::TokenBucket;
use sluicegate::permits::Permits;
use sluicegate::timer::{Timer, TokioTime};
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::due::After;
use sluicegate_tower::one_bucket::OneBucket;
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::rate_limit::RateLimitLayer;
use sluicegate_tower::refused::BoxError;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};

/// How many requests the server works on, and how many it ever did at once.
#[derive(Debug, Default)]
struct Load {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A server on a port of its own. It says how much is asked of it.
async fn server(time: TokioTime, load: Arc<Load>) -> Result<String, BoxError> {
    let work = move || async move {
        let now = load.now.fetch_add(1, Ordering::Relaxed) + 1;
        load.most.fetch_max(now, Ordering::Relaxed);
        time.sleep_for(50_000_000).await;
        load.now.fetch_sub(1, Ordering::Relaxed);
        Ok::<_, Infallible>("done")
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", get(work))).await });
    Ok(address)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let (time, load) = (TokioTime::new(), Arc::new(Load::default()));
    let address = server(time, Arc::clone(&load)).await?;
    let (bucket, permits) = (Arc::new(TokenBucket::new("20/s".parse()?)), Permits::new(3, 100));
    let client = ServiceBuilder::new()
        .layer(DeadlineLayer::new(After::new(Duration::from_secs(5), time)).over_queue())
        .layer(RateLimitLayer::new(OneBucket::new(Arc::clone(&bucket))).over_queue())
        .layer(QueueLayer::new(permits.clone()).until_body_ends())
        .service(Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>());

    let mut requests = Vec::new();
    for _ in 0..25 {
        let answer = client.clone().oneshot(Request::get(&address).body(Empty::new())?);
        requests.push(tokio::spawn(async move {
            let response = answer.await?;
            let body = response.into_body().collect().await?.to_bytes();
            Ok::<_, BoxError>(body.len())
        }));
    }
    let (mut answered, mut refused) = (0, 0);
    for request in requests {
        match request.await? {
            Ok(_) => answered += 1,
            Err(error) => {
                refused += 1;
                println!("kept back: {error}");
            }
        }
    }
    println!("{answered} answered, {refused} kept back");
    println!("the server never had more than {} at once", load.most.load(Ordering::Relaxed));
    println!("in flight {}, waiting {}", permits.in_flight(), permits.waiting());
    Ok(())
}
