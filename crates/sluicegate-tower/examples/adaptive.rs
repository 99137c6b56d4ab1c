//! An axum service that finds out by itself how many requests it can work on at once. What it works with says nothing of that: here
//! something that does two things at a time, 10 ms each.
//!
//! `cargo run -p sluicegate-tower --features http --example adaptive`, then some seconds of
//! `cargo run --release -- load http://127.0.0.1:9003/ --rate 1000`, and meanwhile `curl 127.0.0.1:9003/limit`. Ctrl-C ends it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use sluicegate::concurrency::{self, Knee};
use sluicegate::permits::{Permits, Settings};
use sluicegate::queue::{self, Codel};
use sluicegate::timer::{Timer, TokioTime};
use sluicegate_tower::deadline::DeadlineLayer;
use sluicegate_tower::http::answering::AnsweringLayer;
use sluicegate_tower::http::deadline::{Carried, DueAt, Field, ReceivingLayer};
use sluicegate_tower::http::judge::Statuses;
use sluicegate_tower::queue::QueueLayer;
use sluicegate_tower::refused::{BoxError, Refused};
use sluicegate_tower::who::Who;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::ServiceBuilder;

/// Who asks: until when, by the deadline it carries; and reports come after all else.
fn who(request: &Request) -> Who {
    let deadline = DueAt::of(request).unwrap_or(u64::MAX);
    Who { deadline, class: usize::from(request.uri().path() == "/report"), ..Who::default() }
}

/// The service and its permits, from 10 on.
pub(crate) fn service(time: TokioTime) -> Result<(Router, Permits), BoxError> {
    let ms = Duration::from_millis;
    // A thousand may wait in a burst. What takes 10 ms may wait for 20 before the line counts as one that stands.
    let line =
        queue::Settings::new(1000).with_codel(Codel::new(ms(20), ms(40), ms(200))?).with_classes(&[8, 1])?;
    let found_out = Settings::new(1, line).adaptive(concurrency::Settings::default(), Knee::default());
    let permits = Permits::with(found_out, time);
    let layers = ServiceBuilder::new()
        // Outermost: no error is left for the router.
        .layer(AnsweringLayer::new())
        // Half a second, or what a caller says that it has left.
        .layer(ReceivingLayer::new(Field::envoy(), time).at_most(ms(500)).with_error::<Refused>())
        // Over the queue: that somebody was too slow is something to learn from.
        .layer(DeadlineLayer::new(Carried::new(time)).over_queue().with_error::<Refused>())
        .layer(
            QueueLayer::new(permits.clone())
                .asked_by(who)
                // 503, 429 and the like are no answers, however quick they are.
                .judged_by(Statuses::new())
                // What is still being sent is still being worked on.
                .until_body_ends()
                .with_error::<Refused>(),
        );

    let workers = Arc::new(Semaphore::new(2));
    let work = move || async move {
        let _worker = workers.acquire_owned().await;
        time.sleep_for(10_000_000).await;
        "done\n"
    };
    let limit = permits.clone();
    let router = Router::new()
        .route("/", get(work.clone()))
        .route("/report", get(work))
        .layer(layers)
        // Beside the line: who looks after it does not stand in it.
        .route(
            "/limit",
            get(move || async move {
                let now = limit.standing();
                let why = now.change.map_or_else(String::new, |change| format!(": {}", change.why));
                format!("{} at once{why}\n{} in flight, {} waiting\n", now.limit, now.in_flight, now.waiting)
            }),
        );
    Ok((router, permits))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (router, _) = service(TokioTime::new())?;
    let listener = TcpListener::bind("127.0.0.1:9003").await?;
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, router).with_graceful_shutdown(stop).await?;
    Ok(())
}
